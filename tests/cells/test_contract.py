"""How cells may be written, and what is refused when a class or a layer is made."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import nn

import ostinato
from ostinato.errors import CellError


def cell(step, **attributes):
    return type("Own", (ostinato.Cell,), {"step": step, **attributes})


@pytest.mark.parametrize("name", ["input", "hx", "lengths", "condition", "layer", "grad", "h"])
def test_keywords_that_are_taken(name: str) -> None:
    scope: dict = {}
    exec(f"def step(self, x, h, *, {name}): return h" if name != "h" else "def step(self, x, c, *, h): return c", scope)
    names = ("h",) if name != "h" else ("c",)
    if name == "h":
        cell(scope["step"], state_names=names)
        return
    with pytest.raises(CellError, match=rf"has a keyword '{name}'"):
        cell(scope["step"], state_names=names)


def test_states_and_keywords_that_clash() -> None:
    with pytest.raises(CellError, match=r"must differ"):
        cell(lambda self, x, a, b: (a, b), state_names=("h", "h"))
    with pytest.raises(CellError, match=r"must differ"):
        cell(lambda self, x, y: y, state_names=("x",))
    with pytest.raises(CellError, match=r"one by one"):
        cell(lambda self, x, h, **more: h)


def test_a_step_from_a_mixin_is_checked_too() -> None:
    class Mixin:
        def step(self, x):
            return x

    with pytest.raises(CellError, match=r"must take \(self, x, h\)"):
        type("Mixed", (Mixin, ostinato.Cell), {})


def test_a_parameter_with_the_learned_states_name() -> None:
    class Own(ostinato.GRUCell):
        def __init__(self, input_size, hidden_size):
            super().__init__(input_size, hidden_size)
            self.initial_h = nn.Parameter(torch.ones(hidden_size))

    ostinato.Recurrent(Own, 4, 5)
    with pytest.raises(CellError, match=r"initial_h has the learned state's name"):
        ostinato.Recurrent(Own, 4, 5, initial_state="learned")


class Passing(ostinato.GRUCell):
    def __init__(own, i, h, alpha=1.0, **more):  # noqa: N805 - names are the user's
        super().__init__(i, h, **more)
        own.alpha = alpha


def test_constructors_that_pass_on() -> None:
    layer = ostinato.Recurrent(Passing, 4, 5, bias=False, dtype=torch.float64, device="meta", alpha=2.0)
    assert [(n, p.dtype, p.device.type) for n, p in layer.named_parameters()] == [
        ("weight_ih_l0", torch.float64, "meta"),
        ("weight_hh_l0", torch.float64, "meta"),
    ]
    assert ostinato.Recurrent(Passing, 4, 5)(torch.randn(6, 3, 4))[0].shape == (6, 3, 5)


class Collected(ostinato.Cell):
    """Parameters in lists and dicts, an absent submodule, a nested cell, a buffer that is not saved."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.weights = nn.ParameterList([nn.Parameter(torch.randn(hidden_size, input_size))])
        self.table = nn.ParameterDict({"hh": nn.Parameter(torch.randn(hidden_size, hidden_size))})
        self.register_module("absent", None)
        self.inner = ostinato.GRUCell(input_size, hidden_size)
        self.register_buffer("mix", torch.tensor(0.5), persistent=False)
        self.order = nn.Parameter(torch.arange(3), requires_grad=False)

    def step(self, x, h):
        assert self.absent is None
        h = torch.tanh(x @ self.weights[0].T + h @ self.table["hh"].T)
        return self.mix * h + self.mix * self.inner(x, h)


def test_parameters_kept_in_other_ways() -> None:
    layer = ostinato.Recurrent(Collected, 4, 5, 2)
    x = torch.randn(6, 3, 4)
    layer(x)[0].sum().backward()
    assert all(p.grad is not None for p in layer.parameters() if p.requires_grad)
    assert "mix_l0" not in layer.state_dict()
    with pytest.raises(ValueError, match=r"where torch\.float32 is needed"):
        layer(x.double())
    before = layer.weights_l0[0].clone()
    layer.reset_parameters()
    assert torch.equal(layer.weights_l0[0], before)  # a list draws nothing by itself


def test_reset_reaches_buffers_and_submodules() -> None:
    class Own(ostinato.Cell):
        def __init__(self, input_size, hidden_size):
            super().__init__(input_size, hidden_size)
            self.linear = nn.Linear(input_size, hidden_size)
            self.register_buffer("scale", torch.ones(()))

        def reset_parameters(self):
            self.scale.fill_(3.0)

        def step(self, x, h):
            return self.scale * self.linear(x) + h

    layer = ostinato.Recurrent(Own, 4, 5)
    before = layer.linear_l0.weight.clone()
    layer.reset_parameters()
    assert layer.scale_l0 == 3
    assert not torch.equal(layer.linear_l0.weight, before)


def test_widths_that_follow_the_input() -> None:
    class Own(ostinato.Cell):
        @property
        def state_sizes(self):
            return (self.input_size + 1,)

        def step(self, x, h):
            return h + 1

    _, h_n = ostinato.Recurrent(Own, 4, 5, 2)(torch.randn(6, 3, 4))
    assert [tuple(h.shape) for h in h_n] == [(1, 3, 5), (1, 3, 6)]


def test_layers_with_different_states_are_refused() -> None:
    class Own(ostinato.LSTMCell):
        @classmethod
        def at_layer(cls, layer, num_layers, options):
            return (ostinato.GRUCell if layer else cls), options

    with pytest.raises(CellError, match=r"same states"):
        ostinato.Recurrent(Own, 4, 5, 2)


def decorated(function):
    @functools.wraps(function)
    def inner(*arguments, **keywords):
        return function(*arguments, **keywords)

    return inner


def test_decorated_steps_are_recorded() -> None:
    @decorated
    def step(self, x, h):
        seen = h + 1
        return seen

    tape = ostinato.record(ostinato.Recurrent(cell(step), 4, 5), torch.randn(6, 3, 4))
    assert "seen" in tape["l0"]


def test_values_whose_width_changes_are_left_out_of_the_tape() -> None:
    def step(self, x, h):
        narrow = h[:, :1] if bool((h == 0).all()) else h
        return h + narrow.sum(-1, keepdim=True) + 1

    tape = ostinato.record(ostinato.Recurrent(cell(step), 4, 5), torch.randn(6, 3, 4))
    assert set(tape["l0"]) == {"x", "h"}


def test_an_empty_sequence_stays_in_the_graph() -> None:
    for make in (lambda: ostinato.LSTM(4, 5, 2, bidirectional=True), lambda: ostinato.Recurrent(Collected, 4, 5)):
        for x, lengths in ((torch.randn(6, 3, 4), [0, 0, 0]), (torch.randn(0, 3, 4), None)):
            layer = make()
            output, _ = layer(x, lengths=lengths)
            assert output.shape == (len(x), 3, layer.output_size)
            output.sum().backward()
            assert all(not p.grad.any() for n, p in layer.named_parameters() if n.startswith("weight_"))


@pytest.mark.parametrize("value", ["1", True, [1.0]])
def test_a_forget_bias_is_a_number(value) -> None:
    with pytest.raises(TypeError, match=r"forget_bias must be a number"):
        ostinato.LSTM(4, 5, forget_bias=value)


def test_a_list_is_no_tuple() -> None:
    layer = ostinato.Recurrent(cell(lambda self, x, h, c: [h, c], state_names=("h", "c")), 4, 5)
    with pytest.raises(CellError, match=r"return a tuple, not a list"):
        layer(torch.randn(6, 3, 4))


def test_a_cell_alone_checks_what_its_step_returns() -> None:
    with pytest.raises(CellError, match=r"must return h as \(batch, 5\)"):
        cell(lambda self, x, h: h[:, :2])(4, 5)(torch.randn(3, 4))
