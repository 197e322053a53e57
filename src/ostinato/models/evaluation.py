"""How well a model predicts a text: one function, used by training's validation and by every evaluation afterwards."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ostinato.errors import DataError
from ostinato.models.language_model import LanguageModel
from ostinato.models.states import map_state

STREAM = 4096
"""A text is cut into streams of about so many tokens, which are then read side by side."""

STREAMS = 64
"""At most so many streams, whatever the length of the text."""

WARM_UP = 256
"""Tokens before its own that a stream reads, uncounted, so that it starts with a state that knows the context."""

SCORES = 1 << 22
"""At most so many scores in one call of the model: bounds the memory, whatever the vocabulary."""


@dataclass(frozen=True)
class Evaluation:
    """The mean surprise of a model at a text.

    Args:
        nats: mean of −ln p(next token).
        tokens: how many tokens the text has; all but the first were predicted.
        unknown: how many of them the vocabulary does not know.
        unit: what a token is: ``"character"``, ``"byte"``, ``"word"`` or ``"subword"``.
        characters: how many the text has, where a token is several.
    """

    nats: float
    tokens: int
    unknown: int
    unit: str
    characters: int | None = None

    @property
    def bits(self) -> float:
        """Mean of −log₂ p(next token)."""
        return self.nats / math.log(2)

    @property
    def perplexity(self) -> float:
        """Among how many equally likely tokens the model hesitates, on (geometric) average."""
        return math.exp(self.nats) if self.nats < 700 else math.inf

    @property
    def bits_per_character(self) -> float | None:
        """All bits of the text divided by its characters: what models of other tokens can be compared by.

        A word model is flattered where words are unknown: it does not spell them.
        """
        return None if not self.characters else self.bits * (self.tokens - 1) / self.characters

    def as_dict(self) -> dict[str, Any]:
        """All figures, for JSON."""
        figures = {**asdict(self), "bits": self.bits, "perplexity": self.perplexity}
        if self.characters is None:
            del figures["characters"]
            return figures
        return {**figures, "bits_per_character": self.bits_per_character}

    @classmethod
    def from_dict(cls, figures: dict[str, Any]) -> Evaluation:
        """Back from ``as_dict``."""
        return cls(**{one.name: figures[one.name] for one in fields(cls) if one.name in figures})

    def __str__(self) -> str:
        spelt = self.bits_per_character
        return (
            f"{self.nats:.4f} nats = {self.bits:.4f} bits per {self.unit}, perplexity {self.perplexity:.3f}, "
            + ("" if spelt is None else f"{spelt:.4f} bits per character, ")
            + f"over {self.tokens:,} {self.unit}s"
        )


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """No dropout and no gradients inside the block; the model's mode is put back afterwards."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)


def evaluate(
    model: LanguageModel,
    tokens: Any,
    unknown: int | None = None,
    unit: str = "token",
    characters: int | None = None,
) -> Evaluation:
    """Predicts every token of ``tokens`` but the first, once, from those before it.

    The text is cut into streams that the model reads side by side. Every stream but the first reads ``WARM_UP`` tokens
    of what comes before it, uncounted; so the figure is that of one long reading, as far as a state that is
    256 tokens old can tell. How a text is cut depends on its length alone: the same text gives the same figure.

    Args:
        model: left in the mode in which it was.
        tokens: (N,) token numbers: a numpy array, mapped from a file if need be.
        unknown: the vocabulary's token for what it does not know, to be counted.
        unit: what a token is called.
        characters: how many the text has, where a token is several.

    Raises:
        DataError: fewer than two tokens.
    """
    total = len(tokens)
    if total < 2:
        raise DataError(f"at least 2 {unit}s are needed to predict one from another, got {total}")
    predictions = total - 1
    streams = max(1, min(STREAMS, predictions // STREAM))
    length = -(-predictions // streams)
    starts = [stream * length for stream in range(streams)]
    chunk = max(1, min(WARM_UP, SCORES // (streams * model.size.vocabulary_size)))
    loss = torch.zeros((), dtype=torch.float64)
    strangers = int(tokens[0] == unknown)
    with evaluating(model):
        state = None
        if streams > 1:
            _, state = model(_columns(model, tokens, [max(0, start - WARM_UP) for start in starts], WARM_UP))
            state = map_state(_first_row_zero, state)
        for position in range(0, length, chunk):
            steps = min(chunk, length - position)
            block = _columns(model, tokens, [start + position for start in starts], steps + 1)
            scores, state = model(block[:-1], state)
            counted = torch.arange(position, position + steps).unsqueeze(1) + torch.tensor(starts) < predictions
            counted = counted.to(block.device)
            losses = F.cross_entropy(scores.flatten(0, 1).float(), block[1:].flatten(), reduction="none")
            loss += losses.view(steps, streams)[counted].double().sum().cpu()
            if unknown is not None:
                strangers += int((block[1:][counted] == unknown).sum())
    return Evaluation(float(loss) / predictions, total, strangers, unit, characters)


def _columns(model: LanguageModel, tokens: Any, starts: list[int], steps: int) -> Tensor:
    """(steps, len(starts)) tokens; what lies past the end of the text is 0, and not counted."""
    block = torch.zeros(len(starts), steps, dtype=torch.long)
    for row, start in enumerate(starts):
        piece = torch.as_tensor(tokens[start : start + steps].astype("int64"))
        block[row, : len(piece)] = piece
    return block.t().contiguous().to(model.head.weight.device)


def _first_row_zero(state: Tensor) -> Tensor:
    """``state`` (L, B, H) with the first stream's as if it had read nothing: nothing comes before it."""
    state = state.clone()
    state[:, 0] = 0
    return state
