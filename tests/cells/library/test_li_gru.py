"""The light GRU: the paper's equations, and torchrecurrent's on the same weights."""

from __future__ import annotations

import numpy as np
import pytest

from ostinato.cells import LiGRUCell
from tests.support.equations import assert_follows, assert_same_over_time, layer_norm, relu, scattered, sigmoid


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("norm", ["none", "layer"])
def test_the_papers_equations(norm: str, bias: bool) -> None:
    def step(w, x, h):
        from_x = x @ w["weight_ih"].T
        if norm == "layer":
            from_x = layer_norm(from_x) * w["gain_x"]
        z, n = np.split(from_x + w.get("bias_ih", 0) + h @ w["weight_hh"].T, 2, axis=-1)
        return sigmoid(z) * h + (1 - sigmoid(z)) * relu(n)

    assert_follows(LiGRUCell(4, 5, bias, norm=norm), step)


def test_another_activation() -> None:
    def step(w, x, h):
        z, n = np.split(x @ w["weight_ih"].T + w["bias_ih"] + h @ w["weight_hh"].T, 2, axis=-1)
        return sigmoid(z) * h + (1 - sigmoid(z)) * np.tanh(n)

    assert_follows(LiGRUCell(4, 5, activation="tanh"), step)


def test_the_gain_is_the_norms_and_begins_at_one() -> None:
    assert LiGRUCell(4, 5).gain_x is None
    assert (LiGRUCell(4, 5, norm="layer").gain_x == 1).all()


def test_batch_norm_is_not_on_offer() -> None:
    with pytest.raises(ValueError, match=r"norm must be one of 'none', 'layer', got 'batch'"):
        LiGRUCell(4, 5, norm="batch")


def test_torchrecurrents() -> None:
    torchrecurrent = pytest.importorskip("torchrecurrent")
    ours = scattered(LiGRUCell(4, 5))
    theirs = torchrecurrent.LiGRUCell(4, 5, recurrent_bias=False).double()
    theirs.load_state_dict(ours.state_dict() | {"bias_hh": theirs.bias_hh})
    assert_same_over_time(ours, theirs)
