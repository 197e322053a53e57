"""``ostinato cells``: every known cell with what it costs, or all that is known of one."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Annotated, Any, Literal

import typer

from ostinato.cells import registry, tex
from ostinato.cells.options import options_of
from ostinato.cells.page import Page, page_of
from ostinato.cells.registry import Known
from ostinato.cli.row_file import write_to_stream
from ostinato.cli.row_formats import row_format, to_json
from ostinato.cli.tables import print_table, printer, shown
from ostinato.errors import InvalidValue
from ostinato.inspection.cell_facts import WIDTH, Facts, facts

Order = Literal["name", "year", "parameters", "cost"]

ORDERS: dict[str, Callable[[Facts], Any]] = {
    "name": lambda one: one.name,
    "year": lambda one: (one.year, one.name),
    "parameters": lambda one: (one.parameters, one.name),
    "cost": lambda one: (one.multiply_adds, one.name),
}

WIDEST = 110
"""Columns of running text."""


def cells(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Which to show; the list if none.")] = None,
    sort: Annotated[Order, typer.Option(help="What the list is sorted by, the least first.")] = "name",
    format: Annotated[
        Literal["text", "json", "csv"], typer.Option(help="For people, or for programs; csv is for the list.")
    ] = "text",
) -> None:
    """List the known cells, or show one: its equations, paper, parameters and options.

    Parameters are those of one layer at I = H = 128; its cost is the multiply-adds of the matrix products in one step
    for one row. `--cell NAME` takes a name from here in `train` and `compare`, and so does
    `ostinato.Recurrent("NAME", I, H)` in Python.

        ostinato cells
        ostinato cells --sort cost
        ostinato cells peephole-lstm
        ostinato cells --format csv > cells.csv
    """
    if name is None:
        _print_all(sorted(map(facts, registry.everyone().values()), key=ORDERS[sort]), format)
        return
    if sort != "name":
        raise InvalidValue(f"--sort {sort} is for the list of all cells; leave it out, or leave out {name}")
    known = registry.find(name)
    if format == "csv":
        raise InvalidValue("--format csv is for the list of all cells; one cell is text or json")
    print(to_json(_described(known))) if format == "json" else _print_one(known)


def _print_all(found: Iterable[Facts], format: str) -> None:
    if format != "text":
        rows = [asdict(one) | {"states": " ".join(one.states)} for one in found]
        write_to_stream(sys.stdout, row_format(format), lambda start: rows[start:])
        return
    header = ["name", "title", "states", "year", "parameters", "multiply-adds"]
    rows_of_text = [
        [one.name, one.title, ", ".join(one.states), str(one.year), shown(one.parameters), shown(one.multiply_adds)]
        for one in found
    ]
    print_table(header, rows_of_text, left=3)
    print(f"{len(rows_of_text)} cells, at I = H = {WIDTH}. All about one: ostinato cells NAME")


def _described(known: Known) -> dict[str, Any]:
    """All that is known of a cell, for JSON."""
    page = page_of(known.cell)
    return asdict(facts(known)) | {
        "summary": tex.prose(page.summary),
        "equations": list(page.equations),
        "notes": [tex.prose(note) for note in page.notes],
        "paper": page.paper,
        "options": {name: {"default": value, "meaning": text} for name, value, text in _options(known, page)},
        "parameter_shapes": {name: " or ".join(f"({s})" for s in shapes) for name, shapes in page.shapes.items()},
        "engine": _engine(known),
        "class": f"ostinato.cells.{known.cell.__name__}",
        "example": page.example,
    }


def _print_one(known: Known) -> None:
    page, own = page_of(known.cell), facts(known)
    print(f"{known.name}: {known.title} ({known.year})\n")
    _say(page.summary)
    print("\n" + textwrap.indent("\n".join(tex.aligned(page.equations)), "    ") + "\n")
    for note in page.notes:
        _say(note)
    rows = [[name, " or ".join(f"({one})" for one in shapes)] for name, shapes in page.shapes.items()]
    print_table(["parameter", "shape"], rows, left=2)
    print("Options:")
    for name, value, text in _options(known, page):
        _say(f"{name}={value!r}: {text}", "    ", "        ")
    print(f"\nStates:  {', '.join(own.states)}")
    print(
        f"Cost:    {own.multiply_adds:,} multiply-adds a step and row, {own.parameters:,} parameters, "
        f"at I = H = {WIDTH}"
    )
    print(f"Engine:  {_engine(known)}")
    _say(f"Paper:   {page.paper}", after="         ")
    print(f"Use:     ostinato train FILE --cell {known.name}")
    print(f'         ostinato.Recurrent("{known.name}", {WIDTH}, {WIDTH})\n')
    print(textwrap.indent(page.example, "    "))


def _options(known: Known, page: Page) -> list[tuple[str, Any, str]]:
    """(name, default, meaning) of what a layer passes on to the cell."""
    return [(name, value, tex.prose(page.options.get(name, ""))) for name, value in options_of(known.cell).items()]


def _engine(known: Known) -> str:
    """Who runs a layer of this cell on the CPU, and why."""
    from ostinato.inspection.explain import explain
    from ostinato.layers.recurrent import Recurrent

    found = explain(Recurrent(known.cell, WIDTH, WIDTH))
    return f"{found.engine} ({found.why})"


def _say(text: str, before: str = "", after: str = "") -> None:
    """A paragraph, broken at the width of the terminal."""
    width = min(printer().width, WIDEST)
    wrapper = textwrap.TextWrapper(width, initial_indent=before, subsequent_indent=after)
    wrapper.break_long_words = wrapper.break_on_hyphens = False
    print(wrapper.fill(tex.prose(text)))
