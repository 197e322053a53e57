"""The product of a weight's gradient, ``left.T @ right`` over the rows of all steps: one function for all sizes.

Rows come in blocks that stay in a core's cache; of each, a tile of a few columns of ``left`` by a few vectors of
``right`` is added up in registers, and then added to the result. So sums are taken in two levels, and a result does not
depend on the number of threads, which split the columns of ``left``.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache as once

import torch
from torch import Tensor

from ostinato.compiler import cache
from ostinato.compiler.cpu import jit, threads, tiles
from ostinato.compiler.cpu.ready import OBJECT, Ready, ready
from ostinato.compiler.cpu.targets import Target, host
from ostinato.compiler.cpu.text import Code

WORDS = ("left", "left_stride", "right", "right_stride", "out", "rows", "columns", "inner")
"""What a call says: three addresses, N, O, K, and how many elements lie between rows."""

ELEMENT = {torch.float32: "float", torch.float64: "double"}
"""LLVM's name of a number."""

BLOCK = 64
"""Rows of a block: of widths up to 650, no other number was faster throughout."""

AHEAD = 32
"""So many rows ahead ``left`` is asked for: what is read of a row is short, and the next one is far away."""

SHARED = 1_000_000
"""Multiply-adds from which a second thread is worth its start."""


def over_rows(left: Tensor, right: Tensor) -> Tensor:
    """``left.T @ right``: (N, O) and (N, K) → (O, K), float32 or float64, on the CPU."""
    left, right = (v if v.stride(1) == 1 or v.shape[1] == 1 else v.contiguous() for v in (left, right))
    rows, columns, inner = left.shape[0], left.shape[1], right.shape[1]
    out = left.new_empty(columns, inner)
    if not rows or not out.numel():
        return out.zero_()
    words = (ctypes.c_int64 * len(WORDS))(
        left.data_ptr(), left.stride(0), right.data_ptr(), right.stride(0), out.data_ptr(), rows, columns, inner
    )
    number = threads.most() if rows * columns * inner >= SHARED else 1
    _function(ELEMENT[left.dtype]).function([words], number)
    return out


@once
def _function(element: str) -> Ready:
    target = host()
    source = text(element, target)
    return ready(cache.key(source, jit.version(), repr(target)), lambda: {OBJECT: jit.compile(source, target)})


def text(element: str, target: Target) -> str:
    """The function as LLVM's text."""
    return _Writer(element, target).module() + threads.ENTRY


@dataclass(frozen=True)
class _Tile:
    """So many columns of ``left`` by vectors of ``right``; ``mask``: which lanes of the one vector there are."""

    columns: int
    vectors: int
    mask: str = ""


class _Writer:
    def __init__(self, element: str, target: Target) -> None:
        self.code, self.vector, self.element = Code(), target.vector(element), element
        self.columns, self.vectors = (6, 4) if target.registers >= 32 else (4, 2)
        self.words: dict[str, str] = {}

    def module(self) -> str:
        code = self.code
        code.lines.append("define void @run(ptr %args, i64 %thread, i64 %threads) #0 {")
        code.label("entry")
        for n, name in enumerate(WORDS):
            place = code.let(f"getelementptr inbounds i64, ptr %args, i64 {n}")
            kind = "ptr" if name in ("left", "right", "out") else "i64"
            self.words[name] = code.let(f"load {kind}, ptr {place}, align 8")
        full = code.let(f"udiv i64 {self.words['columns']}, {self.columns}")
        low, high = self._share(full, "%thread"), self._share(full, code.let("add i64 %thread, 1"))
        last = code.let("sub i64 %threads, 1")
        is_last = code.let(f"icmp eq i64 %thread, {last}")
        left_over = code.let(f"mul i64 {full}, {self.columns}")
        with code.loop("0", self.words["rows"], BLOCK) as start:
            rest = code.let(f"sub i64 {self.words['rows']}, {start}")
            count = code.intrinsic("llvm.smin.i64", "i64", ("i64", rest), ("i64", str(BLOCK)))
            with code.loop(low, high) as tile:
                self._across(self.columns, code.let(f"mul i64 {tile}, {self.columns}"), start, count)
            with code.when(is_last), code.loop(left_over, self.words["columns"]) as column:
                self._across(1, column, start, count)
        code.do("ret void")
        code.lines.append("}")
        code.lines.append("attributes #0 = { nounwind }")
        return code.text()

    def _share(self, total: str, n: str) -> str:
        return self.code.let(f"udiv i64 {self.code.let(f'mul i64 {total}, {n}')}, %threads")

    def _across(self, columns: int, column: str, start: str, count: str) -> None:
        """A few columns of ``left`` by all of ``right``: wide tiles, and then single vectors, the last one in part."""
        code, lanes, inner = self.code, self.vector.lanes, self.words["inner"]
        wide = self.vectors * lanes
        after_wide = code.let(f"mul i64 {code.let(f'udiv i64 {inner}, {wide}')}, {wide}")
        with code.loop("0", after_wide, wide) as at:
            self._tile(_Tile(columns, self.vectors), column, at, start, count)
        with code.loop(after_wide, inner, lanes) as at:
            mask = self._mask(code.let(f"sub i64 {inner}, {at}"))
            self._tile(_Tile(columns, 1, mask), column, at, start, count)

    def _mask(self, left: str) -> str:
        """The lanes of a vector that are there, if so many elements are left."""
        code, lanes = self.code, self.vector.lanes
        t, numbers = f"<{lanes} x i64>", ", ".join(f"i64 {n}" for n in range(lanes))
        first = code.let(f"insertelement {t} poison, i64 {left}, i64 0")
        every = code.let(f"shufflevector {t} {first}, {t} poison, <{lanes} x i32> zeroinitializer")
        return code.let(f"icmp ult {t} <{numbers}>, {every}")

    def _tile(self, tile: _Tile, column: str, at: str, start: str, count: str) -> None:
        """Add a block's sums to one tile of the result; the first block's are the result."""
        code, t = self.code, self.vector.type
        left = self._at(self.words["left"], code.let(f"mul i64 {start}, {self.words['left_stride']}"), column)
        right = self._at(self.words["right"], code.let(f"mul i64 {start}, {self.words['right_stride']}"), at)
        before, head, done = code.name("before"), code.name("n"), code.name("done")
        code.do(f"br label %{before}")
        code.label(before)
        code.do(f"br label %{head}")
        code.label(head)
        n, following = "%" + code.name("n"), "%" + code.name("n")
        code.do(f"{n} = phi i64 [ 0, %{before} ], [ {following}, %{head} ]")
        sums = [["%" + code.name("s") for _ in range(tile.vectors)] for _ in range(tile.columns)]
        added = [["%" + code.name("s") for _ in range(tile.vectors)] for _ in range(tile.columns)]
        for c in range(tile.columns):
            for v in range(tile.vectors):
                zero = tiles.zero(self.vector)
                code.do(f"{sums[c][v]} = phi {t} [ {zero}, %{before} ], [ {added[c][v]}, %{head} ]")
        row = self._at(right, code.let(f"mul i64 {n}, {self.words['right_stride']}"))
        loaded = [self._load(self._at(row, str(v * self.vector.lanes)), tile) for v in range(tile.vectors)]
        row = self._at(left, code.let(f"mul i64 {n}, {self.words['left_stride']}"))
        if tile.columns > 1:
            there = self._at(row, code.let(f"mul i64 {self.words['left_stride']}, {AHEAD}"))
            code.intrinsic("llvm.prefetch.p0", "void", ("ptr", there), ("i32", "0"), ("i32", "3"), ("i32", "1"))
        for c in range(tile.columns):
            number = code.let(f"load {self.element}, ptr {self._at(row, str(c))}, align {self.vector.bytes}")
            one = tiles.splat(code, self.vector, number)
            for v in range(tile.vectors):
                code.do(f"{added[c][v]} = {tiles.multiply_add(code, self.vector, one, loaded[v], sums[c][v])}")
        code.do(f"{following} = add nuw nsw i64 {n}, 1")
        more = code.let(f"icmp ult i64 {following}, {count}")
        code.do(f"br i1 {more}, label %{head}, label %{done}")
        code.label(done)
        self._out(tile, column, at, start, added)

    def _out(self, tile: _Tile, column: str, at: str, start: str, sums: list[list[str]]) -> None:
        code, t = self.code, self.vector.type
        first = code.let(f"icmp eq i64 {start}, 0")
        for c, own in enumerate(sums):
            line = code.let(f"mul i64 {code.let(f'add i64 {column}, {c}')}, {self.words['inner']}")
            for v, total in enumerate(own):
                place = self._at(self.words["out"], line, code.let(f"add i64 {at}, {v * self.vector.lanes}"))
                so_far = self._load(place, tile)
                both = code.let(f"fadd {t} {so_far}, {total}")
                self._store(code.let(f"select i1 {first}, {t} {total}, {t} {both}"), place, tile)

    def _at(self, base: str, *offsets: str) -> str:
        for offset in offsets:
            base = self.code.let(f"getelementptr {self.element}, ptr {base}, i64 {offset}")
        return base

    def _load(self, place: str, tile: _Tile) -> str:
        code, vector = self.code, self.vector
        if not tile.mask:
            return code.let(f"load {vector.type}, ptr {place}, align {vector.bytes}")
        nothing = (vector.type, tiles.zero(vector))
        given = (("ptr", place), ("i32", str(vector.bytes)), (vector.mask, tile.mask), nothing)
        return code.intrinsic(f"llvm.masked.load.{vector.suffix}.p0", vector.type, *given)

    def _store(self, value: str, place: str, tile: _Tile) -> None:
        code, vector = self.code, self.vector
        if not tile.mask:
            code.do(f"store {vector.type} {value}, ptr {place}, align {vector.bytes}")
            return
        given = ((vector.type, value), ("ptr", place), ("i32", str(vector.bytes)), (vector.mask, tile.mask))
        code.intrinsic(f"llvm.masked.store.{vector.suffix}.p0", "void", *given)
