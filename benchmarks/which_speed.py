"""How fast the cells of the study run, at two sizes, beside the LSTM."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

import ostinato
from report import Report, Table, load, ratio
from timing import contest
from which_runs import contestants
from work import GRID, Shape, inferrer, trainer

SHAPES = (GRID[2], GRID[4])
MODES = ("training", "inference")
BUDGET = 1.0
LSTM = "lstm"


def key(line: dict[str, Any]) -> tuple[str, Shape, str]:
    return line["cell"], Shape(*line["shape"]), line["mode"]


def measure(report: Report, table: Table, who: str, shape: Shape, mode: str) -> None:
    """One line: the time of a call, and the LSTM's in the same contest over it."""

    def work() -> None:
        torch.manual_seed(0)
        names = dict.fromkeys((who, LSTM))
        result = contest({name: _call(name, shape, mode) for name in names}, BUDGET)
        speed = result.ratio(LSTM, who)
        report.line(1, who, shape, result, mode=mode, over_lstm=speed)
        table.add(who, mode, str(shape), f"{result.seconds(who) * 1e3:.3f}", ratio(speed), load(result))

    report.attempt(table, f"{who} {mode} {shape}", partial(work))


def _call(who: str, shape: Shape, mode: str) -> Any:
    one = contestants()[who]
    layer = ostinato.Recurrent(one.cell, shape.input, shape.hidden, **one.at_width(shape.hidden))
    x = shape.random()
    return inferrer(layer, x) if mode == "inference" else trainer(layer, layer.parameters(), x)
