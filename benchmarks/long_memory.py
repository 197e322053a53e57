"""How far cells remember: the adding problem, copying, and digits read pixel by pixel, each beside published figures.

    python benchmarks/long_memory.py                                  six cells, three seeds; about half an hour
    python benchmarks/long_memory.py --tasks digits --cells lstm gru  a part of it
    python benchmarks/long_memory.py --steps-scale 0.1 --csv /tmp/runs.csv

Every run is a row of benchmarks/results/long_memory_runs.csv; a run that is there already is not repeated, so that the
command goes on where it was stopped. The table goes to benchmarks/results/long_memory.md. All cells have the same
width, optimiser and steps: this compares them as they come, not at their best.
"""

from __future__ import annotations

import argparse
import csv
import math
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss, one_hot

from bench_cells import NAMES, layer
from timing import Machine

RESULTS = Path(__file__).parent / "results"
CELLS = ("rnn", "lstm", "gru", "peephole", "mgu", "cho")
SEEDS = (0, 1, 2)
BATCH, CLIP = 64, 1.0
GAP, ADDING = 100, 200
SYMBOLS, LENGTH = 8, 10
WHOLE = ("seed", "steps", "parameters")

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Run:
    """One row of the table of runs: ``figure`` is an error for adding and copying, an accuracy for digits."""

    task: str
    cell: str
    seed: int
    steps: int
    parameters: int
    figure: float
    seconds: float


@dataclass(frozen=True)
class Problem:
    """What is learnt.

    Attributes:
        batch: from a generator, x (T, B, I) and the targets; drawn anew at every step.
        loss: of the outputs of all steps (T, B, O).
        held_out: what is measured on, and how.
        beside: figures to compare with, each with its source.
    """

    inputs: int
    outputs: int
    width: int
    steps: int
    rate: float
    batch: Callable[[torch.Generator], Batch]
    loss: Callable[[Tensor, Tensor], Tensor]
    held_out: Callable[[], Batch]
    measure: Callable[[Tensor, Tensor], float]
    unit: str
    beside: tuple[str, ...]


def adding() -> Problem:
    """The sum of two marked numbers of 200."""

    def batch(draw: torch.Generator, rows: int = BATCH) -> Batch:
        values = torch.rand(ADDING, rows, generator=draw)
        marks = torch.zeros(ADDING, rows)
        half = ADDING // 2
        for start in (0, half):
            marks[start + torch.randint(half, (rows,), generator=draw), torch.arange(rows)] = 1
        return torch.stack([values, marks], -1), (values * marks).sum(0)

    def loss(outputs: Tensor, target: Tensor) -> Tensor:
        return mse_loss(outputs[-1, :, 0], target)

    return Problem(
        2, 1, 64, 3000, 2e-3, batch, loss,
        lambda: batch(torch.Generator().manual_seed(10_000), 1000),
        lambda outputs, target: float(loss(outputs, target)),
        "mean squared error",
        (
            "always answering 1 gives 0.167 (1/6)",
            "Le, Jaitly and Hinton, arXiv:1504.00941, 2015: at such lengths an LSTM and an IRNN solve it, "
            "a tanh RNN does not leave that line",
        ),
    )  # fmt: skip


def copying() -> Problem:
    """Ten symbols, to be written down again a hundred steps later."""

    def batch(draw: torch.Generator, rows: int = BATCH) -> Batch:
        symbols = torch.randint(1, SYMBOLS + 1, (LENGTH, rows), generator=draw)
        blank = torch.zeros(GAP - 1, rows, dtype=torch.long)
        now = torch.full((1, rows), SYMBOLS + 1)
        tokens = torch.cat([symbols, blank, now, torch.zeros(LENGTH, rows, dtype=torch.long)])
        target = torch.cat([torch.zeros(GAP + LENGTH, rows, dtype=torch.long), symbols])
        return one_hot(tokens, SYMBOLS + 2).float(), target

    def loss(outputs: Tensor, target: Tensor) -> Tensor:
        return cross_entropy(outputs.flatten(0, 1), target.flatten())

    lost = LENGTH * math.log(SYMBOLS) / (GAP + 2 * LENGTH)
    return Problem(
        SYMBOLS + 2, SYMBOLS + 1, 64, 3000, 2e-3, batch, loss,
        lambda: batch(torch.Generator().manual_seed(10_000), 500),
        lambda outputs, target: float(loss(outputs, target)),
        "nats a step",
        (
            f"without memory the best is {lost:.3f} (10 ln 8 / 120)",
            "Arjovsky, Shah and Bengio, arXiv:1511.06464, 2016: a tanh RNN and an LSTM stay near that line for "
            "thousands of steps, a unitary RNN leaves it",
        ),
    )  # fmt: skip


def digits() -> Problem:
    """The 8 × 8 digits that come with scikit-learn, one pixel a step."""
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(
        images / 16, labels, test_size=0.2, random_state=0, stratify=labels
    )
    linear = LogisticRegression(max_iter=2000).fit(train_x, train_y).score(test_x, test_y)
    x, y = torch.tensor(train_x, dtype=torch.float32).t()[..., None], torch.tensor(train_y)
    held = torch.tensor(test_x, dtype=torch.float32).t()[..., None], torch.tensor(test_y)

    def batch(draw: torch.Generator) -> Batch:
        rows = torch.randint(x.shape[1], (BATCH,), generator=draw)
        return x[:, rows], y[rows]

    return Problem(
        1, 10, 128, 2500, 2e-3, batch,
        lambda outputs, target: cross_entropy(outputs[-1], target),
        lambda: held,
        lambda outputs, target: 100 * float((outputs[-1].argmax(-1) == target).float().mean()),
        "% right",
        (
            f"logistic regression on the 64 pixels, same split: {100 * linear:.1f} %",
            "the longer relative of it, 784 pixels of MNIST: an LSTM 98.2 % (Arjovsky, Shah and Bengio, 2016), a "
            "tanh RNN 35 % (Le, Jaitly and Hinton, 2015)",
        ),
    )  # fmt: skip


PROBLEMS = {"adding": adding, "copying": copying, "digits": digits}


def train(task: str, problem: Problem, cell: str, seed: int, steps: int) -> Run:
    """Train one cell once."""
    torch.manual_seed(seed)
    draw = torch.Generator().manual_seed(seed)
    rnn = layer(cell, problem.inputs, problem.width, "auto")
    head = nn.Linear(problem.width, problem.outputs)
    parameters = [*rnn.parameters(), *head.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=problem.rate)
    start = time.perf_counter()
    for step in range(steps):
        for group in optimiser.param_groups:  # down to a tenth, along a cosine
            group["lr"] = problem.rate * (0.55 + 0.45 * math.cos(math.pi * step / steps))
        x, target = problem.batch(draw)
        loss = problem.loss(head(rnn(x)[0]), target)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, CLIP)
        optimiser.step()
    seconds = time.perf_counter() - start
    with torch.no_grad():
        x, target = problem.held_out()
        figure = problem.measure(head(rnn(x)[0]), target)
    return Run(task, cell, seed, steps, sum(p.numel() for p in parameters), figure, seconds)


def read_runs(path: Path) -> list[Run]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [
            Run(row["task"], row["cell"], *(int(row[n]) for n in WHOLE), float(row["figure"]), float(row["seconds"]))
            for row in csv.DictReader(file)
        ]  # fmt: skip


def add_run(path: Path, run: Run) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Run)])
        if new:
            writer.writeheader()
        writer.writerow(asdict(run))


def table(runs: list[Run], problems: dict[str, Problem]) -> str:
    """Mean ± deviation over seeds, a section a task."""
    parts = ["# How far cells remember\n", "```text\n" + "\n".join(Machine.look().lines()) + "\n```"]
    for task, problem in problems.items():
        own = [run for run in runs if run.task == task]
        first = (PROBLEMS[task].__doc__ or "").strip()
        parts.append(f"\n## {task}\n\n{first} {problem.width} units.\n")
        parts.append(f"| cell | {problem.unit} | each seed | parameters | steps | s a run |\n|---|---|---|---|---|---|")
        for cell in dict.fromkeys(run.cell for run in own):
            group = [run for run in own if run.cell == cell]
            figures = [run.figure for run in group]
            spread = f" ± {statistics.stdev(figures):.2g}" if len(figures) > 1 else ""
            parts.append(
                f"| {NAMES.get(cell, cell)} | {statistics.fmean(figures):.4g}{spread} | "
                f"{', '.join(f'{figure:.4g}' for figure in figures)} | {group[0].parameters:,} | {group[0].steps:,} | "
                f"{statistics.fmean(run.seconds for run in group):.0f} |"
            )
        parts.extend(["", *(f"- {line}" for line in problem.beside)])
    return "\n".join(parts) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=CELLS)
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    parser.add_argument("--steps-scale", type=float, default=1.0, help="a part of each task's steps")
    parser.add_argument("--csv", type=Path, default=RESULTS / "long_memory_runs.csv")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    problems = {task: PROBLEMS[task]() for task in arguments.tasks}
    done = {(run.task, run.cell, run.seed, run.steps) for run in read_runs(arguments.csv)}
    for task, problem in problems.items():
        steps = max(1, round(problem.steps * arguments.steps_scale))
        for seed in arguments.seeds:
            for cell in arguments.cells:
                if (task, cell, seed, steps) in done:
                    continue
                run = train(task, problem, cell, seed, steps)
                add_run(arguments.csv, run)
                what = f"{run.figure:.4g} {problem.unit}, {run.seconds:.0f} s"
                print(f"{task:8} {NAMES.get(cell, cell):14} seed {seed}: {what}", flush=True)
    text = table(read_runs(arguments.csv), problems)
    print(f"\n{text}")
    arguments.csv.with_name("long_memory.md").write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
