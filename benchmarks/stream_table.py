"""One step of ``ostinato.stream`` from Python, B 1, I = H = 128.

Table 7 of native.py: against an ONNX Runtime session of one step, for LSTM, GRU and RNN; the bar: no slower. Table 2 of
library.py: of every cell, against a call of the cell in a loop of one's own, and beside the frame of an LSTM.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import ostinato
from bench_cells import NAMES
from cell_tables import share
from ostinato.cells import registry
from report import Report, Table, Verdict, line_load, load, ratio
from rivals import Unavailable, onnx_session
from timing import contest
from torch_tables import pair
from work import Shape, agree

WIDTH, STEPS, BAR = 128, 10, 1.0
FRAME = Shape(1, 1, WIDTH, WIDTH)


def stream(report: Report, cells: Sequence[str], engine: str, budget: float, threads: int) -> None:
    table = report.table(
        f"7. One step of a stream, B 1, I = H = {WIDTH}", "cell", "ORT µs", "ours µs", "ours", "others' load"
    )
    if not hasattr(ostinato, "stream"):
        table.note("left out: this version of Ostinato has no ostinato.stream")
        return

    def measure(cell: str) -> None:
        layers = pair(cell, Shape(STEPS, 1, WIDTH, WIDTH), engine)
        frames = torch.randn(STEPS, 1, WIDTH)
        calls: dict[str, Callable[[], object]] = {}
        with torch.no_grad():
            reference = layers["torch.nn"](frames)[0]
            mine = ostinato.stream(layers["ours"], batch_size=1)
            outputs = torch.stack([mine.step(frame).detach().clone().reshape(1, WIDTH) for frame in frames])
            agree([outputs], [reference], 1e-4)
        calls["ours"] = partial(mine.step, frames[0])
        try:
            step = onnx_step(layers["torch.nn"], threads)
        except Unavailable as why:
            table.note(f"left out: {why}")
            return
        theirs = torch.stack([torch.from_numpy(step(frame.numpy()[None])).reshape(1, WIDTH) for frame in frames])
        agree([theirs], [reference], 1e-4)
        calls["ORT"] = partial(step, frames[0].numpy()[None])
        result = contest(calls, budget)
        times = (f"{result.seconds(name) * 1e6:.1f}" for name in ("ORT", "ours"))
        speed = result.ratio("ORT", "ours")
        table.add(NAMES[cell], *times, ratio(speed), load(result))
        report.line(7, cell, (1, 1, WIDTH, WIDTH), result, ours=speed)
        report.verdicts.append(Verdict(f"stream step, {NAMES[cell]}", speed, BAR))

    for cell in cells:
        report.attempt(table, NAMES[cell], partial(measure, cell))


def onnx_step(module: nn.Module, threads: int) -> Callable[[Any], Any]:
    """One call a step, each step's states fed to the next."""
    session = onnx_session(module, threads, one_step=True)
    names = [node.name for node in session.get_inputs()]
    zeros: Tensor = torch.zeros(1, 1, module.hidden_size)
    states = [zeros.numpy()] * (len(names) - 1)

    def step(x: Any) -> Any:
        nonlocal states
        states = session.run(None, dict(zip(names, (x, *states), strict=True)))
        return states[0]

    return step


def frames_table(report: Report) -> Table:
    return report.table(
        f"2. One frame of a stream, B 1, I = H = {WIDTH}, over a call of the cell step by step",
        *("cell", "call µs", "ours µs", "ours", "of an LSTM's frame", "others' load"),
    )


def frame(report: Report, budget: float, name: str) -> None:
    """One row of it."""
    torch.manual_seed(0)
    layer = ostinato.Recurrent(name, WIDTH, WIDTH).eval()
    cell = registry.find(name).cell(WIDTH, WIDTH).eval()
    share(layer, cell)
    frames = torch.randn(STEPS, 1, WIDTH)
    by_hand, live = step_by_hand(cell), ostinato.stream(layer)
    outputs = [torch.stack([step(x) for x in frames]) for step in (live.step, by_hand)]
    agree(outputs[:1], outputs[1:], 1e-4)
    lstm = ostinato.stream(ostinato.LSTM(WIDTH, WIDTH).eval())
    calls = {"ours": partial(live.step, frames[0]), "lstm": partial(lstm.step, frames[0])}
    result = contest(calls | {"the cell's call": partial(by_hand, frames[0])}, budget)
    speeds = {"ours": result.ratio("the cell's call", "ours"), "lstm": result.ratio("ours", "lstm")}
    report.line(2, name, FRAME, result, rival="the cell's call", engine=live.engine, **speeds)


def step_by_hand(cell: ostinato.Cell) -> Callable[[Tensor], Tensor]:
    """A call of the cell a frame, each frame's states carried to the next."""
    states: Any = None

    def step(x: Tensor) -> Tensor:
        nonlocal states
        with torch.no_grad():
            result = cell(x, states)
        if cell.separate_output:
            output, states = result
            return output
        states = result
        return result[0] if isinstance(result, tuple) else result

    return step


def fill_frames(report: Report, table: Table) -> None:
    """The rows of it from the lines that are there."""
    lines = sorted((line for line in report.lines if line["table"] == 2), key=lambda line: line["cell"])
    table.rows = []
    for line in lines:
        times = (f"{line['seconds'][name] * 1e6:.1f}" for name in (line["rival"], "ours"))
        table.rows.append((line["cell"], *times, ratio(line["ours"]), ratio(line["lstm"]), line_load(line)))
    table.notes = [note for note in table.notes if note.startswith("FAILED")]
    table.notes += [
        f"{line['cell']} runs in the {line['engine']} engine" for line in lines if line["engine"] != "native"
    ]
