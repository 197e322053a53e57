"""What a layer costs over torch.nn's through the aten engine: side by side in one run.

    python benchmarks/drop_in.py            the whole grid, a table and a verdict
    python benchmarks/drop_in.py --quick    a few shapes

Each shape is timed in blocks that alternate between the two layers, and the median of the paired differences is
reported, so a drift of the machine's speed falls on both. The bar: at most 5 % or 15 µs more, whichever is larger; a
shape over it is measured again, five times as long, before that is believed.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import nn

import ostinato

ALLOWED_RATIO, ALLOWED_US = 0.05, 15.0


def train(layer: nn.Module, x: torch.Tensor) -> None:
    output, _ = layer(x)
    output.sum().backward()
    layer.zero_grad(set_to_none=True)


def infer(layer: nn.Module, x: torch.Tensor) -> None:
    with torch.no_grad():
        layer(x)


def block(work: Callable[[nn.Module, torch.Tensor], None], layer: nn.Module, x: torch.Tensor, repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        work(layer, x)
    return (time.perf_counter() - start) / repeats * 1e6


def compare(
    kind: str, work: Callable[[nn.Module, torch.Tensor], None], steps: int, batch: int, hidden: int, blocks: int
) -> tuple[float, float]:
    """The medians, in µs: torch.nn's time, and the paired difference of ours to it."""
    torch.manual_seed(0)
    theirs = getattr(nn, kind)(hidden, hidden)
    ours = ostinato.replace_(theirs)  # on the same tensors: where weights lie in memory is no difference to measure
    ours.engine = "aten"
    x = torch.randn(steps, batch, hidden)
    once = min(block(work, theirs, x, 2) for _ in range(3))
    repeats = max(1, int(8_000 / once))
    block(work, ours, x, repeats)
    base, difference = [], []
    for turn in range(blocks):
        order = (theirs, ours) if turn % 2 == 0 else (ours, theirs)
        times = {id(layer): block(work, layer, x, repeats) for layer in order}
        base.append(times[id(theirs)])
        difference.append(times[id(ours)] - times[id(theirs)])
    return statistics.median(base), statistics.median(difference)


def over(base: float, more: float) -> bool:
    return more > max(ALLOWED_US, ALLOWED_RATIO * base)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few shapes only")
    parser.add_argument("--steps", type=int, default=20, help="T (default 20: short, so that overhead shows)")
    parser.add_argument("--blocks", type=int, default=41, help="alternating blocks a shape (default 41)")
    arguments = parser.parse_args()
    batches, widths = ((1, 64), (32, 512)) if arguments.quick else ((1, 8, 64), (32, 128, 512))
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(f"T = {arguments.steps}, I = H; median of {arguments.blocks} alternating blocks")
    print(f"{'layer':6}{'mode':>11}{'B':>5}{'H':>5}{'torch.nn µs':>14}{'ours - theirs µs':>19}{'%':>8}")
    failures = 0
    for kind in ("LSTM", "GRU", "RNN"):
        for mode, work in (("inference", infer), ("training", train)):
            for batch in batches:
                for hidden in widths:
                    base, more = compare(kind, work, arguments.steps, batch, hidden, arguments.blocks)
                    if over(base, more):
                        base, more = compare(kind, work, arguments.steps, batch, hidden, 5 * arguments.blocks)
                    bad = over(base, more)
                    failures += bad
                    mark = "  over the bar" if bad else ""
                    print(f"{kind:6}{mode:>11}{batch:5}{hidden:5}{base:14.1f}{more:19.1f}{more / base:8.1%}{mark}")
    print("every shape is within 5 % or 15 µs" if not failures else f"{failures} shapes are over the bar")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
