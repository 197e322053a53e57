"""The minimal gated unit: the papers' equations, and torchrecurrent's on the same weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ostinato.cells import MGUCell
from tests.support.equations import assert_follows, assert_same_over_time, scattered, sigmoid


def test_the_papers_equations() -> None:
    def step(w, x, h):
        W_f, W_n = np.split(w["weight_ih"], 2)
        U_f, U_n = np.split(w["weight_hh"], 2)
        b_f, b_n = np.split(w["bias_ih"], 2)
        f = sigmoid(x @ W_f.T + h @ U_f.T + b_f)
        n = np.tanh(x @ W_n.T + (f * h) @ U_n.T + b_n)
        return (1 - f) * h + f * n

    assert_follows(MGUCell(4, 5), step)


def gate_of(form: str, w, h):
    if form == "mgu1":
        return sigmoid(h @ w["weight_hh"][:5].T + w["bias_ih"][:5])
    if form == "mgu2":
        return sigmoid(h @ w["weight_hh"][:5].T)
    return sigmoid(w["bias_ih"][:5])


@pytest.mark.parametrize("form", ["mgu1", "mgu2", "mgu3"])
def test_the_simplified_forms(form: str) -> None:
    def step(w, x, h):
        f = gate_of(form, w, h)
        n = np.tanh(x @ w["weight_ih"].T + (f * h) @ w["weight_hh"][-5:].T + w["bias_ih"][-5:])
        return (1 - f) * h + f * n

    assert_follows(MGUCell(4, 5, form=form), step)


@pytest.mark.parametrize(
    ("form", "shapes"), [("mgu", (10, 10, 10)), ("mgu1", (5, 10, 10)), ("mgu2", (5, 10, 5)), ("mgu3", (5, 5, 10))]
)
def test_a_form_has_no_parameter_it_does_not_read(form: str, shapes: tuple[int, ...]) -> None:
    cell = MGUCell(4, 5, form=form)
    assert [len(p) for p in (cell.weight_ih, cell.weight_hh, cell.bias_ih)] == list(shapes)


def test_without_a_bias_mgu1_is_mgu2() -> None:
    one, two = MGUCell(4, 5, bias=False, form="mgu1"), MGUCell(4, 5, bias=False, form="mgu2")
    two.load_state_dict(one.state_dict())
    x, h = torch.randn(3, 4), torch.randn(3, 5)
    assert torch.equal(one(x, h), two(x, h))


@pytest.mark.parametrize("form", ["mgu", "mgu1", "mgu3"])
def test_orthogonal_matrices_each_by_itself(form: str) -> None:
    cell = MGUCell(4, 5, form=form, recurrent_init="orthogonal", dtype=torch.float64)
    for matrix in cell.weight_hh.split(5):
        torch.testing.assert_close(matrix @ matrix.T, torch.eye(5, dtype=torch.float64))


def test_a_wrong_form() -> None:
    with pytest.raises(ValueError, match=r"form must be one of 'mgu', 'mgu1', 'mgu2', 'mgu3', got 'mgu4'"):
        MGUCell(4, 5, form="mgu4")
    with pytest.raises(ValueError, match=r'form "mgu3" needs bias=True'):
        MGUCell(4, 5, bias=False, form="mgu3")


def test_torchrecurrents() -> None:
    torchrecurrent = pytest.importorskip("torchrecurrent")
    ours = scattered(MGUCell(4, 5))
    theirs = torchrecurrent.MGUCell(4, 5, recurrent_bias=False, dtype=torch.float64)
    theirs.load_state_dict(ours.state_dict() | {"bias_hh": torch.zeros(10)})
    assert_same_over_time(ours, theirs)
