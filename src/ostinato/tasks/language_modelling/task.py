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
        """Mean of −ln p(next token) over the batch, and the state for the batch after it, cut from the graph."""
        scores, state = self.network(batch.inputs, None if batch.fresh else state)
        return F.cross_entropy(scores.flatten(0, 1), batch.targets.flatten()), detached(state)

    @property
    def validation_tokens(self) -> Any:
        """(M,) the tokens that validation reads."""
        return self.corpus.validation[: self.validation_limit]

    def validate(self) -> Score:
        """The metric: the same function, on the same tokens, as ``ostinato evaluate MODEL FILE --part validation``."""
        vocabulary = self.corpus.vocabulary
        found = evaluate(self.network, self.validation_tokens, vocabulary.unknown, vocabulary.unit)
        figures = {"nats": found.nats, "bits": found.bits, "perplexity": found.perplexity}
        about = {"tokens": found.tokens, "unknown": found.unknown, "unit": found.unit}
        return Score(figures, "bits", higher_is_better=False, of_loss=1 / math.log(2), about=about)

    def finished(self, training: dict[str, Any]) -> TextModel:
        """The model with its vocabulary and the figures of its training, to be saved."""
        return TextModel(self.network, self.corpus.vocabulary, training)
