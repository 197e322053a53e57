"""From a step's graph to stages: what is computed together, what lies in memory between them, and how it is split.

A stage is one of two kinds. A :class:`Tiles` stage multiplies: it goes through its width in tiles of a few vectors,
and for each tile through blocks of rows; a block's products are added up in registers, and what is elementwise on them
follows at once, while they are in the first cache. A :class:`Rows` stage does all the rest, a row at a time:
reductions, elementwise work, copies into another layout. Threads that share rows split the first kind by columns and
the second by rows, with a barrier between stages.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

from ostinato.compiler.cpu import tiles
from ostinato.compiler.cpu.flat import COPIES, ELEMENTWISE, LINEAR, Read, resolve
from ostinato.compiler.cpu.placing import Pass, computed, make_again, to_leave
from ostinato.compiler.graph import Graph, Node, is_joined, parts_of
from ostinato.compiler.interpret import REDUCTIONS

SHARED_WORK = 30_000
"""Multiply-adds of a step below which a second thread costs more than it brings (a barrier is some 200 ns)."""

TOGETHER = 4
"""The most rows that a stage of several passes takes at a time, a power of two: each pass over all of them, so that
what one row waits for between two passes, a sum over lanes and the root of it, is done beside that of the others."""

LINE = tiles.LINE // 4
"""The most elements of a cache line."""


def rows_of_a_thread(width: int) -> int:
    """Rows that a thread has of a buffer in which only :data:`TOGETHER` of them live at a time.

    They are two lines or more, and whole ones: a line that two threads write goes from one core to the other at every
    write, and its neighbour with it.
    """
    return next(n for n in count(TOGETHER, TOGETHER) if n * width >= 2 * LINE and n * width % LINE == 0)


@dataclass(frozen=True)
class Place:
    """Where a value lies: a buffer, and the first element in its row."""

    buffer: str
    offset: int = 0


@dataclass(frozen=True)
class Product:
    """One matrix product of a tile: operand @ weight.T (or @ weight, ``transposed``), columns ``start`` to ``stop``."""

    node: Node
    operand: Read
    weight: str
    head: int
    inner: int
    columns: int
    start: int
    transposed: bool


@dataclass
class Tiles:
    """Products of one width, and the elementwise operations that follow at the same positions."""

    width: int
    products: list[Product] = field(default_factory=list)
    body: list[Node] = field(default_factory=list)


@dataclass
class Phase:
    """One pass over a row: elementwise operations of one width, and reductions of some of them."""

    width: int
    body: list[Node] = field(default_factory=list)
    reductions: list[Node] = field(default_factory=list)


@dataclass
class Rows:
    """Passes over one row, one after the other."""

    phases: list[Phase] = field(default_factory=list)


Stage = Tiles | Rows


@dataclass
class Schedule:
    """The stages of one step.

    Attributes:
        graph: the flat graph they compute.
        stores: where each computed node is written, if anywhere: outputs and what another stage reads.
        temporaries: the buffers that live within a step, by name, with their width.
        passing: those of them that live while a row is worked on: as many rows a thread as go together are enough, and
            stay near.
        reads: how each operand of an elementwise operation, a reduction or a product is read.
    """

    graph: Graph
    stages: list[Stage]
    stores: dict[int, list[Place]]
    temporaries: dict[str, int]
    passing: frozenset[str]
    reads: dict[tuple[int, int], Read]

    def place(self, read: Read) -> Place | None:
        """Where an operand lies, or None if it is only in registers."""
        if read.node.op == "input":
            return Place(read.node["name"], read.offset)
        places = self.stores.get(id(read.node))
        return None if not places else Place(places[0].buffer, places[0].offset + read.offset)


def work_of(plan: Schedule) -> int:
    """Multiply-adds of the products of a row and step."""
    return sum(p.inner * stage.width for stage in plan.stages if isinstance(stage, Tiles) for p in stage.products)


def is_apart(plan: Schedule, carried: Mapping[str, int]) -> bool:
    """Whether columns never meet: one elementwise pass, in which an element of a state reads none but itself.

    Args:
        carried: the width of each buffer that goes from step to step, by name, those that are read and those written.
    """
    if plan.temporaries or len(plan.stages) != 1:
        return False
    stage = plan.stages[0]
    if not isinstance(stage, Rows):
        return False
    if len(stage.phases) != 1 or stage.phases[0].reductions or stage.phases[0].body[0].op in COPIES:
        return False
    if any(width != stage.phases[0].width for width in carried.values()):
        return False
    moved = [r for r in plan.reads.values() if r.node.op == "input" and r.node["name"] in carried]
    return not any(r.offset or r.splat for r in moved)


def schedule(graph: Graph, accumulated: Iterable[str] = ()) -> Schedule:
    """Put the operations of a flat graph into stages.

    Args:
        graph: from :func:`flatten`.
        accumulated: outputs that are added to what their buffer holds.
    """
    return _Scheduler(graph, frozenset(accumulated)).run()


class _Scheduler:
    def __init__(self, graph: Graph, accumulated: frozenset[str]) -> None:
        self.graph = graph
        self.accumulated = accumulated
        self.reads: dict[tuple[int, int], Read] = {}
        self.compute: list[Node] = []
        self.stage_of: dict[int, int] = {}
        self.stages: list[Stage] = []
        self._collect()

    def _collect(self) -> None:
        """The operations that must be carried out, in order, and how each reads its operands."""
        needed: set[int] = set()
        stack = [resolve(node).node for node in self.graph.outputs.values()]
        while stack:
            node = stack.pop()
            if id(node) in needed or node.op in ("input", "const"):
                continue
            needed.add(id(node))
            for n, operand in enumerate(node.inputs):
                read = resolve(operand)
                self.reads[id(node), n] = read
                stack.append(read.node)
        self.compute = [node for node in self.graph.nodes() if id(node) in needed and not is_joined(node)]

    def run(self) -> Schedule:
        waiting = self.compute
        while waiting:
            stage = self._products(waiting) or self._rows(waiting)
            number = len(self.stages)
            self.stages.append(stage)
            for node in members(stage):
                self.stage_of[id(node)] = number
            left = [node for node in waiting if id(node) not in self.stage_of]
            assert len(left) < len(waiting), "a stage without work: the graph has an operation no stage can do"
            waiting = left
        make_again(
            [Pass(*each) for stage in self.stages for each in _passes(stage)], self.compute, self.reads, self.graph
        )
        self.stage_of = {id(node): number for number, stage in enumerate(self.stages) for node in members(stage)}
        stores, temporaries = self._stores()
        passing = frozenset(temporaries) - self._between(stores)
        return Schedule(self.graph, self.stages, stores, temporaries, passing, self.reads)

    def _done(self, node: Node) -> bool:
        """Whether a node is there before the stage that is being made."""
        if is_joined(node):
            return all(self._done(resolve(part).node) for part in node.inputs)
        return node.op in ("input", "const") or id(node) in self.stage_of

    def _products(self, waiting: list[Node]) -> Tiles | None:
        ready = [n for n in waiting if n.op in LINEAR and self._done(self.reads[id(n), 0].node)]
        if not ready:
            return None
        width = ready[0].width
        stage = Tiles(width)
        inside: set[int] = set()
        for node in ready:
            if node.width == width:
                stage.products.append(self._product(node))
                inside.add(id(node))
        self._follow(stage, waiting, inside)
        left = to_leave(stage.body, [p.node for p in stage.products], waiting, self.reads, self.graph)
        stage.body = [node for node in stage.body if id(node) not in left]
        return stage

    def _product(self, node: Node) -> Product:
        attrs = dict(node.attrs)
        weight = node.inputs[1]
        transposed = node.op == "linear_t"
        columns, inner = weight.shape[-2:]
        if transposed:
            columns, inner = inner, columns
        return Product(
            node,
            self.reads[id(node), 0],
            weight["name"],
            attrs["head"],
            inner,
            columns,
            attrs.get("start", 0),
            transposed,
        )

    def _follow(self, stage: Tiles, waiting: list[Node], inside: set[int]) -> None:
        for node in waiting:
            if node.op in ELEMENTWISE and node.width == stage.width:
                reads = [self.reads[id(node), n] for n in range(len(node.inputs))]
                if all(self._done(r.node) or (id(r.node) in inside and r.offset == 0 and not r.splat) for r in reads):
                    stage.body.append(node)
                    inside.add(id(node))

    def _rows(self, waiting: list[Node]) -> Rows:
        """All that can be done a row at a time before the next product."""
        stage = Rows()
        finished: set[int] = set()
        left = [n for n in waiting if n.op not in LINEAR]
        while left:
            phase = self._phase(left, finished)
            if phase is None:
                break
            stage.phases.append(phase)
            taken = {id(n) for n in (*phase.body, *phase.reductions)}
            finished |= taken
            left = [n for n in left if id(n) not in taken]
        return stage

    def _phase(self, left: list[Node], finished: set[int]) -> Phase | None:
        def done(node: Node) -> bool:
            if is_joined(node):
                return all(done(resolve(part).node) for part in node.inputs)
            return self._done(node) or id(node) in finished

        phase: Phase | None = None
        inside: set[int] = set()
        for node in left:
            reads = [self.reads[id(node), n] for n in range(len(node.inputs))]
            if node.op in COPIES:
                if phase is None and all(done(r.node) for r in reads):
                    return Phase(node.width, [node])
                continue
            if node.op in REDUCTIONS and node.shape[0] > 1:
                if phase is None and done(reads[0].node):
                    return Phase(node.inputs[0].width, [], [node])
                continue
            width = node.inputs[0].width if node.op in REDUCTIONS else node.width
            if phase is not None and phase.width != width:
                continue
            ready = all(done(r.node) or (id(r.node) in inside and r.offset == 0 and not r.splat) for r in reads)
            if not ready:
                continue
            phase = phase or Phase(width)
            if node.op in REDUCTIONS:
                phase.reductions.append(node)
            else:
                phase.body.append(node)
                inside.add(id(node))
        return phase

    def _stores(self) -> tuple[dict[int, list[Place]], dict[str, int]]:
        """What is written where: first the place others read it from, then any other."""
        stores: dict[int, list[Place]] = {}
        temporaries: dict[str, int] = {}
        for name, node in self.graph.outputs.items():
            if name not in self.accumulated:
                self._store(stores, node, Place(name))
        for node in self.compute:
            for n in range(len(node.inputs)):
                read = self.reads[id(node), n]
                if self._in_memory(node, read) and not stores.get(id(read.node)):
                    buffer = f"t{len(temporaries)}"
                    temporaries[buffer] = read.node.width
                    self._store(stores, read.node, Place(buffer))
        for name, node in self.graph.outputs.items():
            if name in self.accumulated:
                self._store(stores, node, Place("+" + name))
        return stores, temporaries

    def _between(self, stores: dict[int, list[Place]]) -> set[str]:
        """The buffers that some stage reads which another has written, or a stage of products its own."""
        found: set[str] = set()
        for node in self.compute:
            mine = self.stage_of[id(node)]
            for n in range(len(node.inputs)):
                for source in computed(self.reads[id(node), n].node):
                    if self.stage_of[id(source)] != mine or not isinstance(self.stages[mine], Rows):
                        found.update(place.buffer for place in stores.get(id(source), ()))
        return found

    def _store(self, stores: dict[int, list[Place]], node: Node, place: Place) -> None:
        stores.setdefault(id(node), []).append(place)
        for part, start in parts_of(node):
            read = resolve(part)
            assert read.offset == 0, "a part is computed as a whole"
            self._store(stores, read.node, Place(place.buffer, place.offset + start))

    def _in_memory(self, node: Node, read: Read) -> bool:
        """Whether an operand has to lie in memory: it does unless the very same pass made it."""
        if read.node.op in ("input", "const"):
            return False
        if node.op in LINEAR or node.op in COPIES or read.splat or read.offset:
            return True
        if is_joined(read.node) or read.node.op in REDUCTIONS or read.node.op in COPIES:
            return True
        mine, its = self.stage_of[id(node)], self.stage_of[id(read.node)]
        if mine != its:
            return True
        stage = self.stages[mine]
        if isinstance(stage, Tiles):
            return False
        return _phase_of(stage, node) is not _phase_of(stage, read.node)


def members(stage: Stage) -> list[Node]:
    """Every node a stage computes."""
    if isinstance(stage, Tiles):
        return [*(p.node for p in stage.products), *stage.body]
    return [n for phase in stage.phases for n in (*phase.body, *phase.reductions)]


def _passes(stage: Stage) -> Iterator[tuple[list[Node], Sequence[Node]]]:
    """What a stage does elementwise, and who reads it at the same position."""
    if isinstance(stage, Tiles):
        yield stage.body, tuple(stage.body)
        return
    for phase in stage.phases:
        if not phase.body or phase.body[0].op not in COPIES:
            yield phase.body, (*phase.body, *(node for node in phase.reductions if node.shape[0] == 1))


def _phase_of(stage: Rows, node: Node) -> Phase:
    return next(p for p in stage.phases if any(n is node for n in (*p.body, *p.reductions)))


def describe(plan: Schedule) -> str:
    """The stages as text, for explain."""
    lines = []
    for n, stage in enumerate(plan.stages):
        if isinstance(stage, Tiles):
            products = ", ".join(f"{p.inner}×{stage.width}" for p in stage.products)
            lines.append(f"stage {n}: products {products}; then {len(stage.body)} elementwise operations")
        else:
            passes = "; ".join(
                f"{len(p.body)} operations on {p.width}" + (f", {len(p.reductions)} sums" if p.reductions else "")
                for p in stage.phases
            )
            lines.append(f"stage {n}: by rows: {passes}")
    if plan.temporaries:
        lines.append("between stages: " + ", ".join(f"{name} ({w})" for name, w in plan.temporaries.items()))
    return "\n".join(lines)
