"""The linear recurrent unit: the paper's equations in complex numbers, the ring it begins on."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import ostinato
from ostinato.cells import LRUCell
from ostinato.errors import InvalidType, InvalidValue
from tests.support.equations import assert_follows


def test_the_papers_equations() -> None:
    def step(w, x, re, im):
        lam = np.exp(-np.exp(w["nu"]) + 1j * np.exp(w["theta"]))
        B = w["weight_ih"][:5] + 1j * w["weight_ih"][5:]
        C = w["weight_ho"][:3] + 1j * w["weight_ho"][3:]
        h = lam * (re + 1j * im) + np.exp(w["gamma"]) * (x @ B.T)
        return (h @ C.T).real + x @ w["weight_io"].T, h.real, h.imag

    assert_follows(LRUCell(4, 5, output_size=3), step)


def test_the_ring() -> None:
    torch.manual_seed(0)
    cell = LRUCell(4, 4000, r_min=0.4, r_max=0.9, max_phase=math.pi / 10, dtype=torch.float64)
    radius, angle = torch.exp(-torch.exp(cell.nu)), torch.exp(cell.theta)
    assert radius.min() >= 0.4
    assert radius.max() <= 0.9
    assert (radius**2).mean().item() == pytest.approx((0.4**2 + 0.9**2) / 2, rel=0.02), "uniform in area"
    assert angle.min() > 0
    assert angle.max() <= math.pi / 10
    assert angle.mean().item() == pytest.approx(math.pi / 20, rel=0.05)
    torch.testing.assert_close(torch.exp(cell.gamma), torch.sqrt(1 - radius**2))


def test_the_state_keeps_its_variance() -> None:
    """What γ is for: white input of variance one gives a state of E|h|² = 1 in the long run."""
    torch.manual_seed(0)
    layer = ostinato.Recurrent("lru", 16, 64, r_min=0.5, r_max=0.95)
    _, (re, im) = layer(torch.randn(400, 64, 16))
    assert (re**2 + im**2).mean().item() == pytest.approx(1.0, rel=0.1)


@pytest.mark.parametrize("radii", [(0.0, 1.0), (0.999, 1.0)])
def test_it_begins_finite(radii: tuple[float, float]) -> None:
    cell = LRUCell(4, 100_000, r_min=radii[0], r_max=radii[1], output_size=1)
    for parameter in (cell.nu, cell.theta, cell.gamma):
        assert parameter.isfinite().all()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"r_min": 0.9, "r_max": 0.5}, InvalidValue, "0 ≤ r_min < r_max ≤ 1, got 0.9 and 0.5"),
        ({"r_max": 1.5}, InvalidValue, "0 ≤ r_min < r_max ≤ 1"),
        ({"r_min": -0.1}, InvalidValue, "r_min must be at least 0"),
        ({"max_phase": 0}, InvalidValue, "max_phase must be greater than 0"),
        ({"output_size": 0}, InvalidValue, "output_size must be greater than zero"),
        ({"r_max": "1"}, InvalidType, "r_max must be a number"),
    ],
)
def test_bad_options(options: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        LRUCell(4, 5, **options)
