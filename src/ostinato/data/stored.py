"""Tables too large for memory: kept as Arrow in the cache folder, and mapped from there by ``datasets``.

An entry is one file named by the files' names and by a hash of their content; the facts about the table stand in its
schema. An older entry of the same files is removed. Without a folder to write to, a temporary file serves.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypedDict

from ostinato.compiler.cache import VARIABLE, default
from ostinato.errors import DataError
from ostinato.models.files import remove_leftovers, replacing
from ostinato.models.needs import need

VERSION = 1
"""Part of every entry's name; another number makes all entries strangers."""

HOUR = 3600.0


class Facts(TypedDict):
    """What is known of a table besides its cells."""

    kinds: dict[str, str]
    ends: list[int]
    """The row after the last one of each file."""
    units: list[str]
    """What the rows of each file are counted in: lines, or rows."""
    notes: list[str]


def data_folder() -> Path | None:
    """``data`` beside the compiled kernels' folder, or in ``$OSTINATO_CACHE``; None where the cache is off."""
    folder = default().folder
    if folder is None:
        return None
    return folder / "data" if VARIABLE in os.environ else folder.with_name("data")


def kept_table(
    files: tuple[Path, ...], content: str, read: Callable[[], tuple[Facts, Iterator[Any]]]
) -> tuple[Any, Facts]:
    """The Arrow table of these files, mapped from the disk, and its facts.

    Args:
        files: what the table is of.
        content: tells one state of the files, and one way to read them, from another.
        read: gives the facts and the batches.

    Raises:
        DataError: neither the cache nor the temporary folder has room.
    """
    owner = _digest("\0".join(str(path.resolve()) for path in files))
    folder = data_folder()
    entry = None if folder is None else folder / f"{owner}-{_digest(f'{VERSION} {content}')}.arrow"
    if entry is not None and entry.is_file() and (found := _mapped(entry)):
        return found
    facts, batches = read()
    if entry is not None:
        try:
            remove_leftovers(entry, older_than=HOUR)
            with replacing(entry) as file:
                _write(file, facts, batches)
            for old in entry.parent.glob(f"{owner}-*.arrow"):
                if old != entry:
                    # Windows refuses to remove what another run has mapped; it goes the next time.
                    with suppress(OSError):
                        old.unlink()
            if found := _mapped(entry):
                return found
        except OSError:
            # A full or read-only disk costs the cache, not the run.
            pass
        # Batches already drawn are gone.
        facts, batches = read()
    return _temporary(facts, batches)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def _write(file: Any, facts: Facts, batches: Iterator[Any]) -> None:
    arrow = need("pyarrow", "tasks")
    first = next(batches)
    with arrow.ipc.new_stream(file, first.schema.with_metadata({"ostinato": json.dumps(facts)})) as writer:
        writer.write_batch(first)
        for batch in batches:
            writer.write_batch(batch)


def _mapped(entry: Path) -> tuple[Any, Facts] | None:
    """The entry, when it is whole."""
    datasets = need("datasets", "tasks")
    arrow = need("pyarrow", "tasks")
    try:
        with arrow.memory_map(str(entry)) as file, arrow.ipc.open_stream(file) as reader:
            facts: Facts = json.loads(reader.schema.metadata[b"ostinato"])
        data = datasets.Dataset.from_file(str(entry)).data.table
    except (arrow.ArrowInvalid, KeyError, OSError, ValueError):
        return None
    return (data, facts) if data.num_rows == facts["ends"][-1] else None


def _temporary(facts: Facts, batches: Iterator[Any]) -> tuple[Any, Facts]:
    handle, name = tempfile.mkstemp(suffix=".arrow")
    try:
        with os.fdopen(handle, "wb") as file:
            _write(file, facts, batches)
        found = _mapped(Path(name))
    except OSError as error:
        raise DataError(
            f"the table needs room on the disk, and {tempfile.gettempdir()} has none ({error}); "
            f"set {VARIABLE} to a folder with room"
        ) from error
    finally:
        # What is mapped stays readable; Windows keeps the file until the process ends.
        with suppress(OSError):
            os.unlink(name)
    if found is None:
        raise DataError(f"the table written to {name} could not be read back; is the disk sound?")
    return found
