"""Tokens of files that were read before: ``$OSTINATO_CACHE``, or the user's cache folder.

An entry is two files, ``NAME.tokens`` and ``NAME.json``; the second is written last and says how long the first must
be, so an entry is whole or it is none. A full or read-only disk costs the cache, not the run.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ostinato.errors import DataError
from ostinato.models.files import remove_leftovers, replacing, write_text

VERSION = 1
"""Part of every entry's name; another number makes all entries strangers."""


HOUR = 3600.0
"""A temporary file this old belongs to a process that was killed, not to one that is writing."""


@dataclass(frozen=True)
class CachedTokens:
    """An open file of tokens, and what is known of them."""

    facts: dict[str, Any]
    file: BinaryIO


Tokeniser = Callable[[], tuple[dict[str, Any], Iterable[Any]]]
"""Gives the facts (``"bytes"`` among them: how long the tokens are) and the tokens, array by array."""


def cache_folder() -> Path:
    """``$OSTINATO_CACHE``, or ``ostinato`` in the platform's cache folder."""
    if chosen := os.environ.get("OSTINATO_CACHE"):
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "ostinato"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "ostinato"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ostinato"


def cached_tokens(path: Path, recipe: str, tokenise: Tokeniser) -> CachedTokens:
    """The tokens of ``path`` made by ``recipe``: from the cache, or made now and kept there.

    An entry belongs to the file's absolute path, size and time of change; an entry of an older state is removed.

    Raises:
        DataError: neither the cache nor the temporary folder has room.
    """
    state = path.stat()
    owner = _digest(f"{VERSION} {path} {recipe}")
    entry = cache_folder() / f"{owner}-{_digest(f'{state.st_size} {state.st_mtime_ns}')}"
    if found := _open(entry):
        return found
    facts, tokens = tokenise()
    try:
        return _keep(entry, owner, facts, tokens)
    except OSError:
        # No cache to be had: tokens already drawn from the iterator are gone, so it is made again.
        return _temporary(*tokenise())


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def _open(entry: Path) -> CachedTokens | None:
    """The entry, when it is whole."""
    try:
        facts = json.loads(entry.with_suffix(".json").read_text("utf-8"))
        file = open(entry.with_suffix(".tokens"), "rb")  # noqa: SIM115  (handed to the caller)
    except (OSError, ValueError):
        return None
    if os.fstat(file.fileno()).st_size != facts["bytes"]:
        file.close()
        return None
    return CachedTokens(facts, file)


def _keep(entry: Path, owner: str, facts: dict[str, Any], tokens: Iterable[Any]) -> CachedTokens:
    remove_leftovers(entry.with_suffix(".tokens"), older_than=HOUR)
    with replacing(entry.with_suffix(".tokens")) as file:
        for piece in tokens:
            file.write(piece)
    write_text(entry.with_suffix(".json"), json.dumps(facts))
    for old in entry.parent.glob(f"{owner}-*"):
        if old.stem != entry.name:
            # Windows refuses to remove what another run has mapped; it goes the next time.
            with suppress(OSError):
                old.unlink()
    found = _open(entry)
    if found is None:
        raise OSError(f"{entry} could not be read back")
    return found


def _temporary(facts: dict[str, Any], tokens: Iterable[Any]) -> CachedTokens:
    try:
        file = tempfile.TemporaryFile()  # noqa: SIM115  (handed to the caller)
        for piece in tokens:
            file.write(piece)
        file.flush()
    except OSError as error:
        raise DataError(
            f"the tokens need {facts['bytes']:,} bytes of disk, and neither {cache_folder()} nor "
            f"{tempfile.gettempdir()} has room ({error}); set OSTINATO_CACHE to a folder with room"
        ) from error
    return CachedTokens(facts, file)
