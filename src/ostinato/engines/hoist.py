"""What a step computes from its inputs alone, done for all steps at once; and its gradients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ostinato.compiler import gemm, interpret
from ostinato.compiler.graph import Builder, Graph, Node
from ostinato.compiler.program import Program
from ostinato.compiler.rebuild import rebuild, trimmed
from ostinato.compiler.seed import seed
from ostinato.engines.geometry import Geometry
from ostinato.engines.recording import recording
from ostinato.engines.sums import Sums

Values = Mapping[str, Tensor]


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

    def add_gradients(self, grad: Tensor, value: Tensor, params: Values, into: Sums[str]) -> None:
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


class Hoist:
    """The hoist graph of a program, taken apart: plain products on the inputs themselves, and the rest."""

    def __init__(self, program: Program) -> None:
        graph = program.hoist
        found = {name: _affine(name, node) for name, node in graph.outputs.items()}
        steps = [n for n in graph.outputs if n not in program.constant_outputs]
        self.products = tuple(a for n in steps if (a := found[n]) is not None)
        self.steps = _after(graph, [n for n in steps if found[n] is None], [p.name for p in self.products])
        self.constants = _part(graph, list(program.constant_outputs))
        self.reads = {name: frozenset(_inputs(node)) for name, node in graph.outputs.items()}
        """What each hoisted value is made of."""
        self.within = () if self.steps is None else tuple(filter(interpret.is_large, self.steps.nodes()))
        """The products within the rest, in the order they are made: a backward needs what came out of them."""
        inner = () if self.steps is None else self.steps.inputs
        self.given = tuple(p.name for p in self.products if p.name in inner)
        """The plain products that the rest reads: a backward needs them too."""

    def run(
        self,
        geometry: Geometry,
        streams: Values,
        constants: Values,
        params: Values,
        keep: list[Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Every hoisted value: of a step (N, ·), of a sequence (B, ·).

        Args:
            streams: x too, (N, ·) each.
            keep: gets what the products :attr:`within` put out, (N, ·) each; None where no backward follows.
        """
        done = {product.name: product.run(streams[product.value], params) for product in self.products}

        def multiply(value: Tensor, weight: Tensor) -> Tensor:
            made = gemm.linear(value, weight)
            if keep is not None:
                keep.append(made)
            return made

        return done | self._rest(geometry, {**streams, **done}, constants, params, multiply)

    def _rest(
        self,
        geometry: Geometry,
        streams: Values,
        constants: Values,
        params: Values,
        multiply: interpret.Multiply,
    ) -> dict[str, Tensor]:
        """What is no plain product; ``streams``: those products too."""
        done: dict[str, Tensor] = {}
        if self.steps is not None:
            spread = {n: geometry.spread(v) for n, v in constants.items() if n in self.steps.inputs}
            done.update(_run(self.steps, {**params, **streams, **spread}, multiply))
        if self.constants is not None:
            done.update(_run(self.constants, {**params, **constants}))
        return done

    def add_gradients(
        self,
        geometry: Geometry,
        streams: Values,
        constants: Values,
        params: Values,
        grads: Values,
        kept: Iterable[Tensor],
        into: Sums[str],
    ) -> None:
        """From the gradients of hoisted values to those of what they are made of; what is not wanted costs nothing.

        Elementwise work is done again where autograd sees it; products are not.

        Args:
            streams: x and the streams, and those of the plain products that the rest reads.
            kept: what :meth:`run` kept.
        """
        flowing = dict(grads)
        for name, grad in self._through_rest(geometry, streams, constants, params, grads, kept, into).items():
            flowing[name] = flowing[name] + grad if name in flowing else grad
        for product in self.products:
            if product.name in flowing:
                product.add_gradients(flowing[product.name], streams[product.value], params, into)

    def _through_rest(
        self,
        geometry: Geometry,
        streams: Values,
        constants: Values,
        params: Values,
        grads: Values,
        kept: Iterable[Tensor],
        into: Sums[str],
    ) -> dict[str, Tensor]:
        """The gradients of the plain products that the rest reads; those of all else go into ``into``."""
        rest = [n for part in (self.steps, self.constants) if part is not None for n in part.outputs if n in grads]
        read = {**params, **streams, **constants}
        wanted = [n for n in into.wanted if n in read and any(n in self.reads[output] for output in rest)]
        if not rest or not wanted:
            return {}
        wanted += [n for n in self.given if not self.reads[n].isdisjoint(into.wanted)]
        with recording():
            leaves = {name: read[name].detach().requires_grad_() for name in wanted}

            def own(values: Values) -> dict[str, Tensor]:
                return {name: leaves.get(name, value) for name, value in values.items()}

            products = iter(kept)
            made = self._rest(
                geometry, own(streams), own(constants), own(params), lambda v, w: _Made.apply(v, w, next(products))
            )
            outputs = [n for n in rest if made[n].requires_grad]
            if not outputs:  # A comparison, as a mask's, has no gradient.
                return {}
            start = seed([made[n] for n in outputs], [grads[n].reshape(made[n].shape) for n in outputs])
            found = torch.autograd.grad(start, list(leaves.values()), allow_unused=True)
        for name, grad in zip(leaves, found, strict=True):
            into.add(name, grad)
        return {n: g for n, g in zip(leaves, found, strict=True) if n in self.given and g is not None}


class _Made(torch.autograd.Function):
    """A product that was made before, as autograd sees it."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, weight: Tensor, made: Tensor) -> Tensor:
        ctx.save_for_backward(value, weight)
        return made.detach()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        value, weight = ctx.saved_tensors
        into_value, into_weight, _ = ctx.needs_input_grad
        return (
            gemm.linear(grad, weight.t()) if into_value else None,
            gemm.over_rows(grad, value) if into_weight else None,
            None,
        )


def _run(graph: Graph, values: Values, multiply: interpret.Multiply | None = None) -> dict[str, Tensor]:
    return interpret.run(graph, {name: values[name] for name in graph.inputs}, multiply)


def _after(graph: Graph, names: Sequence[str], products: Sequence[str]) -> Graph | None:
    """The graph of these outputs alone, in which others of its outputs are inputs."""
    if not names:
        return None
    build = Builder()
    own = {id(n): build.input(n["kind"], name, n.shape, n.rows, n.dtype) for name, n in graph.inputs.items()}
    for name in products:
        node = graph.outputs[name]
        own[id(node)] = build.input("stream", name, node.shape, True, node.dtype)
    made = rebuild(build, [graph.outputs[name] for name in names], own)
    return trimmed(Graph({n["name"]: n for n in own.values()}, dict(zip(names, made, strict=True))), ())


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
