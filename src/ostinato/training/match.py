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


def parameters_at(model: Model, cell: type[Cell]) -> Callable[[int], int]:
    """How many parameters ``model`` would have with this cell, as a function of the hidden size.

    The network is described, not built: it holds no memory, whatever the size.
    """
    content = {**model.content(), "cell": name_of_cell(cell)}

    def count(hidden_size: int) -> int:
        changed = _with_hidden_size(content, hidden_size)
        with torch.random.fork_rng(devices=[]):
            built = type(model).from_content(changed, {}, Reader(Path("config.json")), cell, "meta")
        return sum(parameter.numel() for parameter in built.network.parameters())

    return count


def nearest_width(count: Callable[[int], int], wanted: int) -> int:
    """The hidden size at which ``count``, which grows with it, is nearest to ``wanted``.

    >>> nearest_width(lambda width: 4 * width * (width + 10), wanted=13_000)
    52

    Raises:
        InvalidValue: even the narrowest network is more than twice, or the widest less than half, of what is wanted.
    """
    low, high = 1, 1
    while count(high) < wanted and high < WIDEST:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if count(middle) >= wanted else (middle, high)
    best = min((low, high), key=lambda width: abs(count(width) - wanted))
    if not wanted / 2 <= count(best) <= wanted * 2:
        raise InvalidValue(
            f"no width gives about {wanted:,} parameters: the nearest, {best}, gives {count(best):,}; "
            f"choose another --hidden-size, or leave out --match-parameters"
        )
    return best


def _with_hidden_size(content: Any, hidden_size: int) -> Any:
    """The description with every width of a recurrent layer replaced, however deep it stands."""
    if isinstance(content, dict):
        return {
            name: hidden_size if name == "hidden_size" else _with_hidden_size(value, hidden_size)
            for name, value in content.items()
        }
    return content
