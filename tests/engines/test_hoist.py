"""What is computed before the loop: chains of products, each made once, and their gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import layer_norm, linear

import ostinato
from ostinato.compiler import split


@pytest.fixture(autouse=True)
def all_products_before_the_loop(monkeypatch):
    """As if the weights were many."""
    monkeypatch.setattr(split, "NEAR", 0)


class Chain(ostinato.Cell):
    """A product of x, one of what it gave, and a normalised one."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.first = nn.Parameter(torch.randn(hidden_size, input_size) / 2)
        self.bias = nn.Parameter(torch.randn(hidden_size))
        self.second = nn.Parameter(torch.randn(2 * hidden_size, hidden_size) / 2)
        self.third = nn.Parameter(torch.randn(hidden_size, input_size) / 2)
        self.weight_hh = nn.Parameter(torch.randn(hidden_size, hidden_size) / 2)

    def step(self, x, h):
        z = torch.tanh(linear(x, self.first, self.bias))
        u, v = linear(z, self.second).chunk(2, -1)
        g = layer_norm(linear(x, self.third), (self.hidden_size,))
        return torch.tanh(u + g * z + torch.sigmoid(v) * linear(h, self.weight_hh))


def pair(**options):
    mine = ostinato.Recurrent(Chain, 4, 5, engine="native", **options).double()
    theirs = ostinato.Recurrent(Chain, 4, 5, engine="loop", **options).double()
    theirs.load_state_dict(mine.state_dict())
    return mine, theirs, torch.randn(6, 3, 4, dtype=torch.double)


def gradients(layer, x, call=None):
    x = x.clone().requires_grad_()
    output, state = (layer if call is None else call)(x)
    ((output * torch.linspace(-1, 1, output.numel()).view_as(output)).sum() + state.sin().sum()).backward()
    return [output.detach(), x.grad, *(p.grad for p in layer.parameters())]


def same(mine, theirs):
    for a, b in zip(mine, theirs, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("options", [{}, {"bidirectional": True}, {"recompute": "chunks"}], ids=str)
def test_a_chain_of_products(options):
    mine, theirs, x = pair(**options)
    same(gradients(mine, x), gradients(theirs, x))
    hoist = mine.compiled()[0].hoist
    assert len(hoist.given) == 1, "the second product reads the first"
    assert len(hoist.within) == 1, "and is the only one besides the plain ones"
    ops = {node.op for node in hoist.steps.nodes()}
    assert "sum" not in ops, "the norm is the loop's"


def test_only_some_need_gradients():
    for frozen in ("first", "second", "third", "bias"):
        mine, theirs, x = pair()
        for layer in (mine, theirs):
            getattr(layer, f"{frozen}_l0").requires_grad_(False)
        same(gradients(mine, x), gradients(theirs, x))
    mine, theirs, x = pair()
    for layer in (mine, theirs):
        layer.requires_grad_(False)
        layer.first_l0.requires_grad_(True)
    same(gradients(mine, x), gradients(theirs, x))


def test_second_derivatives():
    mine, _, x = pair()
    assert torch.autograd.gradgradcheck(lambda x: mine(x)[0], (x[:3, :1].clone().requires_grad_(),))


def test_as_an_operator():
    mine, theirs, x = pair()
    compiled = torch.compile(mine, backend="aot_eager", fullgraph=True)
    same(gradients(mine, x, compiled), gradients(theirs, x))


class Read(ostinato.Cell):
    """A linear recurrence whose output is read from its state by products."""

    separate_output = True

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.decay = nn.Parameter(torch.randn(hidden_size))
        self.weight_ih = nn.Parameter(torch.randn(hidden_size, input_size) / 2)
        self.weight_ho = nn.Parameter(torch.randn(2 * hidden_size, hidden_size) / 2)

    @property
    def output_size(self):
        return self.hidden_size

    def step(self, x, h):
        h = torch.sigmoid(self.decay) * h + linear(x, self.weight_ih)
        left, right = linear(h, self.weight_ho).chunk(2, -1)
        return torch.sigmoid(left) * torch.tanh(right), h


def test_what_comes_after_the_loop_as_an_operator():
    mine = ostinato.Recurrent(Read, 4, 5, engine="native").double()
    theirs = ostinato.Recurrent(Read, 4, 5, engine="loop").double()
    theirs.load_state_dict(mine.state_dict())
    x = torch.randn(6, 3, 4, dtype=torch.double)
    wanted = gradients(theirs, x)
    same(gradients(mine, x), wanted)
    assert mine.compiled()[0].sink is not None
    assert mine.compiled()[0].sink.terms is None, "more than a sum of products"
    mine.zero_grad(set_to_none=True)
    same(gradients(mine, x, torch.compile(mine, backend="aot_eager", fullgraph=True)), wanted)
