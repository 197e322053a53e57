"""The short way of a repeated call in training: the numbers and gradients of the loop engine, and nothing stale."""

from __future__ import annotations

import copy
import threading
from itertools import product

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import ostinato
from ostinato.cells import registry
from ostinato.compiler import gemm
from ostinato.layers import shortcut
from tests.support.own_cells import SharedByHeads

CELLS = ("lstm", "gru", "rnn", "mgu", "cho-gru", "peephole-lstm", "layer-norm-lstm", "nas", "fast-grnn")


class Zeros(torch.autograd.Function):
    """Its gradient is a tensor of zeros that has no memory."""

    @staticmethod
    def forward(ctx, value):
        return value * 0

    @staticmethod
    def backward(ctx, grad):
        return torch._efficientzerotensor(grad.shape)


def make(name="lstm", **options):
    return ostinato.Recurrent(name, 6, 5, engine="native", **options), torch.randn(7, 3, 6)


def values(output, state):
    return [output, *(state if isinstance(state, tuple) else (state,))]


def gradients(layer, x, weigh=None):
    """Output, states, and the gradients of x and of every parameter."""
    layer.zero_grad(set_to_none=True)
    x = x.clone().requires_grad_()
    made = values(*layer(x))
    weigh = weigh or (lambda made: sum((v.double().sin() * (n + 1)).sum() for n, v in enumerate(made)))
    weigh(made).backward()
    return [*(v.detach() for v in made), x.grad, *(p.grad for p in layer.parameters())]


def on_the_short_way(layer, x):
    """Learn twice, so that the next call goes the short way."""
    for _ in range(2):
        gradients(layer, x)
    assert shortcut._ways[True].get(layer) is not None


def same(mine, theirs, tolerance=2e-5):
    for a, b in zip(mine, theirs, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def expected(layer, x, weigh=None):
    with ostinato.engine("loop"):
        return gradients(copy.deepcopy(layer), x, weigh)


@pytest.mark.parametrize(
    ("name", "options"),
    [*product(CELLS, [{}, {"batch_first": True}]), *product(("lstm", "rnn", "mgu"), [{"num_layers": 2}])],
    ids=str,
)
def test_the_same_gradients(name, options):
    layer, x = make(name, **options)
    layer, x = layer.double(), x.double()
    on_the_short_way(layer, x)
    for other in (x, torch.randn(7, 3, 6, dtype=torch.double)):
        same(gradients(layer, other), expected(layer, other), 1e-10)


@pytest.mark.parametrize("narrow", [False, True], ids=["torch's large products", "our own"])
@pytest.mark.parametrize("name", ["lstm", "mgu", "cho-gru", "layer-norm-lstm"])
def test_the_same_gradients_of_large_weights(monkeypatch, name, narrow):
    """Sizes at which a product is torch's or our own, by the processor; parts of one weight are written in place."""
    monkeypatch.setattr(gemm, "mkl_is_narrow", lambda: narrow)
    monkeypatch.setattr(gemm, "SMALL", 50_000)
    layer = ostinato.Recurrent(name, 40, 35, engine="native", dtype=torch.double)
    for rows in (1, 60):
        x = torch.randn(9, rows, 40, dtype=torch.double)
        on_the_short_way(layer, x)
        same(gradients(layer, x), expected(layer, x), 1e-9)


def test_a_matrix_shared_by_parts_of_a_row():
    layer = ostinato.Recurrent(SharedByHeads, 6, 8, engine="native", dtype=torch.double)
    x = torch.randn(7, 3, 6, dtype=torch.double)
    on_the_short_way(layer, x)
    same(gradients(layer, x), expected(layer, x), 1e-10)


def test_frozen_weights_have_no_gradient_and_the_others_the_same():
    for frozen in (["weight_ih_l0"], ["weight_hh_l0", "bias_ih_l0"]):
        layer, x = make("mgu")
        for parameter in frozen:
            getattr(layer, parameter).requires_grad_(False)
        on_the_short_way(layer, x)
        same(gradients(layer, x), expected(layer, x))


def test_most_cells_go_it():
    names = list(registry.everyone())[::4]
    short = 0
    for name in names:
        layer, x = make(name)
        gradients(layer, x)
        gradients(layer, x)
        short += shortcut._ways[True].get(layer) is not None
    assert short >= 0.7 * len(names)


@pytest.mark.parametrize(
    "weigh",
    [
        lambda made: made[0].sum(),
        lambda made: made[0][-1].sum(),
        lambda made: Zeros.apply(made[0]).sum() + made[1].sum(),
        lambda made: made[1].sum() + made[2].mean(),
        lambda made: (made[0].transpose(0, 1) * torch.linspace(0, 1, 5)).sum(),
        lambda made: torch._neg_view(made[0]).sum() + torch._neg_view(made[2]).sum(),
    ],
    ids=["one for all", "the last step's", "zeros without memory", "only final states", "transposed", "negative views"],
)
@pytest.mark.parametrize("bidirectional", [False, True], ids=["short", "ordinary"])
def test_gradients_of_every_form_that_arrive(weigh, bidirectional):
    layer, x = make(bidirectional=bidirectional)
    if bidirectional:
        weigh = (lambda of: lambda made: of([made[0][..., :5], *made[1:]]))(weigh)
    else:
        on_the_short_way(layer, x)
    same(gradients(layer, x, weigh), expected(layer, x, weigh))


def test_calls_may_wait_for_their_backward_and_share_it():
    layer, x = make()
    on_the_short_way(layer, x)
    layer.zero_grad()
    inputs = [torch.randn(7, 3, 6) for _ in range(3)]
    outputs = [layer(x)[0] for x in inputs]
    loss = sum((output**2).sum() for output in outputs)
    loss.backward(retain_graph=True)
    loss.backward()
    whole = expected(layer, torch.cat(inputs, 1), lambda made: 2 * (made[0] ** 2).sum())
    same([p.grad for p in layer.parameters()], whole[4:])


def test_only_what_needs_a_gradient_gets_one():
    layer, x = make("mgu")
    on_the_short_way(layer, x)
    first = next(layer.parameters())
    first.requires_grad_(False)
    first.grad = None
    assert layer(x)[0].sum().backward() is None
    assert first.grad is None
    assert all(p.grad is not None for p in layer.parameters() if p is not first)
    layer.requires_grad_(False)
    assert not layer(x)[0].requires_grad


def test_second_derivatives_and_batches_of_gradients():
    layer, x = make("gru")
    layer.double()
    x = x.double().requires_grad_()
    on_the_short_way(layer, x.detach())
    assert torch.autograd.gradgradcheck(
        lambda x: layer(x)[0][:3], (x[:, :1].detach().repeat(1, 3, 1).requires_grad_(),)
    )
    output, rows = layer(x)[0], torch.randn(4, 7, 3, 5, dtype=torch.double)
    (batched,) = torch.autograd.grad(output, x, rows, is_grads_batched=True, retain_graph=True)
    torch.testing.assert_close(batched[2], torch.autograd.grad(output, x, rows[2])[0])


def test_hooks_on_saved_tensors_and_checkpoints_go_the_long_way():
    layer, x = make()
    on_the_short_way(layer, x)
    seen = []

    def pack(tensor):
        seen.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        hooked = layer(x)[0]
    assert seen
    assert "Prepared" not in type(hooked.grad_fn).__name__
    output = checkpoint(lambda x: layer(x)[0], x.clone().requires_grad_(), use_reentrant=False)
    layer.zero_grad()
    output.sum().backward()
    same([p.grad for p in layer.parameters()], expected(layer, x, lambda made: made[0].sum())[4:])


def test_a_weight_written_to_before_its_backward_is_an_error():
    layer, x = make()
    on_the_short_way(layer, x)
    loss = layer(x)[0].sum()
    with torch.no_grad():
        layer.weight_hh_l0.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_weights_that_are_not_contiguous_and_chunks():
    layer, x = make("mgu")
    on_the_short_way(layer, x)
    layer.weight_hh_l0.data = torch.randn(5, 10).t()
    same(gradients(layer, x), expected(layer, x))
    layer.recompute = "chunks"
    assert "Chunks" in type(layer(x)[0].grad_fn).__name__


class Inner(ostinato.Cell):
    """A step with a module of its own."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.linear = nn.Linear(input_size + hidden_size, hidden_size)

    def step(self, x, h):
        return torch.tanh(self.linear(torch.cat([x, h], -1)))


@pytest.mark.parametrize("grads", [False, True])
def test_a_weight_exchanged_inside_a_module_is_noticed(grads):
    layer, x = ostinato.Recurrent(Inner, 6, 5, engine="native"), torch.randn(7, 3, 6)
    with torch.set_grad_enabled(grads):
        for _ in range(4):
            layer(x)
        layer.linear_l0.weight = nn.Parameter(torch.randn(5, 11))
        mine = layer(x)[0].detach()
        with ostinato.engine("loop"):
            torch.testing.assert_close(mine, layer(x)[0].detach())


def test_autocast_around_a_backward_changes_nothing():
    layer, x = make()
    on_the_short_way(layer, x)
    layer.zero_grad()
    output = layer(x)[0]
    with torch.autocast("cpu", torch.bfloat16):
        output.sum().backward()
    same([p.grad for p in layer.parameters()], expected(layer, x, lambda made: made[0].sum())[4:])


def test_a_backward_in_inference_mode_leaves_the_next_as_it_was():
    layer, x = make()
    on_the_short_way(layer, x)
    layer.zero_grad()
    loss = layer(x)[0].sum()
    with torch.inference_mode():
        loss.backward()
    layer.zero_grad()
    layer(x)[0].sum().backward()
    same([p.grad for p in layer.parameters()], expected(layer, x, lambda made: made[0].sum())[4:])


def test_several_threads_at_once():
    layer, x = make()
    on_the_short_way(layer, x)
    inputs = [torch.randn(7, 3, 6) for _ in range(4)]
    wanted = [expected(layer, x, lambda made: made[0].sum())[3] for x in inputs]
    wrong = []

    def work(n):
        mine = inputs[n].clone().requires_grad_()
        for _ in range(50):
            (grad,) = torch.autograd.grad(layer(mine)[0].sum(), mine)
            if not torch.allclose(grad, wanted[n], atol=1e-5):
                wrong.append(n)

    own = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in own:
        thread.start()
    for thread in own:
        thread.join()
    assert not wrong


def test_nothing_is_left_of_a_graph():
    layer, x = make()
    on_the_short_way(layer, x)
    output = layer(x)[0]
    kept = [t for t in output.grad_fn.saved_tensors if t.grad_fn is None and not isinstance(t, nn.Parameter)]
    assert kept
    output.sum().backward()
    with pytest.raises(RuntimeError, match="second time"):
        output.sum().backward()
