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
    batches = Batches(corpus(count), batch, length, seed=3)
    for number in range(49):
        now, then = batches[number], batches[number + 1]
        assert now.inputs.shape == now.targets.shape == (length, batch)
        assert torch.equal(now.targets, (now.inputs + 1) % count)
        if not then.fresh:
            assert torch.equal(then.inputs[0], now.targets[-1])
        assert then.fresh == ((number + 1) % batches.per_epoch == 0)


def test_an_epoch_reads_nearly_everything_once():
    batches = Batches(corpus(1000), 4, 10, seed=0)
    read = torch.cat([batches[number].inputs.flatten() for number in range(batches.per_epoch)])
    assert len(read.unique()) == len(read) == 1000


def test_each_epoch_starts_elsewhere_and_each_seed_too():
    batches = Batches(corpus(1000), 4, 10, seed=0)
    others = Batches(corpus(1000), 4, 10, seed=1)
    starts = {int(batches[epoch * batches.per_epoch].inputs[0, 0]) for epoch in range(5)}
    assert len(starts | {int(others[0].inputs[0, 0])}) == 6
