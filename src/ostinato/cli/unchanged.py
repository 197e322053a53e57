"""Files that must stay as they are while a command reads them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from ostinato.errors import DataError


@contextlib.contextmanager
def unchanged(files: Sequence[Path]) -> Iterator[None]:
    """Compares size, time and identity of each file before and after the block.

    Raises:
        DataError: one is another than before; what was made from it is half of the old and half of the new.
    """
    before = [_mark(file) for file in files]
    yield
    for file, mark in zip(files, before, strict=True):
        if mark != _mark(file):
            raise DataError(
                f"{file} changed while it was read, so the result would be of neither file; "
                f"wait until it is complete, or copy it, and run the command again"
            )


def _mark(path: Path) -> tuple[int, ...] | None:
    """None where there is no file: what reads it says so, in its own words."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ino
