"""LLVM's text form, written line by line: values get numbers, blocks get names, intrinsics are declared once."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Vector:
    """A vector type: ``element`` is ``"float"`` or ``"double"``; one lane is the scalar itself.

    ``fused`` and ``rounding`` say whether the target has one instruction for a multiply-add, and for rounding to a
    whole number; where it has none, LLVM would call the C library. ``scaling`` is the bytes that one instruction for
    x·2ⁿ takes, 0 where there is none.
    """

    element: str
    lanes: int
    fused: bool = True
    rounding: bool = True
    scaling: int = 0

    @property
    def type(self) -> str:
        return self.element if self.lanes == 1 else f"<{self.lanes} x {self.element}>"

    @property
    def mask(self) -> str:
        """The type of a comparison of two such vectors."""
        return "i1" if self.lanes == 1 else f"<{self.lanes} x i1>"

    @property
    def bits(self) -> int:
        """The bits of one element."""
        return 32 if self.element == "float" else 64

    @property
    def integer(self) -> str:
        """The vector of integers of the same width."""
        return f"i{self.bits}" if self.lanes == 1 else f"<{self.lanes} x i{self.bits}>"

    @property
    def bytes(self) -> int:
        """The bytes of one element."""
        return self.bits // 8

    @property
    def suffix(self) -> str:
        """How intrinsics name the type: ``v16f32``, ``f64``."""
        return f"f{self.bits}" if self.lanes == 1 else f"v{self.lanes}f{self.bits}"

    def number(self, value: float) -> str:
        """A constant of this type: every lane ``value``, exactly."""
        if self.element == "float":
            value = struct.unpack("f", struct.pack("f", value))[0]
        text = f"0x{struct.unpack('Q', struct.pack('d', value))[0]:016X}"
        return self.spread(f"{self.element} {text}")

    def whole(self, value: int) -> str:
        """An integer constant in every lane of :attr:`integer`."""
        return self.spread(f"i{self.bits} {value}")

    def spread(self, element: str) -> str:
        """A constant with this typed element in every lane, untyped at one lane."""
        if self.lanes == 1:
            return element.split(" ", 1)[1]
        return "<" + ", ".join([element] * self.lanes) + ">"


class Code:
    """A module's text: functions one after the other, and the declarations they need."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.declarations: dict[str, str] = {}
        self.metadata: dict[str, str] = {}
        self._count = 0

    def name(self, stem: str = "v") -> str:
        """A name nobody else has, without the percent sign."""
        self._count += 1
        return f"{stem}{self._count}"

    def let(self, text: str) -> str:
        """``%v7 = text``; returns ``%v7``."""
        name = "%" + self.name()
        self.lines.append(f"  {name} = {text}")
        return name

    def do(self, text: str) -> None:
        """An instruction without a result."""
        self.lines.append(f"  {text}")

    def label(self, name: str) -> None:
        """Here a block begins."""
        self.lines.append(f"{name}:")

    @contextmanager
    def function(self, head: str) -> Iterator[None]:
        """A function that returns nothing: ``head`` is what stands before its body."""
        self.lines.append(f"define {head} {{")
        self.label("entry")
        yield
        self.do("ret void")
        self.lines.append("}")

    def intrinsic(self, name: str, result: str, *arguments: tuple[str, str]) -> str:
        """Call ``@llvm.…``; arguments are (type, value) pairs. A result of ``"void"`` gives ""."""
        types = ", ".join(t for t, _ in arguments)
        self.declarations[name] = f"declare {result} @{name}({types})"
        call = f"call {result} @{name}({', '.join(f'{t} {v}' for t, v in arguments)})"
        if result == "void":
            self.do(call)
            return ""
        return self.let(call)

    def prefetch(self, place: str, cache: int = 1, written: bool = False) -> None:
        """Ask for the line at an address, into this cache; ``written``: it will be."""
        kind = (("i32", str(int(written))), ("i32", str(4 - cache)), ("i32", "1"))
        self.intrinsic("llvm.prefetch.p0", "void", ("ptr", place), *kind)

    @contextmanager
    def loop(self, start: str, stop: str, step: int | str = 1, hint: str = "") -> Iterator[str]:
        """``for i in range(start, stop, step)`` over i64; yields i. ``hint`` is metadata for the back edge."""
        head, body, latch, done = (self.name(s) for s in ("head", "body", "latch", "done"))
        before = self.name("from")
        i, following = "%" + self.name("i"), "%" + self.name("next")
        self.do(f"br label %{before}")
        self.label(before)
        self.do(f"br label %{head}")
        self.label(head)
        self.do(f"{i} = phi i64 [ {start}, %{before} ], [ {following}, %{latch} ]")
        more = self.let(f"icmp slt i64 {i}, {stop}")
        self.do(f"br i1 {more}, label %{body}, label %{done}")
        self.label(body)
        yield i
        self.do(f"br label %{latch}")
        self.label(latch)
        self.do(f"{following} = add nsw i64 {i}, {step}")
        self.do(f"br label %{head}{hint}")
        self.label(done)

    @contextmanager
    def when(self, condition: str) -> Iterator[None]:
        """``if condition:``, for what it does, not for a value."""
        then, done = self.name("then"), self.name("fi")
        self.do(f"br i1 {condition}, label %{then}, label %{done}")
        self.label(then)
        yield
        self.do(f"br label %{done}")
        self.label(done)

    def once(self) -> str:
        """The mark of memory that is not read again soon."""
        self.metadata["!0"] = "!0 = !{i32 1}"
        return "!0"

    def text(self) -> str:
        return "\n".join([*self.declarations.values(), *self.lines, *self.metadata.values(), ""])
