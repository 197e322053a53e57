"""A text file read in pieces, checked to be UTF-8 on the way: a file of any size passes through a few megabytes."""

from __future__ import annotations

import codecs
import difflib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

from ostinato.errors import DataError
from ostinato.models.needs import need
from ostinato.models.text_lines import bundles
from ostinato.models.vocabulary import ByteVocabulary, CharacterVocabulary, LineVocabulary, Vocabulary, token_dtype

PIECE = 1 << 22
"""Bytes read at a time."""


def existing_file(path: Path) -> Path:
    """``path`` itself, when it is a file with something in it.

    Raises:
        DataError: it is missing (the message names the nearest file), a directory, or empty.
    """
    if path.is_dir():
        raise DataError(f"a text file is needed, and {path} is a directory; name one file, or join several with cat")
    if not path.exists():
        near = _near(path)
        raise DataError(f"there is no file {path}" + (f"; did you mean {' or '.join(near)}?" if near else ""))
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty: there is nothing to learn from")
    return path


def _near(path: Path) -> list[str]:
    if not path.parent.is_dir():
        return []
    names = sorted(entry.name for entry in path.parent.iterdir())
    return [str(path.with_name(name)) for name in difflib.get_close_matches(path.name, names, n=2)]


def pieces(path: Path) -> Iterator[bytes]:
    """The file's bytes, ``PIECE`` at a time."""
    with open(path, "rb") as file:
        while piece := file.read(PIECE):
            yield piece


def texts(path: Path) -> Iterator[str]:
    """The file's text in pieces, line ends untouched.

    Raises:
        DataError: the file is not UTF-8; the message names the first bad byte.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    before = 0
    for piece in pieces(path):
        waiting = len(decoder.getstate()[0])
        yield _decode(decoder, piece, path, before - waiting)
        before += len(piece)
    _decode(decoder, b"", path, before - len(decoder.getstate()[0]), final=True)


def code_points(path: Path) -> Iterator[Any]:
    """The file's characters as numpy arrays of code points (uint32); errors as for ``texts``."""
    numpy = need("numpy")
    for text in texts(path):
        yield numpy.frombuffer(text.encode("utf-32-le"), dtype="<u4")


def _decode(decoder: codecs.IncrementalDecoder, piece: bytes, path: Path, offset: int, final: bool = False) -> str:
    try:
        return decoder.decode(piece, final)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} must be UTF-8, and byte {offset + error.start:,} (0x{error.object[error.start]:02x}) is not. "
            f"Convert it (iconv -f latin1 -t utf-8 FILE > NEW), or train on its bytes with --tokens byte"
        ) from None


def token_pieces(path: Path, vocabulary: Vocabulary) -> Iterator[Any]:
    """The file's tokens as numpy arrays, a piece at a time.

    Raises:
        DataError: the file is not UTF-8, and the tokens are no bytes.
    """
    if isinstance(vocabulary, ByteVocabulary):
        numpy = need("numpy")
        for piece in pieces(path):
            yield numpy.frombuffer(piece, dtype="uint8")
    elif isinstance(vocabulary, CharacterVocabulary):
        table = vocabulary.table
        for points in code_points(path):
            yield table[points]
    else:
        yield from line_tokens(texts(path), cast(LineVocabulary, vocabulary))


def line_tokens(text: Iterable[str], vocabulary: LineVocabulary) -> Iterator[Any]:
    """The tokens of a text that is read line by line, as numpy arrays.

    Args:
        text: in pieces, cut anywhere.
        vocabulary: one with ``by_line``.
    """
    numpy = need("numpy")
    for bundle in bundles(text):
        yield numpy.array(vocabulary.encode_lines(bundle), dtype=token_dtype(vocabulary.size))
