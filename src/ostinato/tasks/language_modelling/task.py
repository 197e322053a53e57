"""What a trainer needs of language modelling: the batches, the loss, the metric, the finished model."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from torch import Tensor
from torch.nn import functional as F

from ostinato.models.evaluation import evaluate
from ostinato.models.language_model import LanguageModel
from ostinato.models.states import State, detached
from ostinato.models.text_model import TextModel
from ostinato.tasks.language_modelling.batches import Batch, Batches
from ostinato.tasks.language_modelling.corpus import Corpus
from ostinato.tasks.language_modelling.line_tokens import validation_characters
from ostinato.tasks.language_modelling.settings import LanguageModelSettings
from ostinato.tasks.task import Score

GIVE_BACK_EVERY = 256
"""Batches between two times the mapped pages are given back to the system."""


class LanguageModelling:
    """A model and the text it learns.

    Args:
        network: learns.
        corpus: is learnt.
        settings: of the run.
    """

    name: ClassVar[str] = "language-model"

    def __init__(self, network: LanguageModel, corpus: Corpus, settings: LanguageModelSettings) -> None:
        self.network = network
        self.corpus = corpus
        self.validation_limit = settings.validation_limit
        self.characters = validation_characters(
            corpus.path, corpus.vocabulary, settings.validation_fraction, settings.validation_limit
        )
        self.activation_penalty = settings.activation_penalty or 0.0
        self.change_penalty = settings.change_penalty or 0.0
        self._batches = Batches(corpus, settings.batch_size, settings.sequence_length, settings.seed)

    @property
    def fingerprint(self) -> str:
        """A hash of the file's bytes."""
        return self.corpus.fingerprint

    @property
    def batches_per_epoch(self) -> int:
        """Batches until every token has been read about once."""
        return self._batches.per_epoch

    def batch(self, step: int) -> Batch:
        """Batch number ``step``, whatever was read before."""
        if step % GIVE_BACK_EVERY == 0:
            self.corpus.give_back()
        return self._batches[step]

    def loss(self, batch: Batch, state: State) -> tuple[Tensor, State]:
        """Mean of −ln p(next token) over the batch, and the state for the batch after it, cut from the graph.

        AWD-LSTM's penalties, where asked for, are part of it.
        """
        before = None if batch.fresh else state
        if self.activation_penalty or self.change_penalty:
            y, dropped, after = self.network.activations(batch.inputs, before)
            scores = self.network.scores(dropped)
            penalty = penalties(y, dropped, self.activation_penalty, self.change_penalty)
            return _surprise(scores, batch) + penalty, detached(after)
        scores, after = self.network(batch.inputs, before)
        return _surprise(scores, batch), detached(after)

    @property
    def validation_tokens(self) -> Any:
        """(M,) the tokens that validation reads."""
        return self.corpus.validation[: self.validation_limit]

    def validate(self) -> Score:
        """The metric: the same function, on the same tokens, as ``ostinato evaluate MODEL FILE --part validation``."""
        vocabulary = self.corpus.vocabulary
        found = evaluate(self.network, self.validation_tokens, vocabulary.unknown, vocabulary.unit, self.characters)
        figures = {"nats": found.nats, "bits": found.bits, "perplexity": found.perplexity}
        about = {"tokens": found.tokens, "unknown": found.unknown, "unit": found.unit}
        if found.bits_per_character is not None:
            figures["bits_per_character"] = found.bits_per_character
            about["characters"] = found.characters
        return Score(figures, "bits", higher_is_better=False, of_loss=1 / math.log(2), about=about)

    def finished(self, training: dict[str, Any]) -> TextModel:
        """The model with its vocabulary and the figures of its training, to be saved."""
        return TextModel(self.network, self.corpus.vocabulary, training)


def _surprise(scores: Tensor, batch: Batch) -> Tensor:
    return F.cross_entropy(scores.flatten(0, 1), batch.targets.flatten())


def penalties(y: Tensor, dropped: Tensor, activation: float, change: float) -> Tensor:
    """What large outputs, and outputs that change quickly, add to the loss.

    S. Merity, B. McCann, R. Socher, "Revisiting activation regularization for language RNNs", 2017.

    Args:
        y: (T, B, H) of the top layer.
        dropped: the same after dropout.
        activation: times the mean square of ``dropped``.
        change: times the mean square of the difference of ``y`` at neighbouring steps.

    >>> import torch
    >>> y = torch.tensor([1.0, 3.0]).view(2, 1, 1)
    >>> penalties(y, y, activation=2.0, change=1.0)
    tensor(14.)
    """
    penalty = activation * dropped.square().mean()
    return penalty + change * y.diff(dim=0).square().mean() if len(y) > 1 else penalty
