"""The frame of a kernel that is being written: its words, the step it is in, and where each buffer's rows lie."""

from __future__ import annotations

from dataclasses import dataclass, field

from ostinato.compiler.cpu.flat import Read
from ostinato.compiler.cpu.layout import Layout
from ostinato.compiler.cpu.schedule import TOGETHER, Place, Schedule, is_apart, rows_of_a_thread
from ostinato.compiler.cpu.targets import Target
from ostinato.compiler.cpu.text import Code


@dataclass
class Step:
    """The values of the step that is being written.

    Attributes:
        first: the number of its first row among the rows of all steps; ``rows``: how many are active.
        low, high: the rows of this thread.
        parity: whether the step's number is odd; ``is_first``: whether it is 0.
        before_first, before_rows: the same of the step before it in the forward loop's order.
        cursor: where each state is read or written in this step.
    """

    first: str
    rows: str
    low: str
    high: str
    parity: str
    is_first: str
    before_rows: str = "0"
    before_first: str = "0"
    cursor: dict[str, str] = field(default_factory=dict)


class Frame:
    """What every part of the writing needs.

    Attributes:
        words: the kernel's arguments, by name.
        part, parts: this thread's number among those that split columns, and theirs; 0 and 1 where rows are split.
        apart: columns never meet, and each thread runs through all steps with rows or columns of its own, without
            waiting for another.
        column, columns: the same as ``part`` and ``parts`` for such a loop.
    """

    def __init__(self, plan: Schedule, layout: Layout, target: Target, element: str) -> None:
        self.plan, self.layout, self.target, self.element = plan, layout, target, element
        self.vector = target.vector(element)
        self.lanes = self.vector.lanes
        self.code = Code()
        self.words: dict[str, str] = {}
        self.part, self.parts = "0", "1"
        self.column, self.columns = "0", "1"
        carried = {b.name: b.width for b in layout.buffers.values() if b.kind == "flip"}
        self.apart = is_apart(plan, carried)

    def flag(self, name: str) -> str:
        return self.code.let(f"icmp ne i64 {self.words[name]}, 0")

    def place(self, read: Read) -> Place:
        """Where an operand lies."""
        place = self.plan.place(read)
        assert place is not None, f"an operand that lies nowhere: {read.node}"
        return place

    def share(self, total: str) -> tuple[str, str]:
        """This thread's part of ``range(total)`` where columns are split, else all of it."""
        code = self.code
        up = code.let(f"add i64 {self.part}, 1")
        low = code.let(f"mul i64 {self.part}, {total}")
        high = code.let(f"mul i64 {up}, {total}")
        return code.let(f"udiv i64 {low}, {self.parts}"), code.let(f"udiv i64 {high}, {self.parts}")

    def in_order(self, n: str, low: str, high: str) -> str:
        """Row n of ``range(low, high)``; in a pass without products memory is gone through in one direction."""
        if not self.apart:
            return n
        code = self.code
        both = code.let(f"add i64 {low}, {high}")
        last = code.let(f"sub i64 {both}, 1")
        back = code.let(f"sub i64 {last}, {n}")
        return code.let(f"select i1 {self.flag('descending')}, i64 {back}, i64 {n}")

    def rows_to_next(self, n: str, low: str, high: str, step: Step) -> str:
        """How many rows it is to the one :meth:`in_order` comes to after number n, in the next step after the last."""
        code, descending = self.code, self.flag("descending")
        own = code.let(f"sub i64 {high}, {low}")
        rest = code.let(f"sub i64 {own}, 1")
        onward = code.let(f"sub i64 {step.rows}, {rest}")
        is_last = code.let(f"icmp eq i64 {code.let(f'add i64 {n}, 1')}, {high}")
        if self.apart:
            jump = code.let(f"select i1 {is_last}, i64 {onward}, i64 1")
            return code.let(f"select i1 {descending}, i64 {code.let(f'sub i64 0, {jump}')}, i64 {jump}")
        back = code.let(f"sub i64 0, {code.let(f'add i64 {step.rows}, {rest}')}")
        across = code.let(f"select i1 {descending}, i64 {back}, i64 {onward}")
        return code.let(f"select i1 {is_last}, i64 {across}, i64 1")

    def own_vectors(self, total: int) -> tuple[str, str]:
        """Which vectors of a row are this thread's: all of them, unless columns never meet and threads split them."""
        if not self.apart:
            return "0", str(total)
        code = self.code
        after = code.let(f"add i64 {self.column}, 1")
        low = code.let(f"mul i64 {self.column}, {total}")
        high = code.let(f"mul i64 {after}, {total}")
        return code.let(f"udiv i64 {low}, {self.columns}"), code.let(f"udiv i64 {high}, {self.columns}")

    def owns_last_column(self) -> str:
        """Whether the last elements of a row, fewer than a vector, are this thread's, where columns never meet."""
        last = self.code.let(f"sub i64 {self.columns}, 1")
        return self.code.let(f"icmp eq i64 {self.column}, {last}")

    def row(self, name: str, r: str, step: Step) -> str:
        """The address of row r of a buffer."""
        code = self.code
        name, kind = name.removeprefix("+"), self.layout.buffers[name.removeprefix("+")].kind
        buffer = self.layout.buffers[name]
        if kind == "param":
            return self.words[name]
        if kind == "sum":
            return self.sums(self.layout.sums[name])
        if kind == "flip":
            return self.at(step.cursor[name], code.let(f"mul nsw i64 {r}, {buffer.width}"))
        if name in self.plan.passing:
            mine = self.code.let(f"mul i64 %thread, {rows_of_a_thread(buffer.width)}")
            r = self.code.let(f"add i64 {mine}, {self.code.let(f'and i64 {r}, {TOGETHER - 1}')}")
        if kind == "rows":
            return self.at(self.words[name], code.let(f"mul nsw i64 {r}, {self.words[name + '.stride']}"))
        stride = self.words[name + ".stride"]
        if kind == "stream":
            row = code.let(f"add nsw i64 {step.first}, {r}")
            return self.at(self.words[name], code.let(f"mul nsw i64 {row}, {stride}"))
        row = code.let(f"add nsw i64 {step.before_first}, {r}")
        there = self.at(self.words[name], code.let(f"mul nsw i64 {row}, {stride}"))
        start = self.at(self.words[name + ".initial"], code.let(f"mul nsw i64 {r}, {buffer.width}"))
        inside = code.let(f"icmp slt i64 {r}, {step.before_rows}")
        return code.let(f"select i1 {inside}, ptr {there}, ptr {start}")

    def at(self, base: str, offset: str) -> str:
        # no "inbounds": the address of a row before the first is computed and not used
        return self.code.let(f"getelementptr {self.element}, ptr {base}, i64 {offset}")

    def sums(self, offset: int) -> str:
        """The address of this thread's running sums, from an offset on."""
        code = self.code
        mine = code.let(f"mul i64 %thread, {2 * self.layout.sum_width}")
        place = code.let(f"add i64 {mine}, {offset}")
        return code.let(f"getelementptr inbounds {self.element}, ptr {self.words['sums']}, i64 {place}")

    def element_of(self, place: Place, r: str, step: Step) -> str:
        """The address of a place in row r."""
        row = self.row(place.buffer, r, step)
        return self.at(row, str(place.offset)) if place.offset else row
