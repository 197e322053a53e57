"""Transduction as a task to train: its batches, its loss, its score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ostinato.data.buckets import bucketed
from ostinato.models.beam import Search
from ostinato.models.evaluation import evaluating
from ostinato.models.states import State
from ostinato.models.text_rows import in_batches, padded
from ostinato.models.transducer import TOKENS, Transducer
from ostinato.tasks.task import Score
from ostinato.tasks.transduction.measure import compared

UNCOUNTED = -100
"""Stands in a batch's targets past a row's end: the loss leaves it out."""

CELLS = 1 << 22
"""Weights of attention that are held at most where nothing is learnt."""

GREEDY = Search(width=1)


class Pair(NamedTuple):
    """A text that is read, and what is to be written for it."""

    source: str
    target: str


class PairBatch(NamedTuple):
    """Pairs side by side, as numbers.

    Args:
        source: (S, B) each closed by the end.
        lengths: (B,) of the sources.
        before: (T, B) what the decoder reads: the start, and then the target.
        target: (T, B) what it is to write there: the target, and then its end; ``UNCOUNTED`` past it.
    """

    source: Tensor
    lengths: Tensor
    before: Tensor
    target: Tensor


class TransductionTask:
    """A transducer and the pairs it learns.

    Args:
        model: learns.
        training: pairs to learn from.
        validation: pairs to check with.
        batch_tokens: a batch holds so many tokens of both sides at most, padding included.
        seed: decides the order of the batches.
        label_smoothing: part of each target's certainty that goes to all tokens alike.
        fingerprint: of the data.
    """

    name: ClassVar[str] = "transduce"

    def __init__(
        self,
        model: Transducer,
        training: Sequence[Pair],
        validation: Sequence[Pair],
        *,
        batch_tokens: int,
        seed: int,
        label_smoothing: float = 0.0,
        fingerprint: str = "",
    ) -> None:
        self.model = model
        self.network = model.network
        self.fingerprint = fingerprint
        self._training = training
        self._validation = validation
        self._label_smoothing = label_smoothing
        sources, targets = model.source_tokens, model.target_tokens
        lengths = [len(sources.encode(pair.source)) + len(targets.encode(pair.target)) + 2 for pair in training]
        self._batches = bucketed(lengths, batch_tokens=batch_tokens, seed=seed)

    @property
    def batches_per_epoch(self) -> int:
        """Batches until each pair was read about once."""
        return len(self._batches)

    def batch(self, step: int) -> PairBatch:
        """Training batch number ``step``, whatever was read before."""
        return numbered(self.model, [self._training[int(row)] for row in self._batches.batch(step)])

    def loss(self, batch: PairBatch, state: State) -> tuple[Tensor, State]:
        """Mean over the targets' tokens, the end among them, of −ln p(token | source, the target before it)."""
        scores = self.network(batch.source, batch.lengths, batch.before)
        return _surprise(scores, batch.target, self._label_smoothing) / counted(batch), None

    def validate(self) -> Score:
        """The figures of the validation part, written greedily; the loss decides, without label smoothing."""
        return Score(figures(self.model, self._validation, GREEDY), "loss", higher_is_better=False)

    def finished(self, training: dict[str, Any]) -> Transducer:
        """The model with the figures of its training, to be saved."""
        return replace(self.model, training=training)


def figures(model: Transducer, pairs: Sequence[Pair], search: Search) -> dict[str, float]:
    """The loss of the right targets, a token, and :func:`measure` of what the model writes.

    Args:
        model: any.
        pairs: one or more.
        search: how it looks for what to write.
    """
    written = [answers[0].text for answers in model.written([pair.source for pair in pairs], search)]
    return {"loss": loss_of(model, pairs)} | compared(written, [pair.target for pair in pairs], model.target_tokens)


def loss_of(model: Transducer, pairs: Sequence[Pair]) -> float:
    """Mean over the targets' tokens of −ln p(token); a long pair is scored piece by piece."""
    network = model.network
    device = network.target_embedding.weight.device
    total, tokens = 0.0, 0
    rows = [model.source_tokens.encode(pair.source) + model.target_tokens.encode(pair.target) for pair in pairs]
    for chosen in in_batches(rows, TOKENS):
        batch = numbered(model, [pairs[row] for row in chosen])
        tokens += counted(batch)
        steps = max(1, CELLS // batch.source.numel())
        with evaluating(network):
            memory, decoding = network.read(batch.source.to(device), batch.lengths.to(device))
            for before, target in zip(batch.before.split(steps), batch.target.split(steps), strict=True):
                scores, decoding, _ = network.write(before.to(device), memory, decoding)
                total += float(_surprise(scores, target.to(device)))
    return total / tokens


def _surprise(scores: Tensor, target: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """The sum over target tokens of −ln p(token)."""
    flat = scores.flatten(0, 1)
    return F.cross_entropy(
        flat, target.flatten(), ignore_index=UNCOUNTED, reduction="sum", label_smoothing=label_smoothing
    )


def counted(batch: PairBatch) -> int:
    """How many tokens of the batch are to be written."""
    return int((batch.target != UNCOUNTED).sum())


def numbered(model: Transducer, pairs: Sequence[Pair]) -> PairBatch:
    """Pairs as a batch."""
    size = model.network.size
    sources = [[*model.source_tokens.encode(pair.source), size.source_end] for pair in pairs]
    targets = [model.target_tokens.encode(pair.target) for pair in pairs]
    return PairBatch(
        source=padded(sources, size.source_end),
        lengths=torch.tensor([len(source) for source in sources]),
        before=padded([[size.start, *target] for target in targets], size.end),
        target=padded([[*target, size.end] for target in targets], UNCOUNTED),
    )
