"""torch.func's transforms and forward-mode derivatives: no kernel has rules for them, and none is needed."""

from __future__ import annotations

import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.func import functional_call, grad, jvp, vmap
from torch.fx.experimental.proxy_tensor import make_fx

import ostinato
from ostinato.engines.twice import Twice
from tests.support.own_cells import NormalisedCell, PeepholeLSTMCell

CELLS = (PeepholeLSTMCell, NormalisedCell, ostinato.LSTMCell, ostinato.GRUCell)


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(6, 3, 4, dtype=torch.float64)


def make(cell) -> ostinato.Recurrent:
    return ostinato.Recurrent(cell, 4, 5, 2, bidirectional=True, dtype=torch.float64)


@pytest.mark.parametrize("cell", CELLS)
def test_gradients_of_each_sample(cell, x) -> None:
    layer = make(cell)
    values = {name: p.detach() for name, p in layer.named_parameters()}

    def loss(values, row):
        return functional_call(layer, values, (row.unsqueeze(1),))[0].square().sum()

    got = vmap(grad(loss), in_dims=(None, 1))(values, x)
    for n in range(3):
        layer.zero_grad()
        layer(x[:, n : n + 1])[0].square().sum().backward()
        for name, p in layer.named_parameters():
            torch.testing.assert_close(got[name][n], p.grad)


@pytest.mark.parametrize("cell", CELLS)
def test_along_a_direction(cell, x) -> None:
    layer, along = make(cell), torch.randn_like(x)
    _, tangent = jvp(lambda v: layer(v)[0], (x,), (along,))
    (expected,) = torch.autograd.functional.jvp(lambda v: layer(v)[0], (x,), (along,))[1:]
    torch.testing.assert_close(tangent, expected)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, along)
        _, tangent = torch.autograd.forward_ad.unpack_dual(layer(dual)[0])
    torch.testing.assert_close(tangent, expected)


def test_a_tracer_sees_the_steps(x) -> None:
    layer = make(PeepholeLSTMCell)
    graph = make_fx(lambda v: layer(v)[0])(x)
    torch.testing.assert_close(graph(2 * x), layer(2 * x)[0])


@pytest.mark.parametrize("lengths", [None, [6, 0, 2]])
def test_a_backward_where_tensors_hold_no_numbers(x, lengths) -> None:
    layer = ostinato.Recurrent(PeepholeLSTMCell, 4, 5, dtype=torch.float64, engine="native")
    for _ in range(3):  # the third call goes the short way
        output, _ = layer(x) if lengths is None else layer(x, lengths=lengths)
    with FakeTensorMode(allow_non_fake_inputs=True):
        found = torch.autograd.grad(output.sum(), list(layer.parameters()), retain_graph=True)
    assert [g.shape for g in found] == [p.shape for p in layer.parameters()]
    graph = make_fx(lambda g: torch.autograd.grad(output, layer.weight_hh_l0, g, retain_graph=True)[0])
    grad = torch.randn_like(output)
    torch.testing.assert_close(graph(grad)(2 * grad), 2 * torch.autograd.grad(output, layer.weight_hh_l0, grad)[0])


def test_tensors_of_other_kinds(x) -> None:
    class Marked(torch.Tensor):
        pass

    layer = make(PeepholeLSTMCell)
    torch.testing.assert_close(layer(x.as_subclass(Marked))[0].as_subclass(torch.Tensor), layer(x)[0])


def test_a_second_derivative_around_a_kernel_that_has_none(x) -> None:
    """Tried with a result cut off from its first derivative's graph, as cuDNN's is from its second."""
    weight = torch.randn(4, 4, dtype=torch.float64, requires_grad=True)
    x = x.requires_grad_()

    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, weight):
            ctx.save_for_backward(x, weight)
            return torch.tanh(x @ weight)

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, grad):
            x, weight = ctx.saved_tensors
            inner = grad * (1 - torch.tanh(x @ weight) ** 2)
            return inner @ weight.T, (x.flatten(0, 1).T @ inner.flatten(0, 1))

    def plain(x, weight):
        return (torch.tanh(x @ weight),)

    (guarded,) = Twice.apply(plain, 1, Once.apply(x, weight), x, weight)
    (free,) = plain(x, weight)
    for create_graph in (False, True):
        firsts = [
            torch.autograd.grad(y.square().sum(), [x, weight], create_graph=create_graph, retain_graph=True)
            for y in (guarded, free)
        ]
        for one, two in zip(*firsts, strict=True):
            torch.testing.assert_close(one, two)
    one, two = (torch.autograd.grad(first[0].square().sum(), [x, weight]) for first in firsts)
    for a, b in zip(one, two, strict=True):
        torch.testing.assert_close(a, b)
