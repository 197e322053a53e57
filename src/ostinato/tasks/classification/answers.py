"""A model's answers to many rows, and the figures of them; a model and an ensemble of models serve alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from ostinato.tasks.classification.measure import of_classes, of_numbers, of_sets, surprise, surprise_of_sets

ROWS = 512
"""So many rows are answered at a time, so that those of one length can share a batch."""


def answers(model: Any, inputs: Iterable[Any], start: int = 0) -> Iterator[tuple[Any, Tensor]]:
    """For each row what the model predicts, and its scores (K,), as the rows come.

    Args:
        model: a :class:`~ostinato.models.classifier.Classifier`, a :class:`~ostinato.models.regressor.Regressor`, or
            an ensemble of either.
        inputs: texts, or series (T, I).
        start: so many rows are left out. Rows share a batch as they would without it, down to the last digit.
    """
    left_out = start % ROWS
    rest = islice(inputs, start - left_out, None)
    while some := list(islice(rest, ROWS)):
        scores = model.scores(some)
        yield from islice(zip(model.from_scores(scores), scores, strict=True), left_out, None)
        left_out = 0


def class_figures(
    model: Any, inputs: Iterable[Any], right: Sequence[Any], weights: Tensor | None = None
) -> tuple[dict[str, float], list[Any]]:
    """Loss, accuracy and F1 of a classifier, and what it predicted.

    A class that the model does not know counts as wrong, and has no part in the loss, which would be infinite.

    Args:
        model: a classifier or an ensemble of them.
        inputs: N sequences.
        right: a class each; or a tuple of labels, if the model gives several.
        weights: (K,) what a class counts in the loss, as in training.
    """
    found = list(answers(model, inputs))
    scores = torch.stack([one for _, one in found])
    if model.separator is None:
        predicted: list[Any] = [answer.label for answer, _ in found]
        figures = surprise(scores, right, model.labels, weights) | of_classes(predicted, right, model.labels)
    else:
        predicted = [answer.labels for answer, _ in found]
        figures = surprise_of_sets(scores, right, model.labels, weights) | of_sets(predicted, right, model.labels)
    return figures, predicted


def numbers(model: Any, inputs: Iterable[Any]) -> Tensor:
    """(N, P) what a regressor, or an ensemble of them, says of N sequences."""
    return torch.stack([scores for _, scores in answers(model, inputs)])


def number_figures(model: Any, predicted: Tensor, right: Tensor) -> dict[str, float]:
    """Loss, mean absolute and mean squared error and R² of a regressor.

    Args:
        model: a regressor or an ensemble of them.
        predicted, right: (N, P).
    """
    errors = (predicted - right) / model.deviations
    return {"loss": float(errors.square().mean()), **of_numbers(predicted, right)}
