"""Poolings against a loop over single sequences in float64; what lies past the end is never felt."""

from __future__ import annotations

import pytest
import torch

from ostinato.errors import InvalidValue
from ostinato.models.pooling import POOLINGS, Pooling

LENGTHS = torch.tensor([5, 1, 0, 3])


def alone(pooling: Pooling, y: torch.Tensor) -> torch.Tensor:
    """(T, D·H) of one sequence → (D·H,), by the definition."""
    if len(y) == 0:
        return torch.zeros(y.shape[1], dtype=y.dtype)
    half = y.shape[1] // 2
    if pooling.name == "last":
        return torch.cat([y[-1, :half], y[0, half:]])
    if pooling.name == "mean":
        return sum(y) / len(y)
    if pooling.name == "max":
        return torch.stack([max(y[:, k]) for k in range(y.shape[1])])
    scores = torch.stack(
        [pooling.query.weight[0] @ torch.tanh(pooling.key.weight @ step + pooling.key.bias) for step in y]
    )
    weights = scores.exp() / scores.exp().sum()
    return sum(weight * step for weight, step in zip(weights, y, strict=True))


@pytest.mark.parametrize("name", POOLINGS)
def test_it_is_its_definition(name):
    pooling = Pooling(name, 6, 2).double()
    y = torch.randn(5, 4, 6, dtype=torch.float64)
    expected = torch.stack([alone(pooling, y[:length, b]) for b, length in enumerate(LENGTHS)])
    torch.testing.assert_close(pooling(y, LENGTHS), expected)


@pytest.mark.parametrize("name", POOLINGS)
def test_what_lies_past_the_end_changes_neither_value_nor_gradient(name):
    pooling = Pooling(name, 6, 2)
    clean = torch.randn(5, 4, 6)
    clean[torch.arange(5).unsqueeze(1) >= LENGTHS] = 0
    dirty = clean.clone()
    dirty[torch.arange(5).unsqueeze(1) >= LENGTHS] = 1e30
    gradients = []
    for y in (clean, dirty):
        y = y.requires_grad_()
        value = pooling(y, LENGTHS)
        value.square().sum().backward()
        gradients.append(y.grad)
    torch.testing.assert_close(pooling(dirty, LENGTHS), pooling(clean, LENGTHS))
    torch.testing.assert_close(gradients[1], gradients[0])
    assert gradients[0].abs().sum() > 0


def test_attention_sums_to_one_inside_the_sequence():
    pooling = Pooling("attention", 6)
    weights = pooling.weights(torch.randn(5, 4, 6), LENGTHS)
    assert torch.equal(weights > 0, torch.arange(5).unsqueeze(1) < LENGTHS.clamp(min=1))
    torch.testing.assert_close(weights.sum(0), torch.ones(4))


def test_no_steps_at_all_give_zeros():
    for name in POOLINGS:
        assert torch.equal(Pooling(name, 6, 2)(torch.zeros(0, 2, 6), torch.tensor([0, 0])), torch.zeros(2, 6))


def test_another_name():
    with pytest.raises(InvalidValue, match="did you mean 'mean'"):
        Pooling("men", 6)
