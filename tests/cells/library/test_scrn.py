"""The structurally constrained network: the paper's equations, both forms of α, both outputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import ostinato
from ostinato.cells import SCRNCell
from tests.support.equations import assert_follows, sigmoid

C, H = 3, 5


def states_of(w, x, h, s, alpha):
    B, A = w["weight_ih"][:C], w["weight_ih"][C:]
    s = (1 - alpha) * (x @ B.T) + alpha * s
    h = sigmoid(s @ w["weight_sh"].T + x @ A.T + h @ w["weight_hh"].T + w.get("bias_ih", 0))
    return h, s


@pytest.mark.parametrize("bias", [True, False])
def test_the_papers_equations(bias: bool) -> None:
    def step(w, x, h, s):
        h, s = states_of(w, x, h, s, 0.95)
        return np.concatenate([h, s], axis=-1), h, s

    assert_follows(SCRNCell(4, H, bias, context_size=C), step)


def test_each_context_unit_with_its_own_alpha() -> None:
    def step(w, x, h, s):
        h, s = states_of(w, x, h, s, sigmoid(w["logit_alpha"]))
        return np.concatenate([h, s], axis=-1), h, s

    assert_follows(SCRNCell(4, H, context_size=C, adaptive=True), step)


def test_the_output_matrices() -> None:
    def step(w, x, h, s):
        h, s = states_of(w, x, h, s, 0.8)
        return h @ w["weight_ho"].T + s @ w["weight_so"].T, h, s

    assert_follows(SCRNCell(4, H, context_size=C, alpha=0.8, proj_size=2), step)


def test_an_adaptive_alpha_begins_where_it_is_told() -> None:
    cell = SCRNCell(4, H, alpha=0.9, adaptive=True, dtype=torch.float64)
    torch.testing.assert_close(torch.sigmoid(cell.logit_alpha), torch.full((2,), 0.9, dtype=torch.float64))


@pytest.mark.parametrize(("hidden", "context"), [(1, 1), (5, 2), (100, 40)])
def test_the_usual_context(hidden: int, context: int) -> None:
    assert SCRNCell(4, hidden).state_sizes == (hidden, context)


def test_the_last_layer_alone_has_output_matrices() -> None:
    layer = ostinato.Recurrent(SCRNCell, 4, H, num_layers=2, context_size=C, proj_size=2)
    output, (h, s) = layer(torch.randn(7, 2, 4))
    assert output.shape == (7, 2, 2)
    assert (h.shape, s.shape) == ((2, 2, H), (2, 2, C))
    assert layer.weight_ih_l1.shape == (C + H, H + C)
    assert [name for name, _ in layer.named_parameters() if "weight_ho" in name] == ["weight_ho_l1"]


def test_alpha_is_a_share() -> None:
    with pytest.raises(ValueError, match=r"alpha must be between 0 and 1, got 1.5"):
        SCRNCell(4, H, alpha=1.5)
    with pytest.raises(ValueError, match=r"alpha must be between 0 and 1, neither included, got 1"):
        SCRNCell(4, H, alpha=1, adaptive=True)
    with pytest.raises(ValueError, match=r"context_size must be greater than zero, got 0"):
        SCRNCell(4, H, context_size=0)


def test_torchrecurrents_hidden_layer_where_nothing_is_fed_back() -> None:
    """It feeds its output back as h: from zeros, in the first step, its two layers are ours with U and V."""
    torchrecurrent = pytest.importorskip("torchrecurrent")
    theirs = torchrecurrent.SCRNCell(4, H, bias=False, recurrent_bias=False, context_bias=False, alpha=0.7).double()
    ours = SCRNCell(4, H, bias=False, context_size=H, alpha=0.7, proj_size=H, dtype=torch.float64)
    with torch.no_grad():
        ours.weight_ih.copy_(theirs.weight_ih)
        for name, half in (("weight_hh", theirs.weight_hh[:H]), ("weight_ho", theirs.weight_hh[H:])):
            getattr(ours, name).copy_(half)
        for name, half in (("weight_sh", theirs.weight_ch[:H]), ("weight_so", theirs.weight_ch[H:])):
            getattr(ours, name).copy_(half)
        ours.alpha = theirs.alpha.item()
    x = torch.randn(3, 4, dtype=torch.float64)
    y, (_, s) = ours(x)
    their_y, their_s = theirs(x)
    torch.testing.assert_close(torch.tanh(y), their_y, rtol=0, atol=1e-12)
    torch.testing.assert_close(s, their_s, rtol=0, atol=1e-12)
