"""What a step computes from its inputs alone, done for all steps at once; and its gradients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ostinato.compiler import gemm, interpret
from ostinato.compiler.graph import Graph, Node
from ostinato.compiler.program import Program

Values = Mapping[str, Tensor]


@dataclass(slots=True, eq=False)
class Geometry:
    """How many steps and rows a call has, and how they lie.

    Attributes:
        steps, rows: T and B.
        batch_sizes: (T,) rows active at each step, never growing, on the CPU; None: all of them.
        count: N, the number of (step, row) pairs.
    """

    steps: int
    rows: int
    batch_sizes: Tensor | None
    count: int

    @classmethod
    def of(cls, input: Tensor, rows: int, batch_sizes: Tensor | None) -> Geometry:
        """That of (T, B, ·) input, or of packed (N, ·) input."""
        if batch_sizes is None:
            return cls(input.shape[0], rows, None, input.shape[0] * rows)
        return cls(batch_sizes.shape[0], rows, batch_sizes, input.shape[0])

    def flat(self, value: Tensor) -> Tensor:
        """(T, B, ·) or (N, ·) as (N, ·), contiguous."""
        if self.batch_sizes is None:
            value = value.reshape(self.count, value.shape[-1])
        return value.contiguous()

    def spread(self, constant: Tensor) -> Tensor:
        """(B, ·) → (N, ·): a value a sequence at each of its steps."""
        if self.batch_sizes is None:
            return constant.expand(self.steps, *constant.shape).reshape(self.count, *constant.shape[1:])
        return torch.cat([constant[:size] for size in self.batch_sizes.tolist()])


@dataclass(frozen=True)
class Affine:
    """``value @ weight[start:stop].T + biases``: one product, and the gradients of it."""

    name: str
    value: str
    weight: str
    biases: tuple[str, ...]
    start: int | None
    stop: int | None

    def run(self, value: Tensor, params: Values) -> Tensor:
        weight = params[self.weight]
        if self.start is not None:
            weight = weight[self.start : self.stop]
        if not self.biases:
            return gemm.linear(value, weight)
        bias = params[self.biases[0]]
        for name in self.biases[1:]:
            bias = bias + params[name]
        return gemm.linear(value, weight, bias)

    def add_gradients(self, grad: Tensor, value: Tensor, params: Values, into: Sums) -> None:
        """Add to ``into`` what of it is wanted; ``grad`` is (N, ·)."""
        weight = params[self.weight]
        part = weight if self.start is None else weight[self.start : self.stop]
        if self.value in into.wanted:
            into.add(self.value, gemm.linear(grad, part.t()))
        if self.weight in into.wanted:
            product = gemm.over_rows(grad, value)
            if self.start is not None:
                whole = torch.zeros_like(weight)
                whole[self.start : self.stop] = product
                product = whole
            into.add(self.weight, product)
        biases = [name for name in self.biases if name in into.wanted]
        if biases:
            total = grad.sum(0)
            for name in biases:
                into.add(name, total)


class Sums:
    """Gradients by name, added up; only those in ``wanted`` are kept."""

    def __init__(self, wanted: Iterable[str]) -> None:
        self.wanted = frozenset(wanted)
        self.values: dict[str, Tensor] = {}

    def add(self, name: str, grad: Tensor | None) -> None:
        if grad is None or name not in self.wanted:
            return
        before = self.values.get(name)
        self.values[name] = grad if before is None else before + grad

    def add_all(self, grads: Values) -> None:
        for name, grad in grads.items():
            self.add(name, grad)


class Hoist:
    """The hoist graph of a program, taken apart: plain products on the inputs themselves, and the rest."""

    def __init__(self, program: Program) -> None:
        graph = program.hoist
        found = {name: _affine(name, node) for name, node in graph.outputs.items()}
        steps = [n for n in graph.outputs if n not in program.constant_outputs]
        self.products = tuple(a for n in steps if (a := found[n]) is not None)
        self.steps = _part(graph, [n for n in steps if found[n] is None])
        self.constants = _part(graph, list(program.constant_outputs))
        self.reads = {name: frozenset(_inputs(node)) for name, node in graph.outputs.items()}
        """What each hoisted value is made of."""

    def run(self, geometry: Geometry, streams: Values, constants: Values, params: Values) -> dict[str, Tensor]:
        """Every hoisted value: of a step (N, ·), of a sequence (B, ·). ``streams``: x too, (N, ·) each."""
        done = {product.name: product.run(streams[product.value], params) for product in self.products}
        if self.steps is not None:
            spread = {n: geometry.spread(v) for n, v in constants.items() if n in self.steps.inputs}
            done.update(_run(self.steps, {**params, **streams, **spread}))
        if self.constants is not None:
            done.update(_run(self.constants, {**params, **constants}))
        return done

    def add_gradients(
        self, geometry: Geometry, streams: Values, constants: Values, params: Values, grads: Values, into: Sums
    ) -> None:
        """From the gradients of hoisted values to those of what they are made of; what is not wanted costs nothing."""
        for product in self.products:
            if product.name in grads:
                product.add_gradients(grads[product.name], streams[product.value], params, into)
        rest = [n for part in (self.steps, self.constants) if part is not None for n in part.outputs if n in grads]
        read = {**params, **streams, **constants}
        wanted = [n for n in into.wanted if n in read and any(n in self.reads[output] for output in rest)]
        if not rest or not wanted:
            return
        with torch.enable_grad():
            leaves = {name: read[name].detach().requires_grad_() for name in wanted}

            def own(values: Values) -> dict[str, Tensor]:
                return {name: leaves.get(name, value) for name, value in values.items()}

            made = _Rest(self).run(geometry, own(streams), own(constants), own(params))
            outputs = [n for n in rest if made[n].requires_grad]
            found = torch.autograd.grad(
                [made[n] for n in outputs],
                list(leaves.values()),
                [grads[n].reshape(made[n].shape) for n in outputs],
                allow_unused=True,
            )
        for name, grad in zip(leaves, found, strict=True):
            into.add(name, grad)


class _Rest(Hoist):
    """A hoist without its plain products."""

    def __init__(self, whole: Hoist) -> None:
        self.products = ()
        self.steps, self.constants, self.reads = whole.steps, whole.constants, whole.reads


def _run(graph: Graph, values: Values) -> dict[str, Tensor]:
    return interpret.run(graph, {name: values[name] for name in graph.inputs})


def _part(graph: Graph, names: list[str]) -> Graph | None:
    """The graph of these outputs alone."""
    if not names:
        return None
    outputs = {name: graph.outputs[name] for name in names}
    needed = {name for node in outputs.values() for name in _inputs(node)}
    return Graph({name: node for name, node in graph.inputs.items() if name in needed}, outputs)


def _inputs(node: Node) -> set[str]:
    found, seen, stack = set(), {id(node)}, [node]
    while stack:
        node = stack.pop()
        if node.op == "input":
            found.add(node["name"])
        for i in node.inputs:
            if id(i) not in seen:
                seen.add(id(i))
                stack.append(i)
    return found


def _affine(name: str, node: Node) -> Affine | None:
    """The output as one product of an input with a param, and biases; None if it is anything else."""
    biases: list[str] = []
    while node.op == "add":
        sides = [_bias(i) for i in node.inputs]
        if sides[1] is None:
            sides, node = sides[::-1], node.inputs[1]
        else:
            node = node.inputs[0]
        if sides[1] is None:
            return None
        biases.append(sides[1])
    if node.op != "linear" or any(i.op != "input" for i in node.inputs):
        return None
    value, weight = node.inputs
    if value["kind"] not in ("x", "stream") or len(value.shape) != 1 or len(weight.shape) != 2 or value.dtype != "real":
        return None
    attrs = dict(node.attrs)
    return Affine(name, value["name"], weight["name"], tuple(biases), attrs.get("start"), attrs.get("stop"))


def _bias(node: Node) -> str | None:
    if node.op != "broadcast" or node.inputs[0].op != "input" or node.inputs[0].rows:
        return None
    return node.inputs[0]["name"] if node.inputs[0].shape == node.shape else None
