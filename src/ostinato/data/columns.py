"""What a column of a table holds: the kinds, how two of them meet, and how raw cells become them.

A column holds whole numbers, numbers, texts, or lists of them (a series or tokens in one cell). An empty cell is
missing (None) in every format, and so is NaN.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ostinato.models.needs import need

LINE = "\ue000line"
"""The hidden column that holds each row's line in its file; its first character is of nobody's use."""

MISSING = ("", "NA", "N/A", "na", "nan", "NaN", "NAN", "null", "NULL", "None")
"""What stands for a missing number in a text file, in a column where all else are numbers."""

INTEGER = r"^[-+]?(0|[1-9]\d{0,17})$"
NUMBER = r"^[-+]?((\d+\.\d*|\.\d+)([eE][-+]?\d+)?|\d+[eE][-+]?\d+|0|[1-9]\d{0,17})$"
"""Whole numbers that a float would round, or that start with a 0 (007), are names, so texts."""


def kinds() -> dict[str, Any]:
    """The kinds by name, each with the Arrow type that holds it."""
    arrow = need("pyarrow", "tasks")
    return {
        "empty": arrow.null(),
        "integer": arrow.int64(),
        "number": arrow.float64(),
        "text": arrow.string(),
        "numbers": arrow.list_(arrow.float64()),
        "texts": arrow.list_(arrow.string()),
        "rows": arrow.list_(arrow.list_(arrow.float64())),
    }


WORDS: Mapping[str, str] = {
    "empty": "nothing",
    "integer": "whole numbers",
    "number": "numbers",
    "text": "texts",
    "numbers": "lists of numbers",
    "texts": "lists of texts",
    "rows": "lists of lists of numbers",
}
"""The kinds in a message."""


def meet(one: str, other: str) -> str | None:
    """The kind that holds what both hold; None if there is none.

    >>> meet("integer", "number"), meet("empty", "text"), meet("number", "text")
    ('number', 'text', None)
    """
    if one == other or other == "empty":
        return one
    if one == "empty":
        return other
    return "number" if {one, other} == {"integer", "number"} else None


def kind_of_cells(cells: Any) -> str:
    """The kind of the cells of a text file, an Arrow array of strings: numbers only where every cell is one."""
    compute = need("pyarrow.compute", "tasks")
    arrow = need("pyarrow", "tasks")
    cells = compute.utf8_trim_whitespace(cells)
    there = cells.filter(compute.invert(compute.is_in(cells, arrow.array(MISSING))))
    if len(there) == 0:
        return "empty" if not compute.any(compute.not_equal(cells, "")).as_py() else "gap"
    if compute.all(compute.match_substring_regex(there, INTEGER)).as_py():
        return "integer"
    return "number" if compute.all(compute.match_substring_regex(there, NUMBER)).as_py() else "text"


def meet_cells(one: str, other: str) -> str:
    """``meet`` for columns of text files, where a text among numbers makes texts of all.

    ``"gap"`` is a column of words such as ``NA`` alone: missing numbers beside numbers, else texts.
    """
    order = ("empty", "gap", "integer", "number", "text")
    return max(one, other, key=order.index)


def cells_as(cells: Any, kind: str) -> Any:
    """Cells of a text file, an Arrow array of strings, as an array of ``kind``."""
    compute = need("pyarrow.compute", "tasks")
    arrow = need("pyarrow", "tasks")
    if kind == "text":
        return compute.if_else(compute.equal(cells, ""), None, cells)
    if kind == "empty":
        return arrow.nulls(len(cells))
    cells = compute.utf8_trim_whitespace(cells)
    cells = compute.if_else(compute.is_in(cells, arrow.array(MISSING)), None, cells)
    cells = compute.replace_substring_regex(cells, r"^\+", "")
    return compute.cast(cells, kinds()[kind])


def is_number(cell: Any) -> bool:
    """Whether one cell would stand in a column of numbers."""
    return isinstance(cell, int | float) or (isinstance(cell, str) and re.match(NUMBER, cell.strip()) is not None)
