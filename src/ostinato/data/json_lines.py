"""JSON lines: one object a line. A key that a line lacks, or that is null there, is a missing cell."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ostinato.data.columns import LINE, WORDS, kinds, meet
from ostinato.data.files import text_lines
from ostinato.errors import DataError
from ostinato.models.needs import need

BATCH_ROWS, BATCH_CHARACTERS = 1 << 13, 1 << 24
WHOLE = 1 << 63


class JsonLines:
    """A file of objects, read a batch of rows at a time; may be read more than once."""

    unit = "line"
    loose = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: list[str] = []
        self.kinds: dict[str, str] = {}
        self.blank: list[int] = []

    def batches(self) -> Iterator[Any]:
        """Record batches, each column of the kind it has in that batch; ``kinds`` is known after the last one."""
        self.blank = []
        rows: list[dict[str, Any]] = []
        lines: list[int] = []
        characters = 0
        for number, line in enumerate(text_lines(self.path), start=1):
            if not line.strip():
                self.blank.append(number)
                continue
            rows.append(self._row(line, number))
            lines.append(number)
            characters += len(line)
            if len(rows) == BATCH_ROWS or characters > BATCH_CHARACTERS:
                yield self._batch(rows, lines)
                rows, lines, characters = [], [], 0
        if rows:
            yield self._batch(rows, lines)
        if not self.kinds:
            raise DataError(f"{self.path} holds no rows: there is nothing to learn from")

    def finished(self) -> dict[str, str]:
        """The kinds, once all batches were read."""
        return dict(self.kinds)

    def converted(self, column: Any, kind: str) -> Any:
        """A raw column as ``kind``."""
        return need("pyarrow.compute", "tasks").cast(column, kinds()[kind])

    def _row(self, line: str, number: int) -> dict[str, Any]:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            hint = "; a JSON array must be one object a line: jq -c '.[]' FILE > NEW" if line.startswith("[") else ""
            raise DataError(
                f"{self.path}, line {number:,} is not JSON ({error}); each line must hold one object{hint}"
            ) from None
        if not isinstance(row, dict):
            raise DataError(
                f'{self.path}, line {number:,} must hold an object, as in {{"text": "…"}}, got {line.strip()[:40]}; '
                f"a JSON array becomes lines by: jq -c '.[]' FILE > NEW"
            )
        return row

    def _batch(self, rows: list[dict[str, Any]], lines: list[int]) -> Any:
        arrow = need("pyarrow", "tasks")
        names = list(dict.fromkeys([*self.kinds, *(name for row in rows for name in row)]))
        arrays = []
        for name in names:
            kind, cells = "empty", []
            for row, line in zip(rows, lines, strict=True):
                here, cell = _cell(row.get(name))
                kind = self._met(kind, here, name, line)
                cells.append(cell)
            self.kinds[name] = self._met(self.kinds.get(name, "empty"), kind, name, lines[0])
            try:
                arrays.append(arrow.array(cells, kinds()[kind]))
            except UnicodeEncodeError as error:
                raise DataError(
                    f"{self.path}, line {lines[0]:,} or after: column {name!r} holds half a character "
                    f"({error.object[error.start]!r}); write the text as UTF-8"
                ) from None
        return arrow.record_batch([*arrays, arrow.array(lines, arrow.int64())], names=[*names, LINE])

    def _met(self, one: str, other: str, name: str, line: int) -> str:
        if other == "":
            raise DataError(
                f"{self.path}, line {line:,}: column {name!r} must hold a number, a text or a list of them; "
                f"take nested objects and ragged lists apart"
            )
        both = meet(one, other)
        if both is None:
            raise DataError(
                f"{self.path}, line {line:,}: column {name!r} holds {WORDS[other]}, and {WORDS[one]} before; "
                f"write all cells of a column alike"
            )
        return both


def _cell(value: Any) -> tuple[str, Any]:
    """The kind of a JSON value and the value to keep; the kind is "" for what a column cannot hold."""
    match value:
        case None | "":
            return "empty", None
        case bool():
            return "text", "true" if value else "false"
        case int() if -WHOLE <= value < WHOLE:
            return "integer", value
        case int():
            return "", None
        case float():
            return "number", None if math.isnan(value) else value
        case str():
            return "text", value
        case []:
            return "empty", None
        case list():
            return _list(value)
    return "", None


def _list(value: list[Any]) -> tuple[str, Any]:
    if all(isinstance(one, str) for one in value):
        return "texts", value
    if all(_is_number(one) for one in value):
        return "numbers", value
    rows = all(isinstance(one, list) and len(one) == len(value[0]) and all(map(_is_number, one)) for one in value)
    return ("rows", value) if rows else ("", None)


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
