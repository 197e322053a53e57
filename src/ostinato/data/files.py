"""Which files the user named, and whether they stayed the same while they were read."""

from __future__ import annotations

import difflib
import glob
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ostinato.errors import DataError

PIECE = 1 << 20
LINE_LIMIT = 1 << 28
"""A line longer than so many bytes is taken for a file that has no lines."""

BESIDE_THE_DATA = ("readme", "license", "licence", "notice", "copying", "changelog")
"""Files of a folder that are about the data; they are left out."""

UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def expand(paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> tuple[Path, ...]:
    """The files that names, folders and globs stand for.

    A folder stands for its files in the order of their names, without hidden files and without those that are about
    the data (README, LICENSE and their like); they must have one ending. A glob stands for its matches in the order
    of their names; ``**`` reaches into folders.

    Raises:
        DataError: nothing is there (the message names the nearest file), a file is empty, or is named twice.
    """
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    found = [file for path in paths for file in _expanded(Path(path))]
    if not found:
        raise DataError("no file was named; name a file, a folder or a glob")
    seen = set()
    for file in found:
        if file.resolve() in seen:
            raise DataError(f"{file} is named twice; its rows would count double")
        seen.add(file.resolve())
    return tuple(found)


def _expanded(path: Path) -> list[Path]:
    if path.is_dir():
        return _folder(path)
    if path.exists():
        if path.is_file() and path.stat().st_size == 0:
            raise DataError(f"{path} is empty: there is nothing to learn from")
        return [path]
    if glob.has_magic(str(path)):
        files = [Path(name) for name in sorted(glob.glob(str(path), recursive=True)) if Path(name).is_file()]
        if not files:
            raise DataError(f"no file matches {path}")
        return [file for one in files for file in _expanded(one)]
    names = sorted(entry.name for entry in path.parent.iterdir()) if path.parent.is_dir() else []
    near = [str(path.with_name(name)) for name in difflib.get_close_matches(path.name, names, n=2)]
    raise DataError(f"there is no file {path}" + (f"; did you mean {' or '.join(near)}?" if near else ""))


def _folder(folder: Path) -> list[Path]:
    files = [
        entry
        for entry in sorted(folder.iterdir())
        if entry.is_file() and not entry.name.startswith(".") and entry.stem.lower() not in BESIDE_THE_DATA
    ]
    if not files:
        raise DataError(f"the folder {folder} holds no files; name a folder with data files in it")
    endings = sorted({file.suffix.lower() for file in files})
    if len(endings) > 1:
        raise DataError(
            f"the folder {folder} holds files of several kinds ({', '.join(ending or 'none' for ending in endings)}); "
            f"name those you mean, as in {folder / ('*' + files[0].suffix)}"
        )
    return [file for one in files for file in _expanded(one)]


def fingerprint(files: Sequence[Path]) -> str:
    """A hash of the files' names and bytes: the same hash, the same data."""
    digest = hashlib.blake2b(digest_size=16)
    for path in files:
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode("utf-8", "surrogatepass"))
        with open(path, "rb") as file:
            while piece := file.read(PIECE):
                digest.update(piece)
    return digest.hexdigest()


@contextmanager
def unchanged(files: Sequence[Path]) -> Iterator[str]:
    """The files' fingerprint; when the block ends they are looked at again.

    Raises:
        DataError: a file changed, or went away, while the block read it.
    """
    before, single = fingerprint(files), [_state(path) for path in files]
    yield before
    changed = [path for path, state in zip(files, single, strict=True) if _state(path) != state]
    if not changed and fingerprint(files) != before:
        changed = list(files)
    if changed:
        raise DataError(
            f"{changed[0]} changed while it was read; wait until whoever writes it has finished, or read a copy"
        )


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        state = path.stat()
    except FileNotFoundError:
        return None
    return state.st_size, state.st_mtime_ns, state.st_ino


def text_lines(path: Path) -> Iterator[str]:
    """The lines of a UTF-8 file with their line ends; a byte order mark is left out.

    Raises:
        DataError: a line is not UTF-8, holds a NUL character, or is longer than ``LINE_LIMIT``.
    """
    with open(path, "rb") as file:
        number = 0
        while line := file.readline(LINE_LIMIT):
            number += 1
            if number == 1:
                if line.startswith(UTF_16):
                    raise DataError(
                        f"{path} is UTF-16, and UTF-8 is needed; convert it: iconv -f utf-16 -t utf-8 FILE > NEW"
                    )
                line = line.removeprefix(b"\xef\xbb\xbf")
            if len(line) == LINE_LIMIT:
                raise DataError(f"{path}, line {number:,} is longer than {LINE_LIMIT:,} bytes; is it a text file?")
            yield _decoded(line, path, number)


def _decoded(line: bytes, path: Path, number: int) -> str:
    if b"\0" in line:
        raise DataError(f"{path}, line {number:,} holds a NUL character; is it a text file, in UTF-8?")
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} must be UTF-8, and line {number:,} has the byte 0x{line[error.start]:02x} at place "
            f"{error.start + 1:,}; convert it: iconv -f latin1 -t utf-8 FILE > NEW"
        ) from None
