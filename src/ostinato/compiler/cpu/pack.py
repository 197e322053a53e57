"""Weights in the order the inner kernel reads them: [tile][chunk][k][vector][lane], zero where a tile is not full."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ostinato.compiler.cpu import tiles
from ostinato.compiler.cpu.schedule import Product, Read, Tiles
from ostinato.compiler.cpu.targets import Target
from ostinato.compiler.cpu.text import Code, Vector


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
    def of(cls, stage: Tiles, target: Target, lanes: int, offset: int) -> Panel:
        """Products of the same operand stand side by side, as many vectors as registers allow."""
        shape = tiles.shape(target)
        groups: dict[tuple[int, int], list[int]] = {}
        for n, product in enumerate(stage.products):
            groups.setdefault((id(product.operand.node), product.operand.offset), []).append(n)
        most = max(len(g) for g in groups.values())
        units = max(1, shape.tile // most)
        total = -(-stage.width // lanes)
        units = min(units, total)
        positions = [0] * len(stage.products)
        chunks: list[Chunk] = []
        vector, weights = 0, 0
        for group in groups.values():
            columns = [(stage.products[n], u) for n in group for u in range(units)]
            for k, n in enumerate(group):
                positions[n] = vector + k * units
            for start in range(0, len(columns), shape.vectors):
                part = tuple(columns[start : start + shape.vectors])
                first = part[0][0]
                chunks.append(Chunk(first.operand, first.inner, vector + start, len(part), weights, part))
                weights += first.inner * len(part) * lanes
            vector += len(columns)
        rows = min(shape.rows[c.vectors - 1] for c in chunks)
        count = -(-total // units)
        return cls(count, units, stage.width, vector, tuple(chunks), tuple(positions), rows, weights, offset)


def emit_pack(code: Code, vector: Vector, panel: Panel, packed: str, weights: Mapping[str, str]) -> None:
    """Write a stage's packed weights, each thread some of the tiles."""
    element = vector.element
    up = code.let("add i64 %thread, 1")
    low, high = code.let(f"mul i64 %thread, {panel.tiles}"), code.let(f"mul i64 {up}, {panel.tiles}")
    low, high = code.let(f"udiv i64 {low}, %threads"), code.let(f"udiv i64 {high}, %threads")
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
                _column(code, vector, panel, product, unit_at, weights[product.weight], place, chunk.vectors)


def _column(
    code: Code, vector: Vector, panel: Panel, product: Product, unit: str, weight: str, place: str, vectors: int
) -> None:
    """One vector of columns for every k, in a form for full vectors and one for the last, cut one."""
    full, rest = divmod(panel.width, vector.lanes)
    edge = full * vector.lanes
    if full:
        with code.when(code.let(f"icmp ult i64 {unit}, {edge}")):
            _copy(code, vector, product, unit, weight, place, vectors, vector.lanes)
    if rest:
        with code.when(code.let(f"icmp eq i64 {unit}, {edge}")):
            _copy(code, vector, product, unit, weight, place, vectors, rest)
    if panel.tiles * panel.units > full + bool(rest):
        with code.when(code.let(f"icmp uge i64 {unit}, {edge + (vector.lanes if rest else 0)}")):
            _copy(code, vector, product, unit, weight, place, vectors, 0)


def _copy(
    code: Code, vector: Vector, product: Product, unit: str, weight: str, place: str, vectors: int, lanes: int
) -> None:
    """A vector of columns: turned from rows of the weight, or a piece of each row as it is."""
    element, inner = vector.element, product.inner
    first = code.let(f"add nuw nsw i64 {unit}, {product.start}")
    head = product.head * product.columns * inner
    step = vectors * vector.lanes
    whole = lanes == vector.lanes > 1

    def address(k: str, lane: int) -> str:
        column = code.let(f"add nuw nsw i64 {first}, {lane}") if lane else first
        line, along = (k, column) if product.transposed else (column, k)
        index = code.let(f"mul nuw nsw i64 {line}, {product.columns if product.transposed else inner}")
        index = code.let(f"add nuw nsw i64 {index}, {along}")
        index = code.let(f"add nuw nsw i64 {index}, {head}") if head else index
        return code.let(f"getelementptr inbounds {element}, ptr {weight}, i64 {index}")

    def store(k: str, value: str) -> None:
        line = code.let(f"mul nuw nsw i64 {k}, {step}")
        at = code.let(f"getelementptr inbounds {element}, ptr {place}, i64 {line}")
        code.do(f"store {vector.type} {value}, ptr {at}, align {vector.lanes * vector.bytes}")

    turned = inner // vector.lanes * vector.lanes if whole and not product.transposed else 0
    if turned:
        with code.loop("0", str(turned), vector.lanes) as k:
            lines = [
                code.let(f"load {vector.type}, ptr {address(k, lane)}, align {vector.bytes}")
                for lane in range(vector.lanes)
            ]
            for n, line in enumerate(_turn(code, vector, lines)):
                store(code.let(f"add nuw nsw i64 {k}, {n}"), line)
    if turned == inner:
        return
    with code.loop(str(turned), str(inner)) as k:
        if whole and product.transposed:
            value = code.let(f"load {vector.type}, ptr {address(k, 0)}, align {vector.bytes}")
        else:
            value = _gather(code, vector, [address(k, lane) for lane in range(lanes)])
        store(k, value)


def _gather(code: Code, vector: Vector, places: Sequence[str]) -> str:
    """Single elements as a vector, zero where there is none."""
    value = tiles.zero(vector)
    for lane, place in enumerate(places):
        one = code.let(f"load {vector.element}, ptr {place}, align {vector.bytes}")
        if vector.lanes == 1:
            return one
        value = code.let(f"insertelement {vector.type} {value}, {vector.element} {one}, i64 {lane}")
    return value


def _turn(code: Code, vector: Vector, lines: list[str]) -> list[str]:
    """The transpose of a square of lanes: as many rounds of interleaving as the lanes' number has bits."""
    lanes, half = vector.lanes, vector.lanes // 2
    masks = []
    for start in (0, half):
        index = [f"i32 {i + side * lanes}" for i in range(start, start + half) for side in (0, 1)]
        masks.append(f"<{lanes} x i32> <{', '.join(index)}>")
    for _ in range(lanes.bit_length() - 1):
        lines = [
            code.let(f"shufflevector {vector.type} {lines[i]}, {vector.type} {lines[i + half]}, {mask}")
            for i in range(half)
            for mask in masks
        ]
    return lines
