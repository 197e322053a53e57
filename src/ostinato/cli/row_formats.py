"""Rows as text, one row at a time: CSV, TSV, JSON lines, one JSON list, CoNLL."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ostinato.errors import DataError, InvalidValue

Row = Mapping[str, Any]


@dataclass(frozen=True)
class RowFormat:
    """How a table becomes text, in pieces that are simply joined.

    Args:
        begin: of the column names, what stands before the first row.
        row: of the column names, the row and its number from 0, its text.
        end: of the number of rows, what stands after the last one.
    """

    begin: Callable[[Sequence[str]], str]
    row: Callable[[Sequence[str], Row, int], str]
    end: Callable[[int], str]


def row_format(name: str) -> RowFormat:
    """The format of that name.

    >>> table = row_format("csv")
    >>> table.begin(["text", "score"]) + table.row(["text", "score"], {"text": "one, two", "score": 0.5}, 0)
    'text,score\\n"one, two",0.5\\n'

    Raises:
        InvalidValue: there is no such format.
    """
    if name not in FORMATS:
        raise InvalidValue(f"format must be one of {', '.join(FORMATS)}, got {name!r}")
    return FORMATS[name]


def format_for(out: Path | None, given: str | None, usual: str) -> str:
    """The format that was asked for, else the one that the file's name ends on, else the usual one of the task.

    >>> format_for(Path("predictions.jsonl"), None, "csv")
    'jsonl'
    """
    if given is not None:
        return given
    ending = out.suffix.lstrip(".").lower() if out is not None else ""
    return {"conllu": "conll", "ndjson": "jsonl"}.get(ending, ending if ending in FORMATS else usual)


def plain(value: Any) -> Any:
    """A value as JSON has it: a tensor or an array of one number is that number, a longer one a list.

    Raises:
        DataError: there is no such form.
    """
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "isoformat"):
        return value.isoformat()
    raise DataError(f"a prediction holds {type(value).__name__}, which has no place in a file")


def to_json(value: Any) -> str:
    """One line of JSON, in which letters stay letters."""
    return json.dumps(value, ensure_ascii=False, default=plain)


def _cell(value: Any) -> Any:
    if hasattr(value, "tolist"):
        value = value.tolist()
    if value is None or isinstance(value, str | int | float):
        return value
    return to_json(value) if isinstance(value, dict | list | tuple) else plain(value)


def _delimited(delimiter: str) -> RowFormat:
    def line(values: Sequence[Any]) -> str:
        text = io.StringIO()
        csv.writer(text, delimiter=delimiter, lineterminator="\n").writerow(values)
        return text.getvalue()

    def row(columns: Sequence[str], row: Row, number: int) -> str:
        if other := [name for name in row if name not in columns]:
            raise DataError(
                f"prediction {number + 1:,} has the columns {', '.join(other)}, which the first one lacks, so they "
                f"have no place in a table; --format jsonl keeps them"
            )
        return line([_cell(row.get(name)) for name in columns])

    return RowFormat(lambda columns: line(columns) if columns else "", row, lambda count: "")


def _sentence(columns: Sequence[str], row: Row, number: int) -> str:
    """The lines of one sentence: as they were read with the prediction beside them, if the row brings them so."""
    if "conll" not in row:
        raise DataError(
            f"only tagged sentences can be written as CoNLL, and these rows hold {', '.join(row)}; "
            f"take --format csv, jsonl or json"
        )
    return str(row["conll"]).rstrip("\n") + "\n\n"


FORMATS = {
    "csv": _delimited(","),
    "tsv": _delimited("\t"),
    "jsonl": RowFormat(lambda columns: "", lambda columns, row, number: to_json(row) + "\n", lambda count: ""),
    "json": RowFormat(
        lambda columns: "[",
        lambda columns, row, number: (",\n" if number else "\n") + to_json(row),
        lambda count: "\n]\n" if count else "]\n",
    ),
    "conll": RowFormat(lambda columns: "", _sentence, lambda count: ""),
}
