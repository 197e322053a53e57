"""What a change of the package is worth: the same layers out of two source trees, in turns of milliseconds.

    git worktree add /tmp/before HEAD~1
    python benchmarks/two_trees.py /tmp/before/src src --cells lstm gru --shapes 100,8,64,64 35,20,650,650

A machine that others use changes its speed for seconds at a time, and two runs one after the other say little. Here
each tree has a process of its own that waits for its turn; a round times one block of calls of each, in turns of which
is first, and the median of the rounds' ratios is printed: above 1, the second tree is the faster. Where in memory a
process lies may be worth a tenth and stays as long as it lives, so each case has several pairs of processes; how far
their medians are from each other says how much of a ratio to believe.
"""

from __future__ import annotations

import argparse
import importlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path

import torch

from bench_cells import CUSTOM, NAMES, TORCHS, layer
from timing import geometric_mean, warm_seconds
from work import GRID, Shape, inferrer, trainer

MODES = ("training", "inference")
SPIN = "20000"
"""Turns for which an idle thread of OpenMP waits in a busy loop: some 50 µs, so it is asleep in the other's turn."""


def arguments_of() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trees", nargs=2, type=Path, metavar="SRC", help="folders that hold the package ostinato")
    parser.add_argument("--cells", nargs="+", choices=(*TORCHS, *CUSTOM), default=(*TORCHS, *CUSTOM))
    parser.add_argument("--shapes", nargs="+", type=Shape.parse, metavar="T,B,I,H", default=GRID)
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES)
    parser.add_argument("--engine", default="native")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=3, help="of processes, each with the whole budget (default 3)")
    parser.add_argument("--budget", type=float, default=1.0, metavar="SECONDS", help="of a pair's rounds (default 1)")
    parser.add_argument("--block", type=float, default=0.02, metavar="SECONDS", help="of a turn (default 0.02)")
    return parser.parse_args()


class Worker:
    """A process that has imported one tree and times calls when it is told to."""

    def __init__(self, tree: Path, engine: str, threads: int) -> None:
        if not (tree / "ostinato").is_dir():
            raise SystemExit(f"{tree} holds no package ostinato: give the folder above it, as in /tmp/before/src")
        here = Path(__file__).parent
        paths = os.pathsep.join(map(str, (tree.resolve(), here)))
        command = [sys.executable, "-c", f"import two_trees; two_trees.serve({engine!r}, {threads})"]
        environment = os.environ | {"PYTHONPATH": paths, "GOMP_SPINCOUNT": SPIN}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def seconds(self, cell: str, shape: Shape, mode: str, repeats: int) -> float:
        """A call's seconds, the mean over ``repeats``; with 0 of them the best of a few after one that is not timed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(cell, shape, mode, repeats, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"a worker ended at {cell} {shape} {mode}")
        return float(answer)

    def end(self) -> None:
        self._process.communicate()


def serve(engine: str, threads: int) -> None:
    """The worker's side: a line of (cell, shape, mode, repeats) in, a line of seconds out."""
    torch.set_num_threads(threads)
    _alone()
    case, call = None, None
    for line in sys.stdin:
        *asked, repeats = line.split()
        if asked != case or call is None:
            case, call = asked, _call(asked[0], Shape.parse(asked[1]), asked[2], engine)
        if int(repeats) == 0:
            print(warm_seconds(call), flush=True)
            continue
        call()  # The other's turn has left the caches to it.
        start = time.perf_counter()
        for _ in range(int(repeats)):
            call()
        print((time.perf_counter() - start) / int(repeats), flush=True)


def _alone() -> None:
    """The two processes take turns and are no crowd; one that takes the other for one goes on with half its threads."""
    crowd = getattr(importlib.import_module("ostinato.compiler.cpu.threads"), "_crowd", None)
    if crowd is not None:
        crowd.look = lambda number: None


def _call(cell: str, shape: Shape, mode: str, engine: str) -> Callable[[], object]:
    torch.manual_seed(0)
    module = layer(cell, shape.input, shape.hidden, engine)
    x = shape.random(requires_grad=mode == "training")
    return trainer(module, module.parameters(), x) if mode == "training" else inferrer(module, x)


def compare(
    workers: Sequence[Worker], case: tuple[str, Shape, str], budget: float, block: float
) -> tuple[list[float], list[float]]:
    """The seconds of both workers, round by round."""
    once = max(worker.seconds(*case, 0) for worker in workers)
    repeats = max(1, round(block / once))
    times: tuple[list[float], list[float]] = [], []
    end = time.perf_counter() + budget
    while len(times[0]) < 5 or time.perf_counter() < end:
        for n in (0, 1) if len(times[0]) % 2 == 0 else (1, 0):
            times[n].append(workers[n].seconds(*case, repeats))
    return times


def main() -> int:
    arguments = arguments_of()
    print(f"{arguments.threads} threads, engine {arguments.engine}; first: {arguments.trees[0]}")
    print(f"{'cell':>14}{'T,B,I,H':>16}{'':>11}{'first ms':>11}{'second ms':>11}{'ratio':>8}   of each pair")
    found: dict[str, list[float]] = {mode: [] for mode in arguments.modes}
    for mode in arguments.modes:
        for cell in arguments.cells:
            for shape in arguments.shapes:
                pairs = []
                for _ in range(arguments.pairs):
                    workers = [Worker(tree, arguments.engine, arguments.threads) for tree in arguments.trees]
                    pairs.append(compare(workers, (cell, shape, mode), arguments.budget, arguments.block))
                    for worker in workers:
                        worker.end()
                first, second = (statistics.median(chain.from_iterable(p[n] for p in pairs)) * 1e3 for n in (0, 1))
                ratios = [statistics.median(a / b for a, b in zip(*pair, strict=True)) for pair in pairs]
                found[mode].append(statistics.median(ratios))
                print(
                    f"{NAMES[cell]:>14}{shape!s:>16}{mode:>11}{first:>11.3f}{second:>11.3f}{found[mode][-1]:>8.3f}   "
                    + " ".join(f"{ratio:.2f}" for ratio in ratios),
                    flush=True,
                )
    for mode, ratios in found.items():
        print(f"{mode}: {geometric_mean(ratios):.3f} in geometric mean, {min(ratios):.3f} to {max(ratios):.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
