"""Gradients that flow in through a number are those that autograd would be handed, and sympy stays out."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from ostinato.compiler.seed import seed

LEARN = """
import sys, torch, ostinato
for name in sys.argv[1:]:
    layer = ostinato.Recurrent(name, 3, 4, engine="native")
    for _ in range(2):
        layer(torch.randn(5, 2, 3, requires_grad=True))[0].square().sum().backward()
    assert layer.compiled()[0].fault is None
    print(name, "sympy" in sys.modules)
"""


@pytest.mark.parametrize("count", [1, 3])
def test_the_gradients_are_those_that_flow_in(count) -> None:
    torch.manual_seed(0)
    x = torch.randn(4, dtype=torch.float64, requires_grad=True)
    results = [x.sin(), x.square().reshape(2, 2), x.sum()][:count]
    flowing = [torch.randn_like(r) for r in results]
    expected = torch.autograd.grad(results, x, flowing, retain_graph=True)
    assert torch.equal(torch.autograd.grad(seed(results, flowing), x)[0], expected[0])


def test_a_first_training_step_does_not_import_sympy() -> None:
    names = ["lstm", "layer-norm-lstm", "fast-grnn", "min-gru"]
    done = subprocess.run([sys.executable, "-c", LEARN, *names], capture_output=True, text=True)
    assert done.stdout.splitlines() == [f"{name} False" for name in names], done.stderr
