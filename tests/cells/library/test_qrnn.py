"""The quasi-recurrent network: the paper's equations, and its convolution as torch computes it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import ostinato
from ostinato.cells import QRNNCell
from ostinato.errors import InvalidType, InvalidValue
from tests.support.equations import assert_follows, sigmoid


@pytest.mark.parametrize("pooling", ["f", "fo", "ifo"])
def test_the_papers_equations(pooling: str) -> None:
    def step(w, x, c):
        parts = np.split(x @ w["weight_ih"].T + w["bias_ih"], len(pooling) + 1, axis=-1)
        z, f = np.tanh(parts[0]), sigmoid(parts[1])
        i = sigmoid(parts[3]) if pooling == "ifo" else 1 - f
        c = f * c + i * z
        return (c if pooling == "f" else sigmoid(parts[2]) * c), c

    assert_follows(QRNNCell(4, 5, pooling=pooling), step)


@pytest.mark.parametrize("window", [2, 3])
@pytest.mark.parametrize("engine", ["loop", "native"])
def test_a_window_is_a_masked_convolution(window: int, engine: str) -> None:
    layer = ostinato.Recurrent("qrnn", 4, 5, window=window, engine=engine, dtype=torch.float64)
    x = torch.randn(9, 2, 4, dtype=torch.float64)
    blocks = layer.weight_ih_l0.reshape(window, 15, 4)
    kernel = blocks.flip(0).permute(1, 2, 0)  # the convolution's last tap reads x_t
    padded = F.pad(x.permute(1, 2, 0), (window - 1, 0))
    z, f, o = F.conv1d(padded, kernel, layer.bias_ih_l0).permute(2, 0, 1).chunk(3, dim=-1)
    c, expected = torch.zeros(2, 5, dtype=torch.float64), []
    for t in range(9):
        c = torch.sigmoid(f[t]) * c + (1 - torch.sigmoid(f[t])) * torch.tanh(z[t])
        expected.append(torch.sigmoid(o[t]) * c)
    output, (c_n, _) = layer(x)
    torch.testing.assert_close(output, torch.stack(expected), rtol=0, atol=1e-12)
    torch.testing.assert_close(c_n[0], c, rtol=0, atol=1e-12)
    first, state = layer(x[:4])
    rest, _ = layer(x[4:], state)
    torch.testing.assert_close(torch.cat([first, rest]), output, rtol=0, atol=1e-12)


def test_cells_of_different_windows_do_not_share_their_states() -> None:
    assert QRNNCell(4, 5, window=2).state_names == ("c", "u")
    assert QRNNCell(4, 5).state_names == ("c",)


@pytest.mark.parametrize(
    ("option", "value", "error", "message"),
    [
        ("window", 0, InvalidValue, "window must be greater than zero"),
        ("window", 2.0, InvalidType, "window must be a whole number"),
        ("pooling", "max", InvalidValue, "one of 'f', 'fo', 'ifo'"),
    ],
)
def test_bad_options(option: str, value: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        QRNNCell(4, 5, **{option: value})
