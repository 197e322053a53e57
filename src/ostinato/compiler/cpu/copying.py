"""Functions that copy: columns of weights into the order a kernel reads them in, and rows of states."""

from __future__ import annotations

from ostinato.compiler.cpu import tiles
from ostinato.compiler.cpu.text import Code, Vector

COPIERS = ("turn", "lines", "pick")
"""Each copies one vector of columns, for every k, from ``from[column · across + k · along]``.

turn: full vectors of rows of the weight (along = 1), a square of lanes at a time, and single elements at the end.
lines: full vectors that lie as they are needed (across = 1). pick: so many columns, element by element, then zeros.
"""


def emit_copiers(code: Code, vector: Vector) -> None:
    """Define :data:`COPIERS`, each (from, across, along, to, step, inner, columns)."""
    for name, body in zip(COPIERS, (_turn, _lines, _pick), strict=True):
        arguments = "ptr %from, i64 %across, i64 %along, ptr %to, i64 %step, i64 %inner, i64 %columns"
        with code.function(f"void @{name}({arguments}) nounwind"):
            body(code, vector)


def emit_copy(code: Code, vector: Vector) -> None:
    """Define ``copy(from, to, low, high)``: elements low to high of one array into those of another."""
    t, element, align = vector.type, vector.element, vector.bytes
    with code.function("void @copy(ptr %from, ptr %to, i64 %low, i64 %high) nounwind"):
        count = code.let("sub i64 %high, %low")
        over = code.let(f"srem i64 {count}, {vector.lanes}")
        whole = code.let(f"sub i64 %high, {over}")
        for kind, step, begin, end in ((t, vector.lanes, "%low", whole), (element, 1, whole, "%high")):
            with code.loop(begin, end, step) as n:
                here = code.let(f"getelementptr inbounds {element}, ptr %from, i64 {n}")
                value = code.let(f"load {kind}, ptr {here}, align {align}")
                there = code.let(f"getelementptr inbounds {element}, ptr %to, i64 {n}")
                code.do(f"store {kind} {value}, ptr {there}, align {align}")


def _address(code: Code, vector: Vector, base: str, *terms: tuple[str, str]) -> str:
    """base + sum of products, in elements."""
    index = "0"
    for n, (a, b) in enumerate(terms):
        part = a if b == "1" else code.let(f"mul nsw i64 {a}, {b}")
        index = part if n == 0 else code.let(f"add nsw i64 {index}, {part}")
    return code.let(f"getelementptr inbounds {vector.element}, ptr {base}, i64 {index}")


def _turn(code: Code, vector: Vector) -> None:
    t, align = vector.type, vector.bytes
    rest = code.let(f"urem i64 %inner, {vector.lanes}")
    square = code.let(f"sub i64 %inner, {rest}")
    if vector.lanes > 1:
        with code.loop("0", square, vector.lanes) as k:
            lines = []
            for lane in range(vector.lanes):
                at = _address(code, vector, "%from", (k, "1"), (str(lane), "%across"))
                lines.append(code.let(f"load {t}, ptr {at}, align {align}"))
            for n, line in enumerate(_transposed(code, vector, lines)):
                at = _address(code, vector, "%to", (code.let(f"add i64 {k}, {n}"), "%step"))
                code.do(f"store {t} {line}, ptr {at}, align {vector.lanes * align}")
    _elements(code, vector, square if vector.lanes > 1 else "0")


def _lines(code: Code, vector: Vector) -> None:
    t, align = vector.type, vector.bytes
    with code.loop("0", "%inner") as k:
        here = _address(code, vector, "%from", (k, "%along"))
        value = code.let(f"load {t}, ptr {here}, align {align}")
        there = _address(code, vector, "%to", (k, "%step"))
        code.do(f"store {t} {value}, ptr {there}, align {vector.lanes * align}")


def _pick(code: Code, vector: Vector) -> None:
    with code.loop("0", "%inner") as k:
        there = _address(code, vector, "%to", (k, "%step"))
        code.do(f"store {vector.type} {tiles.zero(vector)}, ptr {there}, align {vector.lanes * vector.bytes}")
    _elements(code, vector, "0")


def _elements(code: Code, vector: Vector, start: str) -> None:
    element, align = vector.element, vector.bytes
    with code.loop(start, "%inner") as k, code.loop("0", "%columns") as lane:
        here = _address(code, vector, "%from", (lane, "%across"), (k, "%along"))
        value = code.let(f"load {element}, ptr {here}, align {align}")
        there = _address(code, vector, "%to", (k, "%step"), (lane, "1"))
        code.do(f"store {element} {value}, ptr {there}, align {align}")


def _transposed(code: Code, vector: Vector, lines: list[str]) -> list[str]:
    """A square of lanes turned: as many rounds of interleaving as the lanes' number has bits."""
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
