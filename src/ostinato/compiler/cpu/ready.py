"""Machine code ready to run: from the cache, or compiled and kept there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ostinato.compiler import cache
from ostinato.compiler.cpu import jit, threads

OBJECT = "object"
"""Under which name an entry of the cache holds the object file."""


@dataclass(frozen=True)
class Ready:
    """A function in memory, and the entry of the cache it came from.

    Attributes:
        loaded: what keeps the function in memory.
        cached: whether the entry was there.
    """

    function: threads.Function
    loaded: jit.Loaded
    entry: cache.Entry
    cached: bool


def ready(key: str, make: Callable[[], cache.Entry]) -> Ready:
    """The function kept under this key; ``make`` is asked for an entry, :data:`OBJECT` in it, if there is none."""
    store = cache.default()
    entry = found = store.get(key)
    if entry is None:
        entry = make()
        store.put(key, entry)
    loaded = jit.load(bytes(entry[OBJECT]), ("run", "team"))
    return Ready(threads.Function(loaded["run"], loaded["team"]), loaded, entry, found is not None)
