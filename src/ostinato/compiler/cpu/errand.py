"""Calls of compiled functions that are worked out before the first of them runs.

What a loop of milliseconds leaves of Python's own data in the caches is little, and whatever Python does right after it
takes several times as long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple


class Errand(NamedTuple):
    """A call to come: what it is told just before it goes. Who runs it keeps alive what addresses point to."""

    go: Callable[[], None]
    words: Any = None
    told: Sequence[tuple[int, int]] = ()


def run(errands: Iterable[Errand]) -> None:
    """Run one after the other."""
    for go, words, told in errands:
        for at, value in told:
            words[at] = value
        go()
