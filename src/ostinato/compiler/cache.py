"""Compiled kernels kept on disk, so that the next process need not compile them.

The cache is a convenience: whatever goes wrong with it (a full disk, a broken file, a folder of somebody else's), the
kernel is compiled as if it were not there. What is read from it is run, so it is read only from a folder that nobody
else may write to.

An entry is one file: a line that says what it is, the SHA-256 of the rest, then named byte strings with their lengths.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

Entry = Mapping[str, bytes]
"""Named byte strings: the program's text, the object file, what a reader needs to know of them."""

VARIABLE = "OSTINATO_CACHE"
MAGIC = b"ostinato kernel 1\n"
SUFFIX = ".kernel"
LIMIT = 512 * 2**20


class Untrusted(OSError):
    """A file or folder that somebody else may write to."""


def key(*parts: str | bytes) -> str:
    """A name for what these parts say together; ``("ab", "c")`` and ``("a", "bc")`` differ."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(struct.pack("<Q", len(data)))
        total.update(data)
    return total.hexdigest()


class Cache:
    """Entries in a folder, by key. A folder of None is a cache that keeps nothing.

    No method raises for what happens on the disk; :meth:`reason` says why nothing is kept.
    """

    def __init__(self, folder: str | os.PathLike[str] | None, limit: int = LIMIT) -> None:
        self.folder = None if folder is None else Path(folder)
        self.limit = limit
        self._reason: str | None = f"{VARIABLE} turns it off" if folder is None else None
        self._full: str | None = None
        self._ready = False

    def reason(self) -> str | None:
        """Why nothing more is kept; None while all is well."""
        self._open()
        return self._reason or self._full

    def get(self, key: str) -> Entry | None:
        """What :meth:`put` kept under this key; None if nothing, or if it can no longer be read."""
        folder = self._open()
        if folder is None:
            return None
        try:
            with (folder / f"{key}{SUFFIX}").open("rb") as file:
                _check(os.fstat(file.fileno()), file.name)
                data = file.read()
        except FileNotFoundError:
            return None
        except Untrusted as problem:
            self._close(problem)
            return None
        except OSError:
            return None
        return _unpack(data)

    def put(self, key: str, entry: Entry) -> None:
        """Keep an entry: whole or not at all, whoever else writes the same."""
        folder = self._open()
        if folder is None or self._full is not None:
            return
        data = _pack(entry)
        if len(data) > self.limit:
            return
        try:
            self._make_room(folder, len(data))
            handle, temporary = tempfile.mkstemp(dir=folder, prefix=".", suffix=".part")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                os.replace(temporary, folder / f"{key}{SUFFIX}")
            except BaseException:
                with suppress(OSError):
                    os.unlink(temporary)
                raise
        except OSError as problem:  # What is there can still be read.
            self._full = str(problem)

    def _open(self) -> Path | None:
        """The folder, made and examined the first time; None if nothing is to be kept."""
        if self._reason is not None or self.folder is None:
            return None
        if not self._ready:
            try:
                if not self.folder.is_absolute():  # What a user without a home is left with would be made right here.
                    raise FileNotFoundError(f"{self.folder} is nobody's; {VARIABLE} may name a folder")
                self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                self.folder = self.folder.resolve(strict=True)
                _check(self.folder.stat(), str(self.folder))
            except OSError as problem:
                self._close(problem)
                return None
            self._ready = True
        return self.folder

    def _close(self, problem: OSError) -> None:
        """Keep nothing from here on; one warning if somebody else could have written what would be run."""
        self._reason = str(problem)
        if isinstance(problem, Untrusted):
            from ostinato.compiler.lines import caller_level  # It imports torch, which a cache does not need.

            warnings.warn(
                f"Compiled kernels are not kept: {problem}. Take the rights of others from it (chmod go-w), or set "
                f"{VARIABLE} to a folder of your own; {VARIABLE}=off is silent.",
                stacklevel=caller_level(),
            )

    def _make_room(self, folder: Path, size: int) -> None:
        """Remove the oldest files until there is room; another process may do the same."""
        files = sorted(_files(folder))
        total = sum(length for _, length, _ in files) + size
        for _, length, path in files:
            if total <= self.limit:
                return
            with suppress(OSError):
                os.unlink(path)
            total -= length


def _files(folder: Path) -> Iterator[tuple[float, int, str]]:
    """Age, size and path of what this cache wrote, also what a process that died left half written."""
    with os.scandir(folder) as found:
        for item in found:
            if item.name.endswith((SUFFIX, ".part")):
                with suppress(OSError):
                    status = item.stat(follow_symlinks=False)
                    yield status.st_mtime, status.st_size, item.path


def _check(status: os.stat_result, name: str) -> None:
    """Raise Untrusted unless it is this user's, and nobody else may write to it. Windows has no such rights."""
    if os.name != "posix":
        return
    if status.st_uid != os.geteuid():
        raise Untrusted(f"{name} belongs to another user")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise Untrusted(f"{name} may be written to by other users")


def _pack(entry: Entry) -> bytes:
    parts = []
    for name, value in entry.items():
        label = name.encode()
        parts += [struct.pack("<IQ", len(label), len(value)), label, value]
    payload = b"".join(parts)
    return MAGIC + hashlib.sha256(payload).digest() + payload


def _unpack(data: bytes) -> Entry | None:
    """The entry; None for anything that is not, byte for byte, what :func:`_pack` wrote."""
    start = len(MAGIC) + hashlib.sha256().digest_size
    payload = data[start:]
    if data[: len(MAGIC)] != MAGIC or data[len(MAGIC) : start] != hashlib.sha256(payload).digest():
        return None
    entry, at = {}, 0
    while at < len(payload):
        label, length = struct.unpack_from("<IQ", payload, at)
        at += 12
        name = payload[at : at + label].decode()
        at += label
        entry[name] = payload[at : at + length]
        at += length
    return entry


def default() -> Cache:
    """The user's cache: where ``OSTINATO_CACHE`` says, else where the system keeps such things."""
    asked = os.environ.get(VARIABLE)
    if asked is not None:
        folder = os.path.expanduser(asked)
        own = folder if folder.startswith("~") else os.path.abspath(folder)
        return _at(None if asked.strip().lower() in ("", "off") else own)
    return _at(os.path.join(_home(), "ostinato", "kernels"))


def _home() -> str:
    """Where this system keeps what can be made again."""
    if os.environ.get("XDG_CACHE_HOME"):
        return os.environ["XDG_CACHE_HOME"]
    if sys.platform == "win32":
        return os.environ.get("LOCALAPPDATA") or os.path.expanduser(r"~\AppData\Local")
    if sys.platform == "darwin":
        return os.path.expanduser("~/Library/Caches")
    return os.path.expanduser("~/.cache")


@cache
def _at(folder: str | None) -> Cache:
    """One cache a folder and process, so that its warning comes once."""
    return Cache(folder)
