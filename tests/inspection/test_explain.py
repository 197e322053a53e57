"""One plain line: engine, why, parameters; more on request."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import ostinato
from tests.support.own_cells import NormalisedCell


def _listed(found) -> int:
    return sum(torch.Size(shape).numel() for place in found.places for shape in place.parameters.values())


def test_counts_and_engine() -> None:
    for layer, twin in (
        (ostinato.LSTM(4, 5, 2, bidirectional=True, proj_size=3), nn.LSTM(4, 5, 2, bidirectional=True, proj_size=3)),
        (ostinato.GRU(4, 5), nn.GRU(4, 5)),
    ):
        found = ostinato.explain(layer)
        assert found.engine == "native"
        assert "short and small calls" in found.why
        assert found.parameters == sum(p.numel() for p in twin.parameters())
        assert _listed(found) == found.parameters
        assert len(str(found).splitlines()) == 1


def test_detail_names_every_parameter() -> None:
    layer = ostinato.Recurrent(NormalisedCell, 4, [5, 3], initial_state="learned")
    text = str(ostinato.explain(layer, detail=True))
    assert "runs in the native engine (the cell's step is compiled)" in text
    for word in ("ln.weight", "weight_hh", "initial_h", "5 × 4", "h, a tuple of (1, B, 5), (1, B, 3)"):
        assert word in text


def test_the_block_counts() -> None:
    layer = ostinato.GRU(4, 5)
    with ostinato.engine("loop"):
        assert ostinato.explain(layer).engine == "loop"
    assert ostinato.explain(layer.to("meta")).engine == "aten"
    assert "complex64" in ostinato.explain(ostinato.GRU(4, 5, dtype=torch.complex64)).why
    with pytest.raises(TypeError, match=r"recurrent layer of ours, got Linear"):
        ostinato.explain(nn.Linear(2, 3))


def test_parametrized_weights_are_listed_with_what_is_learnt() -> None:
    layer = nn.utils.parametrizations.weight_norm(ostinato.GRU(3, 4), "weight_hh_l0")
    found = ostinato.explain(layer, detail=True)
    assert str(found).startswith("GRU(3, 4) runs in the native engine")
    assert _listed(found) == found.parameters == sum(p.numel() for p in layer.parameters())
