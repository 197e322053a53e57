"""Processors that other processes want too: threads wait there without spinning.

Threads that wait for each other spin first, since that is the fastest with a processor for each: ours at barriers for
some 50 µs, GNU OpenMP's for milliseconds, at the end of a parallel region and then for the next one. Beside another
busy process it is the slowest: a thread that spins holds the processor its partner waits for, and two training
processes on two cores fall into step with each other so that each takes five to fifty times as long. So every now and
then, before a team's work, we look how long threads of this process were ready and did not run. Where others want the
processors, a pair of threads becomes one that does the work of both, ours give their processor away at once where they
must meet, and OpenMP's sleep after microseconds: they do if a process has more of them than there are processors, so a
second team joins, which does nothing.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

KEPT = 0.3
"""Of the time since the last look a thread of ours was ready and did not run: from here on it may be a crowd."""

OVER = 0.5
"""And it is one where other processes use so many processors more than there are beside ours: threads of this process
can keep each other from running too. Half of that is enough for it to go on, as we may have left them room."""

LOOK, SHARE = 0.1, 100
"""Seconds between two looks, or so often a look's own time: it reads a file of each thread (four: 0.3 ms)."""

LASTING = 0.5
"""Seconds without a crowd until all is as before."""

PATIENT, HASTY = 4000, 50
"""How often a thread looks at a barrier before it gives its processor away: for some 50 µs, more than a step of a small
network takes, and for less than one."""


@dataclass(frozen=True)
class Times:
    """Seconds since ever.

    Attributes:
        kept: for each thread of this process, how long it was ready and did not run.
        used: processors' time that this process's threads have taken.
        busy: processors' time that anyone has taken.
    """

    kept: dict[str, float]
    used: float
    busy: float

    @classmethod
    def read(cls, system: Path = Path("/proc")) -> Times:
        """What Linux tells; nothing where it does not."""
        kept, used = {}, 0.0
        try:
            for thread in os.listdir(f"{system}/self/task"):
                with open(f"{system}/self/task/{thread}/schedstat", "rb", buffering=0) as file:
                    ran, waited, *_ = map(int, file.read().split())
                kept[thread], used = waited * 1e-9, used + ran * 1e-9
            ticks = sum(map(_busy, (system / "stat").read_text().splitlines()))
        except (OSError, ValueError):  # Among others, a thread that has ended meanwhile.
            return cls({}, 0.0, 0.0)
        return cls(kept, used, ticks / os.sysconf("SC_CLK_TCK"))

    def since(self, before: Times) -> tuple[float, float]:
        """The longest that a thread was kept, and what others used."""
        longest = max((time - before.kept[n] for n, time in self.kept.items() if n in before.kept), default=0.0)
        return longest, (self.busy - before.busy) - (self.used - before.used)


def _busy(line: str) -> int:
    """Ticks in which one of our processors was busy; 0 for other lines of the system's."""
    name, *ticks = line.split()
    if not name.startswith("cpu") or name[3:] not in OURS:
        return 0
    user, nice, kernel, _, _, hard, soft = map(int, ticks[:7])
    return user + nice + kernel + hard + soft


class Crowd:
    """Whether others want the processors, and what changes while they do.

    Args:
        join: makes a team of OpenMP threads, which belong to the thread that calls it.
        read: tells the times.
    """

    def __init__(self, join: Callable[[], None], read: Callable[[], Times] = Times.read) -> None:
        self.patience = ctypes.c_int64(PATIENT)
        self._join, self._read = join, read
        self._one = threading.Lock()
        self._next = self._last = self._seen = 0.0
        self._times = Times({}, 0.0, 0.0)
        self._leave: threading.Event | None = None

    @property
    def here(self) -> bool:
        return self._leave is not None

    def look(self, threads: int) -> None:
        """Before the work of so many threads, as often as one likes."""
        if time.perf_counter() >= self._next and self._one.acquire(blocking=False):
            try:
                self._look(time.perf_counter(), len(OURS) - threads)
            finally:
                self._one.release()

    def _look(self, now: float, room: int) -> None:
        times, passed = self._read(), now - self._last
        kept, others = times.since(self._times)
        over = others / passed - max(0, room)
        if over > OVER / 2 if self.here else over > OVER and kept > KEPT * passed:
            self._seen = now
            self._come()
        elif now - self._seen > LASTING:
            self._go()
        self._times, self._last = times, now
        self._next = now + max(LOOK, SHARE * (time.perf_counter() - now))

    def _come(self) -> None:
        if self._leave is None:
            self.patience.value = HASTY
            self._leave = threading.Event()
            threading.Thread(target=self._stay, args=(self._leave,), name="ostinato-crowd", daemon=True).start()

    def _go(self) -> None:
        if self._leave is not None:
            self.patience.value = PATIENT
            self._leave.set()
            self._leave = None

    def _stay(self, leave: threading.Event) -> None:
        self._join()
        leave.wait()


def more_than_processors(threads: int) -> int:
    """The size of a second team beside one of so many threads, so that OpenMP has more of them than processors."""
    return max(2, len(OURS) - threads + 2)


OURS = {str(n) for n in os.sched_getaffinity(0)} if hasattr(os, "sched_getaffinity") else set[str]()
"""The processors that this process may run on. OpenMP counts against those there were when it was loaded."""
