"""The GRU with time-delay feedback: the paper's equations with a history kept apart, and torchrecurrent's layer."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import ostinato
from ostinato.cells import TauGRUCell
from tests.support.equations import scattered, sigmoid, values


def run(w, xs, delay):
    """All h of the paper's equations, whose h is zero before the sequence."""
    (U_1, U_3, U_4, U_2), (W_1, W_3, W_4, W_2) = np.split(w["weight_ih"], 4), np.split(w["weight_hh"], 4)
    b_1, b_3, b_4, b_2 = np.split(w["bias_ih"], 4) if "bias_ih" in w else (0, 0, 0, 0)
    h = [np.zeros((xs.shape[1], W_1.shape[0]))]
    for n, x in enumerate(xs):
        delayed = h[n - delay] if n >= delay else 0 * h[0]
        u = np.tanh(h[n] @ W_1.T + x @ U_1.T + b_1)
        z = np.tanh(delayed @ W_2.T + x @ U_2.T + b_2)
        g = sigmoid(h[n] @ W_3.T + x @ U_3.T + b_3)
        a = sigmoid(h[n] @ W_4.T + x @ U_4.T + b_4)
        h.append((1 - g) * h[n] + g * (u + a * z))
    return np.stack(h[1:])


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("delay", [1, 2, 3, 20])
def test_the_papers_equations(delay: int, bias: bool) -> None:
    cell = scattered(TauGRUCell(4, 5, bias=bias, delay=delay))
    xs, state, found = torch.randn(8, 3, 4, dtype=torch.float64), None, []
    for x in xs:
        state = cell(x, state)
        found.append(state[0].detach().numpy())
    np.testing.assert_allclose(np.stack(found), run(values(cell), xs.numpy(), delay), rtol=0, atol=1e-12)


def test_the_past_is_carried_from_chunk_to_chunk() -> None:
    layer = scattered(ostinato.Recurrent("tau-gru", 4, 5, num_layers=2, delay=3))
    x = torch.randn(9, 3, 4, dtype=torch.float64)
    whole, _ = layer(x)
    first, state = layer(x[:4])
    second, _ = layer(x[4:], state)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    assert [tuple(s.shape) for s in state] == [(2, 3, 5), (2, 3, 15)]


@pytest.mark.parametrize("delay", [1, 3])
def test_torchrecurrents(delay: int) -> None:
    torchrecurrent = pytest.importorskip("torchrecurrent")
    theirs = scattered(torchrecurrent.tauGRU(4, 5, delay=delay))
    ours = ostinato.Recurrent("tau-gru", 4, 5, delay=delay, dtype=torch.float64)
    weights = dict(theirs.cells[0].named_parameters())
    with torch.no_grad():
        for name in ("weight_ih", "weight_hh", "bias_ih"):
            value = weights[name] + (weights["bias_hh"] if name == "bias_ih" else 0)
            u, z, g, a = value.chunk(4)
            getattr(ours, f"{name}_l0").copy_(torch.cat([u, g, a, z]))
    x = torch.randn(8, 3, 4, dtype=torch.float64)
    torch.testing.assert_close(ours(x)[0], theirs(x)[0], rtol=0, atol=1e-12)


def test_a_delay_of_no_step() -> None:
    with pytest.raises(ValueError, match=r"delay must be greater than zero, got 0"):
        TauGRUCell(4, 5, delay=0)
