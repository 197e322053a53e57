"""The conditional random field against brute force: every tagging of every row, scored one by one, in float64."""

from __future__ import annotations

from itertools import pairwise, product

import pytest
import torch

from ostinato.models.crf import CRF

LENGTHS = (5, 0, 1, 3, 2)
TAGS = 3


@pytest.fixture
def crf():
    crf = CRF(TAGS, dtype=torch.float64)
    for parameter in crf.parameters():
        torch.nn.init.normal_(parameter)
    return crf


@pytest.fixture
def scores():
    return torch.randn(max(LENGTHS), len(LENGTHS), TAGS, dtype=torch.float64)


def plain_score(crf, scores, tags) -> float:
    """The definition, for one row (T, K) and one tagging."""
    if not tags:
        return 0.0
    total = crf.start[tags[0]].item() + crf.end[tags[-1]].item()
    total += sum(scores[t, tag].item() for t, tag in enumerate(tags))
    return total + sum(crf.transitions[a, b].item() for a, b in pairwise(tags))


def every_tagging(crf, scores):
    """For each row: {tagging: score}."""
    return [
        {tags: plain_score(crf, scores[:, b], tags) for tags in product(range(TAGS), repeat=length)}
        for b, length in enumerate(LENGTHS)
    ]


def test_the_probability_of_every_tagging(crf, scores):
    every = every_tagging(crf, scores)
    lengths = torch.tensor(LENGTHS)
    partition = torch.tensor([[*each.values()] for each in every[:1]], dtype=torch.float64).logsumexp(1)
    torch.testing.assert_close(crf.log_partition(scores, lengths)[:1], partition, rtol=1e-12, atol=1e-12)
    for b, each in enumerate(every):
        log_sum = torch.tensor([*each.values()], dtype=torch.float64).logsumexp(0)
        for tags, score in list(each.items())[::5]:
            padded = torch.zeros(max(LENGTHS), len(LENGTHS), dtype=torch.long)
            padded[: len(tags), b] = torch.tensor(tags, dtype=torch.long)
            assert crf.score(scores, padded, lengths)[b].item() == pytest.approx(score, abs=1e-12)
            expected = (score - log_sum).item()
            assert crf(scores, padded, lengths)[b].item() == pytest.approx(expected, abs=1e-12)


def test_the_likeliest_tagging(crf, scores):
    for _ in range(20):
        torch.nn.init.normal_(crf.transitions, std=2)
        tags, best = crf.decode(scores, torch.tensor(LENGTHS))
        for b, each in enumerate(every_tagging(crf, scores)):
            expected = max(each, key=each.__getitem__)
            assert tuple(tags[: LENGTHS[b], b].tolist()) == expected
            assert best[b].item() == pytest.approx(each[expected], abs=1e-12)
            assert not tags[LENGTHS[b] :, b].any()


def test_the_probability_of_each_tag(crf, scores):
    marginals = crf.marginals(scores, torch.tensor(LENGTHS))
    for b, each in enumerate(every_tagging(crf, scores)):
        weights = torch.tensor([*each.values()], dtype=torch.float64).softmax(0)
        expected = torch.zeros(max(LENGTHS), TAGS, dtype=torch.float64)
        for weight, tags in zip(weights, each, strict=True):
            for t, tag in enumerate(tags):
                expected[t, tag] += weight
        torch.testing.assert_close(marginals[:, b], expected, rtol=1e-12, atol=1e-12)


def test_gradients(crf, scores):
    tags, lengths = torch.randint(TAGS, scores.shape[:2]), torch.tensor(LENGTHS)
    parameters = tuple(crf.parameters())

    def likelihood(scores, *_):
        return crf(scores, tags, lengths)

    assert torch.autograd.gradcheck(likelihood, (scores.requires_grad_(), *parameters))


def test_what_stands_past_the_end_is_never_read(crf, scores):
    lengths = torch.tensor(LENGTHS)
    past = torch.arange(max(LENGTHS)).unsqueeze(1) >= lengths
    poisoned = scores.masked_fill(past.unsqueeze(2), torch.nan).requires_grad_()
    scores.requires_grad_()
    tags = torch.randint(TAGS, scores.shape[:2])
    other = tags.masked_fill(past, 1)
    results = []
    for s, y in ((scores, tags), (poisoned, other)):
        value = crf(s, y, lengths)
        gradients = torch.autograd.grad(value.sum(), (s, *crf.parameters()))
        results.append((value, *gradients, *crf.decode(s, lengths), crf.marginals(s, lengths)))
    for one, two in zip(*results, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0)
    assert not results[1][1][past].any()


def test_long_rows_in_float32_neither_overflow_nor_vanish():
    crf = CRF(4)
    scores = 300 * torch.randn(400, 2, 4)
    lengths = torch.tensor([400, 399])
    precise = CRF(4, dtype=torch.float64)
    torch.testing.assert_close(
        crf.log_partition(scores, lengths).double(), precise.log_partition(scores.double(), lengths), rtol=1e-5, atol=0
    )
    assert crf.marginals(scores, lengths).isfinite().all()


def test_it_learns_an_order_that_no_word_shows():
    """Emissions say nothing; only transitions can tell that tags come in turn."""
    crf = CRF(2)
    tags = torch.tensor([[0], [1]]).repeat(4, 1)
    scores, lengths = torch.zeros(8, 1, 2), torch.tensor([8])
    optimizer = torch.optim.Adam(crf.parameters(), lr=0.1)
    for _ in range(60):
        optimizer.zero_grad()
        (-crf(scores, tags, lengths).sum()).backward()
        optimizer.step()
    assert torch.equal(crf.decode(scores, lengths)[0], tags)
    assert crf(scores, tags, lengths).exp().item() > 0.9
