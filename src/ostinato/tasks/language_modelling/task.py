"""The parts of language modelling that a trainer puts together: the loss of a step, the metric, the finished model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from ostinato.models.evaluation import Evaluation, evaluate
from ostinato.models.language_model import LanguageModel
from ostinato.models.states import State, detached
from ostinato.models.text_model import TextModel
from ostinato.tasks.language_modelling.batches import Batch
from ostinato.tasks.language_modelling.corpus import Corpus


@dataclass(frozen=True)
class LanguageModelling:
    """A model and the text it learns.

    Args:
        network: learns.
        corpus: is learnt.
        validation_limit: validation reads at most so many tokens of the validation part, from its beginning.
    """

    network: LanguageModel
    corpus: Corpus
    validation_limit: int

    def loss(self, batch: Batch, state: State) -> tuple[Tensor, State]:
        """Mean of −ln p(next token) over the batch, and the state for the batch after it, cut from the graph."""
        scores, state = self.network(batch.inputs, None if batch.fresh else state)
        return F.cross_entropy(scores.flatten(0, 1), batch.targets.flatten()), detached(state)

    @property
    def validation_tokens(self) -> Any:
        """(M,) the tokens that validation reads."""
        return self.corpus.validation[: self.validation_limit]

    def validate(self) -> Evaluation:
        """The metric: the same function, on the same tokens, as ``ostinato evaluate MODEL FILE --part validation``."""
        vocabulary = self.corpus.vocabulary
        return evaluate(self.network, self.validation_tokens, vocabulary.unknown, vocabulary.unit)

    def finished(self, training: dict[str, Any]) -> TextModel:
        """The model with its vocabulary and the figures of its training, to be saved."""
        return TextModel(self.network, self.corpus.vocabulary, training)
