"""What a compiled step could have believed for too long: changes made in every way, and steps that look alike."""

from __future__ import annotations

import collections
import copy
import dataclasses
import enum
import functools
import gc
import itertools
import os
import pathlib
import sys
import types
import warnings
import weakref
from os import getenv

import pytest
import torch
from torch import get_num_threads, nn
from torch.distributions.transforms import AffineTransform

import ostinato
from ostinato import errors
from ostinato.compiler import pipeline
from ostinato.engines import known, stepping, trial

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


def scaling(value):
    return value * scaling.factor if hasattr(scaling, "factor") else value


scaling.factor = 1.0


@functools.singledispatch
def dispatched(value):
    return value


factors = itertools.count(3)


def dispatch_another():
    factor = next(factors)
    dispatched.register(torch.Tensor, lambda value: value * factor)


@torch.no_grad()
def wrapped(value):
    return value * GAIN


class Empty:
    """Whose attributes come later."""


space = types.ModuleType("space_of_the_user")
space.factor = 1.0
sys.modules[space.__name__] = space


class Meta(type(Plain)):
    factor = 1.0


class Mode(enum.Enum):
    ONLY = 1

    def __init__(self, number):
        self.factor = 1.0


def from_class(self, total):
    try:
        return total * Empty.factor
    except AttributeError:
        return total


def from_import(self, total):
    import space_of_the_user

    return total * getattr(space_of_the_user, "missing", 1.0)


def total_of(function, kind=Plain, **own):
    """A cell whose step is tanh of ``function(self, total)``."""

    class Made(kind):
        def step(self, x, h):
            return torch.tanh(function(self, self.total(x, h)))

    return Made, own


class Matched:
    __match_args__ = ("depth",)
    depth = 1.0

    @property
    def width(self):
        return GAIN


def by_keyword(self, total):
    match self.options:
        case Matched(width=found):
            return total * found


def by_place(self, total):
    match self.options:
        case Matched(found):
            return total * found


class ByMeta(Plain, metaclass=Meta):
    def step(self, x, h):
        return torch.tanh(self.total(x, h) * type(self).factor)


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
    "attribute of a function": (
        *total_of(lambda self, total: scaling(total)),
        lambda c, m: m.setattr(scaling, "factor", 3.0),
    ),
    "attribute of a function, gone": (
        *total_of(lambda self, total: total * getattr(scaling, "factor", 3.0)),
        lambda c, m: m.delattr(scaling, "factor"),
    ),
    "function behind a decorator": (
        *total_of(lambda self, total: total + wrapped(total)),
        lambda c, m: m.setitem(globals(), "GAIN", 0.1),
    ),
    "function by type": (
        *total_of(lambda self, total: dispatched(total)),
        lambda c, m: dispatch_another(),
    ),
    "attribute that a class gets": (
        *total_of(lambda self, total: total * getattr(Empty, "factor", 1.0)),
        lambda c, m: m.setattr(Empty, "factor", 3.0, raising=False),
    ),
    "attribute that a class has or not": (
        *total_of(lambda self, total: total * 3 if hasattr(Empty, "factor") else total),
        lambda c, m: m.setattr(Empty, "factor", 3.0, raising=False),
    ),
    "attribute that a class gets, tried": (
        *total_of(from_class),
        lambda c, m: m.setattr(Empty, "factor", 3.0, raising=False),
    ),
    "attribute that a pattern names": (
        *total_of(by_keyword, options=Matched()),
        lambda c, m: m.setitem(globals(), "GAIN", 0.1),
    ),
    "attribute that a pattern's class names": (
        *total_of(by_place, options=Matched()),
        lambda c, m: m.setattr(Matched, "depth", 3.0),
    ),
    "attribute that a format names": (
        *total_of(lambda self, total: total * float("{.width}".format(self.options)), options=Matched()),  # noqa: UP032
        lambda c, m: m.setitem(globals(), "GAIN", 0.1),
    ),
    "attribute that a format elsewhere names": (
        *total_of(lambda self, total: total * float(self.text.format_map({"a": Matched()})), text="{a.width}"),
        lambda c, m: m.setitem(globals(), "GAIN", 0.1),
    ),
    "globals of a function": (
        *total_of(lambda self, total: total * of.__globals__["GAIN"]),
        lambda c, m: m.setitem(globals(), "GAIN", 0.1),
    ),
    "globals of a frame": (
        *total_of(lambda self, total: total * sys._getframe().f_globals["GAIN"]),
        lambda c, m: m.setitem(globals(), "GAIN", 0.1),
    ),
    "name that a module gets": (
        *total_of(lambda self, total: total * getattr(space, "missing", 1.0)),
        lambda c, m: m.setattr(space, "missing", 3.0, raising=False),
    ),
    "name that an imported module gets": (
        *total_of(from_import),
        lambda c, m: m.setattr(space, "missing", 3.0, raising=False),
    ),
    "name of a module, as text": (
        *total_of(lambda self, total: total * getattr(space, "factor")),  # noqa: B009
        lambda c, m: m.setattr(space, "factor", 3.0),
    ),
    "name of a module, made up": (
        *total_of(lambda self, total: total * getattr(space, f"fac{self.mode}"), mode="tor"),
        lambda c, m: m.setattr(space, "factor", 3.0),
    ),
    "name of a module in an attribute": (
        *total_of(lambda self, total: total * self.names["space"].factor, names={"space": space}),
        lambda c, m: m.setattr(space, "factor", 3.0),
    ),
    "attribute of torch's object": (
        *total_of(lambda self, total: self.transform(total), transform=AffineTransform(0.0, 1.0)),
        lambda c, m: m.setattr(of(c).transform, "scale", 3.0),
    ),
    "metaclass": (ByMeta, {}, lambda c, m: m.setattr(Meta, "factor", 3.0)),
    "member of an enumeration": (
        *total_of(lambda self, total: total * self.mode.factor, mode=Mode.ONLY),
        lambda c, m: m.setattr(Mode.ONLY, "factor", 3.0),
    ),
    "hook on all modules": (
        WithModule,
        {"act": nn.Linear(5, 5)},
        lambda c, m: m.setitem(
            nn.modules.module._global_forward_hooks,
            -1,
            lambda module, given, made: 2 * made if isinstance(module, nn.Linear) else None,
        ),
    ),
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


@pytest.mark.parametrize("put", [nn.Module.register_buffer, setattr], ids=["buffer", "attribute"])
def test_a_gradient_that_nothing_but_a_buffer_or_an_attribute_asks_for(put) -> None:
    gain = torch.tensor(0.9, requires_grad=True)

    class Gained(OnlyBuffers):
        def __init__(self, input_size, hidden_size):
            super().__init__(input_size, hidden_size)
            put(self, "gain", gain)

        def step(self, x, h):
            return torch.tanh(x @ self.weight.T + h) * self.gain

    layer, x, found = ostinato.Recurrent(Gained, 4, 5), torch.randn(6, 3, 4), []
    for engine in ("native", "loop"):
        with ostinato.engine(engine):
            found.append(torch.autograd.grad(layer(x)[0].sum(), gain))
    torch.testing.assert_close(*found)


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


HOOKS = {
    "backward": lambda m: m.register_full_backward_hook(lambda m, given, made: tuple(0.5 * g for g in given)),
    "backward before": lambda m: m.register_full_backward_pre_hook(lambda m, made: tuple(0.5 * g for g in made)),
    "forward": lambda m: m.register_forward_hook(lambda m, given, made: 2 * made),
    "forward before": lambda m: m.register_forward_pre_hook(lambda m, given: (2 * given[0],)),
}


@pytest.mark.parametrize("name", HOOKS)
@pytest.mark.filterwarnings("ignore:.*runs step by step")
def test_a_hook_on_a_module_of_the_cell_is_felt_at_once(name: str) -> None:
    layer, x = ostinato.Recurrent(WithModule, 4, 5, act=nn.Linear(5, 5)).double(), torch.randn(3, 2, 4).double()
    for _ in range(3):
        before = results(layer, x)
    hook = HOOKS[name](layer.act_l0)
    got = results(layer, x)
    with ostinato.engine("loop"):
        torch.testing.assert_close(got, results(layer, x))
    assert not all(torch.allclose(one, two) for one, two in zip(got, before, strict=True))
    hook.remove()
    torch.testing.assert_close(results(layer, x), before)
    assert layer.choice().engine == "native"


LOG: list[int] = []


class Deque(collections.deque):
    """A class of the user's whose content is no attribute."""


def doubled(value):
    if value.shape[0] > 64:
        return value * 2
    return value


with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    scripted = torch.jit.script(doubled)


def from_file():
    with open(__file__) as file:
        return len(file.read(1))


SURROUNDINGS = {
    "function of os": (lambda self, total: total * float(getenv("NONE", "1")), r"os.getenv reads .*float\(getenv"),
    "function of torch": (lambda self, total: total * get_num_threads(), r"torch.get_num_threads reads .*get_num_t"),
    "precision": (
        lambda self, total: total * len(torch.get_float32_matmul_precision()),
        r"torch.get_float32_matmul_precision reads what cannot be watched",
    ),
    "backends": (lambda self, total: total * (1 + torch.backends.cudnn.benchmark), r"torch.backends reads"),
    "gradients on": (lambda self, total: total * (1 + torch.is_grad_enabled()), r"torch.is_grad_enabled reads"),
    "file": (lambda self, total: total * from_file(), r"open\(\) reads .*with open\("),
    "path": (lambda self, total: total * pathlib.Path("/").exists(), r"pathlib.Path reads .*pathlib.Path\("),
    "script": (lambda self, total: scripted(total), r"TorchScript that asks for sizes .*scripted\(total\)"),
    "list that grows": (lambda self, total: (LOG.append(1), total)[1], r"the step changes .*LOG, .*LOG.append"),
}  # fmt: skip


@pytest.mark.parametrize("name", SURROUNDINGS)
def test_what_is_read_or_changed_outside_the_program_is_refused_with_its_line(name: str) -> None:
    function, why = SURROUNDINGS[name]
    layer = ostinato.Recurrent(total_of(function)[0], 4, 5)
    with pytest.warns(UserWarning, match=why):
        layer(torch.randn(2, 3, 4))


@pytest.mark.parametrize("content", [Deque([1.0]), type("Bytes", (bytearray,), {})(b"1")], ids=["deque", "bytes"])
def test_an_object_whose_content_is_no_attribute_is_refused(content) -> None:
    kind, own = total_of(lambda self, total: total * float(self.content[0]), content=content)
    with pytest.warns(UserWarning, match="self.content: an object of type .* can change without showing it"):
        ostinato.Recurrent(kind, 4, 5, **own)(torch.randn(2, 3, 4))


def test_an_array_of_a_class_of_the_users_is_refused() -> None:
    numpy = pytest.importorskip("numpy")
    own = numpy.ones(1).view(type("Array", (numpy.ndarray,), {}))
    test_an_object_whose_content_is_no_attribute_is_refused(own)


def test_a_module_of_torchscript_is_refused() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        act = torch.jit.script(nn.Tanh())
    with pytest.warns(UserWarning, match="self.act is TorchScript, which nothing can watch"):
        ostinato.Recurrent(WithModule, 4, 5, act=act)(torch.randn(2, 3, 4))


class Timed(Plain):
    def step(self, x, h, *, sizes, columns):
        return torch.tanh(self.total(x, h) * sizes + columns)


class Outer(Plain):
    state_names = ("output",)

    def step(self, x, output):
        return torch.tanh(self.total(x, output))


@pytest.mark.parametrize(("kind", "names"), [(Timed, ("sizes", "columns")), (Outer, ())])
def test_a_name_that_kernels_have_for_themselves(kind, names) -> None:
    layer, x = ostinato.Recurrent(kind, 4, 5), torch.randn(6, 3, 4)
    given = {name: torch.rand(6, 3, 5) for name in names}
    with pytest.warns(UserWarning, match="is a name that kernels have for themselves; rename"):
        output, _ = layer(x, **given)
    with ostinato.engine("loop"):
        torch.testing.assert_close(output, layer(x, **given)[0])


def test_whatever_is_wrong_with_the_compiler_the_loop_runs(monkeypatch) -> None:
    class Unlucky(Plain):
        def step(self, x, h):
            return torch.sigmoid(self.total(x, h))

    def fail(graph):
        raise RecursionError("maximum recursion depth exceeded")

    monkeypatch.setattr(pipeline, "centre", fail)
    layer = ostinato.Recurrent(Unlucky, 4, 5)
    with pytest.warns(UserWarning, match="the step cannot be compiled: RecursionError: maximum recursion depth"):
        layer(torch.randn(2, 3, 4))
    with pytest.raises(errors.EngineError, match="RecursionError"), ostinato.engine("native"):
        layer(torch.randn(2, 3, 4))


def test_check_names_a_list_that_grows() -> None:
    class Growing(Plain):
        def step(self, x, h):
            LOG.append(1)
            return torch.tanh(self.total(x, h))

    report = ostinato.check(Growing)
    assert not report["pure"].ok
    assert "LOG" in report["pure"].text
    assert "LOG.append(1)" in report["pure"].text


def exhausted(*_args, **_kwargs):
    torch.empty(1 << 50)


def exhausted_in_python(*_args, **_kwargs):
    raise MemoryError


@pytest.mark.parametrize("place", [(pipeline, "build"), (pipeline, "trace"), (trial, "fault")], ids=lambda p: p[1])
@pytest.mark.parametrize("full", [exhausted, exhausted_in_python])
def test_memory_that_is_short_is_the_error_of_one_call(place, full, monkeypatch) -> None:
    monkeypatch.setattr(known, "_by_text", {})
    layer, x = ostinato.Recurrent(Plain, 3, 4), torch.randn(5, 2, 3)
    with monkeypatch.context() as short:
        short.setattr(*place, full)
        for _ in range(known.MOST + 1):
            with pytest.raises((MemoryError, RuntimeError), match=r"^$|DefaultCPUAllocator"):
                layer(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer(x)
    assert ostinato.explain(layer).engine == "native"


@pytest.mark.parametrize("place", [(pipeline, "build"), (stepping, "Kernel")], ids=lambda p: p[1])
def test_memory_that_is_short_is_the_error_of_one_stream(place, monkeypatch) -> None:
    layer = ostinato.Recurrent(Plain, 3, 4)
    with monkeypatch.context() as short:
        short.setattr(*place, exhausted)
        with pytest.raises(RuntimeError, match="DefaultCPUAllocator"):
            ostinato.stream(layer)
    assert ostinato.stream(layer).engine == "native"
