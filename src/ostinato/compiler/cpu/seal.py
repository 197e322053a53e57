"""Whether memory still holds what it held: a sum of all its bytes, compared with that of the last time.

Weights may be written to without a trace (``parameter.data``, numpy, another process), so whoever keeps anything that
was made of them must read them again. To add them up takes a fraction of the time that putting them in order takes.

The sum is that of xxHash (Y. Collet, https://github.com/Cyan4973/xxHash, XXH64), a round for each lane of 64 bits: one
value that changes always shows, and several do but for a chance of some 2⁻⁶⁴. Nothing is folded at the end: all lanes
are compared.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache as once

from ostinato.compiler.cpu import alone, threads
from ostinato.compiler.cpu.ready import Ready
from ostinato.compiler.cpu.targets import Target, host
from ostinato.compiler.cpu.text import Code, Vector

FIRST, SECOND, TURN = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 31
"""The round: add the value times ``SECOND``, turn by so many bits, multiply by ``FIRST``."""

SUMS = 4
"""So many sums are taken beside each other, since each waits for itself."""

WORD = 4
"""Bytes that all sizes are multiples of."""

SHARED = 2**19
"""Bytes from which a second thread is worth its start."""


class Seal:
    """Remembers what some memory held. Not for two threads at once.

    Args:
        sizes: of each piece of memory, in bytes, a multiple of :data:`WORD`.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        number = threads.most() if sum(sizes) >= SHARED else 1
        lanes = SUMS * host().lanes("double") + 1
        self._sums = (ctypes.c_uint64 * (number * len(sizes) * lanes))()
        self._words = (ctypes.c_int64 * (2 + 2 * len(sizes)))(len(sizes), ctypes.addressof(self._sums))
        self._words[3::2] = list(sizes)
        self._go = _function().function.standing(self._words, number, turns=number)
        self._last = b""

    def holds(self, addresses: Sequence[int]) -> bool:
        """Whether the pieces, which may lie elsewhere now, hold what they held when this was last asked."""
        for n, address in enumerate(addresses):
            self._words[2 + 2 * n] = address
        self._go()
        now = bytes(self._sums)
        same = now == self._last
        self._last = now
        return same


@once
def _function() -> Ready:
    target = host()
    return alone.compiled(text(target), target)


def text(target: Target) -> str:
    """The function as LLVM's text: a thread's sums, those of one piece after the other."""
    code, vector, one, block = Code(), target.vector("double"), target.vector("double", 1), SUMS * target.bytes
    code.lines.append(threads.RUN)
    code.label("entry")
    count = code.let("load i64, ptr %args, align 8")
    sums = code.let(f"load ptr, ptr {_at(code, '%args', '8')}, align 8")
    with code.loop("0", count) as piece:
        given = _at(code, "%args", code.let(f"add i64 16, {code.let(f'mul i64 {piece}, 16')}"))
        memory = code.let(f"load ptr, ptr {given}, align 8")
        size = code.let(f"load i64, ptr {_at(code, given, '8')}, align 8")
        blocks = code.let(f"udiv i64 {size}, {block}")
        after = code.let("add i64 %thread, 1")
        low, high = (code.let(f"udiv i64 {code.let(f'mul i64 {blocks}, {n}')}, %threads") for n in ("%thread", after))
        slot = code.let(f"add i64 {code.let(f'mul i64 {piece}, %threads')}, %thread")
        out = _at(code, sums, code.let(f"mul i64 {slot}, {block + 8}"))
        for n in range(SUMS):
            code.do(f"store {vector.integer} zeroinitializer, ptr {_at(code, out, str(n * target.bytes))}, align 8")
        single = _at(code, out, str(block))
        code.do(f"store i64 {size}, ptr {single}, align 8")
        _blocks(code, vector, memory, low, high, out)
        with code.when(code.let("icmp eq i64 %thread, 0")):
            rest = code.let(f"mul i64 {blocks}, {block}")
            with code.loop(rest, size, WORD) as at:
                word = code.let(f"load i32, ptr {_at(code, memory, at)}, align {WORD}")
                held = code.let(f"load i64, ptr {single}, align 8")
                wide = code.let(f"zext i32 {word} to i64")
                total = code.let(_round(code, one, held, wide))
                code.do(f"store i64 {total}, ptr {single}, align 8")
    code.do("ret void")
    code.lines.append("}")
    code.lines.append("attributes #0 = { nounwind }")
    return code.text() + threads.ENTRY


def _blocks(code: Code, vector: Vector, memory: str, low: str, high: str, out: str) -> None:
    """The sums over blocks low to high, kept in registers."""
    t, size = vector.integer, vector.lanes * vector.bytes
    before, head, body, done = (code.name(s) for s in ("before", "head", "body", "done"))
    code.do(f"br label %{before}")
    code.label(before)
    code.do(f"br label %{head}")
    code.label(head)
    n, following = "%" + code.name("n"), "%" + code.name("n")
    sums = ["%" + code.name("s") for _ in range(SUMS)]
    added = ["%" + code.name("s") for _ in range(SUMS)]
    code.do(f"{n} = phi i64 [ {low}, %{before} ], [ {following}, %{body} ]")
    for own, new in zip(sums, added, strict=True):
        code.do(f"{own} = phi {t} [ zeroinitializer, %{before} ], [ {new}, %{body} ]")
    code.do(f"br i1 {code.let(f'icmp slt i64 {n}, {high}')}, label %{body}, label %{done}")
    code.label(body)
    place = _at(code, memory, code.let(f"mul i64 {n}, {SUMS * size}"))
    for k, (own, new) in enumerate(zip(sums, added, strict=True)):
        value = code.let(f"load {t}, ptr {_at(code, place, str(k * size))}, align {WORD}")
        code.do(f"{new} = {_round(code, vector, own, value)}")
    code.do(f"{following} = add i64 {n}, 1")
    code.do(f"br label %{head}")
    code.label(done)
    for k, own in enumerate(sums):
        code.do(f"store {t} {own}, ptr {_at(code, out, str(k * size))}, align 8")


def _round(code: Code, vector: Vector, so_far: str, value: str) -> str:
    """The instruction whose result is the sum with one more value."""
    t = vector.integer
    more = code.let(f"mul {t} {value}, {vector.whole(SECOND)}")
    total = code.let(f"add {t} {so_far}, {more}")
    name = "llvm.fshl.i64" if vector.lanes == 1 else f"llvm.fshl.v{vector.lanes}i64"
    turned = code.intrinsic(name, t, (t, total), (t, total), (t, vector.whole(TURN)))
    return f"mul {t} {turned}, {vector.whole(FIRST)}"


def _at(code: Code, base: str, offset: str) -> str:
    return code.let(f"getelementptr i8, ptr {base}, i64 {offset}")
