"""The backward of one step: elementwise work as torch differentiates it, products and views by their own rules.

The result is one graph that holds both directions, so that ``save.py`` can decide which forward values the backward
reads and which it computes again. Parameters are cut where they meet the rows: the backward gives the gradient of each
product, and of each broadcast, of every row; nothing in it adds rows up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ostinato.compiler.expand import inverse_deviation, inverse_root
from ostinato.compiler.graph import Builder, Graph, Node, Shape
from ostinato.compiler.interpret import COMPOSITE, POINTWISE
from ostinato.compiler.maths import Maths
from ostinato.compiler.program import SumGradient
from ostinato.compiler.rebuild import rebuild
from ostinato.compiler.vjp import vjp


@dataclass(frozen=True)
class Product:
    """A weight's gradient before it is known where its value comes from: ``grad`` and ``value`` are outputs."""

    param: str
    grad: str
    value: str


@dataclass(frozen=True)
class Derived:
    """Both directions of a step in one graph.

    Its inputs are the step's and the gradients of its outputs (kind "grad"). Its outputs are the step's, the
    gradients (see :class:`ostinato.compiler.program.Backward`), and the values ``products`` multiplies with.
    """

    graph: Graph
    forward: tuple[str, ...]
    backward: tuple[str, ...]
    values: tuple[str, ...]
    products: tuple[Product, ...]
    sums: tuple[SumGradient, ...]


def derive(step: Graph) -> Derived:
    """Differentiate a step.

    Raises:
        Refused: an operation whose derivative has no native form.
    """
    build = Builder()
    made = rebuild(build, [*step.inputs.values(), *step.outputs.values()], {})
    count = len(step.inputs)
    step = Graph(dict(zip(step.inputs, made[:count], strict=True)), dict(zip(step.outputs, made[count:], strict=True)))
    walk = _Walk(build, _differentiable(step))
    grads: dict[str, Node] = {}
    for name, node in step.outputs.items():
        what = name.removeprefix("new.")
        grads[f"grad.{what}"] = build.input("grad", f"grad.{what}", node.shape, True)
        walk.add(node, grads[f"grad.{what}"])
    for node in reversed(step.nodes()):
        walk.visit(node)

    outputs: dict[str, Node] = {}
    for name, node in step.inputs_of("state", "x", "stream", "constant").items():
        if node.dtype == "real":
            outputs[f"grad.{name}"] = walk.grads.get(id(node)) or nothing(build, node.shape)
    name_of = {id(node): name for name, node in outputs.items()}
    values: dict[int, str] = {}

    def output(node: Node) -> str:
        if id(node) not in name_of:
            name_of[id(node)] = f"part.{len(outputs)}"
            outputs[name_of[id(node)]] = node
        return name_of[id(node)]

    products = []
    for weight, value, grad in walk.products:
        values.setdefault(id(value), f"value.{len(values)}")
        products.append(Product(weight["name"], output(grad), values[id(value)]))
    multiplied = {values[id(value)]: value for _, value, _ in walk.products}
    sums = tuple(SumGradient(param["name"], output(walk.grads[id(param)])) for param in walk.params)
    return Derived(
        Graph(step.inputs | grads, step.outputs | outputs | multiplied),
        tuple(step.outputs),
        tuple(outputs),
        tuple(multiplied),
        tuple(products),
        sums,
    )


def nothing(build: Builder, shape: Shape) -> Node:
    """No gradient: -0.0, the number that changes no sum it is part of."""
    return build.broadcast(build.const(-0.0), shape)


def _differentiable(step: Graph) -> set[int]:
    """The values that pass gradients on."""
    found: set[int] = set()
    for node in step.nodes():
        if node.dtype == "real" and (node.op == "input" or any(id(i) in found for i in node.inputs)):
            found.add(id(node))
    return found


@dataclass
class _Walk:
    """From the outputs to the inputs, adding up the gradients of every value."""

    build: Builder
    differentiable: set[int]
    grads: dict[int, Node] = field(default_factory=dict)
    products: list[tuple[Node, Node, Node]] = field(default_factory=list)
    params: list[Node] = field(default_factory=list)

    def add(self, node: Node, grad: Node | None) -> None:
        if grad is None or id(node) not in self.differentiable:
            return
        known = self.grads.get(id(node))
        self.grads[id(node)] = grad if known is None else self.build.pointwise("add", known, grad)

    def visit(self, node: Node) -> None:
        grad = self.grads.get(id(node))
        if grad is None or node.op == "input":
            return
        if node.op == "linear":
            self.product(node, grad)
        elif node.op == "broadcast" and not node.inputs[0].rows:
            self.param(node, grad)
        elif node.op in POINTWISE or node.op in COMPOSITE:
            wanted = [id(i) in self.differentiable for i in node.inputs]
            for value, found in zip(node.inputs, vjp(self.build, node, grad, wanted), strict=True):
                self.add(value, _full(self.build, found, value.shape))
        else:
            for value, found in zip(node.inputs, RULES[node.op](self.build, node, grad), strict=True):
                self.add(value, found)

    def product(self, node: Node, grad: Node) -> None:
        value, weight = node.inputs
        if id(weight) in self.differentiable:
            self.products.append((weight, value, grad))
        if id(value) in self.differentiable:
            self.add(value, linear_t(self.build, grad, weight))

    def param(self, node: Node, grad: Node) -> None:
        """A param at every row: the engine adds the rows up."""
        param = node.inputs[0]
        if id(param) in self.differentiable:
            assert param.op == "input", "what is made of parameters only was prepared"
            self.add(param, _sum_to(self.build, grad, param.shape))
            if all(p is not param for p in self.params):
                self.params.append(param)


def linear_t(build: Builder, value: Node, weight: Node) -> Node:
    """``value @ weight`` over the last axis: (…, N) and (N, K) give (…, K); (h, N) and (h, N, K) give (h, K)."""
    return build.make("linear_t", (value, weight), (*value.shape[:-1], weight.shape[-1]), True)


def _full(build: Builder, grad: Node | None, shape: Shape) -> Node | None:
    return build.broadcast(grad, shape) if grad is not None and grad.op == "const" else grad


def _sum_to(build: Builder, grad: Node, shape: Shape) -> Node:
    """The sum over the axes along which ``shape`` was broadcast."""
    lead = len(grad.shape) - len(shape)
    axes = [a for a, size in enumerate(grad.shape) if a < lead or (shape[a - lead] == 1 and size != 1)]
    return build.reshape(build.reduce("sum", grad, axes) if axes else grad, shape)


Grads = Sequence[Node | None]


def _slice(build: Builder, node: Node, grad: Node) -> Grads:
    axis, start, step = node["axis"], node["start"], node["step"]
    size = node.inputs[0].shape[axis]

    def pad(value: Node, axis: int, before: int, after: int) -> Node:
        sides = [
            nothing(build, (*value.shape[:axis], n, *value.shape[axis + 1 :])) if n else None for n in (before, after)
        ]
        return build.cat([p for p in (sides[0], value, sides[1]) if p is not None], axis)

    length = node.shape[axis]
    if step != 1 and length:
        spread = pad(build.reshape(grad, (*grad.shape[: axis + 1], 1, *grad.shape[axis + 1 :])), axis + 1, 0, step - 1)
        grad = build.reshape(spread, (*grad.shape[:axis], length * step, *grad.shape[axis + 1 :]))
        grad = build.slice(grad, axis, 0, length * step - (step - 1))
        length = grad.shape[axis]
    return (pad(grad, axis, start, size - start - length),)


def _cat(build: Builder, node: Node, grad: Node) -> Grads:
    grads, start, axis = [], 0, node["axis"]
    for value in node.inputs:
        grads.append(build.slice(grad, axis, start, start + value.shape[axis]))
        start += value.shape[axis]
    return grads


def _permute(build: Builder, node: Node, grad: Node) -> Grads:
    dims = node["dims"]
    return (build.permute(grad, tuple(dims.index(d) for d in range(len(dims)))),)


def _extreme(build: Builder, node: Node, grad: Node) -> Grads:
    """Equal parts to all that are the largest (smallest)."""
    value = node.inputs[0]
    hit = build.pointwise("eq", value, build.broadcast(node, value.shape), dtype="bool")
    zero = build.const(0.0)
    count = build.reduce("sum", build.pointwise("where", hit, build.const(1.0), zero), node["axes"])
    part = build.broadcast(build.pointwise("div", grad, count), value.shape)
    return (build.pointwise("where", hit, part, zero),)


def _first(build: Builder, node: Node, grad: Node) -> Grads:
    """All of it to the first that is the largest (smallest): the one whose index torch gives."""
    value = node.inputs[0]
    shape, axis = value.shape, len(value.shape) - 1
    place = build.broadcast(_count(build, (*(1,) * axis, shape[-1])), shape)
    hit = build.pointwise("eq", value, build.broadcast(node, shape), dtype="bool")
    hit = build.pointwise("or", hit, build.pointwise("ne", value, value, dtype="bool"), dtype="bool")
    first = build.reduce("amin", build.pointwise("where", hit, place, build.const(math.inf)), [axis])
    chosen = build.pointwise("eq", place, build.broadcast(first, shape), dtype="bool")
    return (build.pointwise("where", chosen, build.broadcast(grad, shape), build.const(0.0)),)


def _count(build: Builder, shape: Shape) -> Node:
    """0, 1, 2, … along the last axis: of two halves, since a node for every number would be many."""
    size = shape[-1]
    if size == 1:
        return build.broadcast(build.const(0.0), shape)
    half = _count(build, (*shape[:-1], size // 2))
    parts = [half, build.pointwise("add", half, build.const(float(size // 2)))]
    if size % 2:
        parts.append(build.broadcast(build.const(size - 1.0), (*shape[:-1], 1)))
    return build.cat(parts, len(shape) - 1)


def _last(build: Builder, value: Node) -> Node:
    return build.reduce("sum", value, [len(value.shape) - 1])


def _softmax(build: Builder, node: Node, grad: Node) -> Grads:
    total = _last(build, build.pointwise("mul", grad, node))
    return (build.pointwise("mul", build.pointwise("sub", grad, build.broadcast(total, node.shape)), node),)


def _log_softmax(build: Builder, node: Node, grad: Node) -> Grads:
    total = build.broadcast(_last(build, grad), node.shape)
    part = build.pointwise("mul", build.pointwise("exp", node), total)
    return (build.pointwise("sub", grad, part),)


def _logsumexp(build: Builder, node: Node, grad: Node) -> Grads:
    value = node.inputs[0]
    part = build.pointwise("exp", build.pointwise("sub", value, build.broadcast(node, value.shape)))
    return (build.pointwise("mul", build.broadcast(grad, value.shape), part),)


def _norm(build: Builder, node: Node, grad: Node) -> Grads:
    """``grad · value / norm``, and zero where the norm is zero."""
    value, zero = node.inputs[0], build.const(0.0)
    none = build.pointwise("eq", node, zero, dtype="bool")
    factor = build.pointwise("where", none, zero, build.pointwise("div", grad, node))
    return (build.pointwise("mul", value, build.broadcast(factor, value.shape)),)


def _layer_norm(build: Builder, node: Node, grad: Node) -> Grads:
    """``(grad - mean(grad) - y · mean(grad · y)) / deviation``."""
    inverse = inverse_deviation(Maths(build), node.inputs[0], node["eps"])
    return _across(build, node, grad, build.pointwise("sub", grad, _mean(build, grad)), inverse)


def _rms_norm(build: Builder, node: Node, grad: Node) -> Grads:
    """``(grad - y · mean(grad · y)) / root of the mean square``."""
    return _across(build, node, grad, grad, inverse_root(Maths(build), node.inputs[0], node["eps"]))


def _across(build: Builder, node: Node, grad: Node, moved: Node, inverse: Node) -> Grads:
    """``(moved - y · mean(grad · y)) · inverse``: what is left across y."""
    along = build.pointwise("mul", node, _mean(build, build.pointwise("mul", grad, node)))
    return (build.pointwise("mul", build.pointwise("sub", moved, along), build.broadcast(inverse, node.shape)),)


def _mean(build: Builder, value: Node) -> Node:
    """Over the last axis, at every element of it."""
    total = build.pointwise("mul", _last(build, value), build.const(1 / value.shape[-1]))
    return build.broadcast(total, value.shape)


def _clip(build: Builder, node: Node, grad: Node) -> Grads:
    limit = node["limit"]
    low = build.pointwise("maximum", grad, build.const(-limit))
    return (build.pointwise("minimum", low, build.const(limit)),)


RULES: dict[str, Callable[[Builder, Node, Node], Grads]] = {
    "slice": _slice,
    "cat": _cat,
    "permute": _permute,
    "reshape": lambda build, node, grad: (build.reshape(grad, node.inputs[0].shape),),
    "broadcast": lambda build, node, grad: (_sum_to(build, grad, node.inputs[0].shape),),
    "sum": lambda build, node, grad: (build.broadcast(grad, node.inputs[0].shape),),
    "amax": _extreme,
    "amin": _extreme,
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "logsumexp": _logsumexp,
    "norm": _norm,
    "largest": _first,
    "smallest": _first,
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "detach": lambda build, node, grad: (None,),
    "clip_gradient": _clip,
}
"""The gradient of each input from that of the value, for what is not elementwise."""
