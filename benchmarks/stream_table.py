"""Table 7: one step of ``ostinato.stream`` from Python against an ONNX Runtime session of one step.

B 1, I = H = 128, for LSTM, GRU and RNN. The bar: no slower.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import ostinato
from bench_cells import NAMES
from report import Report, Verdict, load, ratio
from rivals import Unavailable, onnx_session
from timing import contest
from torch_tables import pair
from work import Shape, agree

WIDTH, STEPS, BAR = 128, 10, 1.0


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
