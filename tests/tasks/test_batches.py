"""Batches against the definition: B readers on a ring of text."""

from __future__ import annotations

import numpy
import pytest
import torch

from ostinato.models.vocabulary import ByteVocabulary
from ostinato.tasks.language_modelling.batches import Batches
from ostinato.tasks.language_modelling.corpus import Corpus


def corpus(count: int) -> Corpus:
    """Every token is its own position, so that a batch shows where it was read."""
    return Corpus(None, ByteVocabulary(), numpy.arange(count), numpy.arange(2), "")


@pytest.mark.parametrize(("count", "batch", "length"), [(1000, 8, 10), (1003, 7, 9), (12, 5, 11), (11, 1, 10)])
def test_readers_walk_on(count, batch, length):
    batches = Batches(corpus(count), batch, length, seed=3, total=50)
    for number in range(49):
        now, then = batches[number], batches[number + 1]
        assert now.inputs.shape == now.targets.shape == (length, batch)
        assert torch.equal(now.targets, (now.inputs + 1) % count)
        if not then.fresh:
            assert torch.equal(then.inputs[0], now.targets[-1])
        assert then.fresh == ((number + 1) % batches.per_epoch == 0)


def test_an_epoch_reads_nearly_everything_once():
    batches = Batches(corpus(1000), 4, 10, seed=0, total=100)
    read = torch.cat([batches[number].inputs.flatten() for number in range(batches.per_epoch)])
    assert len(read.unique()) == len(read) == 1000


def test_each_epoch_starts_elsewhere_and_each_seed_too():
    batches = Batches(corpus(1000), 4, 10, seed=0, total=100)
    others = Batches(corpus(1000), 4, 10, seed=1, total=100)
    starts = {int(batches[epoch * batches.per_epoch].inputs[0, 0]) for epoch in range(5)}
    assert len(starts | {int(others[0].inputs[0, 0])}) == 6


def test_going_on_from_a_position_is_never_having_stopped():
    whole = list(Batches(corpus(300), 3, 7, seed=1, total=40))
    first = Batches(corpus(300), 3, 7, seed=1, total=40)
    iterator = iter(first)
    for _ in range(17):
        next(iterator)
    second = Batches(corpus(300), 3, 7, seed=1, total=40)
    second.load_state_dict(first.state_dict())
    rest = list(second)
    assert len(rest) == 23
    for one, other in zip(whole[17:], rest, strict=True):
        assert torch.equal(one.inputs, other.inputs)
        assert one.fresh == other.fresh
