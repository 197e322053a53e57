"""Rows and columns of the user's files, whatever their format, each row with its file and line.

Rows are parsed here rather than by a library's reader because a complaint must name the line. Files of more than
``LARGE`` bytes are kept as Arrow in the cache folder and mapped from there, so memory does not grow with them.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ostinato.cells.checks import nearest
from ostinato.data.columns import LINE, WORDS, is_number, kinds, meet, meet_cells
from ostinato.data.delimited import Delimited
from ostinato.data.files import expand, unchanged
from ostinato.data.json_lines import JsonLines
from ostinato.data.parquet import Parquet
from ostinato.data.plain_text import PlainText
from ostinato.data.stored import Facts, kept_table
from ostinato.errors import DataError
from ostinato.models.needs import need

LARGE = 1 << 25
"""Files of more bytes than this together are mapped from the cache folder rather than held in memory."""

FORMATS = {
    ".csv": Delimited, ".tsv": Delimited, ".tab": Delimited,
    ".jsonl": JsonLines, ".ndjson": JsonLines, ".json": JsonLines,
    ".parquet": Parquet, ".pq": Parquet,
    ".txt": PlainText, ".text": PlainText, "": PlainText,
}  # fmt: skip

Source = Delimited | JsonLines | Parquet | PlainText


def read_table(
    files: str | os.PathLike[str] | Iterable[str | os.PathLike[str]], *, delimiter: str | None = None
) -> Table:
    """The rows of all files, in the files' order.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
    ...     _ = file.write("text,label\\nhello,1\\nworld,2\\n"); file.flush()
    ...     table = read_table(file.name)
    >>> table.columns, len(table), table[1], table.column("text")
    (('text', 'label'), 2, {'text': 'world', 'label': 2}, ['hello', 'world'])

    Args:
        files: names, folders and globs, see :func:`ostinato.data.files.expand`. All must have the same columns.
        delimiter: what stands between the cells of CSV and TSV; None finds out.

    Raises:
        DataError: a file is missing, empty, not UTF-8, ragged, of an unknown format, without a column that another
            has, or changed while it was read.
    """
    paths = expand(files)
    large = sum(path.stat().st_size for path in paths) > LARGE
    with unchanged(paths) as fingerprint:

        def read() -> tuple[Facts, Iterator[Any]]:
            return _read([read_source(path, delimiter) for path in paths], in_memory=not large)

        if large:
            data, facts = kept_table(paths, f"{fingerprint} {delimiter!r}", read)
        else:
            facts, batches = read()
            data = need("pyarrow", "tasks").Table.from_batches(list(batches))
    return Table(data, paths, fingerprint, facts)


class Table:
    """Rows and columns. Made by :func:`read_table`."""

    def __init__(self, data: Any, files: tuple[Path, ...], fingerprint: str, facts: Facts) -> None:
        self.data = data
        self.files = files
        self.fingerprint = fingerprint
        """A hash of the files' names and bytes."""
        self.columns: tuple[str, ...] = tuple(facts["kinds"])
        self.kinds: dict[str, str] = facts["kinds"]
        """What each column holds: integer, number, text, numbers, texts, rows (lists in a cell) or empty."""
        self.notes: tuple[str, ...] = tuple(facts["notes"])
        """What was found out or left out while reading: to be printed."""
        self._ends: list[int] = facts["ends"]
        self._units: list[str] = facts["units"]

    def __len__(self) -> int:
        return int(self.data.num_rows)

    def __getitem__(self, row: int) -> dict[str, Any]:
        index = _checked(row, len(self))
        return {name: self.data[name][index].as_py() for name in self.columns}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for batch in self.data.to_batches(max_chunksize=1024):
            yield from batch.select(list(self.columns)).to_pylist()

    def column(self, name: str) -> list[Any]:
        """All cells of a column; None where one is empty.

        Raises:
            DataError: there is no such column.
        """
        return list(self.cells(name))

    def cells(self, name: str) -> Cells:
        """A column as a sequence that reads from the file what is asked for, for columns larger than memory.

        Raises:
            DataError: there is no such column.
        """
        return Cells(self.data[self.need(name)])

    def numbers(self, name: str, what: str = "") -> Any:
        """(N,) a column of numbers as a numpy array of float64, NaN where a cell is empty.

        Raises:
            DataError: a cell is not a number, or not finite; the message names the line.
        """
        numpy = need("numpy", "tasks")
        self.need(name, what)
        kind = self.kinds[name]
        if kind not in ("integer", "number", "empty"):
            row, cell = self._not_a_number(name)
            hint = "; write the fraction after a point" if isinstance(cell, str) and "," in cell else ""
            raise DataError(
                f"{self.where(row)}: column {name!r} must hold numbers{_purpose(what)}, got {str(cell)[:40]!r}{hint}"
            )
        cells = self.data[name].cast(need("pyarrow", "tasks").float64())
        values = cells.to_numpy().astype("float64", copy=False)
        bad = numpy.flatnonzero(numpy.isinf(values))
        if len(bad):
            raise DataError(
                f"{self.where(int(bad[0]))}: column {name!r} must hold finite numbers, got {values[bad[0]]}"
            )
        return values

    def _not_a_number(self, name: str) -> tuple[int, Any]:
        for row, cell in enumerate(self.cells(name)):
            if cell is not None and not is_number(cell):
                return row, cell
        return 0, self.cells(name)[0]

    def where(self, row: int) -> str:
        """The file and the line a row came from, as in ``"sales.csv, line 17"``."""
        index = _checked(row, len(self))
        file = bisect_right(self._ends, index)
        return f"{self.files[file].name}, {self._units[file]} {self.data[LINE][index].as_py():,}"

    def file_of(self, row: int) -> Path:
        """The file a row came from."""
        return self.files[self.file_number(row)]

    def file_number(self, row: int) -> int:
        """The place among ``files`` of the file a row came from."""
        return bisect_right(self._ends, _checked(row, len(self)))

    def rows_of(self, file: int) -> range:
        """The rows that came from the file of that number."""
        return range(self._ends[file - 1] if file else 0, self._ends[file])

    @property
    def name(self) -> str:
        """The files in a message: ``"sales.csv"``, or ``"sales.csv and 3 more files"``."""
        more = len(self.files) - 1
        return self.files[0].name + (f" and {more} more file{'s' if more > 1 else ''}" if more else "")

    def need(self, name: str, what: str = "") -> str:
        """The name itself, when there is such a column.

        Args:
            name: of a column.
            what: what it is for, as in ``"--target"``; part of the message.

        Raises:
            DataError: there is none; the message offers the nearest name.
        """
        if name in self.kinds:
            return name
        shown = ", ".join(self.columns[:20]) + (", …" if len(self.columns) > 20 else "")
        hint = nearest(name, self.columns)
        raise DataError(f"{self.name} has no column {name!r}{_purpose(what)}{hint or ';'} the columns are {shown}")


class Cells(Sequence[Any]):
    """The cells of a column, read when they are asked for."""

    def __init__(self, column: Any) -> None:
        self._column = column

    def __len__(self) -> int:
        return len(self._column)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return self._column[_checked(index, len(self))].as_py()

    def __iter__(self) -> Iterator[Any]:
        for chunk in self._column.chunks:
            for start in range(0, len(chunk), 1024):
                yield from chunk[start : start + 1024].to_pylist()


def _purpose(what: str) -> str:
    return f" ({what})" if what else ""


def _checked(row: int, count: int) -> int:
    if not -count <= row < count:
        raise IndexError(f"row {row} of {count}")
    return row % count


def read_source(path: Path, delimiter: str | None) -> Source:
    """The reader of a file, by its ending.

    Raises:
        DataError: no table has that ending.
    """
    ending = path.suffix.lower()
    if ending not in FORMATS:
        known = ", ".join(name for name in FORMATS if name)
        more = {
            ".ts": "; .ts files are for classify and regress",
            ".conll": "; CoNLL files are for tag",
            ".conllu": "; CoNLL files are for tag",
            ".gz": "; unpack it: gunzip FILE",
            ".zip": "; unpack it: unzip FILE",
            ".xlsx": "; save the sheet as CSV, in UTF-8",
        }.get(ending, "")
        raise DataError(f"{path}: a table must end in {known}, got {ending!r}{more}")
    form = FORMATS[ending]
    return Delimited(path, delimiter) if form is Delimited else form(path)


def _read(sources: list[Source], in_memory: bool) -> tuple[Facts, Iterator[Any]]:
    """Facts of all sources, and the batches with the kinds that all of them agree on."""
    kept: list[list[Any]] | None = [] if in_memory else None
    ends: list[int] = []
    notes: list[str] = []
    for source in sources:
        count, batches = 0, []
        for batch in source.batches():
            count += len(batch)
            if kept is not None:
                batches.append(batch)
        if kept is not None:
            kept.append(batches)
        ends.append((ends[-1] if ends else 0) + count)
        if count == 0:
            raise DataError(f"{source.path} has a header and no rows: there is nothing to learn from")
        notes += [*source.notes, *_blank_note(source)]
    agreed = _agreed(sources)
    facts: Facts = {"kinds": agreed, "ends": ends, "units": [source.unit for source in sources], "notes": notes}
    return facts, _converted(sources, agreed, kept)


def _blank_note(source: Source) -> list[str]:
    if not source.blank:
        return []
    count = len(source.blank)
    what = (
        "an empty line was left out: line" if count == 1 else f"{count:,} empty lines were left out, the first is line"
    )
    return [f"{source.path.name}: {what} {source.blank[0]:,}"]


def _agreed(sources: list[Source]) -> dict[str, str]:
    """One kind a column over all sources, which must have the same columns."""
    loose = all(source.loose for source in sources)
    first = sources[0]
    agreed = dict(first.kinds if loose else first.finished())
    for source in sources[1:]:
        here = source.kinds if loose else source.finished()
        if lacking := [name for name in agreed if name not in here]:
            raise DataError(
                f"{source.path} has no column {lacking[0]!r}, which {first.path} has{nearest(lacking[0], here)}; "
                f"files that are read together must have the same columns"
            )
        if more := [name for name in here if name not in agreed]:
            raise DataError(
                f"{first.path} has no column {more[0]!r}, which {source.path} has; "
                f"files that are read together must have the same columns"
            )
        for name, kind in here.items():
            both = meet_cells(agreed[name], kind) if loose else meet(agreed[name], kind)
            if both is None:
                raise DataError(
                    f"{source.path}: column {name!r} holds {WORDS[kind]}, and {WORDS[agreed[name]]} in {first.path}"
                )
            agreed[name] = both
    return {name: "text" if kind == "gap" else kind for name, kind in agreed.items()}


def _converted(sources: list[Source], agreed: dict[str, str], kept: list[list[Any]] | None) -> Iterator[Any]:
    arrow = need("pyarrow", "tasks")
    schema = arrow.schema([*((name, kinds()[kind]) for name, kind in agreed.items()), (LINE, arrow.int64())])
    for index, source in enumerate(sources):
        for batch in source.batches() if kept is None else kept[index]:
            names = set(batch.schema.names)
            columns = [
                source.converted(batch.column(name), kind) if name in names else arrow.nulls(len(batch), kinds()[kind])
                for name, kind in agreed.items()
            ]
            yield arrow.record_batch([*columns, batch.column(LINE)], schema=schema)
