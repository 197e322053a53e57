"""The rectified cell at the identity: its equation, and where it begins."""

from __future__ import annotations

import pytest
import torch

import ostinato
from ostinato.cells import IRNNCell
from tests.support.equations import assert_follows, assert_same_over_time, relu, scattered


@pytest.mark.parametrize("bias", [True, False])
def test_the_papers_equation(bias: bool) -> None:
    def step(w, x, h):
        return relu(x @ w["weight_ih"].T + h @ w["weight_hh"].T + w.get("bias_ih", 0))

    assert_follows(IRNNCell(4, 5, bias), step)


def test_where_it_begins() -> None:
    cell = IRNNCell(200, 300)
    assert torch.equal(cell.weight_hh, torch.eye(300))
    assert torch.equal(cell.bias_ih, torch.zeros(300))
    assert cell.weight_ih.std().item() == pytest.approx(0.001, rel=0.02)
    assert cell.weight_ih.mean().abs().item() < 2e-5


def test_a_smaller_identity_and_larger_inputs() -> None:
    cell = IRNNCell(200, 300, scale=0.01, input_std=0.1)
    assert torch.equal(cell.weight_hh, 0.01 * torch.eye(300))
    assert cell.weight_ih.std().item() == pytest.approx(0.1, rel=0.02)


def test_it_is_torchs_rectified_cell() -> None:
    ours, theirs = scattered(IRNNCell(4, 5)), torch.nn.RNNCell(4, 5, nonlinearity="relu").double()
    theirs.load_state_dict(ours.state_dict() | {"bias_hh": torch.zeros(5)})
    assert_same_over_time(ours, theirs)


def test_a_cell_on_the_meta_device_draws_nothing() -> None:
    assert IRNNCell(4, 5, device="meta").weight_hh.is_meta


def test_a_layers_parameters_begin_there_in_both_directions() -> None:
    layer = ostinato.Recurrent("irnn", 4, 5, num_layers=2, bidirectional=True)
    for suffix in ("l0", "l0_reverse", "l1", "l1_reverse"):
        assert torch.equal(getattr(layer, f"weight_hh_{suffix}"), torch.eye(5))


def test_a_deviation_is_above_zero() -> None:
    with pytest.raises(ValueError, match=r"input_std must be greater than 0, got 0"):
        IRNNCell(4, 5, input_std=0)
