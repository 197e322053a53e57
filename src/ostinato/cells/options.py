"""What a cell's constructor takes besides its sizes: its options."""

from __future__ import annotations

import inspect
from typing import Any

from ostinato.cells import checks
from ostinato.cells.cell import Cell
from ostinato.errors import InvalidType

GIVEN = ("self", "input_size", "hidden_size", "device", "dtype")
"""Arguments that a layer gives by itself."""


def options_of(cell: type[Cell]) -> dict[str, Any]:
    """The options of a cell: name → default.

    Example:
        >>> from ostinato.cells.options import options_of
        >>> options_of(ostinato.cells.JANETCell)["beta"]
        1.0
    """
    parameters = inspect.signature(cell.__init__).parameters.values()
    named = [one for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    return {one.name: one.default for one in named if one.name not in GIVEN}


def check_option(cell: type[Cell], name: str) -> None:
    """The cell has this option, or hands on what it does not name itself.

    Raises:
        InvalidType: it has no such option; those that it has are listed.
    """
    known = options_of(cell)
    kinds = [one.kind for one in inspect.signature(cell.__init__).parameters.values()]
    if name in known or (inspect.Parameter.VAR_KEYWORD in kinds and name not in GIVEN):
        return
    raise InvalidType(
        f"{cell.__name__} has no option {name!r}; it has: {', '.join(known) or 'none'}{checks.nearest(name, known)}"
    )
