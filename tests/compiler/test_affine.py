"""Linear recurrences are known by their graphs."""

from __future__ import annotations

import pytest
import torch

import ostinato
from ostinato.compiler.affine import is_linear_recurrence
from ostinato.compiler.interpret import run
from ostinato.compiler.split import split
from ostinato.compiler.trace import trace
from ostinato.inspection.compiled_text import LINEAR

I, H = 3, 4

CASES = [
    ("min-gru", {}, True),
    ("min-gru", {"positive": True}, True),
    ("min-lstm", {}, True),
    ("sru", {"peephole": False}, True),
    ("sru", {}, False),
    ("qrnn", {}, True),
    ("qrnn", {"window": 2}, False),
    ("lru", {}, True),
    ("gru", {}, False),
    ("lstm", {}, False),
    ("cornn", {}, False),
]
"""A window moves a state's elements to other places, and the peephole puts the state into its own decay."""


def step(name: str, options: dict[str, object]):
    kind = ostinato.cells.registry.find(name).cell
    return split(trace(kind(I, H, dtype=torch.float64, **options), I, {}, {})).step


@pytest.mark.parametrize(("name", "options", "linear"), CASES)
def test_it_is_seen(name: str, options: dict[str, object], linear: bool) -> None:
    assert is_linear_recurrence(step(name, options)) == linear


@pytest.mark.parametrize(("name", "options"), [(n, o) for n, o, linear in CASES if linear])
def test_what_is_seen_is_so(name: str, options: dict[str, object]) -> None:
    """The new states' derivatives by the states do not depend on the states, and are diagonal."""
    graph = step(name, options)
    shapes = {n: ((1,) * node.rows + node.shape) for n, node in graph.inputs.items()}
    values = {n: torch.randn(*shape, dtype=torch.float64) for n, shape in shapes.items()}
    names = list(graph.inputs_of("state"))

    def new_states(*states):
        made = run(graph, values | dict(zip(names, states, strict=True)))
        return tuple(made[f"new.{s}"][0] for s in names)

    found = []
    for _ in range(2):
        at = tuple(torch.randn(1, H, dtype=torch.float64) for _ in names)
        found.append(torch.autograd.functional.jacobian(new_states, at))
    for row, other in zip(*found, strict=True):
        for one, two in zip(row, other, strict=True):
            torch.testing.assert_close(one, two)
            square = one[:, 0]
            torch.testing.assert_close(square, torch.diag(square.diag()))


def test_explain_says_so() -> None:
    for name, linear in (("lru", True), ("gru", False)):
        layer = ostinato.Recurrent(name, I, H, engine="native")
        layer(torch.randn(2, 1, I))
        assert (LINEAR in str(ostinato.explain(layer, detail=True))) == linear
