"""How well sentences are tagged: the same figures in training, for a test part, for any other file, for a baseline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ostinato.tasks.tagging.entities import EntityScore, names_entities

SENTENCES = 512
"""So many are tagged at a time, so that those of one length can share a batch."""


class Tagged(NamedTuple):
    """A sentence's words and their right tags."""

    words: Sequence[str]
    tags: Sequence[str]


def score(sentences: Sequence[Tagged], predicted: Sequence[Sequence[str]]) -> dict[str, float]:
    """The part of the words that is tagged rightly; and of entities F1, precision and recall, if tags name them.

    >>> score([Tagged(["Ann", "sleeps"], ["NOUN", "VERB"])], [["NOUN", "NOUN"]])
    {'accuracy': 0.5}
    """
    words = sum(len(sentence.words) for sentence in sentences)
    right = sum(
        one == other
        for sentence, tags in zip(sentences, predicted, strict=True)
        for one, other in zip(sentence.tags, tags, strict=True)
    )
    figures = {"accuracy": right / words}
    if names_entities(tag for sentence in sentences for tag in sentence.tags):
        entities = EntityScore.of((sentence.tags for sentence in sentences), predicted)
        figures |= {
            "entity_f1": entities.f1,
            "entity_precision": entities.precision,
            "entity_recall": entities.recall,
        }
    return figures


def tagged(model: Any, sentences: Iterable[Sequence[str]]) -> Iterator[tuple[list[str], Tensor]]:
    """For each sentence its tags and the probabilities (T, K) of all tags, as the sentences come.

    Args:
        model: a :class:`~ostinato.models.tagger.Tagger`, or an ensemble of them.
        sentences: at least a word each.
    """
    rest = iter(sentences)
    while some := list(islice(rest, SENTENCES)):
        scores = model.scores(some)
        yield from zip(model.predict(some) if model.joint else model.from_scores(scores), scores, strict=True)


def measure(model: Any, sentences: Sequence[Tagged]) -> dict[str, float]:
    """:func:`score` of a model, after its loss: the mean over words of −ln p(right tag).

    A tag that the model does not know counts as wrong, and has no part in the loss, which would be infinite.
    """
    numbers = {tag: number for number, tag in enumerate(model.tags)}
    predicted, surprise, counted = [], 0.0, 0
    for sentence, (tags, chances) in zip(sentences, tagged(model, (s.words for s in sentences)), strict=True):
        predicted.append(tags)
        known = [(t, numbers[tag]) for t, tag in enumerate(sentence.tags) if tag in numbers]
        if known:
            # The smallest number there is stands for 0, of which the logarithm is infinite.
            right = chances[tuple(zip(*known, strict=True))].clamp(min=torch.finfo(chances.dtype).tiny)
            surprise, counted = surprise - float(right.double().log().sum()), counted + len(known)
    loss = {"loss": surprise / counted} if counted else {}
    return loss | score(sentences, predicted)


def unseen_tags(sentences: Iterable[Tagged], known: Iterable[str]) -> dict[str, int]:
    """How often each tag occurs that is not ``known``."""
    known = set(known)
    counts = Counter(tag for sentence in sentences for tag in sentence.tags if tag not in known)
    return dict(counts.most_common())
