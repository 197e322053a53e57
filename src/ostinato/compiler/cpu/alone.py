"""What the products outside the loops share: each is one function for all sizes, called with a few words.

A call's words are addresses and numbers. They are written once for a size; only addresses change from call to call.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence

import torch

from ostinato.compiler.cpu import threads, tiles
from ostinato.compiler.cpu.errand import Errand
from ostinato.compiler.cpu.ready import Ready, from_text, ready
from ostinato.compiler.cpu.targets import Target
from ostinato.compiler.cpu.text import Code

ELEMENT = {torch.float32: "float", torch.float64: "double"}
"""LLVM's name of a number."""

SHARED = 1_000_000
"""Multiply-adds from which a second thread is worth its start."""


def compiled(source: str, target: Target) -> Ready:
    """The function whose text this is."""
    return ready(*from_text(source, target))


class Call:
    """A function's call of one size. Not for two threads at once.

    Args:
        addresses: the names of the words that :meth:`run` is given, the first ones of all.
        numbers: the others, in order.
        work: multiply-adds.
    """

    def __init__(self, function: Ready, addresses: Sequence[str], numbers: Mapping[str, int], work: int) -> None:
        count = len(addresses)
        self._words = (ctypes.c_int64 * (count + len(numbers)))(*[0] * count, *numbers.values())
        number = threads.most() if work >= SHARED else 1
        self._go = function.function.standing(self._words, number, turns=number)

    def run(self, *addresses: int) -> None:
        """From the addresses of the first elements."""
        for n, address in enumerate(addresses):
            self._words[n] = address
        self._go()

    def errand(self, *addresses: int) -> Errand:
        """The same to come."""
        return Errand(self._go, self._words, tuple(enumerate(addresses)))


class Writer:
    """Writes such a function's text.

    Attributes:
        words: what the call said, by name.
    """

    def __init__(self, element: str, target: Target) -> None:
        self.code, self.target, self.vector, self.element = Code(), target, target.vector(element), element
        self.words: dict[str, str] = {}

    def begin(self, addresses: Sequence[str], numbers: Sequence[str], near: int) -> None:
        """The function's head. ``near``: the elements of ``%near``, memory of each thread's own."""
        code = self.code
        code.lines.append(threads.RUN)
        code.label("entry")
        code.do(f"%near = alloca {self.element}, i64 {near}, align 64")
        for n, name in enumerate((*addresses, *numbers)):
            place = code.let(f"getelementptr inbounds i64, ptr %args, i64 {n}")
            self.words[name] = code.let(f"load {'ptr' if name in addresses else 'i64'}, ptr {place}, align 8")

    def end(self) -> None:
        self.code.do("ret void")
        self.code.lines.append("}")

    def text(self) -> str:
        """The whole module."""
        self.code.lines.append("attributes #0 = { nounwind }")
        return self.code.text() + threads.ENTRY

    def share(self, count: str) -> tuple[str, str]:
        """From which to which of so many things are this thread's."""
        after = self.code.let("add i64 %thread, 1")
        return self.fraction(count, "%thread", "%threads"), self.fraction(count, after, "%threads")

    def fraction(self, count: str, n: str, parts: str) -> str:
        """Where part ``n`` of ``count`` things begins."""
        return self.code.let(f"udiv i64 {self.times(count, n)}, {parts}")

    def times(self, a: str, b: str) -> str:
        return self.code.let(f"mul i64 {a}, {b}")

    def at(self, base: str, *offsets: str) -> str:
        """An address so many elements further."""
        for offset in offsets:
            base = self.code.let(f"getelementptr {self.element}, ptr {base}, i64 {offset}")
        return base

    def load(self, place: str, mask: str) -> str:
        """A vector; with a ``mask`` only its lanes."""
        code, vector = self.code, self.vector
        if not mask:
            return code.let(f"load {vector.type}, ptr {place}, align {vector.bytes}")
        return tiles.masked_load(code, vector, place, mask)

    def store(self, value: str, place: str, mask: str) -> None:
        """The same the other way. Some processors take long over a masked store: for what is whole there is none."""
        code, vector = self.code, self.vector
        if not mask:
            code.do(f"store {vector.type} {value}, ptr {place}, align {vector.bytes}")
            return
        tiles.masked_store(code, vector, value, place, mask)
