"""Threads for a kernel: torch's own OpenMP team where there is one, so that no second set of threads competes with it.

A kernel waits at barriers, so its threads must run at the same time: they are a team or there is only one.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from ostinato.compiler.cpu import crowd

RUN = "define void @run(ptr %args, i64 %thread, i64 %threads, i64 %together) #0 {"
"""How a kernel begins: which part of the work is meant, of how many, and how many threads run such parts at a time."""

ENTRY = """
define void @team(ptr %data) #0 {
entry:
  %number = load ptr, ptr %data, align 8
  %at1 = getelementptr inbounds i64, ptr %data, i64 1
  %size = load ptr, ptr %at1, align 8
  %at2 = getelementptr inbounds i64, ptr %data, i64 2
  %groups = load i64, ptr %at2, align 8
  %thread32 = call i32 %number()
  %threads32 = call i32 %size()
  %thread = sext i32 %thread32 to i64
  %threads = sext i32 %threads32 to i64
  %enough = icmp sge i64 %threads, %groups
  br i1 %enough, label %apart, label %inturn
apart:
  %group = urem i64 %thread, %groups
  %local = udiv i64 %thread, %groups
  %behind = sub i64 %threads, %group
  %up = add i64 %behind, %groups
  %more = sub i64 %up, 1
  %count = udiv i64 %more, %groups
  %slot = add i64 %group, 3
  %place = getelementptr inbounds i64, ptr %data, i64 %slot
  %args = load ptr, ptr %place, align 8
  call void @run(ptr %args, i64 %local, i64 %count, i64 %count)
  ret void
inturn:
  br label %turn
turn:
  %g = phi i64 [ %thread, %inturn ], [ %nextg, %work ]
  %left = icmp slt i64 %g, %groups
  br i1 %left, label %work, label %end
work:
  %gslot = add i64 %g, 3
  %gplace = getelementptr inbounds i64, ptr %data, i64 %gslot
  %gargs = load ptr, ptr %gplace, align 8
  call void @run(ptr %gargs, i64 0, i64 1, i64 1)
  %nextg = add i64 %g, %threads
  br label %turn
end:
  ret void
}
"""
"""A team's common entry: its groups (one a direction) each get their share of the threads, or take turns."""

PAIR = 2
"""A team of so many loses nothing when its parts run one after the other on half of the processors it wanted."""

_forked = False


def _after_fork() -> None:
    """A child has one thread. Torch asks OpenMP for more, whose team stayed with the parent: it would wait for ever."""
    global _forked
    _forked = True
    if _team.cache_info().currsize and torch.get_num_threads() > 1:
        torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@dataclass(frozen=True)
class Team:
    """OpenMP's entry points out of the runtime torch has loaded."""

    parallel: Callable[..., None]
    number: int
    size: int


@cache
def _team() -> Team | None:
    """torch's OpenMP, if it is one whose entry is known; None elsewhere, and kernels run on one thread."""
    if not sys.platform.startswith("linux") or not torch.backends.openmp.is_available():
        return None
    for path in _runtimes():
        try:
            library = ctypes.CDLL(str(path))
            parallel = library.GOMP_parallel
            number, size = library.omp_get_thread_num, library.omp_get_num_threads
        except (OSError, AttributeError):
            continue
        parallel.restype = None
        parallel.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
        address = [ctypes.cast(f, ctypes.c_void_p).value or 0 for f in (number, size)]
        return Team(parallel, *address)
    return None


def _runtimes() -> list[Path]:
    """The OpenMP libraries this process has mapped, torch's own first."""
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return []
    found = {Path(line.split(maxsplit=5)[5]) for line in lines if "libgomp" in line or "libomp" in line}
    folder = Path(torch.__file__).parent
    return sorted((p for p in found if p.exists()), key=lambda p: (folder not in p.parents, str(p)))


def sched_yield() -> int:
    """The address of a function that gives the processor to another thread."""
    if sys.platform == "win32":
        return ctypes.cast(ctypes.windll.kernel32.SwitchToThread, ctypes.c_void_p).value or 0
    return ctypes.cast(ctypes.CDLL(None).sched_yield, ctypes.c_void_p).value or 0


def most() -> int:
    """How many threads a kernel may use now: torch's number; one after a fork, or inside a parallel region."""
    if _forked or _team() is None or torch.get_num_threads() == 1:
        return 1
    return torch.get_num_threads()


def _join() -> None:
    """A second team, of this thread; its work is to ask how many it is."""
    team = _team()
    if team is not None:
        team.parallel(team.size, None, crowd.more_than_processors(torch.get_num_threads()), 0)


_crowd = crowd.Crowd(_join)


def patience() -> int:
    """The address of how often a thread looks at a barrier before it gives its processor away."""
    return ctypes.addressof(_crowd.patience)


_RUN = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)


class Function:
    """A loaded kernel, ready to be called; the interpreter's lock is released while it runs."""

    def __init__(self, run: int, team: int) -> None:
        self._run = _RUN(run)
        self._entry = team

    def __call__(self, groups: Sequence[Any], threads: int, turns: int = 0) -> None:
        """Run one call for each group (a direction), side by side if there are threads for all, else in turn.

        Args:
            turns: into how many parts, which need not run at the same time, a group's work can be cut so that its
                results are the same bits; 0 if it cannot.
        """
        team = _team() if threads > 1 else None
        if team is None:
            self._in_turn(groups, 1)
        else:
            self._go(team, _told(team, groups), groups, threads, turns)

    def _in_turn(self, groups: Sequence[Any], parts: int) -> None:
        for args in groups:
            for part in range(parts):
                self._run(ctypes.addressof(args), part, parts, 1)

    def standing(self, args: Any, number: int, turns: int = 0) -> Callable[[], None]:
        """One group's call with all of it looked up beforehand, for one that is made again and again."""
        team = _team() if number > 1 else None
        if team is None:
            return self.bound(args)
        return partial(self._go, team, _told(team, (args,)), (args,), number, turns)

    def _go(self, team: Team, told: Any, groups: Sequence[Any], number: int, turns: int) -> None:
        if _others_want_them(number, turns):
            self._in_turn(groups, turns)
        else:
            team.parallel(self._entry, ctypes.addressof(told), number, 0)

    def bound(self, args: Any) -> Callable[[], None]:
        """A call on one thread with all of it looked up beforehand, for one that is made again and again."""
        one = ctypes.c_int64(1)
        return partial(self._run, ctypes.c_void_p(ctypes.addressof(args)), ctypes.c_int64(0), one, one)


def _told(team: Team, groups: Sequence[Any]) -> Any:
    """What :data:`ENTRY` reads."""
    addresses = [ctypes.addressof(args) for args in groups]
    return (ctypes.c_int64 * (3 + len(groups)))(team.number, team.size, len(groups), *addresses)


def _others_want_them(number: int, turns: int) -> bool:
    """Whether a pair's work is better done in turn, as other processes want the processors too."""
    _crowd.look(number)
    return turns > 0 and number == PAIR and _crowd.here
