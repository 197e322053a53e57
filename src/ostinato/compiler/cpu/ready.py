"""Machine code ready to run: from the cache, or compiled and kept there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ostinato.compiler import cache
from ostinato.compiler.cpu import jit, threads
from ostinato.compiler.cpu.targets import Target

OBJECT = "object"
"""Under which name an entry of the cache holds the object file."""


@dataclass(frozen=True)
class InMemory:
    """Functions in memory, and the entry of the cache they came from. ``cached``: whether it was there."""

    loaded: jit.Loaded
    entry: cache.Entry
    cached: bool


@dataclass(frozen=True)
class Ready(InMemory):
    """A function that threads run together."""

    function: threads.Function


def ready(key: str, make: Callable[[], cache.Entry]) -> Ready:
    """The function kept under this key; see :func:`load`."""
    found = load(key, make, ("run", "team"))
    function = threads.Function(found.loaded["run"], found.loaded["team"])
    return Ready(found.loaded, found.entry, found.cached, function)


def from_text(source: str, target: Target) -> tuple[str, Callable[[], cache.Entry]]:
    """What :func:`ready` and :func:`load` take, for a module whose text is all there is to know of it."""
    return cache.key(source, jit.version(), repr(target)), lambda: {OBJECT: jit.compile(source, target)}


def load(key: str, make: Callable[[], cache.Entry], names: Iterable[str]) -> InMemory:
    """The functions kept under this key; ``make`` is asked for an entry, :data:`OBJECT` in it, if there is none."""
    store = cache.default()
    entry = found = store.get(key)
    if entry is None:
        entry = make()
        store.put(key, entry)
    return InMemory(jit.load(bytes(entry[OBJECT]), names), entry, found is not None)
