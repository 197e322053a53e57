"""Which cell? All of the library's, by speed, and by quality on four tasks at equal parameters.

    python benchmarks/which_cell.py TEXT                       everything; two to three hours on two cores
    python benchmarks/which_cell.py TEXT --minutes 30          what can be done in that time, the next time the rest
    python benchmarks/which_cell.py --cells lstm gru --tasks adding digits --steps-scale 0.1 --out /tmp/which_cell
    python benchmarks/which_cell.py TEXT --no-speed --minutes 0 --page    docs/which_cell.md, from what is there

TEXT is what the task `characters` learns from (tinyshakespeare in the figures that are stored). A cell's width is that
at which the network has as many parameters as the LSTM's; its learning rate is one of three, chosen by the validation
part with the first seed; with that rate it is trained from every seed, all cells on the same rows. Figures are of a
test part that decided nothing.

First the speeds, then every cell at the middle rate, then the other rates, then the other seeds, so that there is a
comparison of all cells early. Every run is a line of benchmarks/results/which_cell_runs.csv, every speed one in
which_cell.json, and what is there is not done again: the command goes on where it was stopped. Runs of tasks share the
processors, one thread each; nothing else should run while speeds are measured. The tables go to which_cell.md.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any

import torch

import which_page
import which_speed
import which_tables
from ostinato.training.runs_file import Run, RunsFile
from report import Report, resumed
from timing import Machine
from which_runs import Plan, contestants, problem_of, train
from which_tasks import PROBLEMS

RESULTS = Path(__file__).parent / "results"
RATES = (3e-3, 1e-3, 1e-2)
"""The middle one first: it is what every cell is tried with first."""
SEEDS = (0, 1, 2)


def arguments_of(argv: list[str] | None = None) -> argparse.Namespace:
    known = list(contestants())
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path, nargs="?", help="what `characters` learns from; without it that is left out")
    parser.add_argument("--cells", nargs="+", choices=known, default=known, metavar="NAME")
    parser.add_argument("--tasks", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    parser.add_argument("--minutes", type=float, default=math.inf, help="no run is begun after these")
    parser.add_argument(
        "--run-minutes", type=float, default=2.0, help="of the processor: a run is stopped and tested after these"
    )
    parser.add_argument("--steps-scale", type=float, default=1.0, help="a part of each task's steps")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="runs at a time; threads of speeds")
    parser.add_argument("--no-speed", action="store_true", help="tasks only")
    parser.add_argument("--page", action="store_true", help="write docs/which_cell.md and its pictures too")
    parser.add_argument("--out", type=Path, default=RESULTS / "which_cell", metavar="STEM")
    arguments = parser.parse_args(argv)
    if arguments.text is None and "characters" in arguments.tasks:
        arguments.tasks.remove("characters")
        print("without a text the task `characters` is left out")
    return arguments


class Study:
    """What is done and what is to do."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.cells, self.tasks, self.text = arguments.cells, arguments.tasks, arguments.text
        self.scale, self.most_seconds = arguments.steps_scale, 60 * arguments.run_minutes
        self.end = time.perf_counter() + 60 * arguments.minutes
        self.file = RunsFile(arguments.out.with_name(arguments.out.name + "_runs.csv"))
        self.runs = self.file.read()

    def plan(self, task: str, who: str, rate: float, seed: int) -> Plan:
        steps = max(1, round(problem_of(task, self.text).steps * self.scale))
        return Plan(task, who, rate, seed, steps, self.text, self.most_seconds)

    def found(self, plan: Plan) -> Run | None:
        same = (run for run in self.runs if run.run == plan.name and run.made_of == plan.made_of)
        return next(same, None)

    def phases(self) -> Iterator[tuple[str, list[Plan]]]:
        """What is to be done, one after the other; each looks at what those before it left."""
        pairs = [(task, who) for task in self.tasks for who in self.cells]
        yield "every cell at the middle rate", [self.plan(*pair, RATES[0], SEEDS[0]) for pair in pairs]
        yield "the other rates", [self.plan(*pair, rate, SEEDS[0]) for rate in RATES[1:] for pair in pairs]
        chosen = {pair: self.best_rate(*pair) for pair in pairs}
        yield (
            "the other seeds",
            [self.plan(*pair, rate, seed) for seed in SEEDS[1:] for pair, rate in chosen.items() if rate is not None],
        )

    def best_rate(self, task: str, who: str) -> float | None:
        """By the validation part; None as long as a rate has not been tried."""
        tried = [self.found(self.plan(task, who, rate, SEEDS[0])) for rate in RATES]
        runs = [run for run in tried if run is not None]
        if len(runs) < len(RATES):
            return None
        return which_tables.best(runs, problem_of(task, self.text)).learning_rate

    def do(self, workers: int) -> bool:
        """Everything there is time for; whether nothing failed."""
        good = True
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=spawn, initializer=one_thread) as pool:
            for title, plans in self.phases():
                todo = [plan for plan in plans if self.found(plan) is None]
                print(f"{title}: {len(todo)} of {len(plans)} runs to do", flush=True)
                good &= self.run(pool, iter(todo), workers)
        return good

    def run(self, pool: ProcessPoolExecutor, plans: Iterator[Plan], workers: int) -> bool:
        good, pending = True, {}
        while True:
            while len(pending) < workers and time.perf_counter() < self.end and (plan := next(plans, None)):
                pending[pool.submit(train, plan)] = plan
            if not pending:
                return good
            for future in wait(pending, return_when=FIRST_COMPLETED).done:
                plan = pending.pop(future)
                if (error := future.exception()) is not None:
                    print(f"FAILED {plan.name}: {type(error).__name__}: {error}", flush=True)
                    good = False
                    continue
                self.runs.append(run := future.result())
                self.file.write(self.runs)
                figure = f"{run.figures['test']:.4g} {problem_of(plan.task, self.text).unit}"
                print(f"{run.run}: H {run.hidden_size}, {figure}, {run.seconds:.1f} s", flush=True)

    def content(self, lines: list[dict[str, Any]]) -> which_tables.Content:
        """What is known of the tasks whose numbers can be had here, by runs of as many steps as these."""
        planned = {task: self.plan(task, "lstm", RATES[0], SEEDS[0]).made_of for task in self.tasks}
        runs = [run for run in self.runs if planned.get(which_tables.task_of(run)) == run.made_of]
        problems = {task: problem_of(task, self.text) for task in planned if task in map(which_tables.task_of, runs)}
        return which_tables.Content(runs, lines, problems, len(RATES), len(SEEDS))


def one_thread() -> None:
    torch.set_num_threads(1)


def speeds(report: Report, arguments: argparse.Namespace, study: Study) -> None:
    """Those that are not there yet."""
    done = {which_speed.key(line) for line in report.lines}
    table = report.table("Speeds", "cell", "mode", "T,B,I,H", "ms", "over the LSTM", "others' load")
    for who in arguments.cells:
        for shape in which_speed.SHAPES:
            for mode in which_speed.MODES:
                if (who, shape, mode) not in done and time.perf_counter() < study.end:
                    which_speed.measure(report, table, who, shape, mode)
                    report.store(arguments.out, say=False)


def main() -> int:
    arguments = arguments_of()
    study = Study(arguments)
    torch.set_num_threads(arguments.workers)
    report = resumed(arguments.out, Machine.look(), measures=not arguments.no_speed)
    print("\n".join(report.machine.lines()))
    if not arguments.no_speed:
        speeds(report, arguments, study)
    good = study.do(arguments.workers) and not report.failures
    content = study.content(report.lines)
    report.tables = [content.overview(), content.claims(), *content.tasks()]
    report.store(arguments.out)
    if arguments.page:
        which_page.write(content, report.machine)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
