"""What a step computes from what its loop put out, done for all steps at once; and its gradients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ostinato.compiler import gemm, interpret
from ostinato.compiler.graph import Graph, Node
from ostinato.compiler.seed import seed
from ostinato.compiler.sink import PASSED
from ostinato.engines.recording import recording
from ostinato.engines.sums import Sums

Values = Mapping[str, Tensor]


@dataclass(frozen=True)
class Term:
    """One product of a sum: ``sign · value[:, first:first + width] @ weight.T``."""

    value: str
    first: int
    width: int
    weight: str
    sign: int


class Sink:
    """The sunk graph, with a short way where it is a sum of products: those of what the loop put out are one."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.terms = _terms(graph.outputs["output"])
        self.reads = frozenset(graph.inputs) - {PASSED}

    def run(self, passed: Tensor, values: Values, out: Tensor) -> None:
        """Write the layer's output.

        Args:
            passed: what the loop put out, (N, ·).
            values: x and the streams, (N, ·) each, and the params.
            out: (N, w).
        """
        if self.terms is None:
            out.copy_(interpret.run(self.graph, self._given(passed, values), gemm.linear)["output"])
            return
        first, *rest = self._products(passed, values)
        gemm.linear(first[0], first[1], out=out)
        for value, weight, _ in rest:
            out.add_(gemm.linear(value, weight))

    def gradient(self, passed: Tensor, values: Values, grad: Tensor, into: Sums[str]) -> Tensor:
        """The gradient of ``passed`` from that of the output, (N, w); the others are added to ``into``."""
        if self.terms is None:
            return self._by_autograd(passed, values, grad, into)
        found: Tensor | None = None
        for value, weight, terms in self._products(passed, values):
            if terms[0].value == PASSED:
                found = gemm.linear(grad, weight.t())
            elif terms[0].value in into.wanted:
                into.add(terms[0].value, gemm.linear(grad, weight.t()))
            if any(t.weight in into.wanted for t in terms):
                product = gemm.over_rows(grad, value)
                for t in terms:
                    part = product[:, t.first : t.first + t.width]
                    into.add(t.weight, part if t.sign > 0 else part.neg())
        assert found is not None, "something of the loop is sunk"
        return found

    def _products(self, passed: Tensor, values: Values) -> list[tuple[Tensor, Tensor, list[Term]]]:
        """Each value with the joined weight of all its terms, what the loop put out first."""
        assert self.terms is not None
        made = []
        for name in dict.fromkeys(t.value for t in self.terms):
            terms = [t for t in self.terms if t.value == name]
            value = passed if name == PASSED else values[name]
            first = values[terms[0].weight]
            weight = first
            if len(terms) > 1 or terms[0].sign < 0 or terms[0].width != value.shape[1]:
                weight = first.new_zeros(first.shape[0], value.shape[1])
                for t in terms:
                    weight[:, t.first : t.first + t.width].add_(values[t.weight], alpha=t.sign)
            made.append((value, weight, terms))
        return sorted(made, key=lambda one: one[2][0].value != PASSED)

    def _given(self, passed: Tensor, values: Values) -> dict[str, Tensor]:
        return {n: passed if n == PASSED else values[n] for n in self.graph.inputs}

    def _by_autograd(self, passed: Tensor, values: Values, grad: Tensor, into: Sums[str]) -> Tensor:
        with recording():
            given = self._given(passed, values)
            names = [PASSED, *(n for n in given if n in into.wanted and n != PASSED)]
            leaves = {n: given[n].detach().requires_grad_() for n in names}
            output = interpret.run(self.graph, {**given, **leaves})["output"]
            grads = torch.autograd.grad(seed([output], [grad]), list(leaves.values()), allow_unused=True)
        found = dict(zip(names, grads, strict=True))
        for name in names[1:]:
            into.add(name, found[name])
        return torch.zeros_like(passed) if found[PASSED] is None else found[PASSED]


def _terms(node: Node, sign: int = 1) -> list[Term] | None:
    """The output as a sum of products with params, or None if it is anything else."""
    if node.op in ("add", "sub"):
        parts = [_terms(i, s) for i, s in zip(node.inputs, (sign, -sign if node.op == "sub" else sign), strict=True)]
        return None if parts[0] is None or parts[1] is None else parts[0] + parts[1]
    if node.op != "linear" or len(node.shape) != 1 or node.attrs or node.inputs[1].op != "input":
        return None
    value, weight = node.inputs
    first, width = 0, value.width
    if value.op == "slice" and value["step"] == 1:
        first, value = value["start"], value.inputs[0]
    if value.op != "input" or value.dtype != "real" or len(value.shape) != 1:
        return None
    return [Term(value["name"], first, width, weight["name"], sign)]
