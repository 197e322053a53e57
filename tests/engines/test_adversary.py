"""What a compiled step could have believed for too long: changes made in every way, and steps that look alike."""

from __future__ import annotations

import copy
import dataclasses
import gc
import os
import sys
import weakref

import pytest
import torch
from torch import nn

import ostinato
from ostinato.engines import known

GAIN = 2.0


class Plain(ostinato.Cell):
    def __init__(self, input_size, hidden_size, **own):
        super().__init__(input_size, hidden_size)
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.reset_parameters()
        for name, value in own.items():
            if isinstance(value, torch.Tensor):
                self.register_buffer(name, value)
            else:
                setattr(self, name, value)

    def total(self, x, h):
        return x @ self.weight_ih.T + h @ self.weight_hh.T

    def step(self, x, h):
        return torch.tanh(self.total(x, h))


class Float(float):
    pass


class Text(str):
    pass


@dataclasses.dataclass
class Options:
    gain: float = dataclasses.field(default=1.0, compare=False)


class WithBuffer(Plain):
    def step(self, x, h):
        return torch.tanh(self.total(x, h) * self.scale)


class WithModule(Plain):
    def step(self, x, h):
        return self.act(self.total(x, h))


class WithNumber(Plain):
    def step(self, x, h):
        return torch.tanh(self.total(x, h) * self.scale)


class WithText(Plain):
    def step(self, x, h):
        return torch.tanh(self.total(x, h) * (2.0 if self.mode == "a" else 0.1))


class WithType(Plain):
    def step(self, x, h):
        return torch.tanh(self.total(x, h)) * (2.0 if self.flag is True else 0.5)


class WithOptions(Plain):
    def step(self, x, h):
        return torch.tanh(self.total(x, h) * self.options.gain)


class ByGlobals(Plain):
    def step(self, x, h):
        return torch.tanh(self.total(x, h) * globals()["GAIN"])


class ByModules(Plain):
    def step(self, x, h):
        return torch.tanh(self.total(x, h) * sys.modules[__name__].GAIN)


class ByEnvironment(Plain):
    def step(self, x, h):
        from os import environ

        return torch.tanh(self.total(x, h) * float(environ.get("ADVERSARY", "1")) * float(os.getenv("ADVERSARY", "1")))


class ByDefaultDtype(Plain):
    def step(self, x, h):
        return torch.tanh(self.total(x, h)) * (2.0 if torch.get_default_dtype() == torch.float32 else 0.5)


class ByMethod(Plain):
    def step(self, x, h):
        return torch.tanh(self.total(x, h) * self.get("gain"))


class ByBatch(Plain):
    def step(self, x, h):
        return torch.tanh(self.total(x, h)) if x.shape[0] > 64 else torch.sin(self.total(x, h))


class ByHistory(Plain):
    def step(self, x, h):
        total = self.total(x, h)
        if total.grad_fn is not None:
            total.grad_fn.register_prehook(lambda grads: tuple(0.1 * grad for grad in grads))
        return torch.tanh(total)


def of(layer):
    return layer.slots[0].template


TABLE = {"gain": 1.0}

CHANGES = {
    "buffer": (WithBuffer, {"scale": torch.ones(5)}, lambda c, m: setattr(c, "scale_l0", torch.full((5,), 3.0))),
    "numbers in a buffer": (WithBuffer, {"scale": torch.ones(5)}, lambda c, m: c.scale_l0.mul_(3.0)),
    "module": (WithModule, {"act": nn.Tanh()}, lambda c, m: setattr(c, "act_l0", nn.Sigmoid())),
    "option of a module": (
        WithModule,
        {"act": nn.ELU(0.1)},
        lambda c, m: setattr(c.act_l0, "alpha", 0.9),
    ),
    "kind of float": (WithNumber, {"scale": Float(2.0)}, lambda c, m: setattr(of(c), "scale", Float(0.1))),
    "kind of text": (WithText, {"mode": Text("a")}, lambda c, m: setattr(of(c), "mode", Text("b"))),
    "1 to True": (WithType, {"flag": 1}, lambda c, m: setattr(of(c), "flag", True)),
    "equal objects": (WithOptions, {"options": Options()}, lambda c, m: setattr(of(c), "options", Options(3.0))),
    "globals()": (ByGlobals, {}, lambda c, m: m.setitem(globals(), "GAIN", 0.5)),
    "sys.modules": (ByModules, {}, lambda c, m: m.setitem(globals(), "GAIN", 0.5)),
    "environment": (ByEnvironment, {}, lambda c, m: m.setenv("ADVERSARY", "3")),
    "default dtype": (ByDefaultDtype, {}, lambda c, m: torch.set_default_dtype(torch.float64)),
    "method of a table": (ByMethod, {"get": TABLE.get}, lambda c, m: m.setitem(TABLE, "gain", 3.0)),
    "dropout": (Plain, {}, lambda c, m: setattr(c, "dropout", 1.0)),
    "batch_first": (Plain, {}, lambda c, m: setattr(c, "batch_first", True)),
    "parametrization": (
        Plain,
        {},
        lambda c, m: nn.utils.parametrize.register_parametrization(c, "weight_hh_l0", nn.Tanh()),
    ),
}


@pytest.fixture
def float32():
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("grad", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.filterwarnings("ignore:.*runs step by step")
def test_a_change_is_felt_at_once(name: str, grad: bool, monkeypatch, float32) -> None:
    kind, own, change = CHANGES[name]
    own = {n: copy.deepcopy(v) if isinstance(v, torch.Tensor | nn.Module) else v for n, v in own.items()}
    layer, x = ostinato.Recurrent(kind, 4, 5, num_layers=2, **own), torch.randn(6, 3, 4)
    with torch.set_grad_enabled(grad):
        for _ in range(3):
            before = layer(x)[0]
        change(layer, monkeypatch)
        after = [layer(x)[0] for _ in range(3)]
        with ostinato.engine("loop"):
            expected = layer(x)[0]
    assert not torch.allclose(before, expected)
    for one in after:
        torch.testing.assert_close(one, expected)


def slope(factor):
    def act(value):
        return torch.where(value > 0, value, value * factor)

    return act


class Strategy:
    """Two classes of this name, made by one function, differ in a closure."""


def strategy(factor):
    class Made(Strategy):
        def __call__(self, value):
            return torch.tanh(value * factor)

    return Made()


def inner(factor):
    class Inner(nn.Module):
        def forward(self, value):
            return torch.tanh(value * factor)

    return Inner()


def executed(factor, **more):
    space = {"torch": torch, "FACTOR": factor, **more}
    exec("def act(value): return torch.tanh(value * FACTOR)", space)
    return space["act"]


class TwoGates(Plain):
    def step(self, x, h):
        return torch.sigmoid(3 * self.one(x @ self.weight_ih.T) + self.two(h @ self.weight_hh.T + 1.0))


PAIRS = {
    "lambdas": lambda: [lambda value: torch.tanh(value * 2), lambda value: torch.tanh(value * 0.1)],
    "closures": lambda: [slope(0.1), slope(0.9)],
    "classes": lambda: [strategy(0.1), strategy(2.0)],
    "modules": lambda: [inner(0.1), inner(2.0)],
    "namespaces": lambda: [executed(0.1), executed(2.0)],
    "namespaces of one name": lambda: [executed(0.1, __name__="same"), executed(2.0, __name__="same")],
}


@pytest.mark.parametrize("name", PAIRS)
def test_things_of_one_name_in_the_places_of_each_other(name: str) -> None:
    """Two layers that differ only in which of two functions of the same name is read where are two programs."""
    one, two = PAIRS[name]()
    x = torch.randn(6, 3, 4)
    for first, second in ((one, two), (two, one)):
        layer = ostinato.Recurrent(TwoGates, 4, 5, engine="native", one=first, two=second)
        got = layer(x)[0]
        with ostinato.engine("loop"):
            torch.testing.assert_close(got, layer(x)[0])


def test_a_function_from_a_namespace_without_a_name_is_watched() -> None:
    act = executed(0.5)
    layer, x = ostinato.Recurrent(WithModule, 4, 5, engine="native", act=act), torch.randn(6, 3, 4)
    layer(x)
    act.__globals__["FACTOR"] = 2.0
    got = layer(x)[0]
    with ostinato.engine("loop"):
        torch.testing.assert_close(got, layer(x)[0])


class Counted(nn.Module):
    calls = 0

    def forward(self, weight):
        type(self).calls += 1
        return weight * 2


@torch.no_grad()
def test_a_parametrization_runs_once_a_call() -> None:
    layer, x = ostinato.LSTM(4, 5, engine="native"), torch.randn(6, 3, 4)
    nn.utils.parametrize.register_parametrization(layer, "weight_hh_l0", Counted())
    Counted.calls = 0
    for calls in range(1, 5):
        layer(x)
        assert Counted.calls == calls


class TwiceTheSame(Plain):
    state_names = ("h", "c")

    def step(self, x, h, c):
        new = torch.tanh(self.total(x, h) + c)
        return new, new


@pytest.mark.parametrize("recompute", ["none", "chunks"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("lengths", [None, [3, 0, 6]])
def test_one_tensor_for_two_states(lengths, bidirectional: bool, recompute: str) -> None:
    layer = ostinato.Recurrent(TwiceTheSame, 4, 5, 2, bidirectional=bidirectional, recompute=recompute).double()
    x, results = torch.randn(6, 3, 4, dtype=torch.float64), []
    for engine in ("native", "loop"):
        with ostinato.engine(engine):
            output, (h, c) = layer(x, lengths=lengths)
        total = output.square().sum() + h.sum() - 2 * c.cos().sum()
        results.append([output, h, c, *torch.autograd.grad(total, list(layer.parameters()))])
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("grad", [False, True], ids=["inference", "training"])
def test_a_view_with_the_other_sign(grad: bool) -> None:
    layer, x = ostinato.Recurrent(Plain, 4, 5, engine="native"), torch.randn(6, 3, 4)
    with torch.set_grad_enabled(grad):
        for _ in range(3):
            layer(x)
        torch.testing.assert_close(layer(torch._neg_view(x))[0], layer(-x)[0])


class Sorted(Plain):
    def step(self, x, h):
        return torch.sort(self.total(x, h), dim=-1).values


class OwnMethod(Plain):
    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.act = self.tanh

    def tanh(self, value):
        return torch.tanh(value)

    def step(self, x, h):
        return self.act(self.total(x, h))


@pytest.mark.parametrize("kind", [Sorted, OwnMethod], ids=lambda kind: kind.__name__)
@pytest.mark.filterwarnings("ignore:.*runs step by step")
def test_a_refused_step_holds_nothing(kind) -> None:
    """Neither the weights of a layer that is gone, nor the input of the last call."""
    layer, x = ostinato.Recurrent(kind, 4, 5), torch.randn(6, 3, 4, requires_grad=True)
    layer(x)[0].sum().backward()
    input = weakref.ref(x)
    del x
    gc.collect()
    assert input() is None
    held = [weakref.ref(layer.weight_hh_l0), weakref.ref(layer.slots[0].template)]
    del layer
    gc.collect()
    assert [one() for one in held] == [None, None]


def test_an_attribute_that_never_rests_is_given_to_the_loop(monkeypatch) -> None:
    monkeypatch.setattr(known, "MOST", 3)
    layer, x = ostinato.Recurrent(WithNumber, 4, 5, scale=1.0), torch.randn(6, 3, 4)
    for n in range(3):
        of(layer).scale = 1.1 + n
        layer(x)
    of(layer).scale = 0.25
    with pytest.warns(UserWarning, match="self.scale had 3 values so far.*buffer"):
        got = layer(x)[0]
    with ostinato.engine("loop"):
        torch.testing.assert_close(got, layer(x)[0])
    of(layer).scale = 1.1
    assert layer.choice().engine == "native"


@pytest.mark.parametrize("recompute", ["none", "chunks"])
def test_many_gradients_at_once(recompute: str) -> None:
    """``is_grads_batched`` runs one backward for all of them."""
    layer = ostinato.Recurrent(Plain, 4, 5, 2, recompute=recompute, engine="native").double()
    output = layer(torch.randn(6, 3, 4, dtype=torch.float64))[0]
    weights, grads = list(layer.parameters()), torch.randn(7, *output.shape, dtype=torch.float64)
    got = torch.autograd.grad(output, weights, grads, is_grads_batched=True, retain_graph=True)
    for n, one in enumerate(grads):
        for mine, theirs in zip(got, torch.autograd.grad(output, weights, one, retain_graph=True), strict=True):
            torch.testing.assert_close(mine[n], theirs)


class OnlyBuffers(ostinato.Cell):
    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.register_buffer("weight", torch.randn(hidden_size, input_size))

    def step(self, x, h):
        return torch.tanh(x @ self.weight.T + h)


class Nothing(ostinato.Cell):
    def step(self, x, h):
        return torch.tanh(x.sum(-1, keepdim=True) + h)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", [OnlyBuffers, Nothing])
def test_inference_again_and_again_without_a_parameter(kind, dtype) -> None:
    layer, x = ostinato.Recurrent(kind, 4, 5, engine="native").to(dtype), torch.randn(6, 3, 4, dtype=dtype)
    with ostinato.engine("loop"):
        expected = layer(x)[0]
    for _ in range(4):
        torch.testing.assert_close(layer(x)[0], expected)


def results(layer, x):
    """A layer's output, and the gradients of its parameters."""
    output = layer(x)[0]
    return [output, *torch.autograd.grad(output.square().sum(), list(layer.parameters()))]


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (ByBatch, r"depends on the batch size: it compares it .*if x.shape\[0\] > 64"),
        (ByHistory, r"Tensor.grad_fn: the step looks at how .*if total.grad_fn is not None"),
    ],
)
def test_a_step_that_looks_beyond_values_is_given_to_the_loop(kind, why: str) -> None:
    layer = ostinato.Recurrent(kind, 4, 5).double()
    with pytest.warns(UserWarning, match=why):
        layer(torch.randn(3, 8, 4, dtype=torch.float64))
    for rows in (8, 128):
        x = torch.randn(3, rows, 4, dtype=torch.float64)
        got = results(layer, x)
        with ostinato.engine("loop"):
            torch.testing.assert_close(got, results(layer, x))
