"""How a model writes: draw a token from its scores, read it back, draw the next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ostinato.errors import InvalidValue
from ostinato.models.evaluation import evaluating
from ostinato.models.language_model import LanguageModel


@dataclass(frozen=True)
class Sampling:
    """How to choose among the scores.

    Args:
        temperature: the scores are divided by it: below 1 safer, above 1 wilder, 0 always the likeliest token.
        top_k: choose among the k likeliest tokens only.
        top_p: choose among the fewest tokens whose probabilities sum to at least p.
        seed: the same seed gives the same text; None draws a new one.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise InvalidValue(f"temperature must be a number that is at least 0, got {self.temperature}")
        if self.top_k is not None and self.top_k < 1:
            raise InvalidValue(f"top_k must be at least 1, got {self.top_k}")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise InvalidValue(f"top_p must be above 0 and at most 1, got {self.top_p}")

    def generator(self) -> torch.Generator:
        """A random generator of its own, so that writing does not disturb anyone else's numbers."""
        generator = torch.Generator()
        if self.seed is None:
            generator.seed()
        else:
            generator.manual_seed(self.seed)
        return generator


def choose(scores: Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    """One token, drawn from ``scores`` (V,). A score of −∞ is never chosen.

    >>> choose(torch.tensor([0.1, 2.0, 0.3]), Sampling(temperature=0), torch.Generator())
    1
    """
    if sampling.temperature == 0:
        return int(scores.argmax())
    scores = (scores.double() - scores.max()) / sampling.temperature
    order = scores.argsort(descending=True, stable=True)
    probabilities = scores[order].softmax(0)
    keep = len(order)
    if sampling.top_k is not None:
        keep = min(keep, sampling.top_k)
    if sampling.top_p is not None:
        # A token stays while the likelier ones before it do not yet sum to p: the first always stays.
        keep = min(keep, int((probabilities.cumsum(0) - probabilities < sampling.top_p).sum()))
    return int(order[torch.multinomial(probabilities[:keep], 1, generator=generator)])


def write(
    model: LanguageModel, prompt: Sequence[int], length: int, sampling: Sampling, never: int | None = None
) -> Iterator[int]:
    """``length`` tokens that follow ``prompt``, each as soon as it is chosen.

    Args:
        model: left in the mode, training or evaluation, in which it was.
        prompt: at least one token.
        length: how many tokens to write.
        sampling: how they are chosen.
        never: a token that is not to be written.

    Raises:
        InvalidValue: ``length`` is negative or ``prompt`` is empty.
    """
    if length < 0:
        raise InvalidValue(f"length must be at least 0, got {length}")
    if not prompt:
        raise InvalidValue("prompt must hold at least one token; a vocabulary's `start` serves when there is none")
    return _write(model, prompt, length, sampling, never)


def _write(
    model: LanguageModel, prompt: Sequence[int], length: int, sampling: Sampling, never: int | None
) -> Iterator[int]:
    generator = sampling.generator()
    device = model.head.weight.device
    tokens, state = list(prompt), None
    for _ in range(length):
        with evaluating(model):
            scores, state = model(torch.tensor(tokens, device=device).unsqueeze(1), state)
        last = scores[-1, 0].float().cpu()
        if never is not None:
            last[never] = -torch.inf
        token = choose(last, sampling, generator)
        yield token
        tokens = [token]
