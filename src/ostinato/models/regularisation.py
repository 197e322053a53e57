"""What AWD-LSTM drops while training: whole words, whole places of a sequence's vectors, and recurrent weights.

S. Merity, N. S. Keskar, R. Socher, "Regularizing and Optimizing LSTM Language Models", 2018.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from torch import Tensor
from torch.nn import functional as F

from ostinato.errors import InvalidValue
from ostinato.layers.between import sequence_mask


@dataclass(frozen=True)
class Regularisation:
    """How much is dropped where, while training; every part is at least 0 and below 1.

    Args:
        embedding: of the tokens: all occurrences of a token lose their vector together.
        input: of the values that the first layer reads.
        hidden: of the values between two layers.
        output: of the values that the scores are made from.
        weights: of the weights from a state to the next, which are dropped once a call, not once a step (dropconnect).
        locked: whether a sequence has one mask for all its steps (variational dropout; Y. Gal, Z. Ghahramani, 2016).
    """

    embedding: float = 0.0
    input: float = 0.0
    hidden: float = 0.0
    output: float = 0.0
    weights: float = 0.0
    locked: bool = False

    def __post_init__(self) -> None:
        for name in PARTS:
            if not 0 <= getattr(self, name) < 1:
                raise InvalidValue(f"dropout of {name} must be at least 0 and below 1, got {getattr(self, name)}")


PARTS = tuple(one.name for one in fields(Regularisation) if one.type == "float")


def locked_dropout(x: Tensor, part: float, training: bool) -> Tensor:
    """``x`` (T, B, H) with the same places dropped at every step of a sequence, and others in another sequence.

    >>> y = locked_dropout(torch.ones(50, 2, 8), 0.5, training=True)
    >>> bool((y == y[0]).all()), sorted(set(y.flatten().tolist()))
    (True, [0.0, 2.0])
    """
    return x * sequence_mask(x, x.shape[1], part) if training and part else x


def drop_tokens(vectors: Tensor, tokens: Tensor, part: float, vocabulary_size: int, training: bool) -> Tensor:
    """``vectors`` (T, B, E) without those of some tokens, wherever these occur.

    Args:
        vectors: of the tokens.
        tokens: (T, B) their numbers.
        part: of the vocabulary.
        vocabulary_size: how many tokens there are.
        training: otherwise nothing is dropped.
    """
    if not training or not part:
        return vectors
    kept = F.dropout(vectors.new_ones(vocabulary_size), part)
    return vectors * kept[tokens].unsqueeze(-1)
