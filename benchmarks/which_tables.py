"""What the study's runs say: a table of all cells, one a task, and two claims put to the test."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ostinato.cells import registry
from ostinato.training.runs_file import Run
from report import NOISE, Table
from which_runs import contestants
from which_speed import LSTM, MODES, SHAPES
from which_tasks import PROBLEMS, Problem
from work import Shape

CLAIMS = (
    ("Does the LSTM beat the RNN?", "lstm", "rnn"),
    ("What does LSTMP lose, projected to a half of its width?", "lstm", "lstm-p2"),
    ("And to a quarter?", "lstm", "lstm-p4"),
)


def task_of(run: Run) -> str:
    return run.run.split(" ", 1)[0]


def best(runs: Sequence[Run], problem: Problem) -> Run:
    """The best of them by the validation part; one that diverged is the worst."""
    sign = -1 if problem.more_is_better else 1

    def badness(run: Run) -> float:
        value = run.figures["validation"]
        return math.inf if math.isnan(value) else sign * value

    return min(runs, key=badness)


@dataclass(frozen=True)
class Score:
    """What one cell reached on one task: the runs of its best rate, by seed, and how many rates were tried."""

    runs: dict[int, Run]
    rates: int

    @property
    def figures(self) -> list[float]:
        return [run.figures["test"] for run in self.runs.values()]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.figures)

    @property
    def any(self) -> Run:
        return next(iter(self.runs.values()))

    def __str__(self) -> str:
        return spread(self.figures)


@dataclass(frozen=True)
class Content:
    """All that is known.

    Attributes:
        runs: of the study as it is planned now.
        lines: the speeds.
        problems: the tasks that ``runs`` has runs of, by name.
        rates: how many are to be tried.
        seeds: how many there are to be.
    """

    runs: Sequence[Run]
    lines: Sequence[Mapping[str, Any]]
    problems: Mapping[str, Problem]
    rates: int
    seeds: int

    def score(self, task: str, who: str) -> Score | None:
        own = [run for run in self.runs if task_of(run) == task and run.cell == who]
        if not own:
            return None
        first = min(run.seed for run in own)
        tried = [run for run in own if run.seed == first]
        rate = best(tried, self.problems[task]).learning_rate
        chosen = sorted((run for run in own if run.learning_rate == rate), key=lambda run: run.seed)
        return Score({run.seed: run for run in chosen}, len(tried))

    def scores(self, task: str) -> dict[str, Score]:
        """Of every cell that has run, the best first."""
        found = {who: score for who in contestants() if (score := self.score(task, who)) is not None}
        sign = -1 if self.problems[task].more_is_better else 1
        return dict(sorted(found.items(), key=lambda item: (math.isnan(item[1].mean), sign * item[1].mean)))

    def cost(self, task: str, who: str) -> float:
        """Milliseconds of a training step, the median over the cell's runs of the task."""
        own = [run for run in self.runs if task_of(run) == task and run.cell == who]
        return statistics.median(1e3 / run.steps_per_second for run in own)

    def overview(self) -> Table:
        """A line a cell."""
        columns = [(shape, mode) for shape in SHAPES for mode in MODES] if self.lines else []
        table = Table("All cells", ("cell", "year", *(f"{mode}, {shape}" for shape, mode in columns), *self.problems))
        by_key = {(line["cell"], Shape(*line["shape"]), line["mode"]): line for line in self.lines}
        for who, one in contestants().items():
            lines = [by_key.get((who, *column)) for column in columns]
            scores = [self._short(task, who) for task in self.problems]
            if any(lines) or set(scores) - {"–"}:
                year = str(registry.find(one.cell).year)
                table.rows.append((who, year, *map(speed, lines), *scores))
        table.notes += self._legend()
        return table

    def finished(self, task: str, who: str) -> bool:
        """Whether all rates and all seeds are done."""
        score = self.score(task, who) if task in self.problems else None
        return score is not None and score.rates == self.rates and len(score.runs) == self.seeds

    def _short(self, task: str, who: str) -> str:
        score = self.score(task, who)
        return "–" if score is None else f"{score}{'' if self.finished(task, who) else ' †'}"

    def _legend(self) -> list[str]:
        legend = (
            []
            if not self.lines
            else [
                "speeds: ms a call, and how many times as fast as our LSTM in the same minute; shapes are T,B,I,H",
            ]
        )
        legend += [
            f"† not all of the {self.rates} rates and {self.seeds} seeds are done; ± is the deviation over the seeds",
        ]
        loaded = sum(line["others"] is not None and line["others"] > NOISE for line in self.lines)
        if loaded:
            legend.append(f"! other processes used the processors: so in {loaded} of {len(self.lines)} speeds")
        for task, problem in self.problems.items():
            direction = "more is better" if problem.more_is_better else "less is better"
            value, how = problem.line
            legend.append(f"{task}: {problem.unit}, {direction}; {how} gives {value:.4g}")
        return legend

    def tasks(self) -> list[Table]:
        """A table a task."""
        return [self._task(task, problem) for task, problem in self.problems.items()]

    def _task(self, task: str, problem: Problem) -> Table:
        about = (PROBLEMS[task].__doc__ or "").strip()
        columns = (
            "cell",
            "H",
            "parameters",
            "rate",
            "rates tried",
            problem.unit,
            "each seed",
            "less the LSTM's",
            "ms a step",
        )
        table = Table(f"{task}: {about[0].lower()}{about[1:]}", columns)
        scores = self.scores(task)
        for who, score in scores.items():
            run = score.any
            table.rows.append((
                who, str(run.hidden_size), f"{run.parameters:,}", f"{run.learning_rate:g}", str(score.rates),
                str(score), ", ".join(figure(value) for value in score.figures),
                differences(score, scores.get(LSTM)), f"{self.cost(task, who):.2f}",
            ))  # fmt: skip
            early = [run.steps for run in score.runs.values() if run.steps < self._steps(task)]
            if early:
                table.notes.append(f"{who} was stopped after {', '.join(map(str, early))} steps")
        table.notes += [f"{self._steps(task):,} steps; {run_line(problem)}", *problem.beside]
        return table

    def _steps(self, task: str) -> int:
        return max(run.steps for run in self.runs if task_of(run) == task)

    def claims(self) -> Table:
        """Paired by seed, at equal parameters, each at its own rate."""
        table = Table("Two claims", ("claim", "task", "the LSTM", "the other", "the LSTM is better in"))
        for question, first, second in CLAIMS:
            for task, problem in self.problems.items():
                a, b = self.score(task, first), self.score(task, second)
                if a is None or b is None:
                    continue
                seeds = a.runs.keys() & b.runs.keys()
                sign = 1 if problem.more_is_better else -1
                gains = [sign * (a.runs[s].figures["test"] - b.runs[s].figures["test"]) for s in seeds]
                won = sum(gain > 0 for gain in gains)
                both = self._short(task, first), f"{second}: {self._short(task, second)}"
                table.rows.append((question, task, *both, f"{won} of {len(gains)} seeds"))
        return table


def run_line(problem: Problem) -> str:
    value, how = problem.line
    return f"{how} gives {value:.4g}"


def differences(score: Score, lstm: Score | None) -> str:
    """Of the same seeds."""
    if lstm is None or lstm is score:
        return "–"
    both = [seed for seed in score.runs if seed in lstm.runs]
    return spread([score.runs[seed].figures["test"] - lstm.runs[seed].figures["test"] for seed in both])


def spread(values: Sequence[float]) -> str:
    """Mean and deviation of what ended, and how many did not."""
    if not values:
        return "–"
    ended = [value for value in values if not math.isnan(value)]
    if not ended:
        return figure(math.nan)
    deviation = f" ± {figure(statistics.stdev(ended))}" if len(ended) > 1 else ""
    lost = len(values) - len(ended)
    return f"{figure(statistics.fmean(ended))}{deviation}" + (f", {lost} of {len(values)} diverged" if lost else "")


def figure(value: float) -> str:
    return "diverged" if math.isnan(value) else f"{0.0 if abs(value) < 1e-12 else value:.3g}"


def speed(line: Mapping[str, Any] | None) -> str:
    if line is None:
        return "–"
    loaded = line["others"] is not None and line["others"] > NOISE
    return f"{line['seconds'][line['cell']] * 1e3:.3g} ({line['over_lstm']:.2f}×){' !' if loaded else ''}"
