"""Arguments that several subcommands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ostinato.cells.cell import Cell
from ostinato.models.cell_names import BUILT_IN, cell_named

ModelArgument = Annotated[Path, typer.Argument(metavar="MODEL", help="A model folder, as `ostinato train` leaves it.")]

FilesArgument = Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files, folders or globs.")]

QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only the result.")]

CellOption = Annotated[
    str | None,
    typer.Option(
        metavar="package.module:Class",
        help="The cell, for a model of a cell of your own. It is imported and run: name only code that you trust.",
    ),
]


def own_cell(name: str | None) -> type[Cell] | None:
    """The class that ``--cell`` names, if it is given."""
    return None if name is None or name in BUILT_IN else cell_named(name)
