"""The inner product kernel: a block of rows times a few vectors of columns, added up in registers over k.

Every row's sum runs over k in order, whatever block the row is in, so a result depends neither on the number of
threads nor on the rest of the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ostinato.compiler.cpu.targets import Target
from ostinato.compiler.cpu.text import Code, Vector

LINE = 64
"""Bytes of a cache line."""

AHEAD = 8
"""How many k ahead weights are asked for, where a vector is a line: some 100 cycles."""

FIRST = 40_000
"""Bytes of weights that stay in the first cache (32 to 48 KB) while rows go through it."""

FEW = 2
"""Rows up to which none are: there the kernel does little else but load."""


@dataclass(frozen=True)
class Shape:
    """How a processor's registers are shared out.

    Attributes:
        near: the most vectors of columns in one kernel.
        far: the same where its weights are more than the first cache holds, and come from the second for every block of
            rows: with fewer vectors blocks have more rows.
        tile: about so many vectors in a tile; ``widest``: no more than so many.
        rows: the most rows for 1, 2, … vectors.
    """

    near: int
    far: int
    tile: int
    widest: int
    rows: tuple[int, ...]

    def vectors(self, inner: int) -> int:
        """The most vectors of columns in a kernel that adds up over so many k."""
        return self.near if self.near * LINE * inner <= FIRST else self.far


def shape(target: Target) -> Shape:
    """Accumulators, one vector of weights a column, and one broadcast must fit without a spill."""
    return Shape(4, 3, 8, 12, (8, 8, 8, 6)) if target.registers >= 32 else Shape(2, 2, 4, 4, (6, 5))


@dataclass(frozen=True)
class Columns:
    """Vectors of packed weights that lie together.

    Attributes:
        weights: packed as [k][vector][lane], aligned to the vector.
        vectors: how many.
        place: writes where the sums of a row and a vector go. It is asked after the loop over k, so that no register
            holds it meanwhile.
    """

    weights: str
    vectors: int
    place: Callable[[int, int], str]


def emit(code: Code, vector: Vector, rows: Sequence[str], inner: int, groups: Sequence[Columns]) -> None:
    """``place(r, c) = sum over k of rows[r][k] · weights[k][c]``, for every group of columns.

    Args:
        rows: a pointer to each row's first element.
        inner: K.
    """
    added = add_up(code, vector, rows, inner, [(group.weights, group.vectors) for group in groups])
    for r in range(len(rows)):
        places = [(group, c) for group in groups for c in range(group.vectors)]
        for total, (group, c) in zip(added[r], places, strict=True):
            code.do(f"store {vector.type} {total}, ptr {group.place(r, c)}, align {vector.bytes}")


def add_up(
    code: Code,
    vector: Vector,
    rows: Sequence[str],
    inner: int | str,
    panels: Sequence[tuple[str, int]],
    next: tuple[str, str] | None = None,
) -> list[list[str]]:
    """The sums over k of ``rows[r][k] · weights[k][c]``: for each row, one vector after the other of every panel.

    Args:
        rows: a pointer to each row's first element.
        inner: K.
        panels: packed weights, and how many vectors lie side by side in them.
        next: where the rows begin that come after these, and the bytes from one to the other: they are asked for.
    """
    t, element, lanes = vector.type, vector.element, vector.lanes
    count = sum(vectors for _, vectors in panels)
    before, head, done = code.name("before"), code.name("k"), code.name("done")
    code.do(f"br label %{before}")
    code.label(before)
    code.do(f"br label %{head}")
    code.label(head)
    k, following = "%" + code.name("k"), "%" + code.name("k")
    code.do(f"{k} = phi i64 [ 0, %{before} ], [ {following}, %{head} ]")
    sums = [["%" + code.name("s") for _ in range(count)] for _ in rows]
    added = [["%" + code.name("s") for _ in range(count)] for _ in rows]
    for r in range(len(rows)):
        for c in range(count):
            code.do(f"{sums[r][c]} = phi {t} [ {zero(vector)}, %{before} ], [ {added[r][c]}, %{head} ]")
    asks = len(rows) > FEW and lanes * vector.bytes == LINE
    if next is not None:
        first, apart = next
        number = code.let(f"and i64 {k}, {len(rows) - 1}")
        line = code.let(f"and i64 {code.let(f'mul i64 {k}, {vector.bytes}')}, -{LINE}")
        row = code.let(f"getelementptr i8, ptr {first}, i64 {code.let(f'mul i64 {number}, {apart}')}")
        code.prefetch(code.let(f"getelementptr i8, ptr {row}, i64 {line}"), cache=2)
    loaded = [w for weights, vectors in panels for w in _load(code, vector, weights, vectors, k, asks)]
    for r, row in enumerate(rows):
        place = code.let(f"getelementptr inbounds {element}, ptr {row}, i64 {k}")
        one = splat(code, vector, code.let(f"load {element}, ptr {place}, align {vector.bytes}"))
        for c in range(count):
            code.do(f"{added[r][c]} = {multiply_add(code, vector, one, loaded[c], sums[r][c])}")
    code.do(f"{following} = add nuw nsw i64 {k}, 1")
    more = code.let(f"icmp ult i64 {following}, {inner}")
    code.do(f"br i1 {more}, label %{head}, label %{done}")
    code.label(done)
    return added


def _load(code: Code, vector: Vector, weights: str, vectors: int, k: str, asks: bool) -> list[str]:
    """The weights of one k. ``asks`` for those of a later one, since most often they lie in the second cache."""
    element, lanes = vector.element, vector.lanes
    first = code.let(f"mul nuw nsw i64 {k}, {vectors * lanes}")
    panel = code.let(f"getelementptr inbounds {element}, ptr {weights}, i64 {first}")
    loaded = []
    for c in range(vectors):
        place = code.let(f"getelementptr inbounds {element}, ptr {panel}, i64 {c * lanes}")
        loaded.append(code.let(f"load {vector.type}, ptr {place}, align {lanes * vector.bytes}"))
        if asks:
            later = code.let(f"getelementptr {element}, ptr {place}, i64 {AHEAD * vectors * lanes}")
            code.prefetch(later)
    return loaded


def masked_load(code: Code, vector: Vector, place: str, mask: str) -> str:
    """The lanes of a vector in memory that ``mask`` names, zero in the others: of those nothing is read."""
    given = (("ptr", place), ("i32", str(vector.bytes)), (vector.mask, mask), (vector.type, zero(vector)))
    return code.intrinsic(f"llvm.masked.load.{vector.suffix}.p0", vector.type, *given)


def masked_store(code: Code, vector: Vector, value: str, place: str, mask: str) -> None:
    """Write the lanes that ``mask`` names, and nothing else."""
    given = ((vector.type, value), ("ptr", place), ("i32", str(vector.bytes)), (vector.mask, mask))
    code.intrinsic(f"llvm.masked.store.{vector.suffix}.p0", "void", *given)


def first_lanes(code: Code, vector: Vector, count: str) -> str:
    """A mask of so many lanes: none if ``count`` is not positive, all if it is large."""
    lanes = vector.lanes
    if lanes == 1:
        return code.let(f"icmp slt i64 0, {count}")
    numbers = ", ".join(f"i64 {n}" for n in range(lanes))
    return code.let(f"icmp slt <{lanes} x i64> <{numbers}>, {_every(code, 'i64', lanes, count)}")


def splat_flag(code: Code, vector: Vector, flag: str) -> str:
    """A flag in every lane of a mask."""
    return _every(code, "i1", vector.lanes, flag)


def multiply_add(code: Code, vector: Vector, a: str, b: str, c: str) -> str:
    """The instruction ``a · b + c``, to stand on the right of a name."""
    t = vector.type
    if vector.fused:
        name = f"llvm.fma.{vector.suffix}"
        code.declarations[name] = f"declare {t} @{name}({t}, {t}, {t})"
        return f"call {t} @{name}({t} {a}, {t} {b}, {t} {c})"
    product = code.let(f"fmul {t} {a}, {b}")
    return f"fadd {t} {product}, {c}"


def splat(code: Code, vector: Vector, scalar: str) -> str:
    """A scalar in every lane."""
    return _every(code, vector.element, vector.lanes, scalar)


def _every(code: Code, kind: str, lanes: int, scalar: str) -> str:
    if lanes == 1:
        return scalar
    t = f"<{lanes} x {kind}>"
    first = code.let(f"insertelement {t} poison, {kind} {scalar}, i64 0")
    return code.let(f"shufflevector {t} {first}, {t} poison, <{lanes} x i32> zeroinitializer")


def zero(vector: Vector) -> str:
    return vector.number(0.0) if vector.lanes == 1 else "zeroinitializer"
