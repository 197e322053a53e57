"""Sampling against its definition, and its refusals."""

from __future__ import annotations

import pytest
import torch

from ostinato.cells.library.gru import GRUCell
from ostinato.errors import InvalidValue
from ostinato.models.language_model import LanguageModel, LanguageModelSize
from ostinato.models.sampling import Sampling, choose, write

SCORES = torch.tensor([1.0, 3.0, 2.0, -1.0, 0.0])


def frequencies(sampling: Sampling, scores: torch.Tensor = SCORES, draws: int = 4000) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    counts = torch.zeros(len(scores))
    for _ in range(draws):
        counts[choose(scores, sampling, generator)] += 1
    return counts / draws


def test_temperature_divides_the_scores():
    for temperature in (0.5, 1.0, 2.0):
        torch.testing.assert_close(
            frequencies(Sampling(temperature)), (SCORES / temperature).softmax(0), atol=0.025, rtol=0
        )


def test_zero_temperature_is_the_likeliest():
    assert frequencies(Sampling(0.0), draws=5)[1] == 1


def test_a_tiny_temperature_is_the_likeliest_too():
    assert frequencies(Sampling(1e-30), draws=50)[1] == 1


def test_top_k_keeps_the_k_likeliest():
    expected = torch.zeros(5)
    expected[[1, 2]] = SCORES[[1, 2]].softmax(0)
    torch.testing.assert_close(frequencies(Sampling(top_k=2)), expected, atol=0.025, rtol=0)


def test_top_p_keeps_the_fewest_that_reach_p():
    # softmax of SCORES is 0.64, 0.24, 0.09, 0.03, 0.01 in order: 0.64 + 0.24 is the first sum to reach 0.7.
    assert (frequencies(Sampling(top_p=0.7)) > 0).tolist() == [False, True, True, False, False]
    assert frequencies(Sampling(top_p=0.01), draws=50)[1] == 1
    torch.testing.assert_close(frequencies(Sampling(top_p=1.0)), SCORES.softmax(0), atol=0.025, rtol=0)


def test_a_score_of_minus_infinity_is_never_chosen():
    scores = SCORES.clone()
    scores[1] = -torch.inf
    assert frequencies(Sampling(5.0), scores)[1] == 0


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({"temperature": -0.1}, "at least 0, got -0.1"),
        ({"temperature": float("nan")}, "at least 0, got nan"),
        ({"temperature": float("inf")}, "got inf"),
        ({"top_k": 0}, "at least 1, got 0"),
        ({"top_p": 0.0}, "above 0 and at most 1, got 0.0"),
        ({"top_p": 1.01}, "got 1.01"),
    ],
)
def test_values_outside_the_rule(arguments, rule):
    with pytest.raises(InvalidValue, match=rule):
        Sampling(**arguments)


def model(dropout: float = 0.0) -> LanguageModel:
    return LanguageModel(LanguageModelSize(7, hidden_size=9, embedding_size=5, dropout=dropout), GRUCell)


def test_writing_reads_back_what_it_wrote():
    network = model()
    written = list(write(network, [1, 2, 3], 12, Sampling(0.0)))
    tokens = [1, 2, 3]
    for token in written:  # the definition: the whole text again for every token
        scores, _ = network(torch.tensor(tokens).unsqueeze(1))
        assert token == int(scores[-1, 0].argmax())
        tokens.append(token)


def test_the_same_seed_writes_the_same_and_disturbs_nobody():
    network = model(dropout=0.5).train()
    before = torch.get_rng_state()
    first = list(write(network, [0], 40, Sampling(seed=3)))
    assert list(write(network, [0], 40, Sampling(seed=3))) == first
    assert list(write(network, [0], 40, Sampling(seed=4))) != first
    assert torch.equal(torch.get_rng_state(), before)
    assert network.training


def test_a_banned_token_is_not_written():
    assert 4 not in list(write(model(), [0], 300, Sampling(3.0, seed=0), never=4))


def test_refusals_come_before_the_first_token():
    with pytest.raises(InvalidValue, match="length must be at least 0, got -1"):
        write(model(), [0], -1, Sampling())
    with pytest.raises(InvalidValue, match="at least one token"):
        write(model(), [], 1, Sampling())
    assert list(write(model(), [0], 0, Sampling())) == []
