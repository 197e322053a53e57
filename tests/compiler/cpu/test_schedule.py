"""What is computed together: stages, and what lies in memory between them."""

from __future__ import annotations

import pytest

from ostinato.compiler.cpu import tiles
from ostinato.compiler.cpu.flat import flatten, is_plain, resolve
from ostinato.compiler.cpu.machine import _plan
from ostinato.compiler.cpu.pack import Panel, _parts, _units
from ostinato.compiler.cpu.schedule import Rows, Schedule, Tiles, members, schedule
from ostinato.compiler.cpu.targets import FAMILIES, named
from ostinato.compiler.graph import Builder, Graph
from tests.compiler.test_kernel import made, sized
from tests.support.kernels import every


def plans(name: str) -> list[Schedule]:
    own = sized(name, 17) if name in ("LSTM", "GRU", "RNN") else made(name)
    kernel = own.kernel()
    return [
        _plan(*kernel._forward_graph(True)),
        _plan(*kernel._backward_graph(every(own.program, own.loops()[0]))[:2]),
    ]


@pytest.mark.parametrize("name", ["LSTM", "GRU", "RNN"])
def test_a_forward_step_is_one_stage(name: str) -> None:
    """All gates of a tile and what follows on them, with nothing in between in memory."""
    forward, _ = plans(name)
    assert [type(stage) for stage in forward.stages] == [Tiles]
    assert forward.temporaries == {}


@pytest.mark.parametrize("name", ["LSTM", "GRU", "peephole", "heads", "reordered", "reduced", "flagged"])
def test_every_operation_is_in_one_stage_after_what_it_reads(name: str) -> None:
    for plan in plans(name):
        number = {id(node): n for n, stage in enumerate(plan.stages) for node in members(stage)}
        assert len(number) == sum(len(members(stage)) for stage in plan.stages)
        for stage in plan.stages:
            for node in members(stage):
                for n in range(len(node.inputs)):
                    read = plan.reads[id(node), n]
                    if id(read.node) in number:
                        assert number[id(read.node)] <= number[id(node)]
                    if isinstance(stage, Rows) and read.node.op not in ("input", "const"):
                        assert plan.stores.get(id(read.node)) or number[id(read.node)] == number[id(node)]


def test_views_in_order_cost_nothing() -> None:
    b = Builder()
    h = b.input("state", "h", (12,), True)
    view = b.slice(b.reshape(b.slice(h, 0, 2, 10), (4, 2)), 0, 1, 3)
    read = resolve(b.reshape(view, (4,)))
    assert (read.node, read.offset, read.splat) == (h, 4, False)
    one = resolve(b.broadcast(b.slice(h, 0, 5, 6), (3,)))
    assert (one.node, one.offset, one.splat) == (h, 5, True)
    assert is_plain(b.slice(h, 0, 3, 4, 2))
    assert not is_plain(b.slice(h, 0, 0, 12, 2))
    assert not is_plain(b.broadcast(b.reshape(h, (12, 1)), (12, 3)))


def test_what_products_and_orders_of_axes_read_lies_in_memory() -> None:
    b = Builder()
    h = b.input("state", "h", (4,), True)
    one = b.broadcast(b.slice(h, 0, 1, 2), (2, 3))
    weight = b.input("param", "w", (5, 3), False)
    turned, times = b.permute(one, (1, 0)), b.linear(one, weight)
    new = b.linear(b.broadcast(b.const(1.0), (3,)), weight)
    flat = flatten(Graph({"h": h, "w": weight}, {"output": turned, "new.h": new, "saved.0": times}))
    plan = schedule(flat)
    for (number, _), read in plan.reads.items():
        node = next(n for n in flat.nodes() if id(n) == number)
        if node.op in ("linear", "permute") and read.node is not node.inputs[-1]:
            assert not read.splat
            assert read.node.op != "const"


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("width", [1, 5, 16, 17, 64, 65, 300, 650])
def test_packed_weights_hold_every_column_once(family: str, width: int, shared: bool) -> None:
    target = named(family, "any")
    (stage,) = (s for s in _plan(*sized("GRU", 5).kernel()._forward_graph(False)).stages if isinstance(s, Tiles))
    stage.width = width
    panel = Panel.of(stage, target, target.lanes("float"), 0, shared)
    seen = [
        (id(product.node), tile * panel.units + unit)
        for tile in range(panel.tiles)
        for chunk in panel.chunks
        for product, unit in chunk.columns
    ]
    assert len(seen) == len(set(seen)), "a column twice"
    units = -(-width // target.lanes("float"))
    assert {unit for _, unit in seen} >= set(range(units)), "a column left out"
    assert panel.stride == sum(c.inner * c.vectors for c in panel.chunks) * target.lanes("float")
    assert panel.scratch == panel.rows * panel.vectors


@pytest.mark.parametrize(
    ("width", "products", "inner", "threads", "expected"),
    [
        (650, 4, 650, 2, 3),  # 41 vectors: 14 tiles of 3, 7 for each of two threads; of 2 one of them has 22 vectors
        (650, 1, 2600, 2, 7),  # 6 tiles of 7; of 8 a sixth would be padding
        (128, 1, 128, 2, 4),  # one tile would leave the second thread without work
        (128, 1, 128, 1, 8),
        (128, 4, 128, 2, 2),
        (512, 4, 512, 2, 2),
        (16, 1, 16, 2, 1),
    ],
)
def test_how_wide_a_tile_is(width: int, products: int, inner: int, threads: int, expected: int) -> None:
    shape = tiles.shape(named("avx512", "any"))
    assert _units(shape, -(-width // 16), [(products, shape.vectors(inner))], threads) == expected


@pytest.mark.parametrize("most", [2, 3, 4])
def test_a_tiles_vectors_are_shared_out_among_few_kernels(most: int) -> None:
    shape = tiles.shape(named("avx512", "any"))
    for count in range(1, 20):
        parts = _parts(shape, count, most)
        assert sum(parts) == count
        assert len(parts) == (1 if count <= shape.near else -(-count // most))
        assert max(parts) - min(parts) <= 1
        assert max(parts) <= (shape.near if count <= shape.near else most)


def test_the_slower_of_two_threads_never_has_more_to_do_than_with_the_usual_tile() -> None:
    shape = tiles.shape(named("avx512", "any"))

    def of_the_slower(units: int, total: int) -> int:
        number = -(-total // units)
        return -(-number // 2) * units

    for total in range(1, 70):
        usual = min(shape.tile // 3, total)
        units = _units(shape, total, [(3, 3)], 2)
        assert of_the_slower(units, total) <= of_the_slower(usual, total)
        assert of_the_slower(units, total) - total / 2 < 2, "less than a tile of two is idle"
