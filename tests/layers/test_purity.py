"""Steps that keep, draw, write or mix are refused at the first call; steps that do not are left in peace."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import ostinato
from ostinato.errors import CellError


class Base(ostinato.Cell):
    """Something of every kind that a step could wrongly write to."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.weight = nn.Parameter(torch.randn(hidden_size, input_size))
        self.linear = nn.Linear(hidden_size, hidden_size)
        self.norm = nn.BatchNorm1d(hidden_size)
        self.drop = nn.Dropout(0.5)
        self.register_buffer("count", torch.zeros(()))
        self.tensor = torch.zeros(())
        self.table = {"a": 0}
        self._log = []

    def step(self, x, h):
        self.touch(x, h)
        return torch.tanh(x @ self.weight.T + h)


def touching(touch):
    return type("Touching", (Base,), {"touch": touch})


def halve(self, x, h):
    with torch.no_grad():
        self.weight.mul_(0.5)


TOUCHES = {
    r"self\.linear\.cache": lambda self, x, h: setattr(self.linear, "cache", h),
    r"self\._log": lambda self, x, h: self._log.append(h),
    r"self\.tensor": lambda self, x, h: self.tensor.add_(1),
    r"self\.table": lambda self, x, h: self.table.update(a=self.table["a"] + 1000),
    r"self\.count": lambda self, x, h: self.count.add_(1),
    r"self\.weight": halve,
    r"self\.norm\.": lambda self, x, h: self.norm(h),
    r"assigns self\.seen": lambda self, x, h: setattr(self, "seen", h),
}


@pytest.mark.parametrize("what", TOUCHES)
def test_a_step_that_keeps_something(what) -> None:
    layer = ostinato.Recurrent(touching(TOUCHES[what]), 4, 5)
    with pytest.raises(CellError, match=what):
        layer(torch.randn(6, 3, 4))


def mixing(mix):
    return type("Mixing", (Base,), {"step": lambda self, x, h: mix(torch.tanh(x @ self.weight.T + h))})


@pytest.mark.parametrize(
    "mix",
    [
        lambda v: torch.softmax(v, 0),
        lambda v: v - v.mean(0),
        lambda v: v.flip(0),
        lambda v: v.sum(1, keepdim=True).cumsum(0).expand_as(v),
        lambda v: v if v.shape[0] > 1 else v + 1,
    ],
)
def test_a_step_that_mixes_rows(mix) -> None:
    layer = ostinato.Recurrent(mixing(mix), 4, 5)
    with pytest.raises(CellError, match=r"rows of a batch depend on each other"):
        layer(torch.randn(6, 3, 4))


def test_dropout_in_a_step_is_found_in_the_mode_in_which_it_acts() -> None:
    cell = mixing(lambda v: v)
    cell.step = lambda self, x, h: self.drop(torch.tanh(x @ self.weight.T + h))
    layer, x = ostinato.Recurrent(cell, 4, 5).eval(), torch.randn(6, 3, 4)
    layer(x)
    layer.train()
    with pytest.raises(CellError, match=r"two results for the same input"):
        layer(x)


def test_the_users_random_numbers_are_left_alone() -> None:
    layer, x = ostinato.Recurrent(mixing(lambda v: v), 4, 5), torch.randn(6, 3, 4)
    state = torch.get_rng_state()
    layer(x)
    assert torch.equal(torch.get_rng_state(), state)


def test_hooks_of_a_cells_own_are_refused_where_the_layer_is_made() -> None:
    class Pruned(Base):
        def __init__(self, input_size, hidden_size):
            super().__init__(input_size, hidden_size)
            prune.l1_unstructured(self, "weight", 0.5)

    with pytest.raises(CellError, match=r"registers forward hooks on itself"):
        ostinato.Recurrent(Pruned, 4, 5)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_older_norms_on_submodules_are_fine() -> None:
    class Normed(ostinato.Cell):
        def __init__(self, input_size, hidden_size):
            super().__init__(input_size, hidden_size)
            self.linear = nn.utils.weight_norm(nn.Linear(input_size + hidden_size, hidden_size))

        def step(self, x, h):
            return torch.tanh(self.linear(torch.cat([x, h], dim=-1)))

    layer = ostinato.Recurrent(Normed, 4, 5)
    layer(torch.randn(6, 3, 4))[0].sum().backward()
    assert layer.linear_l0.weight_g.grad.abs().sum() > 0
    with pytest.raises(ValueError, match=r"float64"):
        layer(torch.randn(6, 3, 4).double())


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_in_inference_mode(mode) -> None:
    layer = ostinato.Recurrent(mixing(lambda v: v), 4, 5)
    with mode():
        x = torch.randn(6, 3, 4)
        first = layer(x, lengths=[6, 0, 2])[0]
        tape = ostinato.record(layer, x)
    assert torch.equal(layer(x.clone(), lengths=[6, 0, 2])[0], first)
    assert tape["l0"]["h"].shape == (6, 3, 5)


def test_an_error_inside_a_step_says_what_the_step_was_given() -> None:
    class Wrong(Base):
        def step(self, x, h):
            return torch.tanh(self.linear(x))

    with pytest.raises(RuntimeError, match=r"mat1 and mat2") as caught:
        ostinato.Recurrent(Wrong, 4, 5)(torch.randn(6, 3, 4))
    assert caught.value.__notes__ == ["This happened in Wrong.step, which was given x (3, 4), h (3, 5)."]
