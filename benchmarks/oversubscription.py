"""Two training processes side by side on two cores, each with two threads: how much slower than alone.

    python benchmarks/oversubscription.py                       an LSTM and a peephole LSTM, three shapes
    python benchmarks/oversubscription.py --seconds 1 --shapes 100,8,64,64

Half the speed is what the cores give; threads that wait for each other in a busy loop may get far less. Times are the
mean of all steps in a stretch of time both processes share, since what goes wrong shows as rare steps that take a
hundred times as long. torch.nn's LSTM is measured beside, for comparison only. The bar: each process of ours at worst
3 times slower than alone.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence

import torch
from torch import nn

from bench_cells import NAMES, layer
from report import Report, Verdict, ratio
from timing import Machine, engine_missing, percent
from work import Shape, trainer

BAR = 3.0
THREADS = CORES = 2
CELLS = ("lstm", "peephole")
SHAPES = (Shape(100, 1, 128, 128), Shape(100, 8, 64, 64), Shape(100, 64, 256, 256))


def train(cell: str, engine: str, shape: Shape, seconds: float) -> None:
    """A child: says when it is warm, begins when told, trains for so long, and prints its mean and its worst step."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    if engine == "torch.nn":
        module: nn.Module = getattr(nn, cell.upper())(shape.input, shape.hidden)
    else:
        module = layer(cell, shape.input, shape.hidden, engine)
    step = trainer(module, module.parameters(), shape.random())
    for _ in range(3):
        step()
    print("ready", flush=True)
    sys.stdin.readline()
    steps, worst = 0, 0.0
    start = now = time.perf_counter()
    while now - start < seconds:
        before = now
        step()
        now = time.perf_counter()
        steps, worst = steps + 1, max(worst, now - before)
    print(json.dumps({"mean": (now - start) / steps, "worst": worst}), flush=True)
    # The others must not gain speed before they too have stopped counting.
    while now - start < 1.5 * seconds:
        step()
        now = time.perf_counter()


def side_by_side(count: int, cell: str, engine: str, shape: Shape, seconds: float) -> list[dict[str, float]]:
    command = [sys.executable, __file__, "--child", cell, engine, str(shape), str(seconds)]
    children = []
    for _ in range(count):  # one after the other, so that compiling is not done twice at once
        children.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        if children[-1].stdout.readline() != "ready\n":
            for child in children:
                child.kill()
            raise RuntimeError(f"the training process ended with {children[-1].wait()} before it was ready")
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    figures = [json.loads(child.stdout.readline()) for child in children]
    for child in children:
        child.communicate()
    return figures


def measure(report: Report, cell: str, engine: str, shape: Shape, seconds: float) -> None:
    alone = side_by_side(1, cell, engine, shape, seconds)[0]
    both = side_by_side(2, cell, engine, shape, seconds)
    slower = max(child["mean"] for child in both) / alone["mean"]
    times = [alone["mean"], *(child["mean"] for child in both), max(child["worst"] for child in both)]
    name = f"{NAMES[cell]} {engine}"
    report.tables[-1].add(name, str(shape), *(f"{t * 1e3:.2f}" for t in times), ratio(slower))
    if engine != "torch.nn":
        report.verdicts.append(Verdict(f"{name} at {shape}, beside another", slower, BAR, at_most=True))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default="native")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each stretch (default 4)")
    parser.add_argument("--shapes", nargs="+", type=Shape.parse, default=SHAPES, metavar="T,B,I,H")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.child:
        cell, engine, shape, seconds = arguments.child
        train(cell, engine, Shape.parse(shape), float(seconds))
        return 0
    why = engine_missing(arguments.engine)
    if why is not None:
        print(why)
        return 2
    torch.set_num_threads(THREADS)
    report = Report(Machine.look())
    print("\n".join(report.machine.lines()))
    before = percent(report.machine.others_before)
    table = report.table(
        f"ms a training step; others used {before} of the processors before",
        *("layer", "T,B,I,H", "alone", "first", "second", "worst step", "slower"),
    )
    contestants = [*((cell, arguments.engine) for cell in CELLS), ("lstm", "torch.nn")]
    for cell, engine in contestants:
        for shape in arguments.shapes:
            report.attempt(
                table,
                f"{NAMES[cell]} {engine} {shape}",
                lambda c=cell, e=engine, s=shape: measure(report, c, e, s, arguments.seconds),
            )
    return report.conclude()


if __name__ == "__main__":
    sys.exit(main())
