"""Large memory that is used again: a bounded pool beside torch's allocator, for what a layer keeps of all steps.

A call of a layer needs megabytes that live until its backward, and torch's allocator often asks the system for them
anew at every call. Writing such pages for the first time takes several times as long as the arithmetic that fills them.
So blocks that nothing refers to any more are kept here for the next call. The system may take back the pages of a block
that waits whenever it runs short, and :func:`release` gives all of them back.

>>> import ostinato
>>> ostinato.memory.release()
>>> ostinato.memory.idle()
0
"""

from __future__ import annotations

import atexit
import itertools
import math
import mmap
import os
import weakref
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils import deterministic

from ostinato.errors import InvalidType, InvalidValue

__all__ = ["idle", "keep_at_most", "release"]

LARGE = 2**18
"""Bytes from which the pool is used; smaller blocks torch's allocator recycles by itself. Larger ones it gives back to
the system whenever they lie at the end of its heap, and every page of the next call's is then asked for again."""

SPARE = 1.25
"""A block that waits is taken for less than it holds, but not for less than its size over this."""

HUGE = 2**21
"""Bytes of a large page. The system is asked for them where a block holds some: a page of 4 KiB at a time is slower."""

KEPT = 2**26
"""Bytes that wait as they are. Beyond, the pages of the largest blocks that wait are the system's if it needs them: to
say so is a call of the system, which a small block's work would not be worth."""

LINE, PLACES, APART = 64, 1024, 617
"""Bytes of a cache line; how many places there are for the start of a block; and how many of them one block begins
behind the one before it. A loop goes through several blocks at once, and if all began at a page their rows would drive
each other out of the caches: whatever blocks a call takes, this spreads them over a page and over 64 KiB."""

PRIVATE = getattr(mmap, "MAP_PRIVATE", 0) | getattr(mmap, "MAP_ANONYMOUS", 0)


@dataclass(slots=True, eq=False)
class _Block:
    pages: mmap.mmap
    start: int
    """Where it begins."""
    size: int
    """Bytes from there on."""
    user: weakref.ref[memoryview] | None = None
    """What all tensors on it refer to. When that is gone, the block waits again."""
    free: bool = False
    """Whether its pages are the system's if it needs them."""

    def back(self, user: object) -> None:
        """Nothing refers to it any more."""
        self.user = None
        _lent.discard(self)
        _waiting.append(self)
        _mark()
        _trim()

    def mark(self) -> None:
        """Let the system have the pages if it needs them; only for who holds the block, as what is in it may go."""
        self.free = True
        first = -(-self.start // mmap.PAGESIZE) * mmap.PAGESIZE
        with suppress(OSError):  # A system before Linux 4.5.
            self.pages.madvise(mmap.MADV_FREE, first, len(self.pages) - first)


_waiting: list[_Block] = []
"""Oldest first. Blocks come back from whatever thread drops the last reference, and during garbage collection, so no
lock guards them: every change is one operation of the list."""

_lent: set[_Block] = set()
"""Those in use: only what is held here hears that its user is gone."""


@atexit.register
def _forget() -> None:
    """At the interpreter's end nothing waits for blocks any more."""
    for block in tuple(_lent):
        block.user = None
    _lent.clear()


_numbers = itertools.count()
"""Of the blocks that were made."""

_limit = 0
"""Bytes; set below."""


def idle() -> int:
    """Bytes in blocks that wait to be used again."""
    return sum(block.size for block in tuple(_waiting))


def release() -> None:
    """Give all blocks that wait back to the system. Those in use return to the pool when nothing refers to them."""
    _waiting.clear()


def keep_at_most(size: int) -> None:
    """Bound the blocks that wait, of all threads together; the oldest are given back first.

    Args:
        size: bytes; 0 keeps none. At the start it is an eighth of the machine's memory.

    Raises:
        InvalidType, InvalidValue: not a whole number, or negative.
    """
    global _limit
    if not isinstance(size, int) or isinstance(size, bool):
        raise InvalidType(f"size must be an int, a number of bytes; got {size!r}")
    if size < 0:
        raise InvalidValue(f"size must be at least 0 bytes, which keeps no block, got {size}")
    _limit = size
    _trim()


def empty(like: Tensor, *shape: int) -> Tensor:
    """An uninitialised tensor with the dtype and device of another, out of the pool if it is large."""
    size = math.prod(shape) * like.element_size()
    if size < LARGE or not PRIVATE or like.device.type != "cpu":
        return like.new_empty(shape)
    block = _take(size)
    if block is None:
        return like.new_empty(shape)
    user = memoryview(block.pages)
    block.user = weakref.ref(user, block.back)
    _lent.add(block)
    made = torch.frombuffer(user, dtype=like.dtype, offset=block.start, count=math.prod(shape)).view(shape)
    if torch.are_deterministic_algorithms_enabled() and deterministic.fill_uninitialized_memory:  # type: ignore[attr-defined]
        made.fill_(math.nan)
    return made


def _take(size: int) -> _Block | None:
    """The smallest block that waits and fits, the last one used if several do; else a new one, or None."""
    whole = -(-size // LARGE) * LARGE
    fitting = [block for block in reversed(tuple(_waiting)) if whole <= block.size <= SPARE * whole]
    for block in sorted(fitting, key=lambda b: b.size):
        with suppress(ValueError):  # Another thread has taken it meanwhile.
            _waiting.remove(block)
            block.free = False
            return block
    try:
        return _mapped(whole)
    except (OSError, ValueError, OverflowError):
        # Torch's allocator may find room among small blocks, and says in its own words that there is none.
        release()
        return None


def _mapped(size: int) -> _Block:
    page = HUGE if size >= HUGE else mmap.PAGESIZE
    place = LINE * (APART * next(_numbers) % PLACES)
    pages = mmap.mmap(-1, size + page + place, flags=PRIVATE)
    if page == HUGE and hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # A system without large pages.
            pages.madvise(mmap.MADV_HUGEPAGE)
    address = torch.frombuffer(pages, dtype=torch.uint8).data_ptr()
    return _Block(pages, -address % page + place, size)


def _mark() -> None:
    """Mark blocks that wait, from the largest on, until few bytes wait as they are."""
    if not hasattr(mmap, "MADV_FREE"):
        return
    unmarked = [block for block in tuple(_waiting) if not block.free]
    left = sum(block.size for block in unmarked)
    for block in sorted(unmarked, key=lambda b: -b.size):
        if left <= KEPT:
            return
        with suppress(ValueError):  # Another thread has taken it meanwhile.
            _waiting.remove(block)
            block.mark()
            _waiting.insert(0, block)  # To be taken after those that are as they were.
        left -= block.size


def _trim() -> None:
    while idle() > _limit:
        with suppress(IndexError):  # Another thread was faster.
            _waiting.pop(0)


def _machine() -> int:
    """Bytes of memory the machine has; 8 GiB where it does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 2**33


_limit = _machine() // 8
