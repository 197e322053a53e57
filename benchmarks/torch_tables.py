"""Tables 1 to 3: torch's own three cells against torch.nn, and in inference against ONNX Runtime too.

1. training, geometric mean over the shapes (aim): RNN 2.5 (4), GRU 3 (4), LSTM 1.2 (1.5) times torch.nn's speed;
2. inference against the faster of the two:        RNN 2 (3), GRU 1.5 (2), LSTM 1.1 (1.3);
3. the worst single shape of either table:         auto 0.97; the engine asked for by name LSTM 0.85, GRU and RNN 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

import ostinato
from bench_cells import NAMES
from report import Report, Table, Verdict, load, milliseconds, ratio
from rivals import Unavailable, onnx_session
from timing import Contest, contest, geometric_mean
from work import Shape, agree, forward_and_gradients, inferrer, trainer

TRAINING_BARS = {"rnn": (2.5, 4), "gru": (3, 4), "lstm": (1.2, 1.5)}
INFERENCE_BARS = {"rnn": (2, 3), "gru": (1.5, 2), "lstm": (1.1, 1.3)}
WORST_BARS = {
    "ours": {"rnn": 1.0, "gru": 1.0, "lstm": 0.85},
    "auto": {"rnn": 0.97, "gru": 0.97, "lstm": 0.97},
}
TOLERANCE = {"training": 1e-3, "inference": 1e-4}


@dataclass(frozen=True)
class Speed:
    """How many times the speed of the fastest rival one of ours has."""

    mode: str
    cell: str
    shape: Shape
    who: str
    times: float


def training(report: Report, cells: Sequence[str], shapes: Sequence[Shape], engine: str, budget: float) -> list[Speed]:
    table = report.table(
        "1. Training against torch.nn", "cell", "T,B,I,H", "torch.nn ms", "ours ms", "ours", "auto", "others' load"
    )

    def measure(cell: str, shape: Shape) -> list[Speed]:
        layers = pair(cell, shape, engine)
        x = shape.random()
        reference, *others = (forward_and_gradients(layer, layer.parameters(), x) for layer in layers.values())
        for results in others:
            agree(results, reference, TOLERANCE["training"])
        calls = {name: trainer(layer, layer.parameters(), x) for name, layer in layers.items()}
        result = surely(cell, calls, ("torch.nn",), budget)
        speeds = speeds_of(result, "torch.nn", "training", cell, shape)
        report.line(1, cell, shape, result, **{s.who: s.times for s in speeds})
        times = (milliseconds(result, "torch.nn"), milliseconds(result, "ours"))
        table.add(NAMES[cell], str(shape), *times, *(ratio(s.times) for s in speeds), load(result))
        return speeds

    return every(report, table, measure, cells, shapes, "training", TRAINING_BARS)


def inference(
    report: Report, cells: Sequence[str], shapes: Sequence[Shape], engine: str, budget: float, threads: int
) -> list[Speed]:
    table = report.table(
        "2. Inference against the faster of torch.nn and ONNX Runtime",
        *("cell", "T,B,I,H", "torch.nn ms", "ORT ms", "ours ms", "ours", "auto", "others' load"),
    )

    def measure(cell: str, shape: Shape) -> list[Speed]:
        layers = pair(cell, shape, engine)
        x = shape.random()
        mode = faster_mode(layers["torch.nn"], x)
        with mode():
            reference, *others = (layer(x)[0] for layer in layers.values())
        agree(others, [reference] * len(others), TOLERANCE["inference"])
        calls = {name: inferrer(layer, x, mode) for name, layer in layers.items()}
        rivals = ["torch.nn"]
        try:
            session = onnx_session(layers["torch.nn"], threads)
        except Unavailable as why:
            table.note(f"without ONNX Runtime: {why}")
        else:
            feed = {"X": x.numpy()}
            theirs = torch.from_numpy(session.run(None, feed)[0])[:, 0]
            agree([theirs], [reference], TOLERANCE["inference"])
            calls["ORT"] = partial(session.run, None, feed)
            rivals.append("ORT")
        result = surely(cell, calls, rivals, budget)
        best = result.fastest(rivals)
        speeds = speeds_of(result, best, "inference", cell, shape)
        report.line(2, cell, shape, result, rival=best, **{s.who: s.times for s in speeds})
        times = (milliseconds(result, name) for name in ("torch.nn", "ORT", "ours"))
        table.add(NAMES[cell], str(shape), *times, *(ratio(s.times) for s in speeds), load(result))
        return speeds

    return every(report, table, measure, cells, shapes, "inference", INFERENCE_BARS)


def worst(report: Report, speeds: Sequence[Speed]) -> None:
    table = report.table("3. The worst single shape", "who", "cell", "mode", "T,B,I,H", "speed", "bar")
    for who, bars in WORST_BARS.items():
        for cell, bar in bars.items():
            theirs = [s for s in speeds if s.who == who and s.cell == cell]
            if not theirs:
                continue
            least = min(theirs, key=lambda s: s.times)
            table.add(who, NAMES[cell], least.mode, str(least.shape), ratio(least.times), ratio(bar))
            where = f"the worst shape, {who}, {NAMES[cell]} ({least.mode} at {least.shape})"
            report.verdicts.append(Verdict(where, least.times, bar))


def pair(cell: str, shape: Shape, engine: str) -> dict[str, nn.Module]:
    """torch.nn's layer, and ours twice on the same tensors: by the engine asked for, and by auto."""
    torch.manual_seed(0)
    theirs = getattr(nn, cell.upper())(shape.input, shape.hidden)
    ours, auto = ostinato.replace_(theirs), ostinato.replace_(theirs)
    ours.engine, auto.engine = engine, "auto"
    return {"torch.nn": theirs, "ours": ours, "auto": auto}


def surely(cell: str, calls: dict[str, Callable[[], object]], rivals: Sequence[str], budget: float) -> Contest:
    """A contest; one that finds a shape under table 3's bar is held again, three times as long, and that one counts."""
    result = contest(calls, budget, rivals=rivals)
    best = result.fastest(rivals)
    if all(result.ratio(best, who) >= bars[cell] for who, bars in WORST_BARS.items()):
        return result
    return contest(calls, 3 * budget, rivals=rivals)


def speeds_of(result: Contest, rival: str, mode: str, cell: str, shape: Shape) -> list[Speed]:
    return [Speed(mode, cell, shape, who, result.ratio(rival, who)) for who in WORST_BARS]


def faster_mode(module: nn.Module, x: torch.Tensor) -> Callable[[], Any]:
    """``no_grad`` or ``inference_mode``, whichever torch.nn is faster in."""
    modes = {"no_grad": torch.no_grad, "inference_mode": torch.inference_mode}
    result = contest({name: inferrer(module, x, mode) for name, mode in modes.items()}, 0.0)
    return modes[result.fastest(modes)]


def every(
    report: Report,
    table: Table,
    measure: Callable[[str, Shape], list[Speed]],
    cells: Sequence[str],
    shapes: Sequence[Shape],
    mode: str,
    bars: dict[str, tuple[float, float]],
) -> list[Speed]:
    """Measure each cell on each shape, then average a cell's shapes."""
    speeds: list[Speed] = []

    def add(cell: str, shape: Shape) -> None:
        speeds.extend(measure(cell, shape))

    for cell in cells:
        for shape in shapes:
            report.attempt(table, f"{NAMES[cell]} {shape}", partial(add, cell, shape))
        for who in WORST_BARS:
            by_shape = {s.shape: s.times for s in speeds if s.cell == cell and s.who == who}
            table.note(f"{who}, {NAMES[cell]}: {averages(by_shape)}")
            if who == "ours":
                what = f"{mode}, {NAMES[cell]}, geometric mean"
                report.verdicts.append(Verdict(what, geometric_mean(by_shape.values()), *bars[cell]))
    return speeds


def averages(by_shape: dict[Shape, float]) -> str:
    """Geometric means: of all, of small batches, of large ones."""
    groups = {
        "all": list(by_shape.values()),
        "B ≤ 8": [v for shape, v in by_shape.items() if shape.batch <= 8],
        "B ≥ 16": [v for shape, v in by_shape.items() if shape.batch >= 16],
    }
    parts = [f"{name} {geometric_mean(values):.2f}×" for name, values in groups.items() if values]
    return ", ".join(parts) or "none measured"
