"""From a schedule to LLVM's text: the whole time loop as one function that every thread runs on its part.

::

    run(args, thread, threads):
        pack the weights, each thread a part
        for every step:
            for every stage: my rows, or my columns of all rows (and then a barrier)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ostinato.compiler.cpu import tiles
from ostinato.compiler.cpu.layout import Layout
from ostinato.compiler.cpu.pack import Panel, emit_pack
from ostinato.compiler.cpu.pointwise import POINTWISE as EMIT
from ostinato.compiler.cpu.schedule import COPIES, Phase, Place, Read, Rows, Schedule, Tiles
from ostinato.compiler.cpu.targets import Target
from ostinato.compiler.cpu.text import Code, Vector
from ostinato.compiler.graph import Node

FLUSH = 64
"""Every so many steps the running sums are added to the sums of sums, so that rounding grows with the root of T."""


@dataclass(frozen=True)
class Emitted:
    """A module's text, and what its caller must provide: bytes of packed weights."""

    text: str
    packed: int
    tiles: str


@dataclass
class Step:
    """The values of the step that is being emitted."""

    first: str
    rows: str
    low: str
    high: str
    parity: str
    is_first: str
    before_rows: str = "0"
    before_first: str = "0"
    cursor: dict[str, str] = field(default_factory=dict)


def emit(plan: Schedule, layout: Layout, target: Target, element: str, backward: bool) -> Emitted:
    """The module of one loop. ``backward``: the loop reads states from before the step (kind "previous")."""
    return _Emitter(plan, layout, target, element, backward).module()


class _Emitter:
    def __init__(self, plan: Schedule, layout: Layout, target: Target, element: str, backward: bool) -> None:
        self.plan, self.layout, self.target, self.backward = plan, layout, target, backward
        self.element = element
        self.vector = target.vector(element)
        self.lanes = self.vector.lanes
        self.code = Code()
        self.words: dict[str, str] = {}
        self.panels: dict[int, Panel] = {}
        self.packed = 0
        for n, stage in enumerate(plan.stages):
            if isinstance(stage, Tiles):
                self.panels[n] = Panel.of(stage, target, self.lanes, self.packed)
                self.packed += self.panels[n].size

    # --- the function ---------------------------------------------------------------------------------------------

    def module(self) -> Emitted:
        code = self.code
        code.lines.append("define void @run(ptr %args, i64 %thread, i64 %threads) #0 {")
        code.label("entry")
        scratch = max((p.scratch for p in self.panels.values()), default=1)
        code.do(f"%scratch = alloca {self.vector.type}, i64 {scratch}, align {self.lanes * self.vector.bytes}")
        code.do("%first = alloca i64, align 8")
        for name, number in self.layout.words.items():
            self.words[name] = self._word(name, number)
        self.weights = {name: self.words[name] for name, b in self.layout.buffers.items() if b.kind == "param"}
        for panel in self.panels.values():
            emit_pack(code, self.vector, panel, self.words["packed"], self.weights)
        self._barrier("%threads")
        self._idle_rows()
        start = code.let(f"select i1 {self._flag('descending')}, i64 {self.words['total']}, i64 0")
        code.do(f"store i64 {start}, ptr %first")
        with code.loop("0", self.words["steps"]) as s:
            self._step(s)
        self._flush()
        code.do("ret void")
        code.lines.append("}")
        width = self.lanes * self.vector.bytes * 8
        code.lines.append(f'attributes #0 = {{ nounwind "min-legal-vector-width"="{width}" }}')
        return Emitted(code.text(), self.packed * self.vector.bytes, self._describe())

    def _word(self, name: str, number: int) -> str:
        place = self.code.let(f"getelementptr inbounds i64, ptr %args, i64 {number}")
        is_number = name in ("steps", "rows", "total", "descending", "columns", "parties") or name.endswith(".stride")
        return self.code.let(f"load {'i64' if is_number else 'ptr'}, ptr {place}, align 8")

    def _flag(self, name: str) -> str:
        return self.code.let(f"icmp ne i64 {self.words[name]}, 0")

    def _describe(self) -> str:
        parts = [f"stage {n}: {panel}" for n, panel in self.panels.items()]
        return "; ".join(parts)

    def _barrier(self, parties: str) -> None:
        """Wait until all have come here: spin shortly, then give the processor away."""
        code = self.code
        several = code.let(f"icmp sgt i64 {parties}, 1")
        with code.when(several):
            counter = self.words["barrier"]
            turn = code.let(f"getelementptr inbounds i8, ptr {counter}, i64 128")
            old = code.let(f"load atomic i64, ptr {turn} acquire, align 8")
            come = code.let(f"atomicrmw add ptr {counter}, i64 1 acq_rel, align 8")
            last = code.let(f"sub i64 {parties}, 1")
            is_last = code.let(f"icmp eq i64 {come}, {last}")
            then, wait, spin, yields, done = (code.name(n) for n in ("last", "wait", "spin", "yield", "met"))
            code.do(f"br i1 {is_last}, label %{then}, label %{wait}")
            code.label(then)
            code.do(f"store atomic i64 0, ptr {counter} monotonic, align 8")
            following = code.let(f"add i64 {old}, 1")
            code.do(f"store atomic i64 {following}, ptr {turn} release, align 8")
            code.do(f"br label %{done}")
            code.label(wait)
            count, more = "%" + code.name("n"), "%" + code.name("n")
            again = code.name("again")
            code.do(f"br label %{spin}")
            code.label(spin)
            code.do(f"{count} = phi i64 [ 0, %{wait} ], [ {more}, %{again} ]")
            now = code.let(f"load atomic i64, ptr {turn} acquire, align 8")
            moved = code.let(f"icmp ne i64 {now}, {old}")
            code.do(f"{more} = add i64 {count}, 1")
            pause = code.name("pause")
            code.do(f"br i1 {moved}, label %{done}, label %{pause}")
            code.label(pause)
            self._pause()
            patient = code.let(f"icmp ult i64 {more}, 4000")
            code.do(f"br i1 {patient}, label %{again}, label %{yields}")
            code.label(yields)
            code.do(f"call i32 {self.words['yield']}()")
            code.do(f"br label %{again}")
            code.label(again)
            code.do(f"br label %{spin}")
            code.label(done)

    def _pause(self) -> None:
        """Tell the processor that this is a waiting loop."""
        if self.target.triple.startswith(("x86", "i686", "amd64")):
            self.code.intrinsic("llvm.x86.sse2.pause", "void")
        elif self.target.triple.startswith(("aarch64", "arm64")):
            self.code.intrinsic("llvm.aarch64.hint", "void", ("i32", "1"))

    # --- steps ----------------------------------------------------------------------------------------------------

    def _step(self, s: str) -> None:
        code = self.code
        last = code.let(f"sub nsw i64 {self.words['steps']}, 1")
        back = code.let(f"sub nsw i64 {last}, {s}")
        descending = self._flag("descending")
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
                self._tiles(stage, self.panels[number], step)
            else:
                self._rows(stage, step)
            self._stage_barrier()
        self._leave(step, s, t)
        if self.layout.sum_width:
            low = code.let(f"and i64 {s}, {FLUSH - 1}")
            due = code.let(f"icmp eq i64 {low}, {FLUSH - 1}")
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
        columns = self._flag("columns")
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
        mine = code.let("icmp eq i64 %thread, 0")
        both = code.let(f"and i1 {ragged}, {mine}")
        with code.when(both):
            active = code.let(f"load i64, ptr {self.words['sizes']}, align 8")
            for read, _, width in self._states():
                source = self.words[read + ".initial"]
                for side in (".even", ".odd"):
                    self._copy_rows(source, self.words[read + side], active, self.words["rows"], width)
        self._barrier("%threads")

    def _enter(self, step: Step, s: str, t: str) -> None:
        """Rows that begin at this step bring their initial state."""
        code = self.code
        ragged = code.let(f"icmp ne ptr {self.words['sizes']}, null")
        later = code.let(f"icmp sgt i64 {s}, 0")
        both = code.let(f"and i1 {ragged}, {later}")
        with code.when(both):
            down, up = code.let(f"sub i64 {t}, 1"), code.let(f"add i64 {t}, 1")
            descending = self._flag("descending")
            other = code.let(f"select i1 {descending}, i64 {up}, i64 {down}")
            known = self._size(other)
            self._own_rows(step, known, step.rows, initial=True)

    def _leave(self, step: Step, s: str, t: str) -> None:
        """Rows that end at this step leave their state on both sides, since the side they end on is not the last."""
        code = self.code
        ragged = code.let(f"icmp ne ptr {self.words['sizes']}, null")
        with code.when(ragged):
            down, up = code.let(f"sub i64 {t}, 1"), code.let(f"add i64 {t}, 1")
            descending = self._flag("descending")
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
        begin = code.let(f"mul i64 {low}, {width}")
        end = code.let(f"mul i64 {high}, {width}")
        with code.loop(begin, end) as n:
            here = code.let(f"getelementptr inbounds {self.element}, ptr {source}, i64 {n}")
            there = code.let(f"getelementptr inbounds {self.element}, ptr {target}, i64 {n}")
            value = code.let(f"load {self.element}, ptr {here}, align {self.vector.bytes}")
            code.do(f"store {self.element} {value}, ptr {there}, align {self.vector.bytes}")

    def _flush(self) -> None:
        """Add this thread's running sums to its sums of sums."""
        code, total = self.code, self.layout.sum_width
        if not total:
            return
        t, align = self.vector.type, self.vector.bytes
        base = self._sums(0)
        with code.loop("0", str(total), self.lanes) as n:
            here = code.let(f"getelementptr inbounds {self.element}, ptr {base}, i64 {n}")
            there = code.let(f"getelementptr inbounds {self.element}, ptr {here}, i64 {total}")
            running = code.let(f"load {t}, ptr {here}, align {align}")
            so_far = code.let(f"load {t}, ptr {there}, align {align}")
            added = code.let(f"fadd {t} {running}, {so_far}")
            code.do(f"store {t} {added}, ptr {there}, align {align}")
            code.do(f"store {t} {tiles.zero(self.vector)}, ptr {here}, align {align}")

    def _sums(self, offset: int) -> str:
        code = self.code
        mine = code.let(f"mul i64 %thread, {2 * self.layout.sum_width}")
        place = code.let(f"add i64 {mine}, {offset}")
        return code.let(f"getelementptr inbounds {self.element}, ptr {self.words['sums']}, i64 {place}")

    # --- where a row lies -----------------------------------------------------------------------------------------

    def _row(self, name: str, r: str, step: Step) -> str:
        """The address of row r of a buffer."""
        code = self.code
        name, kind = name.removeprefix("+"), self.layout.buffers[name.removeprefix("+")].kind
        buffer = self.layout.buffers[name]
        if kind == "param":
            return self.words[name]
        if kind == "sum":
            return self._sums(self.layout.sums[name])
        if kind == "flip":
            return self._at(step.cursor[name], code.let(f"mul nsw i64 {r}, {buffer.width}"))
        if kind == "rows":
            return self._at(self.words[name], code.let(f"mul nsw i64 {r}, {self.words[name + '.stride']}"))
        stride = self.words[name + ".stride"]
        if kind == "stream":
            row = code.let(f"add nsw i64 {step.first}, {r}")
            return self._at(self.words[name], code.let(f"mul nsw i64 {row}, {stride}"))
        row = code.let(f"add nsw i64 {step.before_first}, {r}")
        there = self._at(self.words[name], code.let(f"mul nsw i64 {row}, {stride}"))
        start = self._at(self.words[name + ".initial"], code.let(f"mul nsw i64 {r}, {buffer.width}"))
        inside = code.let(f"icmp slt i64 {r}, {step.before_rows}")
        return code.let(f"select i1 {inside}, ptr {there}, ptr {start}")

    def _at(self, base: str, offset: str) -> str:
        # no "inbounds": the address of a row before the first is computed and not used
        return self.code.let(f"getelementptr {self.element}, ptr {base}, i64 {offset}")

    # --- products -------------------------------------------------------------------------------------------------

    def _tiles(self, stage: Tiles, panel: Panel, step: Step) -> None:
        code = self.code
        begin, end = self._share(str(panel.tiles))
        limit = panel.rows
        with code.loop(begin, end) as tile:
            offset = code.let(f"mul nuw nsw i64 {tile}, {panel.stride}")
            weights = code.let(f"getelementptr inbounds {self.element}, ptr {self._packed(panel)}, i64 {offset}")
            count = code.let(f"sub nsw i64 {step.high}, {step.low}")
            some = code.let(f"icmp sgt i64 {count}, 0")
            with code.when(some):
                up = code.let(f"add nsw i64 {count}, {limit - 1}")
                blocks = code.let(f"udiv i64 {up}, {limit}")
                with code.loop("0", blocks) as b:
                    low, high = self._block(b, blocks, count, step.low)
                    size = code.let(f"sub nsw i64 {high}, {low}")
                    self._switch(stage, panel, step, weights, low, size)
                    self._tile_body(stage, panel, step, tile, low, high)

    def _share(self, total: str) -> tuple[str, str]:
        """This thread's part of ``range(total)`` where columns are split, else all of it."""
        code = self.code
        up = code.let(f"add i64 {self.part}, 1")
        low = code.let(f"mul i64 {self.part}, {total}")
        high = code.let(f"mul i64 {up}, {total}")
        return code.let(f"udiv i64 {low}, {self.parts}"), code.let(f"udiv i64 {high}, {self.parts}")

    def _packed(self, panel: Panel) -> str:
        return self.code.let(f"getelementptr inbounds {self.element}, ptr {self.words['packed']}, i64 {panel.offset}")

    def _block(self, b: str, blocks: str, count: str, low: str) -> tuple[str, str]:
        """Block b of count rows cut as evenly as can be."""
        code = self.code
        begin = code.let(f"mul i64 {b}, {count}")
        begin = code.let(f"udiv i64 {begin}, {blocks}")
        after = code.let(f"add i64 {b}, 1")
        end = code.let(f"mul i64 {after}, {count}")
        end = code.let(f"udiv i64 {end}, {blocks}")
        return code.let(f"add i64 {begin}, {low}"), code.let(f"add i64 {end}, {low}")

    def _switch(self, stage: Tiles, panel: Panel, step: Step, weights: str, low: str, size: str) -> None:
        """The products of a block, in a kernel of exactly its number of rows."""
        code = self.code
        names = [code.name("rows") for _ in range(panel.rows)]
        done = code.name("multiplied")
        cases = " ".join(f"i64 {r + 1}, label %{names[r]}" for r in range(panel.rows))
        code.do(f"switch i64 {size}, label %{done} [ {cases} ]")
        for r, name in enumerate(names):
            code.label(name)
            self._products(panel, step, weights, low, r + 1)
            code.do(f"br label %{done}")
        code.label(done)

    def _products(self, panel: Panel, step: Step, weights: str, low: str, rows: int) -> None:
        code = self.code
        pointers: dict[tuple[str, int], list[str]] = {}
        for chunk in panel.chunks:
            place = self._place(chunk.operand)
            key = (place.buffer, place.offset)
            if key not in pointers:
                pointers[key] = [self._element(place, code.let(f"add nsw i64 {low}, {r}"), step) for r in range(rows)]
            source = code.let(f"getelementptr inbounds {self.element}, ptr {weights}, i64 {chunk.offset}")
            scratch = [
                [self._scratch(r * panel.vectors + chunk.first + c) for c in range(chunk.vectors)] for r in range(rows)
            ]
            tiles.emit(code, self.vector, pointers[key], chunk.vectors, chunk.inner, source, scratch)

    def _place(self, read: Read) -> Place:
        place = self.plan.place(read)
        assert place is not None, f"an operand that lies nowhere: {read.node}"
        return place

    def _element(self, place: Place, r: str, step: Step) -> str:
        row = self._row(place.buffer, r, step)
        return self._at(row, str(place.offset)) if place.offset else row

    def _scratch(self, index: int | str) -> str:
        return self.code.let(f"getelementptr inbounds {self.vector.type}, ptr %scratch, i64 {index}")

    def _tile_body(self, stage: Tiles, panel: Panel, step: Step, tile: str, low: str, high: str) -> None:
        code = self.code
        full, rest = divmod(stage.width, self.lanes)
        nodes = [p.node for p in stage.products] + stage.body
        begin = code.let(f"mul nuw nsw i64 {tile}, {panel.units}")
        stop = code.let(f"add nuw nsw i64 {begin}, {panel.units}")
        end = code.intrinsic("llvm.smin.i64", "i64", ("i64", stop), ("i64", str(full)))
        with code.loop(low, high) as r:
            block_row = code.let(f"sub nsw i64 {r}, {low}")
            pointers = self._pointers(nodes, r, step)
            top = code.let(f"mul nuw nsw i64 {block_row}, {panel.vectors}")

            def products(unit: str) -> dict[int, Callable[[], str]]:
                first = code.let(f"add nuw nsw i64 {top}, {unit}")

                def read(n: int) -> Callable[[], str]:
                    def load() -> str:
                        index = code.let(f"add nuw nsw i64 {first}, {panel.positions[n]}")
                        return code.let(
                            f"load {self.vector.type}, ptr {self._scratch(index)}, "
                            f"align {self.lanes * self.vector.bytes}"
                        )

                    return load

                return {id(p.node): read(n) for n, p in enumerate(stage.products)}

            with code.loop(begin, end) as v:
                unit = code.let(f"sub nsw i64 {v}, {begin}")
                at = code.let(f"mul nuw nsw i64 {v}, {self.lanes}")
                self._body(nodes, self.vector, at, pointers, products(unit), 0)
            if rest:
                is_last = code.let(f"icmp uge i64 {stop}, {full + 1}")
                with code.when(is_last):
                    unit = code.let(f"sub nsw i64 {full}, {begin}")
                    self._body(nodes, self.vector, str(full * self.lanes), pointers, products(unit), rest)

    # --- elementwise ----------------------------------------------------------------------------------------------

    def _pointers(self, nodes: Sequence[Node], r: str, step: Step) -> dict[str, str]:
        """The address of row r in every buffer these operations touch."""
        names: dict[str, None] = {}
        for node in nodes:
            for n in range(len(node.inputs)):
                read = self.plan.reads.get((id(node), n))
                place = self.plan.place(read) if read and read.node.op != "const" else None
                if place is not None:
                    names[place.buffer] = None
            for place in self.plan.stores.get(id(node), ()):
                names[place.buffer] = None
        return {name: self._row(name, r, step) for name in names}

    def _body(
        self,
        nodes: Sequence[Node],
        vector: Vector,
        at: str,
        pointers: dict[str, str],
        given: dict[int, Callable[[], str]],
        rest: int,
    ) -> dict[int, str]:
        """Elementwise operations at elements ``at`` and on of a row; ``rest``: only so many lanes are there."""
        values: dict[int, str] = {}
        loads: dict[tuple[str, int, bool, bool], str] = {}
        for node in nodes:
            if id(node) in given:
                values[id(node)] = given[id(node)]()
            else:
                operands = []
                for n in range(len(node.inputs)):
                    read = self.plan.reads[id(node), n]
                    operands.append(self._operand(read, vector, at, pointers, values, loads, rest))
                values[id(node)] = operands[0] if node.op == "copy" else EMIT[node.op](self.code, vector, operands)
            for place in self.plan.stores.get(id(node), ()):
                self._write(place, node, values[id(node)], vector, at, pointers, rest)
        return values

    def _operand(
        self,
        read: Read,
        vector: Vector,
        at: str,
        pointers: dict[str, str],
        values: dict[int, str],
        loads: dict[tuple[str, int, bool, bool], str],
        rest: int,
    ) -> str:
        node = read.node
        if node.op == "const":
            if node.dtype == "bool":
                return vector.spread(f"i1 {int(node['value'])}")
            return vector.number(node["value"])
        if id(node) in values and not read.splat and read.offset == 0:
            return values[id(node)]
        place = self._place(read)
        key = (place.buffer, place.offset, read.splat, node.dtype == "bool")
        if key not in loads:
            loads[key] = self._load(place, read.splat, node.dtype == "bool", vector, at, pointers, rest)
        return loads[key]

    def _load(
        self, place: Place, splat: bool, is_bool: bool, vector: Vector, at: str, pointers: dict[str, str], rest: int
    ) -> str:
        code, t = self.code, vector.type
        row = pointers[place.buffer]
        if splat:
            one = code.let(f"load {self.element}, ptr {self._at(row, str(place.offset))}, align {vector.bytes}")
            value = tiles.splat(code, vector, one)
        else:
            address = self._address(row, place.offset, at)
            if rest and vector.lanes > 1:
                value = code.intrinsic(
                    f"llvm.masked.load.{vector.suffix}.p0",
                    t,
                    ("ptr", address),
                    ("i32", str(vector.bytes)),
                    (vector.mask, self._mask(vector, rest)),
                    (t, tiles.zero(vector)),
                )
            else:
                value = code.let(f"load {t}, ptr {address}, align {vector.bytes}")
        return code.let(f"fcmp une {t} {value}, {tiles.zero(vector)}") if is_bool else value

    def _address(self, row: str, offset: int, at: str) -> str:
        index = self.code.let(f"add nsw i64 {at}, {offset}") if offset else at
        return self._at(row, index)

    def _mask(self, vector: Vector, rest: int) -> str:
        return "<" + ", ".join(f"i1 {int(n < rest)}" for n in range(vector.lanes)) + ">"

    def _write(
        self, place: Place, node: Node, value: str, vector: Vector, at: str, pointers: dict[str, str], rest: int
    ) -> None:
        code, t = self.code, vector.type
        if node.dtype == "bool":
            value = code.let(f"select {vector.mask} {value}, {t} {vector.number(1.0)}, {t} {tiles.zero(vector)}")
        address = self._address(pointers[place.buffer], place.offset, at)
        if place.buffer.startswith("+"):
            row = Place(place.buffer, place.offset)
            so_far = self._load(row, False, False, vector, at, pointers, rest)
            value = code.let(f"fadd {t} {so_far}, {value}")
        if rest and vector.lanes > 1:
            code.intrinsic(
                f"llvm.masked.store.{vector.suffix}.p0",
                "void",
                (t, value),
                ("ptr", address),
                ("i32", str(vector.bytes)),
                (vector.mask, self._mask(vector, rest)),
            )
        else:
            code.do(f"store {t} {value}, ptr {address}, align {vector.bytes}")

    # --- rows -----------------------------------------------------------------------------------------------------

    def _rows(self, stage: Rows, step: Step) -> None:
        code = self.code
        count = code.let(f"sub nsw i64 {step.high}, {step.low}")
        count = code.intrinsic("llvm.smax.i64", "i64", ("i64", count), ("i64", "0"))
        begin, end = self._share(count)
        begin, end = code.let(f"add nsw i64 {begin}, {step.low}"), code.let(f"add nsw i64 {end}, {step.low}")
        nodes = [n for phase in stage.phases for n in (*phase.body, *phase.reductions)]
        with code.loop(begin, end) as r:
            pointers = self._pointers(nodes, r, step)
            for phase in stage.phases:
                self._phase(phase, pointers)

    def _phase(self, phase: Phase, pointers: dict[str, str]) -> None:
        if phase.body and phase.body[0].op in COPIES:
            self._rearrange(phase.body[0], pointers)
        elif phase.reductions and phase.reductions[0].shape[0] > 1:
            self._segments(phase.reductions[0], pointers)
        else:
            self._pass(phase, pointers)

    def _pass(self, phase: Phase, pointers: dict[str, str]) -> None:
        """One pass over a row, with its reductions."""
        vector = self.vector if phase.width > 1 else self.target.vector(self.element, 1)
        full, rest = divmod(phase.width, vector.lanes)
        sums = [self._accumulator(node, vector) for node in phase.reductions]

        def work(at: str, left: int) -> None:
            values = self._body(phase.body, vector, at, pointers, {}, left)
            loads: dict[tuple[str, int, bool, bool], str] = {}
            for node, place in zip(phase.reductions, sums, strict=True):
                read = self.plan.reads[id(node), 0]
                value = self._operand(read, vector, at, pointers, values, loads, left)
                self._accumulate(node.op, place, value, vector, left)

        if full > 1:
            with self.code.loop("0", str(full)) as n:
                work(self.code.let(f"mul nuw nsw i64 {n}, {vector.lanes}"), 0)
        elif full:
            work("0", 0)
        if rest:
            work(str(full * vector.lanes), rest)
        for node, place in zip(phase.reductions, sums, strict=True):
            self._finish(node, place, vector, pointers, 0)

    def _segments(self, node: Node, pointers: dict[str, str]) -> None:
        """A reduction over runs of the row: (outer, inner) to (outer, 1)."""
        code, vector = self.code, self.vector
        outer, inner = node.inputs[0].shape
        full, rest = divmod(inner, vector.lanes)
        read = self.plan.reads[id(node), 0]
        with code.loop("0", str(outer)) as segment:
            start = code.let(f"mul nuw nsw i64 {segment}, {inner}")
            place = self._accumulator(node, vector)
            if full:
                with code.loop("0", str(full)) as n:
                    at = code.let(f"mul nuw nsw i64 {n}, {vector.lanes}")
                    at = code.let(f"add nuw nsw i64 {at}, {start}")
                    value = self._operand(read, vector, at, pointers, {}, {}, 0)
                    self._accumulate(node.op, place, value, vector, 0)
            if rest:
                at = code.let(f"add nuw nsw i64 {start}, {full * vector.lanes}")
                value = self._operand(read, vector, at, pointers, {}, {}, rest)
                self._accumulate(node.op, place, value, vector, rest)
            self._finish(node, place, vector, pointers, segment)

    NEUTRAL = {"sum": -0.0, "amax": float("-inf"), "amin": float("inf")}
    JOIN = {"sum": "add", "amax": "maximum", "amin": "minimum"}

    def _accumulator(self, node: Node, vector: Vector) -> str:
        """A place for a running sum; the passes make it a register."""
        place = self._slot(vector)
        self.code.do(f"store {vector.type} {vector.number(self.NEUTRAL[node.op])}, ptr {place}")
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
            neutral = vector.number(self.NEUTRAL[op])
            value = code.let(f"select {vector.mask} {self._mask(vector, rest)}, {t} {value}, {t} {neutral}")
        so_far = code.let(f"load {t}, ptr {place}")
        code.do(f"store {t} {EMIT[self.JOIN[op]](code, vector, [so_far, value])}, ptr {place}")

    def _finish(self, node: Node, place: str, vector: Vector, pointers: dict[str, str], segment: int | str) -> None:
        """Fold the lanes by halves, and write the result."""
        code, op = self.code, self.JOIN[node.op]
        value = code.let(f"load {vector.type}, ptr {place}")
        while vector.lanes > 1:
            half = self.target.vector(self.element, vector.lanes // 2)
            parts = []
            for start in (0, half.lanes):
                index = ", ".join(f"i32 {start + n}" for n in range(half.lanes))
                mask = f"<{half.lanes} x i32> <{index}>"
                part = code.let(f"shufflevector {vector.type} {value}, {vector.type} poison, {mask}")
                parts.append(part if half.lanes > 1 else code.let(f"extractelement <1 x {self.element}> {part}, i64 0"))
            value = EMIT[op](code, half, parts)
            vector = half
        for target in self.plan.stores[id(node)]:
            address = self._at(pointers[target.buffer], str(segment))
            address = self._at(address, str(target.offset)) if target.offset else address
            code.do(f"store {self.element} {value}, ptr {address}, align {vector.bytes}")

    def _rearrange(self, node: Node, pointers: dict[str, str]) -> None:
        """Write a view out, element by element: it keeps no order that a plain read could follow."""
        parts = list(enumerate(node.inputs)) if node.op == "cat" else [(0, node.inputs[0])]
        start = 0
        for n, part in parts:
            place = self._place(self.plan.reads[id(node), n])
            with self.code.loop("0", str(part.width if node.op == "cat" else node.width)) as i:
                source, target = self._indices(node, part, i, start)
                here = self._at(pointers[place.buffer], source)
                here = self._at(here, str(place.offset)) if place.offset else here
                value = self.code.let(f"load {self.element}, ptr {here}, align {self.vector.bytes}")
                for goal in self.plan.stores[id(node)]:
                    there = self._at(pointers[goal.buffer], target)
                    there = self._at(there, str(goal.offset)) if goal.offset else there
                    self.code.do(f"store {self.element} {value}, ptr {there}, align {self.vector.bytes}")
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
