"""``ostinato examples``: the programs of the examples folder, listed and run."""

from __future__ import annotations

import ast
import difflib
import runpy
import sys
from pathlib import Path
from typing import Annotated

import typer

from ostinato.errors import InvalidValue, OstinatoError


def examples(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Which to run; the list if none.")] = None,
) -> None:
    """List the worked examples, or run one; what follows the name goes to the example.

    ostinato examples
    ostinato examples hello
    """
    folder = examples_folder()
    found = {path.stem: path for path in sorted(folder.glob("*.py")) if not path.stem.startswith("_")}
    if name is None:
        width = max(map(len, found), default=0)
        for stem, path in found.items():
            print(f"{stem:{width}}  {first_line(path)}")
        print(f"\nThey are in {folder}; run one with: ostinato examples NAME")
        return
    chosen = found.get(name.removesuffix(".py"))
    if chosen is None:
        near = difflib.get_close_matches(name, found, n=3)
        raise InvalidValue(
            f"there is no example {name!r}; "
            + (f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(found)}")
        )
    sys.argv = [str(chosen), *context.args]
    runpy.run_path(str(chosen), run_name="__main__")


def examples_folder() -> Path:
    """Beside the package in an installation, at the top of the repository in an editable one.

    Raises:
        OstinatoError: they are in neither place.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "examples", package.parents[1] / "examples"):
        if folder.is_dir():
            return folder
    raise OstinatoError(
        f"the examples are missing from this installation: no {package / 'examples'}; install ostinato again"
    )


def first_line(path: Path) -> str:
    """The first line of an example's docstring, read without running it."""
    return (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").partition("\n")[0]
