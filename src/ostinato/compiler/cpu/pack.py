"""Weights in the order the inner kernel reads them: [tile][chunk][k][vector][lane], zero where a tile is not full."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ostinato.compiler.cpu import shared, tiles
from ostinato.compiler.cpu.flat import Read
from ostinato.compiler.cpu.schedule import Product, Tiles
from ostinato.compiler.cpu.targets import Target
from ostinato.compiler.cpu.text import Code, Vector

ALONE = 1.35
"""How many vectors' time a kernel of one takes: it waits for its own sums."""

WORTH = 0.98
"""A tile differs from the usual one if that leaves less than this share of the work."""


@dataclass(frozen=True)
class Chunk:
    """Vectors of columns that one inner kernel works on.

    Attributes:
        operand: what is multiplied.
        inner: K.
        first: the number of its first vector in the tile's scratch.
        vectors: how many.
        offset: where its weights begin in the tile's.
        columns: for each vector, the product it belongs to and the unit vector within the tile.
    """

    operand: Read
    inner: int
    first: int
    vectors: int
    offset: int
    columns: tuple[tuple[Product, int], ...]


@dataclass(frozen=True)
class Panel:
    """How a stage's weights are cut.

    Attributes:
        tiles: how many tiles its width has, of ``units`` vectors each.
        vectors: the vectors of a tile, all products together.
        positions: for each product, the number of its first vector in the tile's scratch.
        rows: the most rows in a block.
        stride: the elements of one tile's weights.
        offset: where the stage's weights begin among all packed ones.
    """

    tiles: int
    units: int
    width: int
    vectors: int
    chunks: tuple[Chunk, ...]
    positions: tuple[int, ...]
    rows: int
    stride: int
    offset: int

    @property
    def size(self) -> int:
        """All elements."""
        return self.tiles * self.stride

    @property
    def scratch(self) -> int:
        """The vectors of sums of a block of rows."""
        return self.rows * self.vectors

    def __str__(self) -> str:
        sizes = " + ".join(f"{c.vectors}×{c.inner}" for c in self.chunks)
        return f"{self.tiles} tiles of {self.units} vectors, {self.rows} rows by {sizes}"

    @classmethod
    def of(cls, stage: Tiles, target: Target, lanes: int, offset: int, shared: bool) -> Panel:
        """Products of the same operand, all of it or as much, stand side by side, as many vectors as registers allow.

        Args:
            offset: where the stage's weights begin.
            shared: whether a step of one row is worth two threads, which then split the stage's columns.
        """
        shape = tiles.shape(target)
        groups: dict[tuple[int, int, int], list[int]] = {}
        for n, product in enumerate(stage.products):
            groups.setdefault(multiplied(product), []).append(n)
        total = -(-stage.width // lanes)
        most = {key: shape.vectors(stage.products[g[0]].inner) for key, g in groups.items()}
        units = _units(shape, total, [(len(g), most[key]) for key, g in groups.items()], 2 if shared else 1)
        positions = [0] * len(stage.products)
        chunks: list[Chunk] = []
        vector, weights = 0, 0
        for key, group in groups.items():
            columns = [(stage.products[n], u) for n in group for u in range(units)]
            for k, n in enumerate(group):
                positions[n] = vector + k * units
            start = 0
            for count in _parts(shape, len(columns), most[key]):
                part, first = tuple(columns[start : start + count]), columns[start][0]
                chunks.append(Chunk(first.operand, first.inner, vector + start, count, weights, part))
                weights += first.inner * count * lanes
                start += count
            vector += len(columns)
        rows = min(shape.rows[c.vectors - 1] for c in chunks)
        count = -(-total // units)
        return cls(count, units, stage.width, vector, tuple(chunks), tuple(positions), rows, weights, offset)


def multiplied(part: Product | Chunk) -> tuple[int, int, int]:
    """What is multiplied: an operand from one element on, and how many of them."""
    return id(part.operand.node), part.operand.offset, part.inner


def _parts(shape: tiles.Shape, count: int, most: int) -> list[int]:
    """``count`` vectors for as few kernels as can be, of about one size.

    A kernel that takes all, with fewer rows, is better than two of half as many vectors: those do little but load.
    """
    if count <= shape.near:
        return [count]
    number = -(-count // most)
    return [count // number + (n < count % number) for n in range(number)]


def _units(shape: tiles.Shape, total: int, groups: list[tuple[int, int]], threads: int) -> int:
    """How many vectors of the width a tile has: about :attr:`tiles.Shape.tile` of all products together.

    Of ``total`` vectors the last tile may have few, and where threads take tiles of their own one may have a tile more;
    the number is taken that leaves the slower thread the least to do, if that is worth it.

    Args:
        groups: how many products of each operand there are, and the most vectors of a kernel.
    """
    beside = max(count for count, _ in groups)
    usual, widest = (max(1, min(vectors // beside, total)) for vectors in (shape.tile, shape.widest))

    def work(units: int) -> float:
        tiles_in_all = -(-total // units)
        cost = sum(max(n, ALONE) for count, most in groups for n in _parts(shape, count * units, most))
        return -(-tiles_in_all // threads) * cost

    best = min(range(1, widest + 1), key=lambda units: (work(units), -units))
    return best if work(best) < WORTH * work(usual) else usual


def emit_pack(
    code: Code, vector: Vector, panel: Panel, packed: str, weights: Mapping[str, str], packers: str, table: str
) -> None:
    """Write a stage's packed weights, each of so many threads some of the tiles.

    Args:
        table: of :mod:`shared` functions.
    """
    element = vector.element
    up = code.let("add i64 %thread, 1")
    low, high = code.let(f"mul i64 %thread, {panel.tiles}"), code.let(f"mul i64 {up}, {panel.tiles}")
    low, high = code.let(f"udiv i64 {low}, {packers}"), code.let(f"udiv i64 {high}, {packers}")
    base = code.let(f"getelementptr inbounds {element}, ptr {packed}, i64 {panel.offset}")
    with code.loop(low, high) as tile:
        shift = code.let(f"mul nuw nsw i64 {tile}, {panel.stride}")
        target = code.let(f"getelementptr inbounds {element}, ptr {base}, i64 {shift}")
        first = code.let(f"mul nuw nsw i64 {tile}, {panel.units}")
        for chunk in panel.chunks:
            for c, (product, unit) in enumerate(chunk.columns):
                v = code.let(f"add nuw nsw i64 {first}, {unit}")
                unit_at = code.let(f"mul nuw nsw i64 {v}, {vector.lanes}")
                place = code.let(
                    f"getelementptr inbounds {element}, ptr {target}, i64 {chunk.offset + c * vector.lanes}"
                )
                source = weights[product.weight]
                _column(code, vector, panel, product, unit_at, source, place, chunk.vectors, table)


def _column(
    code: Code,
    vector: Vector,
    panel: Panel,
    product: Product,
    unit: str,
    weight: str,
    place: str,
    vectors: int,
    table: str,
) -> None:
    """One vector of columns for every k: full ones in one way, the last, cut one and those beyond it in another."""
    full, rest = divmod(panel.width, vector.lanes)
    across, along = (1, product.columns) if product.transposed else (product.inner, 1)
    start = product.start * across + product.head * product.columns * product.inner
    shift = code.let(f"mul nuw nsw i64 {unit}, {across}")
    shift = code.let(f"add nuw nsw i64 {shift}, {start}")
    # no "inbounds": beyond the last column nothing is read
    source = code.let(f"getelementptr {vector.element}, ptr {weight}, i64 {shift}")
    common = f"ptr {source}, i64 {across}, i64 {along}, ptr {place}, i64 {vectors * vector.lanes}, i64 {product.inner}"
    is_full = code.let(f"icmp ult i64 {unit}, {full * vector.lanes}")
    with code.when(is_full):
        shared.call(code, table, "lines" if product.transposed else "turn", f"{common}, i64 {vector.lanes}")
    if rest or panel.tiles * panel.units > full:
        is_last = code.let(f"icmp eq i64 {unit}, {full * vector.lanes}")
        columns = code.let(f"select i1 {is_last}, i64 {rest}, i64 0")
        beyond = code.let(f"icmp uge i64 {unit}, {full * vector.lanes}")
        with code.when(beyond):
            shared.call(code, table, "pick", f"{common}, i64 {columns}")
