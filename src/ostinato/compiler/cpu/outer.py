"""The product of a weight's gradient, ``left.T @ right`` over the rows of all steps: one function for all sizes.

Rows come in blocks that stay in a core's cache; of each, a tile of a few columns of ``left`` by a few vectors of
``right`` is added up in registers, and then added to the result. So sums are taken in two levels, and a result does not
depend on the number of threads, which split the columns of ``left``.
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

BLOCK = 64
"""Rows of a block: of widths up to 650, no other number was faster throughout."""

NARROW = (2, 1)
"""Columns of the tiles for what is left of a thread's columns when no more full tile fits."""

COPIED = 200
"""Columns of ``right`` from which a full tile's columns of a block are copied first, as they are read so often."""

NEAR = 8
"""Elements that a row takes of the copy."""


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
    """N, O and K, and how many elements lie between the rows of either side."""

    rows: int
    columns: int
    inner: int
    left_stride: int
    right_stride: int


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
class _Left:
    """Where the columns of ``left`` of a tile begin, and how many elements lie between their rows."""

    rows: str
    stride: str


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
        code = self.code
        self.begin(ADDRESSES, Size._fields, BLOCK * NEAR)
        low, high = self.share(self.words["columns"])
        with code.loop("0", self.words["rows"], BLOCK) as start:
            rest = code.let(f"sub i64 {self.words['rows']}, {start}")
            count = code.intrinsic("llvm.smin.i64", "i64", ("i64", rest), ("i64", str(BLOCK)))
            at = low
            for columns in (self.columns, *NARROW):
                left = code.let(f"sub i64 {high}, {at}")
                beyond = code.let(f"urem i64 {left}, {columns}")
                after = code.let(f"sub i64 {high}, {beyond}")
                with code.loop(at, after, columns) as column:
                    self._across(columns, column, start, count)
                at = after
        self.end()
        return self.text()

    def _across(self, columns: int, column: str, start: str, count: str) -> None:
        """A few columns of ``left`` by all of ``right``: wide tiles, and then single vectors, the last one in part."""
        code, lanes, inner = self.code, self.vector.lanes, self.words["inner"]
        wide = self.vectors * lanes
        after_wide = code.let(f"mul i64 {code.let(f'udiv i64 {inner}, {wide}')}, {wide}")
        rows = self.at(self.words["left"], code.let(f"mul i64 {start}, {self.words['left_stride']}"), column)
        left = _Left(rows, self.words["left_stride"])
        if columns == self.columns:
            again = code.let(f"icmp uge i64 {inner}, {COPIED}")
            with code.when(again):
                self._copy(left, count)
            left = _Left(
                code.let(f"select i1 {again}, ptr %near, ptr {left.rows}"),
                code.let(f"select i1 {again}, i64 {NEAR}, i64 {left.stride}"),
            )
        with code.loop("0", after_wide, wide) as at:
            self._tile(_Tile(columns, self.vectors), left, column, at, start, count)
        with code.loop(after_wide, inner, lanes) as at:
            mask = tiles.first_lanes(code, self.vector, code.let(f"sub i64 {inner}, {at}"))
            self._tile(_Tile(columns, 1, mask), left, column, at, start, count)

    def _copy(self, left: _Left, count: str) -> None:
        """A tile's columns of a block, side by side: where they lie the rows may all be in one set of a cache."""
        code, vector = self.code, self.target.vector(self.element, NEAR)
        lanes = ", ".join(f"i1 {int(n < self.columns)}" for n in range(NEAR))
        with code.loop("0", count) as n:
            here = self.at(left.rows, code.let(f"mul i64 {n}, {left.stride}"))
            self._ask(here, left)
            value = tiles.masked_load(code, vector, here, f"<{lanes}>")
            near = self.at("%near", code.let(f"mul i64 {n}, {NEAR}"))
            code.do(f"store {vector.type} {value}, ptr {near}, align {vector.bytes}")

    def _ask(self, row: str, left: _Left) -> None:
        """Ask for the same columns of the next block."""
        self._prefetch(self.at(row, self.code.let(f"mul i64 {left.stride}, {BLOCK}")))

    def _further(self, tile: _Tile, column: str, at: str) -> str:
        """From a row of ``right`` to what a full tile asks for of the next block; nothing in a narrow tile.

        That is one vector of each row, another one in every tile, so that few of them have asked for all.
        """
        if tile.columns < self.columns:
            return ""
        code = self.code
        number = code.let(f"udiv i64 {column}, {tile.columns}")
        own = code.let(f"add i64 {at}, {code.let(f'mul i64 {number}, {self.vector.lanes}')}")
        own = code.let(f"urem i64 {own}, {self.words['inner']}")
        block = code.let(f"mul i64 {self.words['right_stride']}, {BLOCK}")
        return code.let(f"sub i64 {code.let(f'add i64 {block}, {own}')}, {at}")

    def _prefetch(self, place: str) -> None:
        """Into the second cache: the first one is full of the block that is worked on."""
        self.code.prefetch(place, cache=2)

    def _tile(self, tile: _Tile, left: _Left, column: str, at: str, start: str, count: str) -> None:
        """Add a block's sums to one tile of the result; the first block's are the result."""
        code, t = self.code, self.vector.type
        right = self.at(self.words["right"], code.let(f"mul i64 {start}, {self.words['right_stride']}"), at)
        further = self._further(tile, column, at)
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
        row = self.at(right, code.let(f"mul i64 {n}, {self.words['right_stride']}"))
        if further:
            self._prefetch(self.at(row, further))
        loaded = [self.load(self.at(row, str(v * self.vector.lanes)), tile.mask) for v in range(tile.vectors)]
        row = self.at(left.rows, code.let(f"mul i64 {n}, {left.stride}"))
        if tile.columns > 1:
            self._ask(row, left)
        for c in range(tile.columns):
            number = code.let(f"load {self.element}, ptr {self.at(row, str(c))}, align {self.vector.bytes}")
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
                place = self.at(self.words["out"], line, code.let(f"add i64 {at}, {v * self.vector.lanes}"))
                so_far = self.load(place, tile.mask)
                both = code.let(f"fadd {t} {so_far}, {total}")
                self.store(code.let(f"select i1 {first}, {t} {total}, {t} {both}"), place, tile.mask)
