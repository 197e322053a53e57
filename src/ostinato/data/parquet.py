"""Parquet: columns that come with their types, turned into the few kinds that a table has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ostinato.data.columns import LINE, kinds
from ostinato.errors import DataError
from ostinato.models.needs import need

BATCH_ROWS = 1 << 13


class Parquet:
    """A Parquet file, read a batch of rows at a time; may be read more than once."""

    unit = "row"
    loose = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: list[str] = []
        self.kinds: dict[str, str] = {}
        self.blank: list[int] = []

    def batches(self) -> Iterator[Any]:
        """Record batches, each column of its kind; ``kinds`` is known after the last one."""
        arrow = need("pyarrow", "tasks")
        parquet = need("pyarrow.parquet", "tasks")
        try:
            with parquet.ParquetFile(self.path) as file:
                self.kinds = {field.name: self._kind(field) for field in file.schema_arrow}
                if file.metadata.num_rows == 0 or not self.kinds:
                    raise DataError(f"{self.path} holds no rows: there is nothing to learn from")
                row = 1
                for batch in file.iter_batches(BATCH_ROWS):
                    columns = [_plain(batch.column(index), kind) for index, kind in enumerate(self.kinds.values())]
                    lines = arrow.array(range(row, row + len(batch)), arrow.int64())
                    yield arrow.record_batch([*columns, lines], names=[*self.kinds, LINE])
                    row += len(batch)
        except (arrow.ArrowInvalid, OSError) as error:
            raise DataError(f"{self.path} cannot be read as Parquet ({str(error)[:160]}); is it whole?") from None

    def finished(self) -> dict[str, str]:
        """The kinds, once all batches were read."""
        return dict(self.kinds)

    def converted(self, column: Any, kind: str) -> Any:
        """A raw column as ``kind``."""
        return need("pyarrow.compute", "tasks").cast(column, kinds()[kind])

    def _kind(self, field: Any) -> str:
        kind = _kind(field.type)
        if kind is None:
            raise DataError(
                f"{self.path}: column {field.name!r} must hold numbers, texts, time stamps or lists of them, "
                f"got {field.type}; leave it out or convert it"
            )
        return kind


def _kind(type: Any) -> str | None:
    types = need("pyarrow", "tasks").types
    if types.is_dictionary(type):
        return _kind(type.value_type)
    if types.is_null(type):
        return "empty"
    if types.is_integer(type):
        return "integer"
    if types.is_floating(type) or types.is_decimal(type):
        return "number"
    if types.is_string(type) or types.is_large_string(type) or types.is_boolean(type) or types.is_temporal(type):
        return "text"
    if types.is_list(type) or types.is_large_list(type) or types.is_fixed_size_list(type):
        inner = _kind(type.value_type)
        return {"integer": "numbers", "number": "numbers", "text": "texts", "numbers": "rows"}.get(inner or "")
    return None


def _plain(column: Any, kind: str) -> Any:
    """The column as Arrow's plain type of its kind; NaN and the empty text are missing."""
    compute = need("pyarrow.compute", "tasks")
    arrow = need("pyarrow", "tasks")
    if arrow.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    column = compute.cast(column, kinds()[kind])
    if kind == "number":
        return compute.if_else(compute.is_nan(column), None, column)
    if kind == "text":
        return compute.if_else(compute.equal(column, ""), None, column)
    return column
