"""The product of a weight's gradient, ``left.T @ right`` over the rows of all steps: one function for all sizes.

Rows come in blocks that stay in a core's cache. Of each, a few vectors of ``right`` are put side by side, where they
stay in the first cache, and go through all columns of ``left``, a few at a time: a tile of the result is added up in
registers, and then added to the result. So sums are taken in two levels, and a result does not depend on the number of
threads, which split the columns of ``left``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache as once
from typing import NamedTuple

import torch
from torch import Tensor

from ostinato.compiler.cpu import alone, tiles
from ostinato.compiler.cpu.ready import Ready
from ostinato.compiler.cpu.targets import Target, host

ADDRESSES = ("left", "right", "out")

BLOCK = 48
"""Rows of a block. More of them add to the result less often, and leave the first cache."""

NARROW = (2, 1)
"""Columns of the tiles for what is left of a thread's columns when no more full tile fits."""

APART = 2048
"""Bytes between the rows of ``left`` from which a block's columns are copied first: where they lie, those of a tile are
in few sets of a cache."""

COPIED = 252
"""The most columns that are copied together."""

NEAR = 8
"""Elements that a row of a tile takes of the copy."""

GROUP = BLOCK * NEAR + tiles.LINE // 4
"""Elements that a tile's columns take. A line more than they are: else the tiles' would be in few sets, too."""


def over_rows(left: Tensor, right: Tensor) -> Tensor:
    """``left.T @ right``: (N, O) and (N, K) → (O, K), float32 or float64, on the CPU."""
    left, right = (v if v.stride(1) == 1 or v.shape[1] == 1 else v.contiguous() for v in (left, right))
    rows, columns, inner = left.shape[0], left.shape[1], right.shape[1]
    out = left.new_empty(columns, inner)
    if not rows or not out.numel():
        return out.zero_()
    size = Size(rows, columns, inner, left.stride(0), right.stride(0))
    Repeated(size, left.dtype).run(left.data_ptr(), right.data_ptr(), out.data_ptr())
    return out


class Size(NamedTuple):
    """N, O and K, and how many elements lie between the rows of either side.

    Attributes:
        adds: 1: the product is added to what stands where it goes.
    """

    rows: int
    columns: int
    inner: int
    left_stride: int
    right_stride: int
    adds: int = 0


class Repeated(alone.Call):
    """The product of one size, made again and again: :meth:`run` takes the addresses of the first element of either
    side, and of the result, O rows of K elements."""

    def __init__(self, size: Size, dtype: torch.dtype) -> None:
        work = size.rows * size.columns * size.inner
        super().__init__(_function(alone.ELEMENT[dtype]), ADDRESSES, size._asdict(), work)


@once
def _function(element: str) -> Ready:
    target = host()
    return alone.compiled(text(element, target), target)


def text(element: str, target: Target) -> str:
    """The function as LLVM's text."""
    return _Writer(element, target).module()


@dataclass(frozen=True)
class _Block:
    """Rows from ``start`` on, ``count`` of them, and the columns of ``left`` from ``low`` to ``high``."""

    start: str
    count: str
    low: str
    high: str


@dataclass(frozen=True)
class _Tile:
    """So many columns of ``left`` by vectors of ``right``; ``mask``: which lanes of the one vector there are."""

    columns: int
    vectors: int
    mask: str = ""


class _Writer(alone.Writer):
    def __init__(self, element: str, target: Target) -> None:
        super().__init__(element, target)
        self.columns, self.vectors = (6, 4) if target.registers >= 32 else (4, 2)

    def module(self) -> str:
        code, lanes, words = self.code, self.vector.lanes, self.words
        wide = self.vectors * lanes
        self.begin(ADDRESSES, Size._fields, BLOCK * wide + COPIED // self.columns * GROUP)
        self.copy = self.at("%near", str(BLOCK * wide))
        self.is_apart = code.let(f"icmp uge i64 {words['left_stride']}, {APART // self.vector.bytes}")
        low, high = self.share(words["columns"])
        most = code.let(f"sub i64 {high}, {low}")
        most = code.let(f"select i1 {self.is_apart}, i64 {COPIED // self.columns * self.columns}, i64 {most}")
        after_wide = self.times(code.let(f"udiv i64 {words['inner']}, {wide}"), str(wide))
        some = code.let(f"icmp slt i64 {low}, {high}")
        with code.when(some), code.loop("0", words["rows"], BLOCK) as start:
            count = self._least(code.let(f"sub i64 {words['rows']}, {start}"), str(BLOCK))
            with code.loop(low, high, most) as first:
                block = _Block(start, count, first, self._least(code.let(f"add i64 {first}, {most}"), high))
                with code.when(self.is_apart):
                    self._copy(block)
                with code.loop("0", after_wide, wide) as at:
                    self._panel(block, at, self.vectors)
                with code.loop(after_wide, words["inner"], lanes) as at:
                    left = code.let(f"sub i64 {words['inner']}, {at}")
                    self._panel(block, at, 1, tiles.first_lanes(code, self.vector, left))
        self.end()
        return self.text()

    def _least(self, a: str, b: str) -> str:
        return self.code.intrinsic("llvm.smin.i64", "i64", ("i64", a), ("i64", b))

    def _copy(self, block: _Block) -> None:
        """Put the columns of each full tile side by side."""
        code, vector, columns = self.code, self.target.vector(self.element, NEAR), self.columns
        lanes = ", ".join(f"i1 {int(n < columns)}" for n in range(NEAR))
        whole = code.let(f"udiv i64 {code.let(f'sub i64 {block.high}, {block.low}')}, {columns}")
        first = self._left(block, block.low)
        with code.loop("0", block.count) as n:
            row = self.at(first, self.times(n, self.words["left_stride"]))
            near = self.at(self.copy, self.times(n, str(NEAR)))
            with code.loop("0", whole) as group:
                here = self.at(row, self.times(group, str(columns)))
                value = tiles.masked_load(code, vector, here, f"<{lanes}>")
                to = self.at(near, self.times(group, str(GROUP)))
                code.do(f"store {vector.type} {value}, ptr {to}, align {vector.bytes}")

    def _left(self, block: _Block, column: str) -> str:
        """Where a column of ``left`` begins in a block."""
        return self.at(self.words["left"], self.times(block.start, self.words["left_stride"]), column)

    def _panel(self, block: _Block, at: str, vectors: int, mask: str = "") -> None:
        """A few vectors of ``right`` by all columns of a block."""
        code, first = self.code, block.low
        self._pack(block, at, vectors, mask)
        for columns in (self.columns, *NARROW):
            left = code.let(f"sub i64 {block.high}, {first}")
            after = code.let(f"sub i64 {block.high}, {code.let(f'urem i64 {left}, {columns}')}")
            with code.loop(first, after, columns) as column:
                self._tile(_Tile(columns, vectors, mask), block, column, at)
            first = after

    def _pack(self, block: _Block, at: str, vectors: int, mask: str) -> None:
        """Put a block's rows of some vectors side by side, and ask for those of the next block."""
        code, vector, stride = self.code, self.vector, self.words["right_stride"]
        right = self.at(self.words["right"], self.times(block.start, stride), at)
        further = self.times(stride, str(BLOCK))
        with code.loop("0", block.count) as n:
            row = self.at(right, self.times(n, stride))
            near = self.at("%near", self.times(n, str(vectors * vector.lanes)))
            for v in range(vectors):
                place = self.at(row, str(v * vector.lanes))
                self._prefetch(self.at(place, further))
                self.store(self.load(place, mask), self.at(near, str(v * vector.lanes)), "")

    def _prefetch(self, place: str) -> None:
        """Into the second cache: the first one is full of the block that is worked on."""
        self.code.prefetch(place, cache=2)

    def _tile(self, tile: _Tile, block: _Block, column: str, at: str) -> None:
        """Add a block's sums to one tile of the result, or let the first block's be the result. And ask for the same
        columns of the next block."""
        code, t, stride = self.code, self.vector.type, self.words["left_stride"]
        left, apart = self._left(block, column), stride
        asked = self.at(left, self.times(stride, str(BLOCK)))
        if tile.columns == self.columns:
            group = code.let(f"udiv i64 {code.let(f'sub i64 {column}, {block.low}')}, {self.columns}")
            near = self.at(self.copy, self.times(group, str(GROUP)))
            left = code.let(f"select i1 {self.is_apart}, ptr {near}, ptr {left}")
            apart = code.let(f"select i1 {self.is_apart}, i64 {NEAR}, i64 {stride}")
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
        row = self.at("%near", self.times(n, str(tile.vectors * self.vector.lanes)))
        loaded = [self.load(self.at(row, str(v * self.vector.lanes)), "") for v in range(tile.vectors)]
        row = self.at(left, self.times(n, apart))
        if tile.columns > 1:
            self._prefetch(self.at(asked, self.times(n, stride)))
        for c in range(tile.columns):
            number = code.let(f"load {self.element}, ptr {self.at(row, str(c))}, align {self.vector.bytes}")
            one = tiles.splat(code, self.vector, number)
            for v in range(tile.vectors):
                code.do(f"{added[c][v]} = {tiles.multiply_add(code, self.vector, one, loaded[v], sums[c][v])}")
        code.do(f"{following} = add nuw nsw i64 {n}, 1")
        more = code.let(f"icmp ult i64 {following}, {block.count}")
        code.do(f"br i1 {more}, label %{head}, label %{done}")
        code.label(done)
        self._out(tile, column, at, block.start, added)

    def _out(self, tile: _Tile, column: str, at: str, start: str, sums: list[list[str]]) -> None:
        code, t = self.code, self.vector.type
        stands = code.let(f"or i64 {start}, {self.words['adds']}")
        first = code.let(f"icmp eq i64 {stands}, 0")
        for c, own in enumerate(sums):
            line = code.let(f"mul i64 {code.let(f'add i64 {column}, {c}')}, {self.words['inner']}")
            for v, total in enumerate(own):
                place = self.at(self.words["out"], line, code.let(f"add i64 {at}, {v * self.vector.lanes}"))
                so_far = self.load(place, tile.mask)
                both = code.let(f"fadd {t} {so_far}, {total}")
                self.store(code.let(f"select i1 {first}, {t} {total}, {t} {both}"), place, tile.mask)
