"""The product of inputs, ``value @ weight.T + bias`` for the rows of all steps: one function for all sizes.

Columns come in tiles of a few vectors. A thread puts a tile's weights in order, into memory of its own that stays in
the second cache, and goes with them through all rows, a few at a time, whose sums are added up in registers. Weights of
many rows are added up in parts of so many that a tile stays near. Each row's sums run in the same order, whatever rows
are around it and however many threads there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache as once
from typing import NamedTuple

import torch
from torch import Tensor

from ostinato import memory
from ostinato.compiler.cpu import alone, shared, tiles
from ostinato.compiler.cpu.ready import Ready
from ostinato.compiler.cpu.targets import Target, host

ADDRESSES = ("value", "weight", "bias", "out")
SHARED = "shared"
"""The word after them: the address of the table of functions that all kernels call."""

PART = 131_072
"""The most bytes of a tile's weights."""

ROWS = (8, 4, 2, 1)
"""How many rows a kernel takes: most of them the first number, and what is left as the others add up to it."""


class Size(NamedTuple):
    """N, O and K; how many elements lie between the rows of the value and of the result; and between the columns and
    the rows of the weights, one of which is 1."""

    rows: int
    columns: int
    inner: int
    value_stride: int
    out_stride: int
    across: int
    along: int


def linear(value: Tensor, weight: Tensor, bias: Tensor | None = None, out: Tensor | None = None) -> Tensor:
    """``value @ weight.T + bias``: (N, K), (O, K) and (O,) → (N, O), float32 or float64, on the CPU; into ``out`` if it
    is given, whose columns lie side by side."""
    value, weight = _by_rows(value), weight if 1 in weight.stride() else weight.contiguous()
    rows, (columns, inner) = value.shape[0], weight.shape
    out = memory.empty(value, rows, columns) if out is None else out
    if not inner:
        return out.zero_() if bias is None else out.copy_(bias)
    bias = None if bias is None else bias.contiguous()
    size = Size(rows, columns, inner, value.stride(0), out.stride(0), *weight.stride())
    given = value.data_ptr(), weight.data_ptr(), 0 if bias is None else bias.data_ptr(), out.data_ptr()
    Repeated(size, value.dtype).run(*given)
    return out


def _by_rows(value: Tensor) -> Tensor:
    return value if value.stride(1) == 1 or value.shape[1] == 1 else value.contiguous()


class Repeated(alone.Call):
    """The product of one size, made again and again: :meth:`run` takes the addresses of the value, the weights, the
    bias, 0 if there is none, and the result."""

    def __init__(self, size: Size, dtype: torch.dtype) -> None:
        element = alone.ELEMENT[dtype]
        most = PART // (tiles.shape(host()).far * host().bytes)
        numbers = {**size._asdict(), "parts": -(-size.inner // most)}
        super().__init__(_function(element), (*ADDRESSES, SHARED), numbers, size.rows * size.columns * size.inner)
        self._words[len(ADDRESSES)] = shared.shared(element, host()).address


@once
def _function(element: str) -> Ready:
    target = host()
    return alone.compiled(text(element, target), target)


def text(element: str, target: Target) -> str:
    """The function as LLVM's text."""
    return _Writer(element, target).module()


@dataclass(frozen=True)
class _Part:
    """Of a tile's weights those that are near.

    Attributes:
        column: the first.
        vectors: of columns.
        low, inner: from which k on, and how many.
        is_first: whether those are the first.
        mask: which columns of the one vector there are, "" for all.
        biases: one for each vector.
    """

    column: str
    vectors: int
    low: str
    inner: str
    is_first: str
    mask: str
    biases: list[str]


class _Writer(alone.Writer):
    def __init__(self, element: str, target: Target) -> None:
        super().__init__(element, target)
        shape = tiles.shape(target)
        self.vectors = shape.far
        self.rows = [n for n in ROWS if n <= shape.rows[self.vectors - 1]]

    def module(self) -> str:
        code, wide = self.code, self.vectors * self.vector.lanes
        self.begin((*ADDRESSES, SHARED), (*Size._fields, "parts"), PART // self.vector.bytes)
        rows, columns = self.words["rows"], self.words["columns"]
        whole = code.let(f"udiv i64 {columns}, {wide}")
        over = code.let(f"urem i64 {whole}, %threads")
        own = code.let(f"sub i64 {whole}, {over}")
        self._tiles(*self.share(own), "0", rows)
        begin, end = self.share(rows)
        self._tiles(own, whole, begin, end)
        after = self.times(whole, str(wide))
        full = code.let(f"and i64 {columns}, -{self.vector.lanes}")
        with code.loop(after, full, self.vector.lanes) as column:
            self._tile(column, 1, begin, end)
        if self.vector.lanes > 1:
            with code.when(code.let(f"icmp slt i64 {full}, {columns}")):
                self._tile(full, 1, begin, end, cut=True)
        self.end()
        return self.text()

    def _tiles(self, low: str, high: str, begin: str, end: str) -> None:
        with self.code.loop(low, high) as number:
            column = self.times(number, str(self.vectors * self.vector.lanes))
            self._tile(column, self.vectors, begin, end)

    def _tile(self, column: str, vectors: int, begin: str, end: str, cut: bool = False) -> None:
        """Rows begin to end of a few vectors of columns; ``cut``: of the one there is only a part."""
        code, words = self.code, self.words
        with code.loop("0", words["parts"]) as number:
            after = code.let(f"add i64 {number}, 1")
            low, high = (self.fraction(words["inner"], n, words["parts"]) for n in (number, after))
            left = code.let(f"sub i64 {words['columns']}, {column}")
            mask = tiles.first_lanes(code, self.vector, left) if cut else ""
            part = _Part(
                column,
                vectors,
                low,
                code.let(f"sub i64 {high}, {low}"),
                code.let(f"icmp eq i64 {number}, 0"),
                mask,
                [self._bias(column, v, mask) for v in range(vectors)],
            )
            for v in range(vectors):
                self._pack(part, v)
            at, count = begin, code.let(f"sub i64 {end}, {begin}")
            for rows in self.rows:
                left = code.let(f"sub i64 {end}, {at}")
                stop = code.let(f"sub i64 {end}, {code.let(f'urem i64 {left}, {rows}')}")
                with code.loop(at, stop, rows) as row:
                    if rows == self.rows[0] and vectors == self.vectors:
                        self._ask(part, code.let(f"sub i64 {row}, {begin}"), count)
                    self._block(part, row, rows)
                at = stop

    def _block(self, part: _Part, row: str, rows: int) -> None:
        """A few rows of a tile; the first part's sums get the bias, the others' are added to what is there."""
        code, words, apart = self.code, self.words, self.words["value_stride"]
        numbers = [code.let(f"add i64 {row}, {n}") for n in range(rows)]
        read = [self.at(words["value"], self.times(n, apart), part.low) for n in numbers]
        following = None
        if rows == self.rows[0]:
            following = self.at(read[0], self.times(apart, str(rows))), self.times(apart, str(self.vector.bytes))
        sums = tiles.add_up(code, self.vector, read, part.inner, [("%near", part.vectors)], following)
        totals = [total for own in sums for total in own]
        written = [self.at(words["out"], self.times(n, words["out_stride"]), part.column) for n in numbers]
        places = [self.at(place, str(v * self.vector.lanes)) for place in written for v in range(part.vectors)]
        with code.when(part.is_first):
            for place, total, bias in zip(places, totals, part.biases * rows, strict=True):
                self._put(place, total, bias, part.mask)
        with code.when(code.let(f"xor i1 {part.is_first}, 1")):
            for place, total in zip(places, totals, strict=True):
                self._put(place, total, self.load(place, part.mask), part.mask)

    def _pack(self, part: _Part, v: int) -> None:
        """Put one vector of weights in order."""
        code, words, lanes = self.code, self.words, self.vector.lanes
        at = code.let(f"add i64 {part.column}, {v * lanes}")
        source = self.at(words["weight"], self.times(at, words["across"]), self.times(part.low, words["along"]))
        place = self.at("%near", str(v * lanes))
        common = f"ptr {source}, i64 {words['across']}, i64 {words['along']}, ptr {place}, i64 {part.vectors * lanes}"
        if part.mask:
            left = code.let(f"sub i64 {words['columns']}, {at}")
            shared.call(code, words[SHARED], "pick", f"{common}, i64 {part.inner}, i64 {left}")
            return
        turned = code.let(f"icmp eq i64 {words['along']}, 1")
        with code.when(turned):
            shared.call(code, words[SHARED], "turn", f"{common}, i64 {part.inner}, i64 {lanes}")
        with code.when(code.let(f"xor i1 {turned}, 1")):
            shared.call(code, words[SHARED], "lines", f"{common}, i64 {part.inner}, i64 {lanes}")

    def _ask(self, part: _Part, done: str, rows: str) -> None:
        """Ask for weights of the tile after this one: as large a share as a block of rows is of all rows."""
        code, words, wide = self.code, self.words, self.vectors * self.vector.lanes
        turned = code.let(f"icmp eq i64 {words['along']}, 1")
        lines = code.let(f"select i1 {turned}, i64 {wide}, i64 {part.inner}")
        apart = code.let(f"select i1 {turned}, i64 {words['across']}, i64 {words['along']}")
        long = code.let(f"select i1 {turned}, i64 {part.inner}, i64 {wide}")
        after = code.let(f"add i64 {done}, {self.rows[0]}")
        begin, end = (self.fraction(lines, n, rows) for n in (done, after))
        column = code.let(f"add i64 {part.column}, {wide}")
        first = self.at(words["weight"], self.times(column, words["across"]), self.times(part.low, words["along"]))
        with code.loop(begin, end) as line:
            place = self.at(first, self.times(line, apart))
            with code.loop("0", long, tiles.LINE // self.vector.bytes) as n:
                code.prefetch(self.at(place, n), cache=2)

    def _bias(self, column: str, v: int, mask: str) -> str:
        """One vector of the bias, zero if there is none."""
        code, vector = self.code, self.vector
        given = code.let(f"icmp ne ptr {self.words['bias']}, null")
        t = vector.mask
        every = tiles.splat_flag(code, vector, given)
        both = code.let(f"and {t} {mask}, {every}") if mask else every
        return tiles.masked_load(code, vector, self.at(self.words["bias"], column, str(v * vector.lanes)), both)

    def _put(self, place: str, total: str, before: str, mask: str) -> None:
        """Write a sum, and what came before it."""
        self.store(self.code.let(f"fadd {self.vector.type} {total}, {before}"), place, mask)
