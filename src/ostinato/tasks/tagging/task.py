"""Tagging as a task to train: its batches, its loss, its score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor

from ostinato.data.buckets import bucketed
from ostinato.models.states import State
from ostinato.models.tagger import Tagger
from ostinato.models.tagging_network import Sentences
from ostinato.models.tagging_tokens import padded
from ostinato.tasks.tagging.measure import Tagged, measure
from ostinato.tasks.task import Score

TaggedBatch = tuple[Sentences, Tensor]
"""Sentences, and their tags (T, B)."""


class TaggingTask:
    """A tagger and the sentences it learns.

    Args:
        model: learns.
        training: sentences to learn from.
        validation: sentences to check with; none is a word short.
        batch_words: a batch holds so many words at most, padding included.
        seed: decides the order of the batches.
        fingerprint: of the data.
    """

    name: ClassVar[str] = "tag"

    def __init__(
        self,
        model: Tagger,
        training: Sequence[Tagged],
        validation: Sequence[Tagged],
        *,
        batch_words: int,
        seed: int,
        fingerprint: str,
    ) -> None:
        self.model = model
        self.network = model.network
        self.fingerprint = fingerprint
        self._validation = validation
        self._pieces = [piece for sentence in training for piece in pieces(sentence, batch_words)]
        self._numbers = {tag: number for number, tag in enumerate(model.tags)}
        self._batches = bucketed([len(piece.words) for piece in self._pieces], batch_tokens=batch_words, seed=seed)

    @property
    def batches_per_epoch(self) -> int:
        """Batches in which each sentence is read once."""
        return len(self._batches)

    def batch(self, step: int) -> TaggedBatch:
        """Training batch number ``step``, whatever was read before."""
        chosen = [self._pieces[int(row)] for row in self._batches.batch(step)]
        tags = padded([[self._numbers[tag] for tag in piece.tags] for piece in chosen])
        return self.model.tokens.batch([piece.words for piece in chosen]), tags

    def loss(self, batch: TaggedBatch, state: State) -> tuple[Tensor, State]:
        """Mean over the words of −ln p(right tag), or with a CRF of −ln p(right tagging of the sentence)."""
        sentences, tags = batch
        scores = self.network(sentences)
        return self.network.surprise(scores, tags, sentences.lengths).sum() / sentences.lengths.sum(), None

    def validate(self) -> Score:
        """The figures of the validation part; the entities' F1 decides where tags name them, else accuracy."""
        figures = measure(self.model, self._validation)
        return Score(figures, "entity_f1" if "entity_f1" in figures else "accuracy", higher_is_better=True)

    def finished(self, training: dict[str, Any]) -> Tagger:
        """The model with the figures of its training, to be saved."""
        model = self.model
        return Tagger(model.network, model.tokens, model.tags, model.columns, training)


def pieces(sentence: Tagged, most: int) -> list[Tagged]:
    """A sentence cut into runs of at most ``most`` words, so that none needs more memory than a batch.

    >>> [piece.words for piece in pieces(Tagged("abcde", "vwxyz"), 2)]
    ['ab', 'cd', 'e']
    """
    words, tags = sentence
    return [Tagged(words[i : i + most], tags[i : i + most]) for i in range(0, len(words), most)]
