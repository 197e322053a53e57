"""The layer-normalised GRU: the paper's equations, with the reset after and before the product."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ostinato.cells import LayerNormGRUCell
from tests.support.equations import assert_follows, layer_norm, sigmoid

H = 5


def gates_of(w, x, h, bias):
    W, U = w["weight_ih"], w["weight_hh"]
    from_x = layer_norm(x @ W[: 2 * H].T) * w["gain_x"][: 2 * H]
    from_h = layer_norm(h @ U[: 2 * H].T) * w["gain_h"][: 2 * H]
    r, z = np.split(sigmoid(from_x + from_h + bias[: 2 * H]), 2, axis=-1)
    x_n = layer_norm(x @ W[2 * H :].T) * w["gain_x"][2 * H :] + bias[2 * H :]
    return r, z, x_n


@pytest.mark.parametrize("bias", [True, False])
def test_the_papers_equations(bias: bool) -> None:
    def step(w, x, h):
        r, z, x_n = gates_of(w, x, h, w.get("bias_ih", np.zeros(3 * H)))
        h_n = layer_norm(h @ w["weight_hh"][2 * H :].T) * w["gain_h"][2 * H :] + w.get("bias_hn", 0)
        return (1 - z) * h + z * np.tanh(x_n + r * h_n)

    assert_follows(LayerNormGRUCell(4, H, bias), step)


def test_the_reset_before_the_product() -> None:
    def step(w, x, h):
        r, z, x_n = gates_of(w, x, h, w["bias_ih"])
        h_n = layer_norm((r * h) @ w["weight_hh"][2 * H :].T) * w["gain_h"][2 * H :]
        return (1 - z) * h + z * np.tanh(x_n + h_n)

    assert_follows(LayerNormGRUCell(4, H, reset="before"), step)


def test_eps_is_added_to_the_variance() -> None:
    """With a variance far below eps the products vanish, so h moves by the biases alone."""
    cell = LayerNormGRUCell(4, H, eps=1e6, dtype=torch.float64)
    h = torch.randn(3, H, dtype=torch.float64)
    r, z, n = cell.bias_ih.chunk(3)
    z, n = torch.sigmoid(z), torch.tanh(n + torch.sigmoid(r) * cell.bias_hn)
    torch.testing.assert_close(cell(torch.randn(3, 4).double(), h), (1 - z) * h + z * n, atol=1e-2, rtol=0)


def test_gains_begin_at_one() -> None:
    cell = LayerNormGRUCell(4, H)
    assert (cell.gain_x == 1).all()
    assert (cell.gain_h == 1).all()
    assert cell.bias_hn is not None
    assert LayerNormGRUCell(4, H, reset="before").bias_hn is None


def test_options_that_are_none() -> None:
    with pytest.raises(ValueError, match=r"reset must be one of 'after', 'before', got 'never'"):
        LayerNormGRUCell(4, H, reset="never")
    with pytest.raises(ValueError, match=r"eps must be greater than 0, got 0"):
        LayerNormGRUCell(4, H, eps=0)
