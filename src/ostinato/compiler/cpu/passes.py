"""A stage by rows: passes over one row after the other, with their reductions, and copies into another order."""

from __future__ import annotations

from collections.abc import Sequence

from ostinato.compiler.cpu.breadth import IN_PASSES, breadth
from ostinato.compiler.cpu.elementwise import Elementwise, Loads
from ostinato.compiler.cpu.flat import COPIES
from ostinato.compiler.cpu.frame import Frame, Step
from ostinato.compiler.cpu.lanes import consecutive
from ostinato.compiler.cpu.pointwise import POINTWISE
from ostinato.compiler.cpu.schedule import TOGETHER, Phase, Rows, members
from ostinato.compiler.cpu.text import Vector
from ostinato.compiler.graph import Node

NEUTRAL = {"sum": -0.0, "amax": float("-inf"), "amin": float("inf")}
JOIN = {"sum": "add", "amax": "maximum", "amin": "minimum"}

NEAR = 12_000
"""Bytes of several rows that passes may go through, streams and what they leave each other: with more than a quarter of
the first cache (a layer norm's backward) rows are faster one after the other."""

SHORT = 1024
"""Bytes of a row up to which a pass asks for the next one. Longer rows the processor sees coming by itself, and all
that a pass reads of one would drive out the row it is at."""


class Passes:
    """Writes stages of the kind :class:`Rows`."""

    def __init__(self, frame: Frame) -> None:
        self.frame, self.code, self.at = frame, frame.code, frame.at
        self.type = frame.element
        self.elementwise = Elementwise(frame)

    def stage(self, stage: Rows, step: Step) -> None:
        code = self.code
        count = code.let(f"sub nsw i64 {step.high}, {step.low}")
        count = code.intrinsic("llvm.smax.i64", "i64", ("i64", count), ("i64", "0"))
        begin, end = self.frame.share(count)
        begin, end = code.let(f"add nsw i64 {begin}, {step.low}"), code.let(f"add nsw i64 {end}, {step.low}")
        together = self._together(stage)
        if together == 1:
            self._one_by_one(stage, begin, end, step)
            return
        with code.loop(begin, end, together) as first:
            beyond = code.let(f"add nsw i64 {first}, {together}")
            stop = code.intrinsic("llvm.smin.i64", "i64", ("i64", beyond), ("i64", end))
            for phase in stage.phases:
                with code.loop(first, stop) as r:
                    pointers = self.elementwise.pointers([*phase.body, *phase.reductions], r, step)
                    self._phase(phase, pointers, self.frame.rows_to_next(r, begin, end, step))

    def _together(self, stage: Rows) -> int:
        """How many rows at a time: few enough for the first cache; one where there is one pass."""
        if len(stage.phases) == 1:
            return 1
        plan, buffers = self.frame.plan, self.frame.layout.buffers
        touched = {buffers[name.removeprefix("+")] for name in self.elementwise.buffers(members(stage))}
        width = sum(b.width for b in touched if b.name in plan.passing or b.kind in ("stream", "previous"))
        size = width * self.frame.vector.bytes
        return next((k for k in (TOGETHER, TOGETHER // 2) if k * size <= NEAR), 1)

    def _one_by_one(self, stage: Rows, begin: str, end: str, step: Step) -> None:
        with self.code.loop(begin, end) as n:
            r = self.frame.in_order(n, begin, end)
            pointers = self.elementwise.pointers(members(stage), r, step)
            jump = self.frame.rows_to_next(n, begin, end, step)
            for phase in stage.phases:
                self._phase(phase, pointers, jump)

    def _phase(self, phase: Phase, pointers: dict[str, str], jump: str) -> None:
        if phase.body and phase.body[0].op in COPIES:
            self._rearrange(phase.body[0], pointers)
        elif phase.reductions and phase.reductions[0].shape[0] > 1:
            self._segments(phase.reductions[0], pointers)
        else:
            self._pass(phase, pointers, jump)

    def _pass(self, phase: Phase, pointers: dict[str, str], jump: str) -> None:
        """One pass over a row, with its reductions. ``jump``: how many rows it is to the one that comes next."""
        vector, full, rest = self._vector(phase)
        sums = [self._accumulator(node, vector) for node in phase.reductions]

        near = self.frame.apart or phase.width * self.frame.vector.bytes <= SHORT
        ahead = self.elementwise.ahead(phase.body, pointers, jump) if near else []

        def work(at: str, left: int) -> None:
            self.elementwise.prefetch(ahead, at, vector)
            values = self.elementwise.body(phase.body, vector, at, pointers, {}, left)
            loads: Loads = {}
            for node, place in zip(phase.reductions, sums, strict=True):
                read = self.frame.plan.reads[id(node), 0]
                value = self.elementwise.operand(read, vector, at, pointers, values, loads, left)
                self._accumulate(node.op, place, value, vector, left)

        def loop() -> None:
            with self.code.loop(*self.frame.own_vectors(full)) as n:
                work(self.code.let(f"mul nuw nsw i64 {n}, {vector.lanes}"), 0)

        if full and self.frame.apart:
            with self.code.when(self.frame.flag("around")), self.elementwise.past_the_caches():
                loop()
            with self.code.when(self.code.let(f"icmp eq i64 {self.frame.words['around']}, 0")):
                loop()
        elif full > 1:
            loop()
        elif full:
            work("0", 0)
        if rest and self.frame.apart:
            with self.code.when(self.frame.owns_last_column()):
                work(str(full * vector.lanes), rest)
        elif rest:
            work(str(full * vector.lanes), rest)
        for node, place in zip(phase.reductions, sums, strict=True):
            self._finish(node, place, vector, pointers, 0)

    def _vector(self, phase: Phase) -> tuple[Vector, int, int]:
        """What a pass works on at once, how many of those a row has, and how many elements are left."""
        target, lanes = self.frame.target, self.frame.lanes
        if phase.width == 1:
            return target.vector(self.type, 1), 1, 0
        full, rest = divmod(phase.width, lanes)
        alone = rest or self.frame.apart
        at_once = 1 if alone else breadth(self.frame.plan, phase.body, full, target, IN_PASSES)
        return target.vector(self.type, at_once * lanes), full // at_once, rest

    def _segments(self, node: Node, pointers: dict[str, str]) -> None:
        """A reduction over runs of the row: (outer, inner) to (outer, 1)."""
        code, vector = self.code, self.frame.vector
        outer, inner = node.inputs[0].shape
        full, rest = divmod(inner, vector.lanes)
        read = self.frame.plan.reads[id(node), 0]
        with code.loop("0", str(outer)) as segment:
            start = code.let(f"mul nuw nsw i64 {segment}, {inner}")
            place = self._accumulator(node, vector)
            if full:
                with code.loop("0", str(full)) as n:
                    at = code.let(f"mul nuw nsw i64 {n}, {vector.lanes}")
                    at = code.let(f"add nuw nsw i64 {at}, {start}")
                    value = self.elementwise.operand(read, vector, at, pointers, {}, {}, 0)
                    self._accumulate(node.op, place, value, vector, 0)
            if rest:
                at = code.let(f"add nuw nsw i64 {start}, {full * vector.lanes}")
                value = self.elementwise.operand(read, vector, at, pointers, {}, {}, rest)
                self._accumulate(node.op, place, value, vector, rest)
            self._finish(node, place, vector, pointers, segment)

    def _accumulator(self, node: Node, vector: Vector) -> str:
        """A place for a running sum; the passes make it a register."""
        place = self._slot(vector)
        self.code.do(f"store {vector.type} {vector.number(NEUTRAL[node.op])}, ptr {place}")
        return place

    def _slot(self, vector: Vector) -> str:
        """Memory of one vector on the stack, taken at the function's beginning."""
        name = "%" + self.code.name("slot")
        at = self.code.lines.index("entry:") + 1
        self.code.lines.insert(at, f"  {name} = alloca {vector.type}, align {vector.lanes * vector.bytes}")
        return name

    def _accumulate(self, op: str, place: str, value: str, vector: Vector, rest: int) -> None:
        code, t = self.code, vector.type
        if rest and vector.lanes > 1:
            neutral = vector.number(NEUTRAL[op])
            value = code.let(f"select {vector.mask} {self.elementwise.mask(vector, rest)}, {t} {value}, {t} {neutral}")
        so_far = code.let(f"load {t}, ptr {place}")
        code.do(f"store {t} {POINTWISE[JOIN[op]](code, vector, [so_far, value])}, ptr {place}")

    def _finish(self, node: Node, place: str, vector: Vector, pointers: dict[str, str], segment: int | str) -> None:
        """Fold the lanes by halves, and write the result."""
        code, op = self.code, JOIN[node.op]
        value = code.let(f"load {vector.type}, ptr {place}")
        while vector.lanes > 1:
            half = self.frame.target.vector(self.type, vector.lanes // 2)
            parts = []
            for start in (0, half.lanes):
                mask = consecutive(start, start + half.lanes)
                part = code.let(f"shufflevector {vector.type} {value}, {vector.type} poison, {mask}")
                parts.append(part if half.lanes > 1 else code.let(f"extractelement <1 x {self.type}> {part}, i64 0"))
            value = POINTWISE[op](code, half, parts)
            vector = half
        for target in self.frame.plan.stores[id(node)]:
            address = self.at(pointers[target.buffer], str(segment))
            address = self.at(address, str(target.offset)) if target.offset else address
            code.do(f"store {self.type} {value}, ptr {address}, align {vector.bytes}")

    def _rearrange(self, node: Node, pointers: dict[str, str]) -> None:
        """Write a view out, element by element: it keeps no order that a plain read could follow."""
        parts = list(enumerate(node.inputs)) if node.op == "cat" else [(0, node.inputs[0])]
        start = 0
        for n, part in parts:
            place = self.frame.place(self.frame.plan.reads[id(node), n])
            with self.code.loop("0", str(part.width if node.op == "cat" else node.width)) as i:
                source, target = self._indices(node, part, i, start)
                here = self.at(pointers[place.buffer], source)
                here = self.at(here, str(place.offset)) if place.offset else here
                value = self.code.let(f"load {self.type}, ptr {here}, align {self.frame.vector.bytes}")
                for goal in self.frame.plan.stores[id(node)]:
                    there = self.at(pointers[goal.buffer], target)
                    there = self.at(there, str(goal.offset)) if goal.offset else there
                    self.code.do(f"store {self.type} {value}, ptr {there}, align {self.frame.vector.bytes}")
            if node.op == "cat":
                start += part.shape[node["axis"]]

    def _indices(self, node: Node, part: Node, i: str, start: int) -> tuple[str, str]:
        """Element i of a view: which element of its source, and where it goes."""
        if node.op == "cat":
            index = self._split(i, part.shape)
            axis = node["axis"]
            moved = [self._plus(x, start) if d == axis else x for d, x in enumerate(index)]
            return i, self._join(moved, node.shape)
        index = self._split(i, node.shape)
        if node.op == "permute":
            back: list[str] = ["0"] * len(index)
            for d, origin in enumerate(node["dims"]):
                back[origin] = index[d]
            return self._join(back, part.shape), i
        if node.op == "slice":
            axis = node["axis"]
            scaled = self.code.let(f"mul i64 {index[axis]}, {node['step']}")
            index[axis] = self._plus(scaled, node["start"])
            return self._join(index, part.shape), i
        index = index[len(index) - len(part.shape) :]
        return self._join(["0" if size == 1 else x for x, size in zip(index, part.shape, strict=True)], part.shape), i

    def _plus(self, value: str, more: int) -> str:
        return self.code.let(f"add i64 {value}, {more}") if more else value

    def _split(self, i: str, shape: Sequence[int]) -> list[str]:
        index = []
        for size in reversed(shape):
            index.append(self.code.let(f"urem i64 {i}, {size}"))
            i = self.code.let(f"udiv i64 {i}, {size}")
        return index[::-1]

    def _join(self, index: Sequence[str], shape: Sequence[int]) -> str:
        flat = "0"
        for x, size in zip(index, shape, strict=True):
            scaled = self.code.let(f"mul i64 {flat}, {size}")
            flat = self.code.let(f"add i64 {scaled}, {x}")
        return flat
