"""One call tells an author what is wrong with a cell, and what to do about it."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import linear

import ostinato
from ostinato import errors
from tests.support.own_cells import OWN_CELLS, TimeGapCell

BUILT_IN = (ostinato.LSTMCell, ostinato.GRUCell, ostinato.RNNCell, ostinato.ElmanCell, ostinato.ChoGRUCell)


class Plain(ostinato.Cell):
    """What the cells below spoil in one place each."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.reset_parameters()

    def new(self, x, h):
        return torch.tanh(linear(x, self.weight_ih) + linear(h, self.weight_hh))

    def step(self, x, h):
        return self.new(x, h)


class Dead(Plain):
    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.gain = nn.Parameter(torch.ones(hidden_size))
        self.offset = nn.Parameter(torch.ones(hidden_size))

    def step(self, x, h):
        return self.new(x, h) + self.offset.detach()


class WrongTanh(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value):
        ctx.save_for_backward(value)
        return torch.tanh(value)

    @staticmethod
    def backward(ctx, grad):
        return grad * (1 - ctx.saved_tensors[0])


class WrongGradient(Plain):
    def step(self, x, h):
        return WrongTanh.apply(linear(x, self.weight_ih)) + 0.5 * h


class Mixing(Plain):
    def step(self, x, h):
        new = self.new(x, h)
        return new - new.mean(0)


class Drawing(Plain):
    def step(self, x, h):
        return self.new(x, h) + torch.rand_like(h)


class DrawingInTraining(Plain):
    def step(self, x, h):
        return torch.dropout(self.new(x, h), 0.5, self.training)


class Remembering(Plain):
    def step(self, x, h):
        self.last = h
        return self.new(x, h)


class Branching(Plain):
    def step(self, x, h):
        new = self.new(x, h)
        if float(new.detach().abs().max()) > 1e9:
            new = new / 2
        return new


class Sorting(Plain):
    def step(self, x, h):
        return self.new(x, h).sort(-1).values


class WrongWidth(Plain):
    def step(self, x, h):
        return torch.cat([h, h], dim=-1)


class Raising(Plain):
    def step(self, x, h):
        return linear(x, self.weight_hh)


class Infinite(Plain):
    def step(self, x, h):
        return self.new(x, h) * h.pow(2).sum(-1, keepdim=True).sqrt()


class Undrawn(ostinato.Cell):
    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.weight = nn.Parameter(torch.empty(hidden_size, input_size))

    def step(self, x, h):
        return torch.tanh(linear(x, self.weight) + h)


class Unbuildable(Plain):
    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        raise ZeroDivisionError("no")


class Stepless(ostinato.Cell):
    pass


class Flagged(Plain):
    def step(self, x, h, *, new, gap):
        return self.new(x, torch.where(new, torch.zeros_like(h), h * gap))


class Greedy(Plain):
    def step(self, x, h, *, codes):
        return self.new(x, h) + codes.view(7, 7, 7)


@pytest.mark.parametrize("cell", [*BUILT_IN, *OWN_CELLS, TimeGapCell, Plain], ids=lambda c: c.__name__)
def test_good_cells(cell):
    report = ostinato.check(cell)
    assert report.ok, report
    assert report["loop = native"].ok
    assert "✗" not in str(report)


@pytest.mark.parametrize(
    ("cell", "line", "words"),
    [
        (Dead, "parameters", "gain, offset"),
        (WrongGradient, "gradients", "x, weight_ih"),
        (Mixing, "rows apart", "rows of a batch"),
        (Drawing, "pure", "two results"),
        (DrawingInTraining, "pure", "two results"),
        (Remembering, "step", "self.last"),
        (WrongWidth, "step", "(batch, 4)"),
        (Raising, "step", "test_check.py:"),
        (Infinite, "zero states", "gradient of h"),
        (Undrawn, "builds", "weight"),
        (Unbuildable, "builds", "ZeroDivisionError: no"),
        (Stepless, "builds", "without a step"),
        (Greedy, "step", "test_check.py:"),
    ],
    ids=lambda v: v.__name__ if isinstance(v, type) else "",
)
def test_a_bad_cell_is_a_line_with_its_way_out(cell, line, words):
    report = ostinato.check(cell)
    assert not report.ok
    failing = report[line]
    assert failing.ok is False, report
    assert words in failing.text
    assert failing.way_out
    assert f"✗ {line}" in str(report)
    assert failing.way_out in str(report)


@pytest.mark.parametrize(("cell", "line"), [(Branching, "float(new"), (Sorting, ".sort(-1)")])
def test_what_cannot_be_compiled_is_named_and_no_fault(cell, line):
    report = ostinato.check(cell)
    assert report.ok, report
    assert report["engine"].text.startswith("loop")
    assert line in report["engine"].text
    assert "test_check.py:" in report["engine"].text


def test_keywords_are_found():
    report = ostinato.check(Flagged)
    assert report.ok, report
    assert "new (B, 1), gap (B, 1)" in report["step"].text
    assert "tried without speaker" in ostinato.check(TimeGapCell)["step"].text


def test_cells_and_layers_with_their_own_sizes_and_options():
    assert "RNNCell(3, 2, bias=False" in str(ostinato.check(ostinato.RNNCell, 3, 2, bias=False))
    assert "RNNCell(3, 2" in str(ostinato.check(ostinato.RNNCell(3, 2)))
    rnn = ostinato.Recurrent(ostinato.RNNCell, 3, 2, num_layers=2, nonlinearity="relu", bias=False)
    assert "RNNCell(3, 2, bias=False, nonlinearity='relu'" in str(ostinato.check(rnn))


def test_nothing_of_the_callers_is_touched():
    cell = Dead(3, 4)
    kept = {name: p.clone() for name, p in cell.named_parameters()}
    before = torch.get_rng_state()
    with torch.no_grad():
        ostinato.check(cell)
        ostinato.check(Dead)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(p, kept[name]) for name, p in cell.named_parameters())
    assert all(p.grad is None and p.requires_grad for p in cell.parameters())
    assert torch.utils.deterministic.fill_uninitialized_memory


def test_what_is_no_cell():
    with pytest.raises(errors.InvalidType, match="a subclass of ostinato"):
        ostinato.check(nn.LSTM)
    with pytest.raises(errors.InvalidType, match="built already"):
        ostinato.check(ostinato.RNNCell(3, 2), bias=False)
    with pytest.raises(errors.InvalidValue, match="input_size"):
        ostinato.check(ostinato.RNNCell, 0)
    assert "bais" in str(ostinato.check(ostinato.RNNCell, bais=False))
