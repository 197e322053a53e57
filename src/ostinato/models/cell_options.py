"""Options of a cell as people write them, ``rounds=3``, and as a model folder keeps them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ostinato.cells.cell import Cell
from ostinato.cells.options import check_option
from ostinato.errors import InvalidValue
from ostinato.models.reader import WIDEST

Value = bool | int | float | str

WORDS = {"true": True, "false": False}


def cell_options(cell: type[Cell], texts: Sequence[str]) -> dict[str, Value]:
    """The options that texts such as ``rounds=3`` and ``activation=relu`` name.

    >>> cell_options(ostinato.LSTMCell, ["proj_size=3", "forget_bias=1.5", "bias=false"])
    {'proj_size': 3, 'forget_bias': 1.5, 'bias': False}

    Raises:
        InvalidValue: a text of another form, an option named twice, a number that a model folder would not believe.
        InvalidType: the cell has no such option; those that it has are listed.
    """
    found: dict[str, Value] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        name = name.replace("-", "_")
        if not equals or not name or not value:
            raise InvalidValue(f"an option of a cell is written NAME=VALUE, such as activation=relu, got {text!r}")
        check_option(cell, name)
        if name in found:
            raise InvalidValue(f"the option {name} is given twice, as {found[name]} and as {value}; give it once")
        found[name] = _value(name, value)
    return found


def _value(name: str, text: str) -> Value:
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    value = _number(text)
    if value is None:
        return text
    if abs(value) > WIDEST:
        raise InvalidValue(f"{name} must be at most {WIDEST:,} to be kept in a model folder, got {text}")
    return value


def _number(text: str) -> int | float | None:
    """The finite number that a text is, if it is one."""
    for kind in (int, float):
        try:
            value: int | float = kind(text)
        except ValueError:
            continue
        return value if math.isfinite(value) else None
    return None
