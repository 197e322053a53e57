"""The short way of a repeated call: the same numbers and gradients, and never anything stale."""

from __future__ import annotations

import copy
import pickle
import threading
from functools import partial

import pytest
import torch
from torch import nn

import ostinato
from ostinato.compiler import split
from ostinato.engines import prepared
from ostinato.layers import shortcut

CENTRED = partial(ostinato.Recurrent, ostinato.cells.LayerNormLSTMCell)
"""Its weights are taken less their mean, too, only when they have changed."""


@pytest.fixture(autouse=True, params=["as they come", "sealed"])
def weights(request, monkeypatch):
    """Few weights are put in order at every call, many when they have changed: the small layers here go both ways."""
    if request.param == "sealed":
        monkeypatch.setattr(prepared, "SEALED", 0)


def make(kind=ostinato.LSTM, **options):
    layer = kind(6, 5, engine="native", **options)
    return layer, torch.randn(7, 3, 6, dtype=options.get("dtype"))


def expected(layer, x):
    with ostinato.engine("loop"), torch.no_grad():
        return layer(x)


def same(mine, theirs):
    torch.testing.assert_close(mine[0], theirs[0])
    torch.testing.assert_close(mine[1], theirs[1])


def found(layer, grads=False):
    with torch.set_grad_enabled(grads):
        return shortcut.find(layer) is not None


def walk_in(layer, x, times=3):
    """Call it until the short way is there."""
    with torch.no_grad():
        for _ in range(times):
            result = layer(x)
    return result


@pytest.mark.parametrize("kind", [ostinato.LSTM, ostinato.GRU, ostinato.RNN], ids=lambda k: k.__name__)
@pytest.mark.parametrize("layers", [1, 3])
@torch.no_grad()
def test_the_same_numbers(kind, layers):
    layer, x = make(kind, num_layers=layers)
    walk_in(layer, x)
    assert found(layer)
    for other in (x, torch.randn(7, 3, 6), torch.randn(7, 3, 6)):
        same(layer(other), expected(layer, other))


def test_what_came_out_is_the_callers_own():
    layer, x = make()
    first = walk_in(layer, x)
    kept = [first[0].clone(), first[1][0].clone(), first[1][1].clone()]
    with torch.no_grad():
        layer(torch.randn(7, 3, 6))
    for now, before in zip((first[0], *first[1]), kept, strict=True):
        assert torch.equal(now, before)


@torch.no_grad()
def test_weights_are_read_anew_at_every_call():
    layer, x = make()
    walk_in(layer, x)
    layer.weight_hh_l0.mul_(2)
    same(layer(x), expected(layer, x))
    layer.weight_ih_l0.data = torch.randn(6, 20).t()  # not contiguous
    same(layer(x), expected(layer, x))
    layer.bias_hh_l0 = nn.Parameter(torch.randn(20))
    same(walk_in(layer, x), expected(layer, x))


@torch.no_grad()
@pytest.mark.parametrize("kind", [ostinato.LSTM, CENTRED], ids=["LSTM", "layer norm"])
def test_a_write_without_a_trace_is_noticed(kind):
    layer, x = make(kind, num_layers=2, dtype=torch.float64)
    walk_in(layer, x)
    for k, weight in enumerate(layer.parameters()):
        weight.data[-1:] *= -1.0
        same(layer(x), expected(layer, x))
        weight.detach().numpy()[:1] += 0.5 + k
        same(layer(x), expected(layer, x))
    for weight in layer.parameters():
        weight.data.neg_()
    same(layer(x), expected(layer, x))
    assert found(layer)


@torch.no_grad()
@pytest.mark.parametrize("kind", [ostinato.LSTM, CENTRED], ids=["LSTM", "layer norm"])
def test_an_interruption_between_two_looks(monkeypatch, kind):
    """What was seen to have changed and was not put in order then, is at the next call."""
    monkeypatch.setattr(prepared, "SEALED", 0)
    layer, x = make(kind)
    walk_in(layer, x)
    layer.weight_hh_l0.data.mul_(3.0)
    (standing,) = (one.prepared._standing for one in shortcut.find(layer).layers)

    def interrupted():
        raise KeyboardInterrupt

    run, standing.go = standing.go, interrupted
    with pytest.raises(KeyboardInterrupt):
        layer(x)
    standing.go = run
    same(layer(x), expected(layer, x))

    def interrupted_at_the_mean(value):
        raise KeyboardInterrupt

    layer.weight_hh_l0.data.mul_(0.2)
    if kind is CENTRED:
        with monkeypatch.context() as patch:
            patch.setattr(prepared, "without_mean", interrupted_at_the_mean)
            with pytest.raises(KeyboardInterrupt):
                layer(x)
    same(layer(x), expected(layer, x))


class Rows(ostinato.Cell):
    """Products of x with rows of one weight, and with a computed one."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.weight_ih = nn.Parameter(torch.empty(2 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.randn(hidden_size))
        self.reset_parameters()

    def step(self, x, h):
        first, second = self.weight_ih.chunk(2)
        turned = self.weight_hh - self.weight_hh.T
        return torch.tanh(x @ first.T + self.bias + h @ turned.T) * torch.sigmoid(x @ second.T)


@pytest.mark.parametrize("name", ["lstm", "peephole-lstm", "layer-norm-lstm", "mgu", "cho-gru", "minimal-rnn", Rows])
@torch.no_grad()
def test_products_of_inputs_before_the_loop(monkeypatch, name):
    """As where weights are many: they are made for all steps at once, at every call anew."""
    monkeypatch.setattr(split, "NEAR", 0)
    layer, x = ostinato.Recurrent(name, 11, 13, engine="native"), torch.randn(7, 3, 11)
    walk_in(layer, x)
    assert found(layer) == (name != "minimal-rnn"), "whose products of x are multiplied again before the loop"
    if found(layer):
        (one,) = shortcut.find(layer).layers
        assert one.prepared.compiled.hoist.products
    for other in (x, torch.randn(7, 3, 11)):
        same(layer(other), expected(layer, other))
    for weight in layer.parameters():
        weight.data.mul_(0.7)
        same(layer(x), expected(layer, x))


@torch.no_grad()
def test_other_shapes_dtypes_and_forms():
    layer, x = make()
    walk_in(layer, x)
    for other in (torch.randn(4, 3, 6), torch.randn(7, 1, 6), torch.randn(7, 6), torch.randn(3, 7, 6).transpose(0, 1)):
        same(layer(other), expected(layer, other))
    with pytest.raises(ValueError, match="float64"):
        layer(x.double())
    with pytest.raises(RuntimeError, match="6"):
        layer(torch.randn(7, 3, 5))
    layer.double()
    same(walk_in(layer, x.double()), expected(layer, x.double()))


def test_gradients_modes_and_other_engines_go_the_long_way():
    layer, x = ostinato.ChoGRU(6, 5), torch.randn(7, 3, 6)
    walk_in(layer, x)
    assert found(layer)
    layer(x)[0].sum().backward()
    assert layer.weight_hh_l0.grad is not None
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer(x)[0], expected(layer, x)[0])
    with torch.inference_mode():
        assert layer(x)[0].is_inference()
    with torch.no_grad():
        rows = torch.randn(2, 7, 3, 6)
        mapped = torch.func.vmap(lambda row: layer(row)[0])(rows)
        torch.testing.assert_close(mapped[1], expected(layer, rows[1])[0])
        with ostinato.engine("loop"):
            assert torch.equal(layer(x)[0], expected(layer, x)[0])


class Scaled(ostinato.Cell):
    """A step that reads a plain attribute and its own mode."""

    scale = 1.0

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.reset_parameters()

    def step(self, x, h):
        new = torch.tanh(x @ self.weight_ih.T + h @ self.weight_hh.T)
        return new * self.scale * (1.0 if self.training else 0.5)


@torch.no_grad()
def test_a_changed_attribute_class_or_mode_is_noticed(monkeypatch):
    layer, x = ostinato.Recurrent(Scaled, 6, 5), torch.randn(7, 3, 6)
    walk_in(layer, x)
    assert found(layer)
    layer.slots[0].template.scale = 0.25
    same(layer(x), expected(layer, x))
    walk_in(layer, x)
    monkeypatch.setattr(Scaled, "step", lambda self, x, h: torch.sin(x @ self.weight_ih.T) + 0.5 * h)
    same(layer(x), expected(layer, x))
    layer.eval()
    same(walk_in(layer, x), expected(layer, x))


def test_layers_are_copied_and_stored_as_before():
    layer, x = make()
    walk_in(layer, x)
    with torch.no_grad():
        same(copy.deepcopy(layer)(x), expected(layer, x))
        same(pickle.loads(pickle.dumps(layer))(x), expected(layer, x))


def test_several_threads_at_once():
    layer, x = make()
    walk_in(layer, x)
    inputs = [torch.randn(7, 3, 6) for _ in range(4)]
    wanted = [expected(layer, x) for x in inputs]
    wrong = []

    def work(n):
        with torch.no_grad():
            right = [torch.allclose(layer(inputs[n])[0], wanted[n][0], atol=1e-5) for _ in range(200)]
            wrong.extend([n] * right.count(False))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@torch.no_grad()
def test_a_block_with_another_engine_leaves_the_way_as_it_is():
    layer, x = make()
    walk_in(layer, x)
    for engine in ("loop", "aten"):
        with ostinato.engine(engine):
            layer(x)
        assert found(layer)


@pytest.mark.parametrize("engine", ["aten", "loop"])
@torch.no_grad()
def test_where_another_engine_is_asked_for_nothing_is_looked_at(monkeypatch, engine):
    layer, x = make()
    layer.engine = engine
    monkeypatch.setattr(shortcut, "_plain", lambda layer: pytest.fail("looked at"))
    walk_in(layer, x)
    assert not found(layer)
