"""Traced steps written by hand: the passes are tested without the tracer."""

from __future__ import annotations

from ostinato.compiler.graph import Builder, Graph, Node


def stacked(b: Builder, gates: int, I: int, H: int) -> tuple[Node, Node, dict[str, Node]]:
    """The two products of torch's cells, and all inputs but the other states."""
    inputs = {"x": b.input("x", "x", (I,), True), "h": b.input("state", "h", (H,), True)}
    for name, shape in (
        ("weight_ih", (gates * H, I)),
        ("weight_hh", (gates * H, H)),
        ("bias_ih", (gates * H,)),
        ("bias_hh", (gates * H,)),
    ):
        inputs[name] = b.input("tensor", name, shape, False)
    width = (gates * H,)

    def product(value: str, weight: str, bias: str) -> Node:
        return b.pointwise("add", b.linear(inputs[value], inputs[weight]), b.broadcast(inputs[bias], width))

    return product("x", "weight_ih", "bias_ih"), product("h", "weight_hh", "bias_hh"), inputs


ACTIVATIONS = ("sigmoid", "sigmoid", "tanh", "sigmoid")


def chunks(b: Builder, value: Node, count: int) -> list[Node]:
    size = value.shape[-1] // count
    return [b.slice(value, 0, n * size, (n + 1) * size) for n in range(count)]


def lstm(I: int = 3, H: int = 4) -> Graph:
    b = Builder()
    of_x, of_h, inputs = stacked(b, 4, I, H)
    inputs["c"] = b.input("state", "c", (H,), True)
    i, f, g, o = chunks(b, b.pointwise("add", of_x, of_h), 4)
    i, f, g, o = (b.pointwise(op, v) for op, v in zip(ACTIVATIONS, (i, f, g, o), strict=True))
    c = b.pointwise("add", b.pointwise("mul", f, inputs["c"]), b.pointwise("mul", i, g))
    h = b.pointwise("mul", o, b.pointwise("tanh", c))
    return Graph(inputs, {"output": h, "new.h": h, "new.c": c})


def gru(I: int = 3, H: int = 4) -> Graph:
    b = Builder()
    of_x, of_h, inputs = stacked(b, 3, I, H)
    (xr, xz, xn), (hr, hz, hn) = chunks(b, of_x, 3), chunks(b, of_h, 3)
    r = b.pointwise("sigmoid", b.pointwise("add", xr, hr))
    z = b.pointwise("sigmoid", b.pointwise("add", xz, hz))
    n = b.pointwise("tanh", b.pointwise("add", xn, b.pointwise("mul", r, hn)))
    kept = b.pointwise("mul", z, inputs["h"])
    h = b.pointwise("add", b.pointwise("mul", b.pointwise("sub", b.const(1.0), z), n), kept)
    return Graph(inputs, {"output": h, "new.h": h})


def rnn(I: int = 3, H: int = 4) -> Graph:
    b = Builder()
    of_x, of_h, inputs = stacked(b, 1, I, H)
    h = b.pointwise("tanh", b.pointwise("add", of_x, of_h))
    return Graph(inputs, {"output": h, "new.h": h})
