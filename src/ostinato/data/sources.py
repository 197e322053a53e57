"""The reader of each format, and the kinds that the columns of several files agree on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ostinato.cells.checks import nearest
from ostinato.data.columns import LINE, WORDS, kinds, meet, meet_cells
from ostinato.data.delimited import Delimited
from ostinato.data.json_lines import JsonLines
from ostinato.data.parquet import Parquet
from ostinato.data.plain_text import PlainText
from ostinato.data.stored import Facts
from ostinato.errors import DataError
from ostinato.models.needs import need

FORMATS = {
    ".csv": Delimited, ".tsv": Delimited, ".tab": Delimited,
    ".jsonl": JsonLines, ".ndjson": JsonLines, ".json": JsonLines,
    ".parquet": Parquet, ".pq": Parquet,
    ".txt": PlainText, ".text": PlainText, "": PlainText,
}  # fmt: skip

Source = Delimited | JsonLines | Parquet | PlainText


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


def read_sources(sources: list[Source], in_memory: bool) -> tuple[Facts, Iterator[Any]]:
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
