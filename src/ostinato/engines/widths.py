"""Which keyword's width a step failed for: what no signature says, and trying the step on two rows tells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from ostinato.cells.cell import Cell
from ostinato.compiler.refusal import Refused
from ostinato.engines import tracing
from ostinato.errors import InvalidShape, OstinatoError

Given = Mapping[str, Tensor]


def blame(cell: Cell, x: Tensor, states: Iterable[Tensor], given: Given, error: Exception) -> None:
    """Raise InvalidShape in place of ``error`` if a step failed for the widths of its keywords.

    Args:
        x, states, given: what the step was given, (…, ·) each; only widths are read.
    """
    ours = isinstance(error, OstinatoError) or not isinstance(error, RuntimeError | Refused)
    if not given or ours or tracing.transformed():
        return
    with torch.inference_mode(False), torch.no_grad():
        if _runs(cell, x, states, given, {}):
            return
        known = sorted({1, x.shape[-1], cell.output_size, *(s.shape[-1] for s in states)})
        fits = {name: [w for w in known if _runs(cell, x, states, given, {name: w})] for name in given}
    widths = zip(("x", *cell.state_names), (x, *states), strict=True)
    beside = ", ".join(f"{name} has {value.shape[-1]}" for name, value in widths)
    rules = [
        f"the last dimension of {name} must be {' or '.join(map(str, found))} for step to run, "
        f"got {given[name].shape[-1]}"
        for name, found in fits.items()
        if found
    ]
    if not rules:
        got = ", ".join(f"{name} {value.shape[-1]}" for name, value in given.items())
        rules = [f"step must be able to run with keywords of the widths they have, got {got}"]
    raise InvalidShape(f"{type(cell).__name__}: {'; or '.join(rules)} ({beside})") from error


def _runs(cell: Cell, x: Tensor, states: Iterable[Tensor], given: Given, other: Mapping[str, int]) -> bool:
    """Whether the step runs on two rows of zeros, with another width for some keywords."""
    rows = [value.new_zeros(2, value.shape[-1]) for value in (x, *states)]
    keywords = {name: value.new_zeros(2, other.get(name, value.shape[-1])) for name, value in given.items()}
    try:
        cell.step(rows[0], *rows[1:], **keywords)
    except RuntimeError:
        return False
    return True
