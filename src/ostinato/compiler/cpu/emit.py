"""From a schedule to LLVM's text: the whole time loop as one function that every thread runs on its part.

::

    run(args, thread, threads):
        pack the weights, each thread a part
        for every step:
            for every stage: my rows, or my columns of all rows (and then a barrier)
"""

from __future__ import annotations

from dataclasses import dataclass

from ostinato.compiler.cpu import shared, threads, tiles
from ostinato.compiler.cpu.frame import Frame, Step
from ostinato.compiler.cpu.layout import NUMBERS, Layout
from ostinato.compiler.cpu.pack import Panel, emit_pack
from ostinato.compiler.cpu.passes import Passes
from ostinato.compiler.cpu.products import Products
from ostinato.compiler.cpu.schedule import SHARED_WORK, Schedule, Tiles, work_of
from ostinato.compiler.cpu.targets import Target

FLUSH = 256
"""After so many rows of all steps the running sums are added to the sums of sums, so that rounding grows with the root
of T."""

FEW = 4
"""Fewer rows a step count as so many."""


@dataclass(frozen=True)
class Emitted:
    """A module's text, and what its caller must provide: bytes of packed weights.

    ``apart``: see :class:`Frame`. ``around``: the streams whose rows must be aligned if the word of that name is 1.
    """

    text: str
    packed: int
    tiles: str
    apart: bool
    around: list[str]


def emit(plan: Schedule, layout: Layout, target: Target, element: str, backward: bool) -> Emitted:
    """The module of one loop. ``backward``: the loop reads states from before the step (kind "previous")."""
    return _Emitter(plan, layout, target, element, backward).module()


class _Emitter(Frame):
    def __init__(self, plan: Schedule, layout: Layout, target: Target, element: str, backward: bool) -> None:
        super().__init__(plan, layout, target, element)
        self.backward = backward
        self.products, self.passes = Products(self), Passes(self)
        self.panels: dict[int, Panel] = {}
        self.packed = 0
        shared = work_of(plan) >= SHARED_WORK
        for n, stage in enumerate(plan.stages):
            if isinstance(stage, Tiles):
                self.panels[n] = Panel.of(stage, target, self.lanes, self.packed, shared)
                self.packed += self.panels[n].size

    def module(self) -> Emitted:
        code = self.code
        code.lines.append(threads.RUN)
        code.label("entry")
        scratch = max((p.scratch for p in self.panels.values()), default=1)
        code.do(f"%scratch = alloca {self.vector.type}, i64 {scratch}, align {self.lanes * self.vector.bytes}")
        code.do("%first = alloca i64, align 8")
        for name, number in self.layout.words.items():
            self.words[name] = self._word(name, number)
        self.weights = {name: self.words[name] for name, b in self.layout.buffers.items() if b.kind == "param"}
        if self.apart:
            split = self.flag("columns")
            self.column = code.let(f"select i1 {split}, i64 %thread, i64 0")
            self.columns = code.let(f"select i1 {split}, i64 %threads, i64 1")
        self._pack()
        self._idle_rows()
        start = code.let(f"select i1 {self.flag('descending')}, i64 {self.words['total']}, i64 0")
        code.do(f"store i64 {start}, ptr %first")
        with code.loop("0", self.words["steps"]) as s:
            self._step(s)
        self._flush()
        around = sorted(self.passes.elementwise.around)
        if around:
            code.do("fence seq_cst")
        code.do("ret void")
        code.lines.append("}")
        code.lines.append("attributes #0 = { nounwind }")
        return Emitted(code.text(), self.packed * self.vector.bytes, self._describe(), self.apart, around)

    def _pack(self) -> None:
        """Put the weights in order, if they are not; the first of parts that run in turn does it for all."""
        code = self.code
        in_turn = code.let("icmp ne i64 %together, %threads")
        packers = code.let(f"select i1 {in_turn}, i64 1, i64 %threads")
        mine = code.let(f"icmp slt i64 %thread, {packers}")
        missing = code.let(f"icmp eq i64 {self.words['ready']}, 0")
        with code.when(code.let(f"and i1 {missing}, {mine}")):
            packed, table = self.words["packed"], self.words["shared"]
            for panel in self.panels.values():
                emit_pack(code, self.vector, panel, packed, self.weights, packers, table)
            self._barrier("%together")

    def _word(self, name: str, number: int) -> str:
        place = self.code.let(f"getelementptr inbounds i64, ptr %args, i64 {number}")
        is_number = name in NUMBERS or name.endswith(".stride")
        return self.code.let(f"load {'i64' if is_number else 'ptr'}, ptr {place}, align 8")

    def _describe(self) -> str:
        parts = [f"stage {n}: {panel}" for n, panel in self.panels.items()]
        return "; ".join(parts)

    def _barrier(self, parties: str) -> None:
        counter, table = self.words["barrier"], self.words["shared"]
        with self.code.when(self.code.let(f"icmp sgt i64 {parties}, 1")):
            shared.call(self.code, table, "meet", f"ptr {counter}, ptr {table}, i64 {parties}")

    def _step(self, s: str) -> None:
        code = self.code
        last = code.let(f"sub nsw i64 {self.words['steps']}, 1")
        back = code.let(f"sub nsw i64 {last}, {s}")
        descending = self.flag("descending")
        t = code.let(f"select i1 {descending}, i64 {back}, i64 {s}")
        rows = self._size(t)
        held = code.let("load i64, ptr %first")
        below = code.let(f"sub i64 {held}, {rows}")
        above = code.let(f"add i64 {held}, {rows}")
        first = code.let(f"select i1 {descending}, i64 {below}, i64 {held}")
        following = code.let(f"select i1 {descending}, i64 {below}, i64 {above}")
        code.do(f"store i64 {following}, ptr %first")
        odd = code.let(f"and i64 {s}, 1")
        step = Step(
            first,
            rows,
            "0",
            rows,
            code.let(f"icmp ne i64 {odd}, 0"),
            code.let(f"icmp eq i64 {s}, 0"),
        )
        self._my_rows(step)
        self._flip(step)
        if self.backward:
            self._before(step, t, descending)
        self._enter(step, s, t)
        for stage, number in zip(self.plan.stages, range(len(self.plan.stages)), strict=True):
            if isinstance(stage, Tiles):
                self.products.stage(stage, self.panels[number], step)
            else:
                self.passes.stage(stage, step)
            self._stage_barrier()
        self._leave(step, s, t)
        if self.layout.sum_width:
            added = code.intrinsic("llvm.smax.i64", "i64", ("i64", self.words["rows"]), ("i64", str(FEW)))
            before = code.let(f"and i64 {code.let(f'mul i64 {s}, {added}')}, {FLUSH - 1}")
            due = code.let(f"icmp sge i64 {code.let(f'add i64 {before}, {added}')}, {FLUSH}")
            with code.when(due):
                self._flush()

    def _size(self, t: str) -> str:
        """How many rows are active at step t, 0 if there is no such step."""
        code = self.code
        inside = code.let(f"icmp ult i64 {t}, {self.words['steps']}")
        ragged = code.let(f"icmp ne ptr {self.words['sizes']}, null")
        both = code.let(f"and i1 {inside}, {ragged}")
        safe = code.let(f"select i1 {both}, i64 {t}, i64 0")
        source = code.let(f"select i1 {both}, ptr {self.words['sizes']}, ptr %args")
        place = code.let(f"getelementptr inbounds i64, ptr {source}, i64 {safe}")
        size = code.let(f"load i64, ptr {place}, align 8")
        given = code.let(f"select i1 {ragged}, i64 {size}, i64 {self.words['rows']}")
        return code.let(f"select i1 {inside}, i64 {given}, i64 0")

    def _my_rows(self, step: Step) -> None:
        """The rows of this thread that are active: its own, or all where threads split columns."""
        code = self.code
        columns = self.flag("columns")
        expected = code.let(f"icmp eq i64 {self.words['parties']}, %threads")
        index = code.let(f"select i1 {expected}, i64 %thread, i64 0")
        place = code.let(f"getelementptr inbounds i64, ptr {self.words['starts']}, i64 {index}")
        low = code.let(f"load i64, ptr {place}, align 8")
        after = code.let(f"getelementptr inbounds i64, ptr {place}, i64 1")
        high = code.let(f"load i64, ptr {after}, align 8")
        even = [self._fraction("%thread"), self._fraction(code.let("add i64 %thread, 1"))]
        low = code.let(f"select i1 {expected}, i64 {low}, i64 {even[0]}")
        high = code.let(f"select i1 {expected}, i64 {high}, i64 {even[1]}")
        low = code.let(f"select i1 {columns}, i64 0, i64 {low}")
        high = code.let(f"select i1 {columns}, i64 {step.rows}, i64 {high}")
        step.low = low
        step.high = code.intrinsic("llvm.smin.i64", "i64", ("i64", high), ("i64", step.rows))
        if self.apart:
            return
        self.part = code.let(f"select i1 {columns}, i64 %thread, i64 0")
        self.parts = code.let(f"select i1 {columns}, i64 %threads, i64 1")

    def _fraction(self, n: str) -> str:
        """Row n·B/threads: where a thread's rows begin if the team is not the one that was expected."""
        scaled = self.code.let(f"mul i64 {self.words['rows']}, {n}")
        return self.code.let(f"udiv i64 {scaled}, %threads")

    def _flip(self, step: Step) -> None:
        code = self.code
        for name, buffer in self.layout.buffers.items():
            if buffer.kind == "flip" and not buffer.pair:
                even, odd = self.words[name + ".even"], self.words[name + ".odd"]
                side = code.let(f"select i1 {step.parity}, ptr {odd}, ptr {even}")
                start = self.words[name + ".initial"]
                step.cursor[name] = code.let(f"select i1 {step.is_first}, ptr {start}, ptr {side}")
        for name, buffer in self.layout.buffers.items():
            if buffer.kind == "flip" and buffer.pair:
                even, odd = self.words[buffer.pair + ".even"], self.words[buffer.pair + ".odd"]
                step.cursor[name] = code.let(f"select i1 {step.parity}, ptr {even}, ptr {odd}")

    def _before(self, step: Step, t: str, descending: str) -> None:
        """Where the step before this one, in the forward loop's order, has its rows."""
        code = self.code
        down, up = code.let(f"sub i64 {t}, 1"), code.let(f"add i64 {t}, 1")
        other = code.let(f"select i1 {descending}, i64 {down}, i64 {up}")
        step.before_rows = self._size(other)
        below = code.let(f"sub i64 {step.first}, {step.before_rows}")
        above = code.let(f"add i64 {step.first}, {step.rows}")
        step.before_first = code.let(f"select i1 {descending}, i64 {below}, i64 {above}")

    def _stage_barrier(self) -> None:
        self._barrier(self.parts)

    def _states(self) -> list[tuple[str, str, int]]:
        """(read side, written side, width) of every state."""
        return [(b.pair, b.name, b.width) for b in self.layout.buffers.values() if b.kind == "flip" and b.pair]

    def _idle_rows(self) -> None:
        """Rows of no step keep their initial state."""
        code = self.code
        ragged = code.let(f"icmp ne ptr {self.words['sizes']}, null")
        mine = code.let(f"icmp eq i64 %thread, {self.column}")
        both = code.let(f"and i1 {ragged}, {mine}")
        with code.when(both):
            active = code.let(f"load i64, ptr {self.words['sizes']}, align 8")
            for read, _, width in self._states():
                source = self.words[read + ".initial"]
                for side in (".even", ".odd"):
                    self._copy_rows(source, self.words[read + side], active, self.words["rows"], width)
        self._barrier("%together")

    def _enter(self, step: Step, s: str, t: str) -> None:
        """Rows that begin at this step bring their initial state."""
        code = self.code
        ragged = code.let(f"icmp ne ptr {self.words['sizes']}, null")
        later = code.let(f"icmp sgt i64 {s}, 0")
        both = code.let(f"and i1 {ragged}, {later}")
        with code.when(both):
            down, up = code.let(f"sub i64 {t}, 1"), code.let(f"add i64 {t}, 1")
            descending = self.flag("descending")
            other = code.let(f"select i1 {descending}, i64 {up}, i64 {down}")
            known = self._size(other)
            self._own_rows(step, known, step.rows, initial=True)

    def _leave(self, step: Step, s: str, t: str) -> None:
        """Rows that end at this step leave their state on both sides, since the side they end on is not the last."""
        code = self.code
        ragged = code.let(f"icmp ne ptr {self.words['sizes']}, null")
        with code.when(ragged):
            down, up = code.let(f"sub i64 {t}, 1"), code.let(f"add i64 {t}, 1")
            descending = self.flag("descending")
            other = code.let(f"select i1 {descending}, i64 {down}, i64 {up}")
            inside = code.let(f"icmp ult i64 {other}, {self.words['steps']}")
            staying = self._size(other)
            kept = code.let(f"select i1 {inside}, i64 {staying}, i64 {step.rows}")
            self._own_rows(step, kept, step.rows, initial=False)

    def _own_rows(self, step: Step, low: str, high: str, initial: bool) -> None:
        """Copy states of rows low to high, as far as they are this thread's (the first's, where columns are split)."""
        code = self.code
        low = code.intrinsic("llvm.smax.i64", "i64", ("i64", low), ("i64", step.low))
        high = code.intrinsic("llvm.smin.i64", "i64", ("i64", high), ("i64", step.high))
        first = code.let(f"icmp eq i64 {self.part}, 0")
        with code.when(first):
            for read, write, width in self._states():
                source = self.words[read + ".initial"] if initial else step.cursor[write]
                self._copy_rows(source, self._other(read, step), low, high, width)
        self._stage_barrier()

    def _other(self, read: str, step: Step) -> str:
        """The side of a state that this step reads, as a place to write to."""
        even, odd = self.words[read + ".even"], self.words[read + ".odd"]
        return self.code.let(f"select i1 {step.parity}, ptr {odd}, ptr {even}")

    def _copy_rows(self, source: str, target: str, low: str, high: str, width: int) -> None:
        code = self.code
        if self.apart:
            self._copy_own_columns(source, target, low, high, width)
            return
        begin = code.let(f"mul i64 {low}, {width}")
        end = code.let(f"mul i64 {high}, {width}")
        self._copy(source, target, begin, end)

    def _copy(self, source: str, target: str, begin: str, end: str) -> None:
        """Elements begin to end."""
        arguments = f"ptr {source}, ptr {target}, i64 {begin}, i64 {end}"
        shared.call(self.code, self.words["shared"], "copy", arguments)

    def _copy_own_columns(self, source: str, target: str, low: str, high: str, width: int) -> None:
        code = self.code
        full, rest = divmod(width, self.lanes)
        begin, end = (code.let(f"mul i64 {n}, {self.lanes}") for n in self.own_vectors(full))
        if rest:
            end = code.let(f"select i1 {self.owns_last_column()}, i64 {width}, i64 {end}")
        with code.loop(low, high) as r:
            first = code.let(f"mul i64 {r}, {width}")
            low_column, end_column = (code.let(f"add i64 {first}, {n}") for n in (begin, end))
            self._copy(source, target, low_column, end_column)

    def _flush(self) -> None:
        """Add this thread's running sums to its sums of sums."""
        code, total = self.code, self.layout.sum_width
        if not total:
            return
        t, align = self.vector.type, self.vector.bytes
        base = self.sums(0)
        with code.loop("0", str(total), self.lanes) as n:
            here = code.let(f"getelementptr inbounds {self.element}, ptr {base}, i64 {n}")
            there = code.let(f"getelementptr inbounds {self.element}, ptr {here}, i64 {total}")
            running = code.let(f"load {t}, ptr {here}, align {align}")
            so_far = code.let(f"load {t}, ptr {there}, align {align}")
            added = code.let(f"fadd {t} {running}, {so_far}")
            code.do(f"store {t} {added}, ptr {there}, align {align}")
            code.do(f"store {t} {tiles.zero(self.vector)}, ptr {here}, align {align}")
