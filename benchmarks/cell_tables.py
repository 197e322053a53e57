"""Tables 4 to 6: cells that torch has no kernel for, and how near all cells come to the machine's own speed.

4. custom cells in training against the fastest of the eager loop, a loop over torch.compile(cell.step) and
   torchrecurrent: 5 times (aim 8) in geometric mean, 15 times (30) at B = 1;
5. their floating-point rate over that of our LSTM, training, geometric mean over the shapes: 0.8, with LayerNorm 0.6;
6. the rate at B ≥ 32, H ≥ 128 over the best float32 matrix product of the machine, geometric mean over the shapes:
   0.75 in inference, 0.65 in training, for GRU, RNN and the custom cells.

In 5 and 6 the input needs a gradient too: the count, three times the forward products, is then what training computes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain

import torch

import theirs
from bench_cells import CUSTOM, NAMES, layer
from report import Report, Table, Verdict, load, milliseconds, ratio
from rivals import Unavailable, gemms, try_compiled_loop
from timing import Contest, contest, geometric_mean, warm_seconds
from torch_tables import averages
from work import Module, Shape, agree, forward_and_gradients, inferrer, trainer

BAR, BAR_OF_ONE_ROW = (5, 8), (15, 30)
LIKE_LSTM = {"peephole": 0.8, "mgu": 0.8, "cho": 0.8, "layernorm": 0.6}
LIKE_GEMM = {"inference": 0.75, "training": 0.65}
GEMM = "gemm"


COMPARED = 20
"""Steps over which results are compared. A layer-norm LSTM is chaotic: a difference of 1e-7 in the first input is one
of 0.7 after 512 steps, in any engine and in float64."""


def against_loops(
    report: Report, cells: Sequence[str], shapes: Sequence[Shape], engine: str, budget: float, compiled: bool
) -> None:
    table = report.table(
        "4. Custom cells, training, against the fastest of three ways to run them",
        *("cell", "T,B,I,H", "loop ms", "compiled ms", "torchrec. ms", "ours ms", "ours", "auto", "others' load"),
    )
    found: dict[str, dict[Shape, float]] = {cell: {} for cell in cells}

    def measure(cell: str, shape: Shape) -> None:
        torch.manual_seed(0)
        loop = layer(cell, shape.input, shape.hidden, "loop")
        ours, auto = (_twin(loop, cell, shape, name) for name in (engine, "auto"))
        x = shape.random()
        short = x[:COMPARED]
        reference = forward_and_gradients(loop, loop.parameters(), short)
        for mine in (ours, auto):
            agree(forward_and_gradients(mine, mine.parameters(), short), reference, 1e-3)
        calls = {name: trainer(m, m.parameters(), x) for name, m in (("ours", ours), ("auto", auto), ("loop", loop))}
        for name, (module, parameters) in _rivals(table, cell, loop, x, compiled).items():
            output = forward_and_gradients(module, parameters, short)[0]
            agree([output], reference[:1], 1e-3)
            calls[name] = trainer(module, parameters, x)
        rivals = [name for name in calls if name not in ("ours", "auto")]
        result = contest(calls, budget, rivals=rivals)
        best = result.fastest(rivals)
        found[cell][shape] = result.ratio(best, "ours")
        report.line(4, cell, shape, result, rival=best, ours=found[cell][shape], auto=result.ratio(best, "auto"))
        times = (milliseconds(result, name) for name in ("loop", "compiled", "torchrecurrent", "ours"))
        speeds = (ratio(result.ratio(best, name)) for name in ("ours", "auto"))
        table.add(NAMES[cell], str(shape), *times, *speeds, load(result))

    for cell in cells:
        for shape in shapes:
            report.attempt(table, f"{NAMES[cell]} {shape}", partial(measure, cell, shape))
        table.note(f"ours, {NAMES[cell]}: {averages(found[cell])}")
    _verdict(report, found, shapes)


def _verdict(report: Report, found: dict[str, dict[Shape, float]], shapes: Sequence[Shape]) -> None:
    all_speeds = list(chain.from_iterable(by_shape.items() for by_shape in found.values()))
    mean = geometric_mean(speed for _, speed in all_speeds)
    report.verdicts.append(Verdict("custom cells, training, geometric mean", mean, *BAR))
    if any(shape.batch == 1 for shape in shapes):
        alone = geometric_mean(speed for shape, speed in all_speeds if shape.batch == 1)
        report.verdicts.append(Verdict("custom cells, training, B = 1, geometric mean", alone, *BAR_OF_ONE_ROW))


def _twin(other: torch.nn.Module, cell: str, shape: Shape, engine: str) -> torch.nn.Module:
    """The same layer by another engine, on the same tensors."""
    twin = layer(cell, shape.input, shape.hidden, engine)
    share(other, twin)
    return twin


def share(source: torch.nn.Module, target: torch.nn.Module) -> None:
    """Put the parameters of one module into another whose parameters come in the same order."""
    pairs = zip(list(source.parameters()), list(target.named_parameters()), strict=True)
    for parameter, (name, _) in pairs:
        owner, _, own = name.rpartition(".")
        setattr(target.get_submodule(owner), own, parameter)


def _rivals(
    table: Table, cell: str, loop: torch.nn.Module, x: torch.Tensor, compiled: bool
) -> dict[str, tuple[Module, list[torch.Tensor]]]:
    """The loop over a compiled step and torchrecurrent's layer, with the parameters each trains; why one is missing."""
    single = CUSTOM[cell](loop.input_size, loop.hidden_size)
    share(loop, single)
    found: dict[str, tuple[Module, list[torch.Tensor]]] = {}
    try:
        if compiled:
            found["compiled"] = (try_compiled_loop(single, x), list(single.parameters()))
        else:
            table.note("the loop over a compiled step was left out, as asked")
    except Unavailable as why:
        table.note(f"{NAMES[cell]} without a compiled step: {why}")
    try:
        module, _ = theirs.layer(single)
        found["torchrecurrent"] = (module, list(module.parameters()))
    except Unavailable as why:
        table.note(f"{NAMES[cell]} without torchrecurrent: {why}")
    return found


def large(shape: Shape) -> bool:
    return shape.batch >= 32 and shape.hidden >= 128


class Rates:
    """Floating-point rates, each shape's from one contest between all the cells that either table asks about.

    Args:
        cells: those that may be asked about.
        tables: 5, 6 or both.
    """

    def __init__(self, cells: Sequence[str], engine: str, budget: float, tables: set[int]) -> None:
        self.customs = [cell for cell in cells if cell in CUSTOM] if 5 in tables else []
        self.ranked = [cell for cell in cells if cell != "lstm"] if 6 in tables else []
        self.gemm = max(gemms(), key=lambda gemm: gemm.operations / warm_seconds(gemm.call))
        self.engine, self.budget = engine, budget
        self._contests: dict[tuple[Shape, str], Contest] = {}

    def contest(self, shape: Shape, mode: str) -> Contest:
        if (shape, mode) not in self._contests:
            torch.manual_seed(0)
            names = ["lstm", *self.customs] if self.customs and mode == "training" else []
            names += [cell for cell in self.ranked if large(shape) and cell not in names]
            calls = {cell: self._call(cell, shape, mode) for cell in names}
            self._contests[shape, mode] = contest(calls | {GEMM: self.gemm.call}, self.budget * (1 + len(names) / 4))
        return self._contests[shape, mode]

    def ratio(self, shape: Shape, mode: str, cell: str, base: str) -> float:
        """The rate of a cell over that of another, or of the matrix product."""
        result = self.contest(shape, mode)
        work = self._operations(cell, shape, mode) / self._operations(base, shape, mode)
        return result.ratio(base, cell) * work

    def gigaflops(self, shape: Shape, mode: str, cell: str) -> str:
        return f"{self._operations(cell, shape, mode) / self.contest(shape, mode).seconds(cell) / 1e9:.0f}"

    def _operations(self, cell: str, shape: Shape, mode: str) -> float:
        return self.gemm.operations if cell == GEMM else shape.operations(cell, mode == "training")

    def _call(self, cell: str, shape: Shape, mode: str) -> Callable[[], object]:
        module = layer(cell, shape.input, shape.hidden, self.engine)
        if mode == "inference":
            return inferrer(module, shape.random())
        return trainer(module, module.parameters(), shape.random(requires_grad=True))


def over_lstm(report: Report, rates: Rates, shapes: Sequence[Shape]) -> None:
    customs = rates.customs
    table = report.table(
        "5. Floating-point rate of custom cells over our LSTM's, training",
        *("T,B,I,H", "LSTM GF/s", *(NAMES[cell] for cell in customs), "others' load"),
    )
    found: dict[str, dict[Shape, float]] = {cell: {} for cell in customs}

    def measure(shape: Shape) -> None:
        result = rates.contest(shape, "training")
        ratios = {cell: rates.ratio(shape, "training", cell, "lstm") for cell in customs}
        for cell in customs:
            found[cell][shape] = ratios[cell]
        table.add(str(shape), rates.gigaflops(shape, "training", "lstm"), *map(ratio, ratios.values()), load(result))
        report.line(5, "lstm", shape, result, ratios=ratios)

    for shape in shapes:
        report.attempt(table, str(shape), partial(measure, shape))
    for cell in customs:
        what = f"rate over our LSTM's, training, {NAMES[cell]}, geometric mean"
        report.verdicts.append(Verdict(what, geometric_mean(found[cell].values()), LIKE_LSTM[cell]))
        table.note(f"{NAMES[cell]}: {averages(found[cell])}, worst {min(found[cell].values(), default=math.nan):.2f}×")


def over_gemm(report: Report, rates: Rates, shapes: Sequence[Shape]) -> None:
    cells = rates.ranked
    table = report.table(
        "6. Floating-point rate over the best float32 matrix product, B ≥ 32, H ≥ 128",
        *("mode", "T,B,I,H", "product GF/s", *(NAMES[cell] for cell in cells), "others' load"),
    )
    table.note(f"the best product: {rates.gemm.name}")

    def measure(mode: str, shape: Shape, found: dict[str, list[float]]) -> None:
        result = rates.contest(shape, mode)
        ratios = {cell: rates.ratio(shape, mode, cell, GEMM) for cell in cells}
        for cell in cells:
            found[cell].append(ratios[cell])
        table.add(mode, str(shape), rates.gigaflops(shape, mode, GEMM), *map(ratio, ratios.values()), load(result))
        report.line(6, mode, shape, result, product=rates.gemm.name, ratios=ratios)

    for mode, bar in LIKE_GEMM.items():
        found: dict[str, list[float]] = {cell: [] for cell in cells}
        for shape in filter(large, shapes):
            report.attempt(table, f"{mode} {shape}", partial(measure, mode, shape, found))
        for cell in cells:
            what = f"rate over the best matrix product, {mode}, {NAMES[cell]}, geometric mean"
            report.verdicts.append(Verdict(what, geometric_mean(found[cell]), bar))
