"""Widths at which different cells have the same number of parameters, so that a comparison is of the cells alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ostinato.cells.cell import Cell
from ostinato.errors import InvalidValue
from ostinato.models.cell_names import name_of_cell
from ostinato.models.model import Model
from ostinato.models.reader import Reader

WIDEST = 1 << 16

REFUSALS = 64
"""So many widths in a row that a cell refuses are passed over: it may want an even one, or one above an option's."""

Count = Callable[[int], int | None]
"""How many parameters a network of some hidden size has; None for a size that its cell refuses."""


def parameters_at(model: Model, cell: type[Cell]) -> Count:
    """How many parameters ``model`` would have with this cell, as a function of the hidden size.

    The network is described, not built: it holds no memory, whatever the size.
    """
    content = {**model.content(), "cell": name_of_cell(cell)}

    def count(hidden_size: int) -> int | None:
        changed = _with_hidden_size(content, hidden_size)
        try:
            with torch.random.fork_rng(devices=[]):
                built = type(model).from_content(changed, {}, Reader(Path("config.json")), cell, "meta")
        except InvalidValue:
            return None
        return sum(parameter.numel() for parameter in built.network.parameters())

    return count


def nearest_width(count: Count, wanted: int) -> int:
    """The hidden size at which ``count``, which grows with it, is nearest to ``wanted``.

    >>> nearest_width(lambda width: 4 * width * (width + 10), wanted=13_000)
    52
    >>> nearest_width(lambda width: None if width % 8 else 4 * width * (width + 10), wanted=13_000)
    56

    Raises:
        InvalidValue: even the narrowest network is more than twice, or the widest less than half, of what is wanted;
            or the cell refuses every width.
    """
    low, high = 1, 1
    while _from(count, high)[1] < wanted and high < WIDEST:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _from(count, middle)[1] >= wanted else (middle, high)
    near = [(width, found) for width in range(max(1, low - REFUSALS), low + 1) if (found := count(width)) is not None]
    best, found = min((*near[-1:], _from(count, high)), key=lambda one: abs(one[1] - wanted))
    if not wanted / 2 <= found <= wanted * 2:
        raise InvalidValue(
            f"no width gives about {wanted:,} parameters: the nearest, {best}, gives {found:,}; "
            f"choose another --hidden-size, or leave out --match-parameters"
        )
    return best


def _from(count: Count, width: int) -> tuple[int, int]:
    """The first width from this one on that the cell takes, and its count."""
    for one in range(width, width + REFUSALS):
        if (found := count(one)) is not None:
            return one, found
    raise InvalidValue(
        f"the cell refuses every width from {width} to {width + REFUSALS - 1} with these options; "
        f"leave out --match-parameters to see why"
    )


def _with_hidden_size(content: Any, hidden_size: int) -> Any:
    """The description with every width of a recurrent layer replaced, however deep it stands."""
    if isinstance(content, dict):
        return {
            name: hidden_size if name == "hidden_size" else _with_hidden_size(value, hidden_size)
            for name, value in content.items()
        }
    return content
