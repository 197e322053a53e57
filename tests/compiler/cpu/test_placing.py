"""What is left to a later pass, or done again there, so that it does not lie in memory between."""

from __future__ import annotations

from ostinato.compiler.cpu.flat import flatten
from ostinato.compiler.cpu.schedule import Rows, Schedule, Tiles, schedule
from ostinato.compiler.graph import Builder, Graph, Node

WIDTH = 4


def planned(inputs: list[Node], **outputs: Node) -> Schedule:
    return schedule(
        flatten(Graph({n["name"]: n for n in inputs}, {n.replace("_", "."): o for n, o in outputs.items()}))
    )


def kinds(nodes: list[Node]) -> list[str]:
    return [node.op for node in nodes]


class Given:
    """A state h, x of one feature, a product of h, and two params."""

    def __init__(self) -> None:
        self.b = b = Builder()
        self.h = b.input("state", "h", (WIDTH,), True)
        self.x = b.input("x", "x", (1,), True)
        self.weight = b.input("param", "w", (WIDTH, WIDTH), False)
        self.vector = b.input("param", "v", (WIDTH,), False)
        self.inputs = [self.h, self.x, self.weight, self.vector]
        self.product = b.linear(self.h, self.weight)
        self.scaled = b.pointwise("mul", b.broadcast(self.x, (WIDTH,)), b.broadcast(self.vector, (WIDTH,)))

    def over(self, value: Node, divisor: Node) -> Node:
        """A value over the sum of another."""
        total = self.b.reduce("sum", divisor, [0])
        return self.b.pointwise("div", value, self.b.broadcast(total, (WIDTH,)))


def test_what_only_a_sum_reads_is_left_to_it() -> None:
    g = Given()
    new = g.over(g.product, g.b.pointwise("mul", g.product, g.product))
    plan = planned(g.inputs, output=new, new_h=new)
    tiles, rows = plan.stages
    assert isinstance(tiles, Tiles)
    assert tiles.body == []
    assert isinstance(rows, Rows)
    assert [(kinds(p.body), kinds(p.reductions)) for p in rows.phases] == [(["mul"], ["sum"]), (["div"], [])]
    assert sorted(plan.temporaries.values()) == [1, WIDTH], "the sum and the product"


def test_what_would_need_the_product_in_memory_stays_with_it() -> None:
    g = Given()
    squared = g.b.pointwise("mul", g.product, g.product)
    new = g.over(squared, squared)
    plan = planned(g.inputs, output=new, new_h=new)
    assert isinstance(plan.stages[0], Tiles)
    assert kinds(plan.stages[0].body) == ["mul"]
    assert sorted(plan.temporaries.values()) == [1, WIDTH], "the sum and the square, and not the product"


def test_what_goes_out_stays() -> None:
    g = Given()
    squared = g.b.pointwise("mul", g.product, g.product)
    new = g.over(g.product, squared)
    plan = planned(g.inputs, output=new, new_h=new, saved_0=squared)
    assert isinstance(plan.stages[0], Tiles)
    assert kinds(plan.stages[0].body) == ["mul"]


def test_what_nothing_sums_up_follows_the_product_at_once() -> None:
    g = Given()
    new = g.b.pointwise("tanh", g.b.pointwise("add", g.product, g.scaled))
    (stage,) = planned(g.inputs, output=new, new_h=new).stages
    assert isinstance(stage, Tiles)
    assert sorted(kinds(stage.body)) == ["add", "mul", "tanh"]


def test_a_cheap_value_is_made_in_every_pass_that_reads_it() -> None:
    g = Given()
    new = g.b.pointwise("add", g.over(g.scaled, g.b.pointwise("mul", g.scaled, g.scaled)), g.product)
    plan = planned(g.inputs, output=new, new_h=new)
    passes = [phase for stage in plan.stages if isinstance(stage, Rows) for phase in stage.phases]
    assert [kinds(p.body) for p in passes] == [["mul", "mul"], ["mul", "div", "add"]]
    assert sorted(plan.temporaries.values()) == [1, WIDTH], "the sum and the product, and not x times the param"


def test_a_dear_value_is_kept() -> None:
    g = Given()
    dear = g.b.pointwise("tanh", g.b.broadcast(g.vector, (WIDTH,)))
    dear = g.b.pointwise("mul", dear, g.b.broadcast(g.x, (WIDTH,)))
    new = g.b.pointwise("add", g.over(dear, g.b.pointwise("mul", dear, dear)), g.product)
    plan = planned(g.inputs, output=new, new_h=new)
    done = [node for stage in plan.stages if isinstance(stage, Rows) for phase in stage.phases for node in phase.body]
    assert kinds(done).count("tanh") == 1
    assert sorted(plan.temporaries.values()) == [1, WIDTH, WIDTH], "the value too"
