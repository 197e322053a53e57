"""What a command says while it works: a bar with the time left on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from ostinato.models.needs import need
from ostinato.training.talk import LINE_EVERY, console, duration

T = TypeVar("T")

LINES = {".csv": 1, ".tsv": 1, ".jsonl": 0, ".ndjson": 0, ".txt": 0}
"""Files with a row a line, and how many of their lines are no row."""


def say(text: str, quiet: bool = False) -> None:
    """A line on the error stream, which leaves the output to the result."""
    if not quiet:
        console().print(text, markup=False)


def counted(rows: Iterator[T], done: int, total: int | None, quiet: bool) -> Iterator[T]:
    """The rows themselves, counted aloud.

    Args:
        rows: to come.
        done: those that an earlier run has made.
        total: of both, as far as it is known.
        quiet: nothing is said.
    """
    if quiet:
        yield from rows
        return
    out, begun = console(), time.monotonic()
    rich = need("rich.progress")
    columns = (rich.BarColumn(), rich.TextColumn("{task.description}"))
    with rich.Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as bar:
        task, said = bar.add_task("…", total=total, completed=done), begun
        for number, row in enumerate(rows, start=1):
            yield row
            now = time.monotonic()
            line = _line(done + number, number, total, now - begun)
            if out.is_terminal:
                bar.update(task, completed=done + number, description=line)
            elif now - said >= LINE_EVERY:
                said = now
                out.print(line)


def _line(done: int, new: int, total: int | None, seconds: float) -> str:
    speed = new / max(1e-9, seconds)
    parts = [f"{done:,} rows", f"{speed:,.0f} rows/s"]
    if total is not None and total > done:
        parts.append(f"{duration((total - done) / speed)} left")
    return " · ".join(parts)


def rows_about(files: Sequence[Path]) -> int | None:
    """How many rows the files hold, by their line ends: near enough to tell the time; None where lines tell nothing."""
    if any(file.suffix.lower() not in LINES for file in files):
        return None
    return sum(_lines(file) - LINES[file.suffix.lower()] for file in files)


def _lines(path: Path) -> int:
    with open(path, "rb") as file:
        return sum(piece.count(b"\n") for piece in iter(lambda: file.read(1 << 20), b""))
