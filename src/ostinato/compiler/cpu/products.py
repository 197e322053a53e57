"""A stage of products: for each tile of columns, for each block of rows, sums over k, then what follows on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import gcd

from ostinato.compiler.cpu import tiles
from ostinato.compiler.cpu.breadth import breadth
from ostinato.compiler.cpu.elementwise import Elementwise
from ostinato.compiler.cpu.frame import Frame, Step
from ostinato.compiler.cpu.pack import Chunk, Panel, multiplied
from ostinato.compiler.cpu.schedule import Place, Tiles
from ostinato.compiler.cpu.text import Vector


def _together(chunks: Sequence[Chunk], most: int) -> Iterator[list[Chunk]]:
    """Neighbours that multiply the same, so many at a time."""
    for _, same in groupby(chunks, key=multiplied):
        group = list(same)
        for start in range(0, len(group), most):
            yield group[start : start + most]


def _countable(units: int, full: int) -> int:
    """A number of vectors that divides most of those of a tile: all if there is one but 1, else a power of two."""
    common = gcd(units, full)
    return common if common > 1 or not full else 1 << (min(units, full).bit_length() - 1)


@dataclass(frozen=True)
class _Block:
    """A block of rows of a tile: its weights, its number, its first row, and which products go to memory at once."""

    weights: str
    tile: str
    low: str
    direct: Mapping[int, Place]


class Products:
    """Writes stages of the kind :class:`Tiles`. Sums pass through a little memory on the stack, ``%scratch``."""

    def __init__(self, frame: Frame) -> None:
        self.frame, self.code, self.at = frame, frame.code, frame.at
        self.type = frame.element
        self.elementwise = Elementwise(frame)

    def stage(self, stage: Tiles, panel: Panel, step: Step) -> None:
        code, direct = self.code, self._direct(stage, panel)
        begin, end = self.frame.share(str(panel.tiles))
        limit = panel.rows
        with code.loop(begin, end) as tile:
            offset = code.let(f"mul nuw nsw i64 {tile}, {panel.stride}")
            weights = code.let(f"getelementptr inbounds {self.type}, ptr {self._packed(panel)}, i64 {offset}")
            count = code.let(f"sub nsw i64 {step.high}, {step.low}")
            some = code.let(f"icmp sgt i64 {count}, 0")
            with code.when(some):
                up = code.let(f"add nsw i64 {count}, {limit - 1}")
                blocks = code.let(f"udiv i64 {up}, {limit}")
                with code.loop("0", blocks) as b:
                    low, high = self._block(b, blocks, count, step.low)
                    size = code.let(f"sub nsw i64 {high}, {low}")
                    block = _Block(weights, tile, low, direct)
                    self._switch(panel, step, block, size)
                    if self._follows(stage, direct):
                        self._tile_body(stage, panel, step, block, high)

    def _direct(self, stage: Tiles, panel: Panel) -> dict[int, Place]:
        """The products that another stage reads, or a caller, and where: their sums are written there at once."""
        if stage.width % (panel.units * self.frame.lanes):
            return {}
        places = {id(p.node): self.frame.plan.stores.get(id(p.node), ()) for p in stage.products}
        return {node: own[0] for node, own in places.items() if own and not own[0].buffer.startswith("+")}

    def _follows(self, stage: Tiles, direct: Mapping[int, Place]) -> bool:
        """Whether anything is to be done on a block's sums."""
        stores = self.frame.plan.stores
        return bool(stage.body) or any(
            list(stores.get(id(p.node), ())) != [direct.get(id(p.node))] for p in stage.products
        )

    def _packed(self, panel: Panel) -> str:
        return self.code.let(
            f"getelementptr inbounds {self.type}, ptr {self.frame.words['packed']}, i64 {panel.offset}"
        )

    def _block(self, b: str, blocks: str, count: str, low: str) -> tuple[str, str]:
        """Block b of count rows cut as evenly as can be."""
        code = self.code
        begin = code.let(f"mul i64 {b}, {count}")
        begin = code.let(f"udiv i64 {begin}, {blocks}")
        after = code.let(f"add i64 {b}, 1")
        end = code.let(f"mul i64 {after}, {count}")
        end = code.let(f"udiv i64 {end}, {blocks}")
        return code.let(f"add i64 {begin}, {low}"), code.let(f"add i64 {end}, {low}")

    def _switch(self, panel: Panel, step: Step, block: _Block, size: str) -> None:
        """The products of a block, in a kernel of exactly its number of rows."""
        code = self.code
        names = [code.name("rows") for _ in range(panel.rows)]
        done = code.name("multiplied")
        cases = " ".join(f"i64 {r + 1}, label %{names[r]}" for r in range(panel.rows))
        code.do(f"switch i64 {size}, label %{done} [ {cases} ]")
        for r, name in enumerate(names):
            code.label(name)
            self._products(panel, step, block, r + 1)
            code.do(f"br label %{done}")
        code.label(done)

    def _products(self, panel: Panel, step: Step, block: _Block, rows: int) -> None:
        """Chunk by chunk; with few rows two chunks at once, since one alone would wait for its own sums."""
        code = self.code
        pointers: dict[tuple[str, int], list[str]] = {}
        numbers = [code.let(f"add nsw i64 {block.low}, {r}") for r in range(rows)]
        for chunks in _together(panel.chunks, 2 if rows <= 2 and self.frame.target.registers >= 32 else 1):
            place = self.frame.place(chunks[0].operand)
            key = (place.buffer, place.offset)
            if key not in pointers:
                pointers[key] = [self.frame.element_of(place, r, step) for r in numbers]
            groups = []
            for chunk in chunks:
                source = code.let(f"getelementptr inbounds {self.type}, ptr {block.weights}, i64 {chunk.offset}")
                groups.append(tiles.Columns(source, chunk.vectors, self._goal(panel, chunk, step, block, numbers)))
            tiles.emit(code, self.frame.vector, pointers[key], chunks[0].inner, groups)

    def _goal(
        self, panel: Panel, chunk: Chunk, step: Step, block: _Block, numbers: Sequence[str]
    ) -> Callable[[int, int], str]:
        """Where the sums of a chunk go: to memory, if they are wanted there, else into the scratch."""

        def goal(r: int, c: int) -> str:
            product, unit = chunk.columns[c]
            place = block.direct.get(id(product.node))
            if place is None:
                return self._scratch(r * panel.vectors + chunk.first + c)
            row = self.frame.element_of(place, numbers[r], step)
            first = self.code.let(f"mul nuw nsw i64 {block.tile}, {panel.units * self.frame.lanes}")
            return self.at(self.at(row, first), str(unit * self.frame.lanes))

        return goal

    def _scratch(self, index: int | str) -> str:
        return self.code.let(f"getelementptr inbounds {self.frame.vector.type}, ptr %scratch, i64 {index}")

    def _tile_body(self, stage: Tiles, panel: Panel, step: Step, block: _Block, high: str) -> None:
        code = self.code
        full, rest = divmod(stage.width, self.frame.lanes)
        nodes = [p.node for p in stage.products] + stage.body
        at_once = breadth(self.frame.plan, stage.body, _countable(panel.units, full), self.frame.target)
        several = self.frame.target.vector(self.type, at_once * self.frame.lanes)
        begin = code.let(f"mul nuw nsw i64 {block.tile}, {panel.units}")
        stop = code.let(f"add nuw nsw i64 {begin}, {panel.units}")
        end = code.intrinsic("llvm.smin.i64", "i64", ("i64", stop), ("i64", str(full)))
        with code.loop(block.low, high) as r:
            block_row = code.let(f"sub nsw i64 {r}, {block.low}")
            pointers = self.elementwise.pointers(nodes, r, step)
            top = code.let(f"mul nuw nsw i64 {block_row}, {panel.vectors}")

            def products(unit: str, at: str, vector: Vector) -> dict[int, Callable[[], str]]:
                first = code.let(f"add nuw nsw i64 {top}, {unit}")

                def read(n: int) -> Callable[[], str]:
                    place = block.direct.get(id(stage.products[n].node))

                    def load() -> str:
                        if place is not None:
                            return self.elementwise.load(place, vector, at, pointers)
                        index = code.let(f"add nuw nsw i64 {first}, {panel.positions[n]}")
                        return code.let(
                            f"load {vector.type}, ptr {self._scratch(index)}, "
                            f"align {self.frame.lanes * self.frame.vector.bytes}"
                        )

                    return load

                return {id(p.node): read(n) for n, p in enumerate(stage.products)}

            def loop(low: str, high: str, step: int, vector: Vector) -> None:
                with code.loop(low, high, step) as v:
                    unit = code.let(f"sub nsw i64 {v}, {begin}")
                    at = code.let(f"mul nuw nsw i64 {v}, {self.frame.lanes}")
                    self.elementwise.body(nodes, vector, at, pointers, products(unit, at, vector), 0, block.direct)

            if panel.units % at_once or full % at_once:
                left = code.let(f"sub i64 {end}, {begin}")
                count = code.intrinsic("llvm.smax.i64", "i64", ("i64", left), ("i64", "0"))
                beyond = code.let(f"urem i64 {count}, {at_once}")
                middle = code.let(f"add i64 {begin}, {code.let(f'sub i64 {count}, {beyond}')}")
                loop(begin, middle, at_once, several)
                loop(middle, end, 1, self.frame.vector)
            else:
                loop(begin, end, at_once, several)
            if rest:
                is_last = code.let(f"icmp uge i64 {stop}, {full + 1}")
                with code.when(is_last):
                    unit = code.let(f"sub nsw i64 {full}, {begin}")
                    last, at = self.frame.vector, str(full * self.frame.lanes)
                    self.elementwise.body(nodes, last, at, pointers, products(unit, at, last), rest)
