"""Elementwise operations on one vector of a row: operands loaded where they lie, results written for who reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType

from ostinato.compiler.cpu import tiles
from ostinato.compiler.cpu.flat import Read
from ostinato.compiler.cpu.frame import Frame, Step
from ostinato.compiler.cpu.pointwise import POINTWISE
from ostinato.compiler.cpu.schedule import Place
from ostinato.compiler.cpu.text import Vector
from ostinato.compiler.graph import Node

Loads = dict[tuple[str, int, bool, bool], str]
"""What has been loaded at this position: (buffer, offset, splat, bool) -> value."""


NOTHING: Mapping[int, Place] = MappingProxyType({})


class Elementwise:
    """Writes bodies of loops over a row."""

    def __init__(self, frame: Frame) -> None:
        self.frame, self.code, self.at = frame, frame.code, frame.at
        self.type = frame.element
        self.is_around = False
        self.around: set[str] = set()

    @contextmanager
    def past_the_caches(self) -> Iterator[None]:
        """Streams are written around the caches: :attr:`around` are those whose rows must be aligned for it."""
        self.is_around = True
        yield
        self.is_around = False

    def pointers(self, nodes: Sequence[Node], r: str, step: Step) -> dict[str, str]:
        """The address of row r in every buffer these operations touch."""
        return {name: self.frame.row(name, r, step) for name in self.buffers(nodes)}

    def buffers(self, nodes: Sequence[Node]) -> list[str]:
        """Every buffer these operations touch."""
        names: dict[str, None] = {}
        for node in nodes:
            for n in range(len(node.inputs)):
                read = self.frame.plan.reads.get((id(node), n))
                place = self.frame.plan.place(read) if read and read.node.op != "const" else None
                if place is not None:
                    names[place.buffer] = None
            for place in self.frame.plan.stores.get(id(node), ()):
                names[place.buffer] = None
        return list(names)

    def ahead(self, nodes: Sequence[Node], pointers: dict[str, str], jump: str) -> list[tuple[str, bool]]:
        """Where the streams of the row ``jump`` further begin that these operations touch, and which are written."""
        found: dict[Place, bool] = {}
        for node in nodes:
            for n in range(len(node.inputs)):
                read = self.frame.plan.reads[id(node), n]
                place = self.frame.plan.place(read) if read.node.op == "input" and not read.splat else None
                if place is not None:
                    found.setdefault(place, False)
            found.update(dict.fromkeys(self.frame.plan.stores.get(id(node), ()), True))
        made = []
        for place, written in found.items():
            buffer = self.frame.layout.buffers[place.buffer.removeprefix("+")]
            if buffer.kind in ("stream", "previous"):
                stride = self.frame.words[buffer.name + ".stride"]
                row = self.at(pointers[place.buffer], self.code.let(f"mul nsw i64 {jump}, {stride}"))
                made.append((self.at(row, str(place.offset)) if place.offset else row, written))
        return made

    def prefetch(self, rows: Sequence[tuple[str, bool]], at: str, vector: Vector) -> None:
        """Ask for a vector from ``at`` on of each of these rows: with arithmetic between, loads are not far ahead."""
        for row, written in rows:
            if written and self.is_around:
                continue
            place = self.at(row, at)
            for start in range(0, vector.lanes, self.frame.lanes):
                self.code.prefetch(self.at(place, str(start)) if start else place, written=written)

    def body(
        self,
        nodes: Sequence[Node],
        vector: Vector,
        at: str,
        pointers: dict[str, str],
        given: dict[int, Callable[[], str]],
        rest: int,
        written: Mapping[int, Place] = NOTHING,
    ) -> dict[int, str]:
        """Elementwise operations at elements ``at`` and on of a row; ``rest``: only so many lanes are there.

        What is ``given`` is fetched where it is first read, so that few registers hold what waits. Of its places one
        may be ``written`` already.
        """
        values: dict[int, str] = {}
        loads: Loads = {}
        for node in nodes:
            stores = [p for p in self.frame.plan.stores.get(id(node), ()) if p != written.get(id(node))]
            if id(node) in given:
                if stores:
                    values[id(node)] = given[id(node)]()
            else:
                operands = []
                for n in range(len(node.inputs)):
                    read = self.frame.plan.reads[id(node), n]
                    if id(read.node) in given and id(read.node) not in values:
                        values[id(read.node)] = given[id(read.node)]()
                    operands.append(self.operand(read, vector, at, pointers, values, loads, rest))
                values[id(node)] = operands[0] if node.op == "copy" else POINTWISE[node.op](self.code, vector, operands)
            for place in stores:
                self._write(place, node, values[id(node)], vector, at, pointers, rest)
        return values

    def operand(
        self,
        read: Read,
        vector: Vector,
        at: str,
        pointers: dict[str, str],
        values: dict[int, str],
        loads: Loads,
        rest: int,
    ) -> str:
        node = read.node
        if node.op == "const":
            if node.dtype == "bool":
                return vector.spread(f"i1 {int(node['value'])}")
            return vector.number(node["value"])
        if id(node) in values and not read.splat and read.offset == 0:
            return values[id(node)]
        place = self.frame.place(read)
        key = (place.buffer, place.offset, read.splat, node.dtype == "bool")
        if key not in loads:
            loads[key] = self._load(place, read.splat, node.dtype == "bool", vector, at, pointers, rest)
        return loads[key]

    def load(self, place: Place, vector: Vector, at: str, pointers: dict[str, str]) -> str:
        """A whole vector from elements ``at`` on of a row."""
        return self._load(place, False, False, vector, at, pointers, 0)

    def _load(
        self, place: Place, splat: bool, is_bool: bool, vector: Vector, at: str, pointers: dict[str, str], rest: int
    ) -> str:
        code, t = self.code, vector.type
        row = pointers[place.buffer]
        if splat:
            one = code.let(f"load {self.type}, ptr {self.at(row, str(place.offset))}, align {vector.bytes}")
            value = tiles.splat(code, vector, one)
        else:
            address = self._address(row, place.offset, at)
            if rest and vector.lanes > 1:
                value = tiles.masked_load(code, vector, address, self.mask(vector, rest))
            else:
                value = code.let(f"load {t}, ptr {address}, align {vector.bytes}")
        return code.let(f"fcmp une {t} {value}, {tiles.zero(vector)}") if is_bool else value

    def _address(self, row: str, offset: int, at: str) -> str:
        index = self.code.let(f"add nsw i64 {at}, {offset}") if offset else at
        return self.at(row, index)

    def mask(self, vector: Vector, rest: int) -> str:
        return "<" + ", ".join(f"i1 {int(n < rest)}" for n in range(vector.lanes)) + ">"

    def _write(
        self, place: Place, node: Node, value: str, vector: Vector, at: str, pointers: dict[str, str], rest: int
    ) -> None:
        code, t = self.code, vector.type
        if node.dtype == "bool":
            value = code.let(f"select {vector.mask} {value}, {t} {vector.number(1.0)}, {t} {tiles.zero(vector)}")
        address = self._address(pointers[place.buffer], place.offset, at)
        if place.buffer.startswith("+"):
            row = Place(place.buffer, place.offset)
            so_far = self._load(row, False, False, vector, at, pointers, rest)
            value = code.let(f"fadd {t} {so_far}, {value}")
        if rest and vector.lanes > 1:
            tiles.masked_store(code, vector, value, address, self.mask(vector, rest))
        elif self.is_around and self._may_go_around(place, vector):
            self.around.add(place.buffer)
            code.do(
                f"store {t} {value}, ptr {address}, align {vector.bytes * vector.lanes}, !nontemporal {code.once()}"
            )
        else:
            code.do(f"store {t} {value}, ptr {address}, align {vector.bytes}")

    def _may_go_around(self, place: Place, vector: Vector) -> bool:
        buffer = self.frame.layout.buffers.get(place.buffer)
        return buffer is not None and buffer.kind == "stream" and place.offset % vector.lanes == 0
