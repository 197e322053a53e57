"""Written out, every composite operation is what it was."""

from __future__ import annotations

import pytest
import torch

from ostinato.compiler.expand import FORMULAS, expand
from ostinato.compiler.graph import Builder, Graph, Node
from ostinato.compiler.interpret import COMPOSITE, NORMALISING, POINTWISE, REDUCTIONS, VIEWS, run
from tests.compiler.test_gradient import ATTRS, TWO

NATIVE = {*POINTWISE, *REDUCTIONS, *VIEWS, "input", "const", "broadcast", "linear", "linear_t"}
EDGES = [0.0, -0.0, 1e-8, -1e-8, 0.5, -0.5, 0.7, 1.0, -1.0, 2.5, -2.5, 3.0, -3.0, 6.0, 25.0, -25.0, 800.0, -800.0]


def graph_of(op: str, attrs: dict, width: int) -> Graph:
    b = Builder()
    h = b.input("state", "h", (width,), True)
    shape = (1,) if op in ("logsumexp", "norm", "largest", "smallest") else (width,)
    value: Node = b.make(op, (h,), shape, True, **attrs)
    return Graph({"h": h}, {"output": value})


@pytest.mark.parametrize(
    ("op", "attrs"),
    [(op, a) for op in sorted({*COMPOSITE, *NORMALISING} - set(TWO)) for a in ATTRS.get(op, [{}])],
    ids=str,
)
def test_the_formula_is_the_operation(op: str, attrs: dict) -> None:
    extreme = torch.tensor([EDGES], dtype=torch.float64)
    infinite = torch.tensor([[float("inf"), -float("inf"), float("nan")]], dtype=torch.float64)
    usual = torch.randn(4, 9, dtype=torch.float64) * 3
    for value in (usual, extreme, infinite) if op in COMPOSITE else (usual, extreme):
        if op in ("log10", "power"):
            value = value.abs()
        graph = graph_of(op, attrs, value.shape[1])
        made = expand(graph)
        assert {n.op for n in made.nodes()} <= NATIVE
        if op in ("silu", "hardswish", "mish", "gelu") and value is infinite:
            continue  # torch itself gives NaN or 0 for -inf, by dtype and version
        want = run(graph, {"h": value})["output"]
        got = run(made, {"h": value})["output"]
        torch.testing.assert_close(got, want, rtol=1e-13, atol=1e-15, equal_nan=True)


def test_a_number_is_divided_in_the_dtype_of_the_rest() -> None:
    """0.7 in single precision is below seven tenths: 0.7 // 0.1 would be another number."""
    b = Builder()
    h = b.input("state", "h", (3,), True)
    graph = Graph({"h": h}, {"output": b.pointwise("floor_divide", b.const(0.7), h)})
    x = torch.tensor([[0.7, 0.35, 0.1]], dtype=torch.float64)
    for one in (graph, expand(graph)):
        assert torch.equal(run(one, {"h": x})["output"], 0.7 // x)


def test_a_row_of_infinities_is_no_nan_in_a_sum_of_exponentials() -> None:
    graph = graph_of("logsumexp", {}, 2)
    low = torch.full((1, 2), -float("inf"), dtype=torch.float64)
    assert run(expand(graph), {"h": low})["output"].item() == -float("inf")


def test_every_composite_operation_has_a_formula() -> None:
    assert set(COMPOSITE) | set(NORMALISING) | {"detach", "clip_gradient"} == set(FORMULAS)
