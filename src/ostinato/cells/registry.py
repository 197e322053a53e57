"""The known cells by name: what ``--cell NAME`` and ``Recurrent("NAME", …)`` find."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from ostinato.cells import checks
from ostinato.cells.cell import Cell
from ostinato.errors import InvalidValue

C = TypeVar("C", bound=type[Cell])


@dataclass(frozen=True)
class Known:
    """One cell of the library.

    Attributes:
        name: as users type it: lower case, words joined by ``-``.
        title: what the field calls it.
        year: of the paper.
        cell: the class; its docstring has the equations, the paper, and what differs from other implementations.
    """

    name: str
    title: str
    year: int
    cell: type[Cell]


_known: dict[str, Known] = {}


def known(name: str, title: str, year: int) -> Callable[[C], C]:
    """Decorate a cell's class: from then on it is known by ``name``."""

    def add(cell: C) -> C:
        if name in _known:
            raise InvalidValue(f"two cells are called {name!r}: {_known[name].cell.__name__} and {cell.__name__}")
        _known[name] = Known(name, title, year, cell)
        return cell

    return add


def everyone() -> dict[str, Known]:
    """All known cells by name, in the order of their names."""
    import ostinato.cells.library  # noqa: F401  (its import is what fills the table)

    return dict(sorted(_known.items()))


def find(name: str) -> Known:
    """The cell of that name.

    Raises:
        InvalidValue: there is none; the nearest name is offered.

    Example:
        >>> from ostinato.cells import registry
        >>> registry.find("gru").cell.__name__
        'GRUCell'
    """
    cells = everyone()
    if name in cells:
        return cells[name]
    near = checks.nearest(name.lower() if isinstance(name, str) else name, cells)
    raise InvalidValue(f"no cell is called {name!r}; `ostinato cells` lists all {len(cells)}{near}")
