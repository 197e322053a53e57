"""The simple recurrent unit: the paper's equations, its initial numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ostinato.cells import SRUCell
from ostinato.errors import InvalidType, InvalidValue
from tests.support.equations import assert_follows, sigmoid


@pytest.mark.parametrize("input_size", [5, 4])
@pytest.mark.parametrize("peephole", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_the_papers_equations(input_size: int, peephole: bool, bias: bool) -> None:
    def step(w, x, c):
        W, W_f, W_r, *W_x = np.split(w["weight_ih"], 3 + (input_size != 5))
        b_f, b_r = np.split(w["bias_ih"], 2) if bias else (0, 0)
        f = sigmoid(x @ W_f.T + w.get("peephole_f", 0) * c + b_f)
        r = sigmoid(x @ W_r.T + w.get("peephole_r", 0) * c + b_r)
        c = f * c + (1 - f) * (x @ W.T)
        past = math.sqrt(3) * (x @ W_x[0].T if W_x else x)
        return r * c + (1 - r) * past, c

    cell = SRUCell(input_size, 5, bias=bias, peephole=peephole)
    assert ("peephole_f" in dict(cell.named_parameters())) == peephole
    assert_follows(cell, step)


def test_the_first_versions_form() -> None:
    def step(w, x, c):
        W, W_f, W_r = np.split(w["weight_ih"], 3)
        b_f, b_r = np.split(w["bias_ih"], 2)
        f, r = sigmoid(x @ W_f.T + b_f), sigmoid(x @ W_r.T + b_r)
        c = f * c + (1 - f) * (x @ W.T)
        return r * np.tanh(c) + (1 - r) * x, c

    assert_follows(SRUCell(5, 5, activation="tanh", peephole=False, rescale=False), step)


def test_without_the_highway() -> None:
    def step(w, x, c):
        W, W_f = np.split(w["weight_ih"], 2)
        f = sigmoid(x @ W_f.T + w["peephole_f"] * c + w["bias_ih"])
        c = f * c + (1 - f) * (x @ W.T)
        return c, c

    assert_follows(SRUCell(4, 5, highway=False), step)


def test_initial_numbers() -> None:
    torch.manual_seed(0)
    cell = SRUCell(64, 400, highway_bias=-2.0)
    new, f, r, past = cell.weight_ih.detach().chunk(4)
    for part, variance in ((new, 1 / 64), (f, 0.5 / 64), (r, 0.5 / 64), (past, 1 / 64)):
        assert part.var().item() == pytest.approx(variance, rel=0.05)
    assert cell.peephole_f.var().item() == pytest.approx(0.5, rel=0.15)
    assert (cell.bias_ih[:400] == 0).all()
    assert (cell.bias_ih[400:] == -2).all()


def test_rescaling_keeps_the_variance_of_a_stack() -> None:
    """The paper's reason for α: without it a layer's output has a third of its input's variance."""
    torch.manual_seed(0)
    x = torch.randn(200, 256)
    c = torch.zeros(200, 256)
    variance = {rescale: SRUCell(256, 256, rescale=rescale)(x, c)[0].var().item() for rescale in (True, False)}
    assert variance[True] > 2.5 * variance[False]


def test_meta_parameters_are_not_drawn() -> None:
    assert SRUCell(4, 5, device="meta").weight_ih.is_meta


@pytest.mark.parametrize(
    ("option", "value", "error", "message"),
    [
        ("highway_bias", "low", InvalidType, "highway_bias must be a number"),
        ("highway_bias", float("nan"), InvalidValue, "highway_bias must be finite"),
        ("activation", "tan", InvalidValue, "did you mean 'tanh'"),
        ("peephole", 1, InvalidType, "peephole must be True or False"),
    ],
)
def test_bad_options(option: str, value: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        SRUCell(4, 5, **{option: value})
