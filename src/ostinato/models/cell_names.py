"""Cells by name: the built-in ones by a short name, a user's own by its import path, ``package.module:Class``."""

from __future__ import annotations

import re
import sys
from importlib import import_module
from pathlib import Path

from ostinato.cells import checks, registry
from ostinato.cells.cell import Cell
from ostinato.errors import InvalidType, InvalidValue

BUILT_IN: dict[str, type[Cell]] = {name: known.cell for name, known in registry.everyone().items()}

IMPORT_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
"""``package.module:Class``."""


def name_of_cell(cell: type[Cell]) -> str:
    """The name under which ``cell_named`` finds it again.

    >>> name_of_cell(ostinato.LSTMCell)
    'lstm'
    """
    for name, built_in in BUILT_IN.items():
        if cell is built_in:
            return name
    return f"{cell.__module__}:{cell.__qualname__}"


def cell_named(name: str) -> type[Cell]:
    """The cell of that name; an import path is imported, so it must come from the user, never from a file.

    The current directory is searched last, so that a module beside the user's text is found and hides nothing.

    >>> cell_named("gru").__name__
    'GRUCell'

    Raises:
        InvalidValue: no built-in cell has the name, or the import path leads nowhere.
        InvalidType: the import path leads to something that is no cell.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    if not IMPORT_PATH.fullmatch(name):
        raise InvalidValue(
            "cell must be a name that `ostinato cells` lists, or package.module:Class for a cell of your own, "
            f"got {name!r}" + checks.nearest(name.lower(), BUILT_IN)
        )
    return _imported(name)


def _imported(name: str) -> type[Cell]:
    module_name, _, class_name = name.partition(":")
    here = str(Path.cwd())
    sys.path.append(here)
    try:
        found: object = import_module(module_name)
    except ImportError as error:
        raise InvalidValue(
            f"cell {name!r} was not found ({error}); run the command in the folder that holds "
            f"{module_name.partition('.')[0]}, or install it"
        ) from error
    finally:
        sys.path.remove(here)
    for part in class_name.split("."):
        found = getattr(found, part, None)
    if found is None:
        raise InvalidValue(f"module {module_name} has no {class_name}; cell must be package.module:Class")
    if not (isinstance(found, type) and issubclass(found, Cell)):
        raise InvalidType(f"cell must be a subclass of ostinato.Cell, and {name} is {found!r}")
    return found
