"""A text line by line, the same lines however the file was cut in pieces on the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

LONGEST = 1 << 16
"""Characters. What has no line end for so long is cut, so that a file of one line takes no more memory than others."""

AT_ONCE = 1 << 10
"""Lines that are turned into tokens together."""


def lines(texts: Iterable[str]) -> Iterator[str]:
    """The lines of the texts joined, each with its line end ``\\n``.

    >>> list(lines(["one\\ntw", "o\\n", "\\nend"]))
    ['one\\n', 'two\\n', '\\n', 'end']
    """
    rest = ""
    for text in texts:
        rest += text
        start = 0
        while stop := _line_end(rest, start):
            yield rest[start:stop]
            start = stop
        rest = rest[start:]
    if rest:
        yield rest


def _line_end(text: str, start: int) -> int:
    """Where the line that begins at ``start`` ends; 0 where that cannot be known yet."""
    end = text.find("\n", start, start + LONGEST)
    if end >= 0:
        return end + 1
    return start + LONGEST if len(text) - start >= LONGEST else 0


def part(texts: Iterable[str], start: int, stop: int | None = None) -> Iterator[str]:
    """The characters from ``start`` to before ``stop`` of the texts joined.

    >>> "".join(part(["abc", "def", "ghi"], 2, 7))
    'cdefg'
    """
    position = 0
    for text in texts:
        yield text[max(0, start - position) : None if stop is None else max(0, stop - position)]
        position += len(text)


def bundles(texts: Iterable[str]) -> Iterator[list[str]]:
    """The lines of the texts, ``AT_ONCE`` together."""
    each = lines(texts)
    while bundle := list(islice(each, AT_ONCE)):
        yield bundle
