"""Which columns of a table are read and which is learnt: as the user says, else guessed where there is one reading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ostinato.data.table import Table
from ostinato.errors import DataError

TARGETS = (
    "label",
    "labels",
    "class",
    "target",
    "category",
    "tag",
    "tags",
    "y",
    "language",
    "sentiment",
    "stars",
    "score",
)
"""What a column to learn is usually called."""

NUMBERS = ("integer", "number")


@dataclass(frozen=True)
class Columns:
    """How sequences stand in files.

    Args:
        layout: ``text`` and ``cells``: a row is a sequence, a text or lists of numbers; ``wide``: a row's numbers,
            column after column, are a series; ``long``: a row is a step, and ``group`` says of which series; ``files``:
            a line is a text, and the file's name its class; ``ts``: a ``.ts`` file.
        inputs: the columns to read.
        target: the columns to learn.
        group, time: of the long layout.
        fill: what a missing number becomes, see :func:`ostinato.data.gaps.filled`; None for an error.
    """

    layout: str
    inputs: tuple[str, ...]
    target: tuple[str, ...]
    group: str | None = None
    time: str | None = None
    fill: str | None = None

    @property
    def is_text(self) -> bool:
        """Whether the sequences are texts."""
        return self.layout in ("text", "files")

    def content(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "inputs": list(self.inputs), "target": list(self.target)}

    @classmethod
    def from_content(cls, content: dict[str, Any]) -> Columns:
        """Back from ``content()``."""
        lists = {name: tuple(content[name]) for name in ("inputs", "target")}
        return cls(**{**content, **lists})


def choose(
    table: Table,
    inputs: Sequence[str],
    target: Sequence[str],
    group: str | None,
    time: str | None,
    besides: Sequence[str | None],
    fill: str | None = None,
) -> Columns:
    """The columns, from what was said of them.

    Args:
        table: with the rows.
        inputs, target, group, time: what the user named, else empty.
        besides: further columns that are neither read nor learnt.
        fill: what a missing number becomes.

    Raises:
        DataError: a column is missing, is read and learnt, or there are several readings; the message says how to
            choose.
    """
    for name, flag in [
        *((one, "--inputs") for one in inputs),
        *((one, "--target") for one in target),
        (group, "--group"),
        (time, "--time"),
        *((one, "--split-column") for one in besides),
    ]:
        if name is not None:
            table.need(name, flag)
    if leak := [name for name in target if name in inputs]:
        raise DataError(
            f"{table.name}: column {leak[0]!r} is to be learnt and read too; whoever reads the answer learns nothing. "
            f"Leave it out of --inputs"
        )
    if not target and not inputs and group is None and table.columns == ("text",):
        return _files(table)
    target = tuple(target) or (_guessed_target(table, [*inputs, group, time, *besides]),)
    taken = {*target, group, time, *besides}
    inputs = tuple(inputs) or _guessed_inputs(table, [name for name in table.columns if name not in taken], group)
    return Columns(_layout(table, inputs, group), tuple(inputs), target, group, time, fill)


def usual_targets(names: Sequence[str]) -> tuple[str, ...]:
    """Those that are called as a column to learn usually is.

    >>> usual_targets(["text", "Label"])
    ('Label',)
    """
    return tuple(name for name in names if name.strip().lower() in TARGETS)


def _files(table: Table) -> Columns:
    if len(table.files) < 2:
        raise DataError(f"{table.name} is a text without classes; name a folder with a file for each class, or a table")
    return Columns("files", ("text",), ())


def _guessed_target(table: Table, taken: Sequence[str | None]) -> str:
    free = [name for name in table.columns if name not in taken]
    if len(free) == 1 and len(table.columns) > 1:
        return free[0]
    usual = usual_targets(free)
    if len(usual) == 1:
        return usual[0]
    if len(free) == 2 and (texts := [name for name in free if table.kinds[name] in ("text", "numbers", "rows")]):
        # Of two columns the one that is read is a text or a series, and what is learnt has fewer different values.
        if len(texts) == 1:
            return next(name for name in free if name not in texts)
        few = sorted(free, key=lambda name: len(set(table.cells(name))))
        if len(set(table.cells(few[0]))) < len(set(table.cells(few[1]))):
            return few[0]
    raise DataError(f"{table.name}: which column is to be learnt? Say --target; the columns are {', '.join(free[:20])}")


def _guessed_inputs(table: Table, free: Sequence[str], group: str | None) -> tuple[str, ...]:
    of_kind = {
        kind: tuple(name for name in free if table.kinds[name] in kinds)
        for kind, kinds in {"text": ("text",), "lists": ("numbers", "rows"), "numbers": NUMBERS}.items()
    }
    if group is not None and of_kind["numbers"]:
        return of_kind["numbers"]
    if group is None and of_kind["lists"]:
        return of_kind["lists"]
    if group is None and len(of_kind["text"]) == 1:
        return of_kind["text"]
    if group is None and len(of_kind["numbers"]) == len(free) > 1:
        return of_kind["numbers"]
    raise DataError(
        f"{table.name}: which columns are to be read? Say --inputs; the columns are {', '.join(free[:20]) or 'none'}"
    )


def _layout(table: Table, inputs: Sequence[str], group: str | None) -> str:
    kinds = {table.kinds[name] for name in inputs}
    if group is not None:
        return "long"
    if kinds == {"text"} and len(inputs) == 1:
        return "text"
    if kinds <= {"numbers", "rows"}:
        return "cells"
    if kinds <= {*NUMBERS, "empty"}:
        return "wide"
    shown = ", ".join(f"{name} ({table.kinds[name]})" for name in inputs)
    raise DataError(
        f"{table.name}: the columns that are read must be one of texts, or all of numbers or all of lists, got {shown}"
    )
