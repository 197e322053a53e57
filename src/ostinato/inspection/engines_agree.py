"""What a check says of engines: which one runs a cell, why, and that the compiled loop gives the loop's results."""

from __future__ import annotations

import torch
from torch import Tensor

from ostinato.cells.cell import Cell
from ostinato.compiler.refusal import Refused
from ostinato.engines import aten, choose, native
from ostinato.inspection.derivatives import gradients, leaves
from ostinato.inspection.report import Line
from ostinato.inspection.trial import Form, Trial

STEPS = 5
RAGGED = (3, 2, 2, 1)
BARS = {torch.float64: 1e-9, torch.float32: 1e-4}
"""The largest difference, relative to the largest number."""


def lines(cell: Cell, given: dict[str, Form]) -> list[Line]:
    """The engine that runs, and whether the compiled loop agrees with the loop."""
    worst = {}
    try:
        for dtype in BARS:
            worst[dtype] = _difference(Trial(cell, given, dtype))
    except Refused as refused:
        return _refused(cell, refused)
    name = "loop = native"
    text = " and ".join(f"{value:.0e} ({str(dtype).removeprefix('torch.')})" for dtype, value in worst.items())
    if all(value <= BARS[dtype] for dtype, value in worst.items()):
        same = Line(name, True, f"results and gradients differ by {text} at most, full and ragged rows")
    else:
        same = Line(
            name,
            False,
            f"results or gradients differ by {text}",
            "engine='loop' is right; this is a fault of Ostinato's compiler, please report the step",
        )
    return [same, _engine(cell)]


def _engine(cell: Cell) -> Line:
    choice = choose.choose("auto", aten.operator(cell), type(cell).__name__, torch.empty(0))
    return Line("engine", None, f"{choice.engine}: {choice.why}")


def _refused(cell: Cell, refused: Refused) -> list[Line]:
    choice = choose.choose("auto", aten.operator(cell), type(cell).__name__, torch.empty(0))
    if choice.engine != "native":
        return [Line("engine", None, f"{choice.engine}: {choice.why}")]
    if "trial" in refused.why:
        text = f"{refused}; the loop runs it"
        return [Line("loop = native", False, text, "see the lines above; if they hold, please report the step")]
    return [
        Line(
            "engine",
            None,
            f"loop, step by step: {refused}",
            "it is right and slower; with another operation in that place the step is compiled",
        )
    ]


def _difference(trial: Trial) -> float:
    """The largest difference between the loop and the compiled loop, in results and gradients."""
    worst = 0.0
    against = native.why_not(torch.empty(0, dtype=trial.dtype))
    if against is not None:
        raise Refused(against)
    for sizes in (None, torch.tensor(RAGGED)):
        call = trial.call(STEPS, sizes, directions=2)
        wanted = [*leaves(call).values(), *trial.parameters.values()]
        theirs = trial.loop(call)
        output, finals = native.run(call, native.plan(call))
        ours = [output, *(s for final in finals for s in final)]
        pairs = [*zip(ours, theirs, strict=True)]
        pairs += zip(gradients(ours, wanted, trial), gradients(theirs, wanted, trial), strict=True)
        worst = max(worst, *(_relative(a.detach(), b.detach()) for a, b in pairs))
    return worst


def _relative(one: Tensor, two: Tensor) -> float:
    if not two.numel():
        return 0.0
    if not torch.equal(one.isfinite(), two.isfinite()):
        return float("inf")
    difference, scale = (one - two).nan_to_num(0, 0, 0).abs().max(), two.nan_to_num(0, 0, 0).abs().max()
    return float(difference) / max(float(scale), 1e-3)
