"""How the benchmarks measure: contestants side by side in one run, on a machine whose other load is known.

A contest runs its contestants in blocks that alternate, and reports the median of ratios taken within one round, so a
drift of the machine's speed falls on all of them. Before each block stands a pause, in which the waiting threads of
the contestant before go to sleep, and one call that is not timed.
"""

from __future__ import annotations

import datetime
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

import ostinato

BLOCK = 0.02  # seconds: a timed block is at least this long
PAUSE = 0.08
"""Seconds between blocks: longer than a thread of OpenMP or of ONNX Runtime waits in a busy loop. With 0.02, a small
call right after ONNX Runtime's took twice its time on an EPYC."""
NOISE = 0.05  # of the processors' time used by others: above it a figure is marked


@dataclass
class Contest:
    """The seconds a call took: one number a round for each contestant, and the best of the heat before the rounds."""

    rounds: dict[str, list[float]]
    heat: dict[str, float]
    others: float | None

    def seconds(self, name: str) -> float:
        return statistics.median(self.rounds[name]) if name in self.rounds else self.heat[name]

    def ratio(self, name: str, base: str) -> float:
        """The time of ``name`` over that of ``base``, the median over the rounds: above 1, ``base`` is faster."""
        return statistics.median(a / b for a, b in zip(self.rounds[name], self.rounds[base], strict=True))

    def fastest(self, names: Iterable[str]) -> str:
        return min((name for name in names if name in self.rounds), key=self.seconds)

    @property
    def disturbed(self) -> bool:
        return self.others is not None and self.others > NOISE


def contest(
    contestants: Mapping[str, Callable[[], object]],
    budget: float,
    *,
    rivals: Iterable[str] = (),
    least_rounds: int = 3,
    most_rounds: int = 41,
) -> Contest:
    """Time the contestants against each other for about ``budget`` seconds.

    Args:
        contestants: name → one call.
        rivals: of these only the fastest matters: one half as slow again as the best of them stays out of the rounds.
        least_rounds: run however long they take.
    """
    watch = Watch()
    heat = {name: warm_seconds(call) for name, call in contestants.items()}
    rivals = set(rivals)
    best = min((heat[name] for name in rivals), default=math.inf)
    names = [name for name in contestants if name not in rivals or heat[name] <= 1.5 * best]
    rounds: dict[str, list[float]] = {name: [] for name in names}
    end = time.perf_counter() + budget
    turn = 0
    while turn < least_rounds or (turn < most_rounds and time.perf_counter() < end):
        first = turn % len(names)
        order = names[first:] + names[:first]
        for name in order if turn % 2 == 0 else reversed(order):
            rounds[name].append(_block(contestants[name], max(1, round(BLOCK / heat[name])), heat[name]))
        turn += 1
    return Contest(rounds, heat, watch.others())


def warm_seconds(call: Callable[[], object]) -> float:
    """The best of a few calls, after one in which everything that happens once has happened."""
    call()
    times = [_timed(call, 1)]
    while len(times) < 5 and sum(times) < 0.1:
        times.append(_timed(call, 1))
    return min(times)


def _block(call: Callable[[], object], repeats: int, once: float) -> float:
    time.sleep(PAUSE)
    if once < 10 * BLOCK:
        call()
    return _timed(call, repeats)


def _timed(call: Callable[[], object], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def geometric_mean(values: Iterable[float]) -> float:
    values = list(values)
    return math.exp(statistics.fmean(map(math.log, values))) if values else math.nan


class Watch:
    """What share of all processors' time other processes used since this was made; None where /proc does not tell."""

    def __init__(self) -> None:
        self._start = self._read()

    def others(self) -> float | None:
        now = self._read()
        if now is None or self._start is None or now[0] <= self._start[0]:
            return None
        total, busy, own = (b - a for a, b in zip(self._start, now, strict=True))
        return max(0.0, (busy - own) / total)

    @staticmethod
    def _read() -> tuple[float, float, float] | None:
        """Seconds of all processors: in all, not idle, and of this process with the children it has waited for."""
        try:
            fields = [int(n) for n in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        except (OSError, ValueError):
            return None
        tick = os.sysconf("SC_CLK_TCK")
        idle = fields[3] + fields[4]
        return sum(fields) / tick, (sum(fields) - idle) / tick, sum(os.times()[:4])


@dataclass
class Machine:
    """Where and with what a run was made, and how idle the machine was before it."""

    processor: str
    cores: int
    system: str
    versions: dict[str, str]
    threads: int
    date: str
    load: float | None
    others_before: float | None

    @classmethod
    def look(cls, versions: Mapping[str, str] = {}) -> Machine:
        watch = Watch()
        time.sleep(1.0)
        try:
            lines = Path("/proc/cpuinfo").read_text().splitlines()
        except OSError:
            lines = []
        names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
        return cls(
            next(names, platform.processor() or platform.machine()),
            os.cpu_count() or 1,
            platform.platform(),
            {"ostinato": ostinato.__version__, "torch": torch.__version__} | dict(versions),
            torch.get_num_threads(),
            datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
            watch.others(),
        )

    def lines(self) -> list[str]:
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        load = "unknown" if self.load is None else f"{self.load:.2f}"
        text = [
            f"machine   {self.processor}, {torch.backends.cpu.get_cpu_capability()}, {self.cores} cores, {self.system}",
            f"versions  {versions}, Python {platform.python_version()}",
            f"run       {self.date}, {self.threads} threads; before it load {load}, {percent(self.others_before)} of "
            "the processors used by others",
        ]
        if self.others_before is not None and self.others_before > NOISE:
            text.append("WARNING   the machine was not idle: these figures are disturbed")
        return text


def percent(share: float | None) -> str:
    return "unknown" if share is None else f"{share:.0%}"


def engine_missing(name: str) -> str | None:
    """Why no layer can be asked for this engine, in one line; None if one can."""
    try:
        ostinato.LSTM(2, 2, engine=name)
    except ValueError as error:
        return f"this version of Ostinato has no engine {name!r} ({error}); --engine loop tries the benchmark itself"
    return None
