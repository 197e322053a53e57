"""Honest scores: every task on real data with its defaults, beside its baselines, against the bars it must reach.

    python benchmarks/quality.py ../shared/data                      all rows, three seeds; about two hours
    python benchmarks/quality.py ../shared/data --rows vowels names  a part of them
    python benchmarks/quality.py ../shared/data --seeds 0 --csv /tmp/runs.csv

Every run is a line of benchmarks/results/quality_runs.csv; one that is there already, with the same settings, is not
repeated, so that the command goes on where it was stopped. The table goes to benchmarks/results/quality.md.
Nothing is tuned on a test part: what decides is the validation part, which is cut from the training part.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ostinato
from ostinato.cli import wait_patiently

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from pairs import pairs
from report import Verdict
from timing import Machine

RESULTS = Path(__file__).parent / "results"
SEEDS = (0, 1, 2)
FIELDS = ("row", "seed", "seconds", "figures", "baselines", "settings")


@dataclass(frozen=True)
class Bar:
    """What a figure's mean over the seeds must reach; ``times``: the best of these baselines, multiplied by that."""

    figure: str
    value: float | None = None
    at_most: bool = False
    of: tuple[str, ...] = ()
    times: float = 1.0

    def limit(self, baselines: dict[str, dict[str, float]]) -> float:
        if self.value is not None:
            return self.value
        found = [baselines[name][self.figure] for name in baselines if any(word in name for word in self.of)]
        return self.times * (min if self.at_most else max)(found)


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        files: of the data folder, or what makes them, and the settings that name others, in a folder of its own.
        settings: what differs from the task's defaults.
        minutes: a run may take.
        seeds: another number of them.
    """

    task: str
    files: Sequence[str] | Callable[[Path], tuple[list[Path], dict[str, str]]]
    settings: dict[str, Any]
    bars: tuple[Bar, ...]
    minutes: float
    about: str
    seeds: tuple[int, ...] | None = None
    ensemble: int = 1
    paths: dict[str, str] = field(default_factory=dict)


def strings(order: str) -> Callable[[Path], tuple[list[Path], dict[str, str]]]:
    """90,000 pairs of a random string of length 5 to 20 and the same in another order; 1,000 of length 20 to test."""

    def make(folder: Path) -> tuple[list[Path], dict[str, str]]:
        learn = write_pairs(folder / "learn.tsv", order, 90_000, 5, 20, seed=0)
        test = write_pairs(folder / "test.tsv", order, 1000, 20, 20, seed=1)
        return [learn], {"test_file": str(test)}

    return make


def write_pairs(path: Path, order: str, rows: int, shortest: int, longest: int, seed: int) -> Path:
    drawn = pairs(order, rows, shortest=shortest, longest=longest, seed=seed)
    path.write_text("source\ttarget\n" + "".join(f"{source}\t{target}\n" for source, target in drawn))
    return path


VOWELS = ("JapaneseVowels_TRAIN.ts",)
WORDS = "ud_english_ewt/"
ROWS = {
    "vowels": Row(
        "classify", VOWELS, {}, (Bar("accuracy", 0.975),), 2, "JapaneseVowels, 9 speakers, given split",
        paths={"test_file": "JapaneseVowels_TEST.ts"},
    ),
    "vowels-5": Row(
        "classify", VOWELS, {}, (Bar("accuracy", 0.98),), 10, "the same, five models that answer together",
        seeds=(0,), ensemble=5, paths={"test_file": "JapaneseVowels_TEST.ts"},
    ),
    "names": Row(
        "classify", ("names",), {"repeats": "once", "test_fraction": 0.2}, (Bar("accuracy", 0.81),), 5,
        "surnames of 18 languages, repeats removed, 80/20 by class",
    ),
    "names-weighted": Row(
        "classify", ("names",), {"repeats": "once", "test_fraction": 0.2, "class_weights": "gentle"},
        (Bar("macro_f1", 0.48), Bar("accuracy", 0.795)), 5, "the same with class weights",
    ),
    "words": Row(
        "tag", (WORDS + "train.conllu",), {"target": "upos"}, (Bar("accuracy", 0.942),), 5,
        "UD English EWT, universal parts of speech, given split",
        paths={"validation_file": WORDS + "dev.conllu", "test_file": WORDS + "test.conllu"},
    ),
    "transformer": Row(
        "forecast", ("ETTh1.csv",), {"target": "OT", "horizon": 24, "window": 96, "split": "12/4/4"},
        (
            Bar("mse_standardised", 0.032, at_most=True),
            Bar("mse_standardised", at_most=True, of=("persistence",)),
            Bar("mse_standardised", at_most=True, of=("ridge",), times=1.1),
        ), 5, "ETTh1, oil temperature 24 hours ahead of 96, months 12/4/4, every origin",
    ),
    "reverse": Row(
        "transduce", strings("reverse"), {}, (Bar("exact_match", 0.995),), 5,
        "random strings of 26 letters, length 5 to 20, reversed; tested at 20",
    ),
    "sort": Row(
        "transduce", strings("sort"), {}, (Bar("exact_match", 0.995),), 5, "the same, sorted",
    ),
    "shakespeare": Row(
        "language-model", ("tinyshakespeare.txt",), {}, (Bar("nats", 1.60, at_most=True),), 5,
        "characters of tinyshakespeare, the last tenth held out", seeds=(0,),
    ),
}  # fmt: skip


def run(name: str, seed: int, data: Path) -> dict[str, str]:
    """Train once; the line for the table of runs."""
    row = ROWS[name]
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        if callable(row.files):
            files, more = row.files(Path(place))
        else:
            files, more = [data / one for one in row.files], {key: str(data / path) for key, path in row.paths.items()}
        settings = {**row.settings, **more, "seed": seed}
        result = ostinato.train(
            files, Path(place) / "model", task=row.task, ensemble=row.ensemble, quiet=True, **settings
        )
    seconds = time.perf_counter() - start
    figures = result.test if result.test is not None else result.validation.figures
    line = {
        "row": name,
        "seed": seed,
        "seconds": round(seconds, 1),
        "figures": json.dumps(figures),
        "baselines": json.dumps(result.baselines or {}, ensure_ascii=False),
        "settings": json.dumps(row.settings),
    }
    return {key: str(value) for key, value in line.items()}


def read(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    return [
        line for line in lines if line["row"] in ROWS and json.loads(line["settings"]) == ROWS[line["row"]].settings
    ]


def add(path: Path, line: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS)
        if new:
            writer.writeheader()
        writer.writerow(line)


def mean(values: Sequence[float]) -> str:
    spread = f" ± {statistics.stdev(values):.2g}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.4g}{spread}"


def verdicts(lines: list[dict[str, str]]) -> list[Verdict]:
    found = []
    for name, row in ROWS.items():
        own = [line for line in lines if line["row"] == name]
        if not own:
            continue
        for bar in row.bars:
            value = statistics.fmean(json.loads(line["figures"])[bar.figure] for line in own)
            limit = statistics.fmean(bar.limit(json.loads(line["baselines"])) for line in own)
            against = f", against {bar.times:g} × the best of {', '.join(bar.of)}" if bar.of else ""
            found.append(Verdict(f"{name}, {bar.figure}{against}", value, limit, at_most=bar.at_most, unit=""))
        longest = max(float(line["seconds"]) for line in own) / 60
        found.append(Verdict(f"{name}, the longest run", longest, row.minutes, at_most=True, unit=" min"))
    return found


def table(lines: list[dict[str, str]]) -> str:
    parts = [
        "# Honest scores\n",
        "```text\n" + "\n".join(Machine.look().lines()) + "\n```\n",
        "```text\n" + "\n".join(map(str, verdicts(lines))) + "\n```",
    ]
    for name, row in ROWS.items():
        own = [line for line in lines if line["row"] == name]
        if not own:
            continue
        settings = ", ".join(f"{key} {value}" for key, value in row.settings.items()) or "the defaults"
        parts.append(f"\n## {name}\n\n{row.about}. `--task {row.task}`, {settings}; ")
        parts[-1] += (
            f"seeds {', '.join(line['seed'] for line in own)}; {mean([float(o['seconds']) for o in own])} s a run.\n"
        )
        figures = [json.loads(line["figures"]) for line in own]
        names = [key for key in figures[0] if all(isinstance(one.get(key), int | float) for one in figures)]
        parts.append("| |" + "|".join(f" {key} " for key in names) + "|\n|---|" + "---|" * len(names))
        parts.append("| **ours** |" + "|".join(f" {mean([one[key] for one in figures])} " for key in names) + "|")
        for baseline, values in json.loads(own[0]["baselines"]).items():
            cells = (f" {values[key]:.4g} " if isinstance(values.get(key), int | float) else " – " for key in names)
            parts.append(f"| {baseline} |" + "|".join(cells) + "|")
    return "\n".join(parts) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder of the data")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    parser.add_argument("--csv", type=Path, default=RESULTS / "quality_runs.csv")
    arguments = parser.parse_args()
    done = {(line["row"], int(line["seed"])) for line in read(arguments.csv)}
    for name in arguments.rows:
        seeds = ROWS[name].seeds
        for seed in arguments.seeds if seeds is None else seeds:
            if (name, seed) not in done:
                line = run(name, seed, arguments.data)
                add(arguments.csv, line)
                print(f"{name:16} seed {seed}: {line['figures'][:100]}, {line['seconds']} s", flush=True)
    lines = read(arguments.csv)
    text = table(lines)
    print(f"\n{text}")
    arguments.csv.with_name("quality.md").write_text(text, encoding="utf-8")
    return 0 if all(verdict.met for verdict in verdicts(lines)) else 1


if __name__ == "__main__":
    wait_patiently()
    sys.exit(main())
