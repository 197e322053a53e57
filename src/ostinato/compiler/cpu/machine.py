"""A loop as machine code: scheduled, emitted and compiled, or taken from the cache."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cache as once
from pathlib import Path
from typing import Any

import torch

import ostinato.compiler
from ostinato.compiler import cache
from ostinato.compiler.cpu import jit, threads
from ostinato.compiler.cpu.alone import ELEMENT
from ostinato.compiler.cpu.emit import emit
from ostinato.compiler.cpu.flat import flatten
from ostinato.compiler.cpu.layout import Buffer, Layout
from ostinato.compiler.cpu.ready import OBJECT, ready
from ostinato.compiler.cpu.schedule import Schedule, describe, schedule, work_of
from ostinato.compiler.cpu.shared import Shared, shared
from ostinato.compiler.cpu.targets import Target, host
from ostinato.compiler.graph import Graph, dumps
from ostinato.compiler.interpret import POINTWISE


@dataclass(frozen=True)
class About:
    """What a caller and a reader need to know of a loop's code; it is kept beside the code in the cache.

    Attributes:
        packed: bytes of packed weights.
        temporaries: the width of each buffer within a step.
        passing: those of which a few rows a thread are enough.
        work: multiply-adds of products a row and step.
        elements: elementwise operations a row and step, where there are no products.
        apart: whether each thread runs through all steps with rows or columns of its own.
        around: the streams that are written around the caches, if all of their rows are aligned.
        stages, tiles: how the loop is cut, in words.
        times: the seconds each part of compiling took.
    """

    packed: int
    temporaries: dict[str, int]
    passing: list[str]
    work: int
    elements: int
    apart: bool
    around: list[str]
    stages: str
    tiles: str
    times: dict[str, float]


@dataclass(frozen=True)
class Machine:
    """One loop as machine code. ``cached``: it came from the disk."""

    layout: Layout
    target: Target
    dtype: torch.dtype
    about: About
    function: threads.Function
    shared: Shared
    loaded: jit.Loaded
    cached: bool

    @property
    def lanes(self) -> int:
        return self.target.lanes(ELEMENT[self.dtype])


def compiled(graph: Graph, buffers: Iterable[Buffer], dtype: torch.dtype, backward: bool) -> Machine:
    """A loop's code.

    Args:
        graph: one step, simplified.
        buffers: where its inputs come from and its outputs go, by their names.
        dtype: of every number.
        backward: the states of the forward loop are read from their trajectories.
    """
    target, own = host(), list(buffers)

    def make() -> cache.Entry:
        about, object = _compile(graph, own, dtype, backward, target)
        return {"about": json.dumps(asdict(about)).encode(), OBJECT: object}

    found = ready(_key(graph, own, dtype, backward, target), make)
    about = About(**json.loads(found.entry["about"]))
    layout = _layout(own, about.temporaries, target, dtype)
    functions = shared(ELEMENT[dtype], target)
    return Machine(layout, target, dtype, about, found.function, functions, found.loaded, found.cached)


def text(graph: Graph, buffers: Iterable[Buffer], dtype: torch.dtype, backward: bool, target: Target) -> str:
    """The loop as LLVM's text, for any target."""
    own = list(buffers)
    plan = _plan(graph, own)
    layout = _layout(own, plan.temporaries, target, dtype)
    return emit(plan, layout, target, ELEMENT[dtype], backward).text + threads.ENTRY


def _compile(
    graph: Graph, own: list[Buffer], dtype: torch.dtype, backward: bool, target: Target
) -> tuple[About, bytes]:
    start = time.perf_counter()
    plan = _plan(graph, own)
    scheduled = time.perf_counter()
    layout = _layout(own, plan.temporaries, target, dtype)
    emitted = emit(plan, layout, target, ELEMENT[dtype], backward)
    written = time.perf_counter()
    object = jit.compile(emitted.text + threads.ENTRY, target)
    times = {
        "schedule": scheduled - start,
        "emit": written - scheduled,
        "compile": time.perf_counter() - written,
    }
    work = work_of(plan)
    elements = 0 if work else sum(n.width for n in graph.nodes() if n.op in POINTWISE)
    stages = describe(plan)
    within = plan.temporaries, sorted(plan.passing)
    how = emitted.apart, emitted.around
    return About(emitted.packed, *within, work, elements, *how, stages, emitted.tiles, times), object


def _plan(graph: Graph, own: list[Buffer]) -> Schedule:
    return schedule(flatten(graph), [b.name for b in own if b.name.startswith("sum.")])


def _layout(own: list[Buffer], temporaries: dict[str, int], target: Target, dtype: torch.dtype) -> Layout:
    within = [Buffer(name, "rows", width) for name, width in temporaries.items()]
    return Layout.of([*own, *within], target.lanes(ELEMENT[dtype]))


def _key(graph: Graph, own: list[Buffer], dtype: torch.dtype, backward: bool, target: Target) -> str:
    """Everything the code depends on: the step, its buffers, the processor, the compiler and its compiler."""
    parts: list[Any] = [dumps(graph), [asdict(b) for b in own], str(dtype), backward, asdict(target)]
    return cache.key(json.dumps(parts), jit.version(), sources())


@once
def sources() -> str:
    """The compiler's own files as they are now, so that no code outlives the compiler that wrote it: their names, sizes
    and dates, by which Python too knows that a file has changed."""
    root = Path(ostinato.compiler.__file__).parent
    known = sorted((str(p.relative_to(root)), p.stat().st_size, p.stat().st_mtime_ns) for p in root.rglob("*.py"))
    return cache.key(str(root), *(str(file) for file in known))
