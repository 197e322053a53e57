"""What training holds between forward and backward: ours against torch.nn, and with recompute="chunks".

    python benchmarks/memory.py                  RNN, GRU, LSTM at T = 1000, B 32, I = H = 128
    python benchmarks/memory.py --quick          T = 100, one block of times

"Saved" is the bytes of the storages that autograd keeps, each counted once, without parameters, the input and what the
call returns. A kernel may hold memory that autograd does not see, so "held" is measured too (on Linux): by how much a
process grows for each further forward whose graph is kept, less what the call returns. Pages reserved and never written
count as saved and not as held: torch.nn's LSTM has such. The bars for recompute="chunks" at
T = 1000: both at least 5 times less than without it, for at most 35 % more time.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import ostinato
from bench_cells import NAMES, TORCHS
from report import Report, Verdict, ratio
from timing import Machine, contest, engine_missing
from work import Shape, agree, forward_and_gradients, trainer

MB = 1e6
LESS_BAR, TIME_BAR = 5.0, 1.35
FORWARDS = 4


def build(cell: str, shape: Shape, how: str, engine: str) -> nn.Module:
    """torch.nn's layer, ours, or ours with recompute="chunks"; the same weights each time."""
    torch.manual_seed(0)
    if how == "torch.nn":
        return getattr(nn, cell.upper())(shape.input, shape.hidden)
    options: dict[str, Any] = {"recompute": "chunks"} if how == "chunks" else {}
    return getattr(ostinato, cell.upper())(shape.input, shape.hidden, engine=engine, **options)


def storages(tensors: list[Tensor]) -> dict[int, int]:
    return {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}


def returned(result: Any) -> list[Tensor]:
    output, state = result
    return [output, *(state if isinstance(state, tuple) else (state,))]


def saved(module: nn.Module, x: Tensor) -> int:
    """Bytes of the storages kept for the backward."""
    kept: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor.detach())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = module(x)
    known = storages([*module.parameters(), x, *returned(result)])
    return sum(size for pointer, size in storages(kept).items() if pointer not in known)


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def grown(module: nn.Module, x: Tensor) -> float:
    """Bytes the process grows by for one forward whose graph is kept, less what it returns; this process's own."""
    module(x)[0].sum().backward()
    ostinato.memory.release()  # Else forwards would first fill blocks that wait, and the process would not grow.
    results = [module(x)]
    before = resident()
    results += [module(x) for _ in range(FORWARDS)]
    each = (resident() - before) / FORWARDS
    known = storages([*module.parameters(), x])
    return each - sum(n for pointer, n in storages(returned(results[0])).items() if pointer not in known)


def held(cell: str, shape: Shape, how: str, engine: str) -> float:
    """:func:`grown` of a fresh process, whose allocator maps every large block by itself."""
    command = [sys.executable, __file__, "--child", cell, str(shape), how, engine]
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    output = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    return float(output.splitlines()[-1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default="native")
    parser.add_argument("--shape", type=Shape.parse, metavar="T,B,I,H", default=Shape(1000, 32, 128, 128))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    if arguments.child:
        cell, text, how, engine = arguments.child
        shape = Shape.parse(text)
        print(grown(build(cell, shape, how, engine), shape.random()))
        return 0
    why = engine_missing(arguments.engine)
    if why is not None:
        print(why)
        return 2
    shape = arguments.shape._replace(steps=100) if arguments.quick else arguments.shape
    report = Report(Machine.look())
    print("\n".join(report.machine.lines()))
    table = report.table(
        f"Kept for the backward at {shape}, training",
        *("cell", "layer", "saved MB", "held MB", "ms", "saved, torch.nn", "time, torch.nn"),
    )
    for cell in TORCHS:
        report.attempt(table, NAMES[cell], lambda cell=cell: measure(report, cell, shape, arguments))
    return report.conclude()


def measure(report: Report, cell: str, shape: Shape, arguments: argparse.Namespace) -> None:
    table = report.tables[-1]
    x = shape.random()
    layers = {how: build(cell, shape, how, arguments.engine) for how in ("torch.nn", "ours")}
    try:
        layers["chunks"] = build(cell, shape, "chunks", arguments.engine)
    except TypeError:
        table.note('without recompute="chunks": this version of Ostinato has no such option')
    reference, *others = (forward_and_gradients(layer, layer.parameters(), x) for layer in layers.values())
    for results in others:
        agree(results, reference, 1e-3)
    calls = {how: trainer(layer, layer.parameters(), x) for how, layer in layers.items()}
    result = contest(calls, 0.0 if arguments.quick else 5.0)
    bytes_saved = {how: saved(layer, x) for how, layer in layers.items()}
    bytes_held = {how: held(cell, shape, how, arguments.engine) for how in layers}
    for how in layers:
        sizes = (f"{bytes_saved[how] / MB:.1f}", f"{bytes_held[how] / MB:.1f}", f"{result.seconds(how) * 1e3:.1f}")
        share = bytes_saved[how] / max(bytes_saved["torch.nn"], 1)
        table.add(NAMES[cell], how, *sizes, ratio(share), ratio(result.ratio(how, "torch.nn")))
    report.line(1, cell, shape, result, saved=bytes_saved, held=bytes_held)
    if "chunks" in layers:
        keeps = bytes_saved["ours"] > x.nbytes / 10
        if not keeps:
            table.note(f"the backward of {NAMES[cell]} reads its output: there is nothing to keep less of")
        for name, sizes in (("saved", bytes_saved), ("held", bytes_held)) if keeps else ():
            less = sizes["ours"] / max(sizes["chunks"], 1)
            report.verdicts.append(Verdict(f'recompute="chunks", {NAMES[cell]}, less {name}', less, LESS_BAR))
        more = result.ratio("chunks", "ours")
        report.verdicts.append(Verdict(f'recompute="chunks", {NAMES[cell]}, time', more, TIME_BAR, at_most=True))


if __name__ == "__main__":
    sys.exit(main())
