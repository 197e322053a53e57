"""Files that are either the old one or the new one, whatever happens in between.

A reader never sees half a file: the new text goes to a temporary name in the same folder, is flushed to the disk, and
takes the old one's place in one step of the file system.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A binary file to write to; it becomes ``path`` when the block ends, and not at all when the block fails.

    The temporary name holds the process's number, so two processes never write into each other's file; what a killed
    process left behind is found by ``remove_leftovers``.

    Raises:
        OSError: the disk is full or not writable; ``path`` is as it was, and the temporary file is gone.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def remove_leftovers(path: Path, older_than: float = 0.0) -> None:
    """Removes the temporary files that killed writers of ``path`` left, if they are ``older_than`` seconds old."""
    for leftover in path.parent.glob(f".{path.name}.*.tmp"):
        # Another process may just have finished, or removed, the same file.
        with contextlib.suppress(FileNotFoundError):
            if time.time() - leftover.stat().st_mtime >= older_than:
                leftover.unlink()


def sync_folder(folder: Path) -> None:
    """Makes the names in ``folder`` durable. Windows cannot open a folder and needs no such call."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Replaces ``path`` by a file holding ``content``, in one step."""
    with replacing(path) as file:
        file.write(content)


def write_text(path: Path, content: str) -> None:
    """Replaces ``path`` by a UTF-8 file holding ``content`` as it is, in one step."""
    write_bytes(path, content.encode("utf-8"))
