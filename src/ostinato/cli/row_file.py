"""A file of rows that may be killed at any moment: it goes on where it was, and is never seen half-written.

The rows go to ``.NAME.part``. Every second what is there is made durable, and ``.NAME.part.json`` notes how many rows
and bytes that is, and what they were made from. A later run from the same things cuts the file at that length and goes
on; at the end the file takes its name in one step of the file system.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from ostinato.cli.row_formats import Row, RowFormat
from ostinato.errors import DataError, ModelFolderError
from ostinato.models.files import sync_folder, write_text

NOTE_EVERY = 1.0
"""Seconds of work that a kill may cost."""

RowsFrom = Callable[[int], Iterable[Row]]
"""The rows from number n on."""


@dataclass
class Progress:
    """How far a file has come.

    Args:
        fingerprint: of all that the rows depend on.
        columns: of the first row.
        rows: that are complete.
        bytes: that they take.
    """

    fingerprint: str
    columns: list[str]
    rows: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class RowFile:
    """A file of rows in the making.

    Args:
        path: its final name.
        format: how rows become text.
        fingerprint: of all that the rows depend on; a part of another fingerprint is thrown away.
    """

    path: Path
    format: RowFormat
    fingerprint: str

    @property
    def part(self) -> Path:
        """Where the rows are until the file is complete."""
        return self.path.with_name(f".{self.path.name}.part")

    @property
    def note(self) -> Path:
        """How far it is."""
        return self.path.with_name(f".{self.path.name}.part.json")

    def begun(self) -> Progress:
        """How far an earlier run came; nothing, if there was none or it was of other things."""
        nothing = Progress(self.fingerprint, [])
        try:
            noted = Progress(**json.loads(self.note.read_text("utf-8")))
            fits = noted.fingerprint == self.fingerprint and self.part.stat().st_size >= noted.bytes
        except (OSError, ValueError, TypeError):
            return nothing
        return noted if fits else nothing

    def write(self, rows: RowsFrom) -> int:
        """Writes the rows, from where an earlier run stopped; the number of all of them.

        Raises:
            OSError: the disk is full or not writable; what is there can be gone on with.
            Exception: whatever ``rows`` raises.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        done = self.begun()
        try:
            self._go_on(done, rows)
        except BaseException:
            if not self.note.exists():
                # Nothing is there that could be gone on with.
                self.part.unlink(missing_ok=True)
            raise
        os.replace(self.part, self.path)
        self.note.unlink(missing_ok=True)
        sync_folder(self.path.parent)
        return done.rows

    def _go_on(self, done: Progress, rows: RowsFrom) -> None:
        with open(self.part, "r+b" if done.rows else "wb") as file:
            file.truncate(done.bytes)
            file.seek(done.bytes)
            noted = time.monotonic()
            for text, complete in _pieces(self.format, rows, done):
                file.write(text.encode("utf-8"))
                if complete and time.monotonic() - noted >= NOTE_EVERY:
                    self._note(file, done)
                    noted = time.monotonic()
            _settle(file)

    def _note(self, file: BinaryIO, done: Progress) -> None:
        _settle(file)
        done.bytes = file.tell()
        write_text(self.note, json.dumps(asdict(done)))


def write_to_stream(stream: TextIO, format: RowFormat, rows: RowsFrom) -> int:
    """The same rows to a stream, which cannot be gone on with; their number."""
    done = Progress("", [])
    for text, complete in _pieces(format, rows, done):
        stream.write(text)
        if complete:
            stream.flush()
    return done.rows


def must_be_free(path: Path, overwrite: bool) -> None:
    """Asked before any work.

    Raises:
        DataError: there is a file of that name already, and ``overwrite`` is not given.
        ModelFolderError: there is a folder of that name.
    """
    if path.is_dir():
        raise ModelFolderError(f"{path} is a folder, and a file is needed; name one with -o {path / 'predictions.csv'}")
    if path.exists() and not overwrite:
        raise DataError(f"{path} exists already; replace it (--overwrite), or name another file with -o")


def _pieces(format: RowFormat, rows: RowsFrom, done: Progress) -> Iterator[tuple[str, bool]]:
    """The text piece by piece, and whether a row ends there; ``done`` counts along."""
    for row in rows(done.rows):
        if not done.rows:
            done.columns = list(row)
            yield format.begin(done.columns), False
        text = format.row(done.columns, row, done.rows)
        done.rows += 1
        yield text, True
    if not done.rows:
        yield format.begin([]), False
    yield format.end(done.rows), False


def _settle(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())
