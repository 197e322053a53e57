"""How good answers are: the same figures in training, for a test part, for any other file, and for a baseline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from ostinato.models.needs import need


def of_classes(predicted: Sequence[str], right: Sequence[str], classes: Sequence[str]) -> dict[str, float]:
    """Accuracy, and the mean over the classes of their F1.

    A class that is not among ``classes`` counts like any other, so whoever cannot know it is wrong about it. One that
    is neither right nor predicted anywhere has no F1 and no part in the mean.

    >>> of_classes(["a", "a", "b"], ["a", "b", "b"], ["a", "b"])
    {'accuracy': 0.6666666865348816, 'macro_f1': 0.6666666865348816}

    Args:
        predicted, right: a class each.
        classes: those that a model knows.
    """
    every = all_classes(right, classes)
    metrics = need("torchmetrics.functional.classification", "tasks")
    answers, truth = _numbers(predicted, every), _numbers(right, every)
    count = max(2, len(every))
    return {
        "accuracy": float(metrics.multiclass_accuracy(answers, truth, count, average="micro")),
        "macro_f1": float(metrics.multiclass_f1_score(answers, truth, count, average="macro")),
    }


def confusion(predicted: Sequence[str], right: Sequence[str], classes: Sequence[str]) -> dict[str, dict[str, int]]:
    """Right class → predicted class → how often.

    >>> confusion(["a", "a", "b"], ["a", "b", "b"], ["a", "b"])
    {'a': {'a': 1, 'b': 0}, 'b': {'a': 1, 'b': 1}}
    """
    every = all_classes(right, classes)
    metrics = need("torchmetrics.functional.classification", "tasks")
    matrix = metrics.multiclass_confusion_matrix(
        _numbers(predicted, every), _numbers(right, every), max(2, len(every))
    ).tolist()
    return {one: dict(zip(every, row, strict=False)) for one, row in zip(every, matrix, strict=False)}


def of_sets(
    predicted: Sequence[Iterable[str]], right: Sequence[Iterable[str]], classes: Sequence[str]
) -> dict[str, float]:
    """For rows with several labels: F1 over all decisions, the mean of the labels' F1, and how often all are right.

    >>> of_sets([["a"], ["a", "b"]], [["a"], ["b"]], ["a", "b"])
    {'micro_f1': 0.800000011920929, 'macro_f1': 0.8333333730697632, 'exact_match': 0.5}
    """
    every = all_classes((label for labels in right for label in labels), classes)
    metrics = need("torchmetrics.functional.classification", "tasks")
    answers, truth = indicators(predicted, every).int(), indicators(right, every).int()
    return {
        "micro_f1": float(metrics.multilabel_f1_score(answers, truth, len(every), average="micro")),
        "macro_f1": float(metrics.multilabel_f1_score(answers, truth, len(every), average="macro")),
        "exact_match": float((answers == truth).all(1).float().mean()),
    }


def of_numbers(predicted: Tensor, right: Tensor) -> dict[str, float]:
    """Mean absolute error, mean squared error and R², each the mean over the targets.

    R² is 1 − Σ(y − ŷ)² / Σ(y − ȳ)²: 0 for whoever always says the mean. Of fewer than two rows there is none.

    >>> of_numbers(torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([[1.0], [2.0], [3.0]]))
    {'mae': 0.3333333333333333, 'mse': 0.3333333333333333, 'r2': 0.5}

    Args:
        predicted, right: (N, P).
    """
    metrics = need("torchmetrics.functional.regression", "tasks")
    predicted, right = predicted.double(), right.double()
    figures = {
        "mae": float(metrics.mean_absolute_error(predicted, right)),
        "mse": float(metrics.mean_squared_error(predicted, right)),
    }
    return figures | ({"r2": float(metrics.r2_score(predicted, right))} if len(right) > 1 else {})


def surprise(
    probabilities: Tensor, right: Sequence[str], classes: Sequence[str], weights: Tensor | None = None
) -> dict[str, float]:
    """``loss``: the mean of −ln p(right class), over the rows whose class the model knows; nothing if it knows none.

    >>> surprise(torch.tensor([[0.5, 0.5], [1.0, 0.0]]), ["b", "a"], ["a", "b"])
    {'loss': 0.34657359027997264}

    Args:
        probabilities: (N, K).
        right: N classes.
        classes: K, by their numbers.
        weights: (K,) what a class counts in the mean.
    """
    numbers = {name: number for number, name in enumerate(classes)}
    known = [row for row, name in enumerate(right) if name in numbers]
    if not known:
        return {}
    truth = torch.tensor([numbers[right[row]] for row in known])
    losses = -_logarithm(probabilities[known].double().gather(1, truth.unsqueeze(1))).squeeze(1)
    counts = torch.ones_like(losses) if weights is None else weights.cpu().double()[truth]
    return {"loss": float((counts * losses).sum() / counts.sum())}


def surprise_of_sets(
    probabilities: Tensor, right: Sequence[Iterable[str]], classes: Sequence[str], weights: Tensor | None = None
) -> dict[str, float]:
    """``loss``: the mean over rows and labels of −ln p(there, or not there, as is right).

    >>> surprise_of_sets(torch.tensor([[0.5, 1.0]]), [["b"]], ["a", "b"])
    {'loss': 0.34657359027997264}

    Args:
        probabilities, right, classes: as for :func:`surprise`.
        weights: (K,) what a label that is there counts beside one that is not.
    """
    chances, truth = probabilities.double(), indicators(right, classes).double()
    counts = 1 + truth * (0 if weights is None else weights.cpu().double() - 1)
    losses = -(truth * _logarithm(chances) + (1 - truth) * _logarithm(1 - chances))
    return {"loss": float((counts * losses).mean())}


def _logarithm(chances: Tensor) -> Tensor:
    """The smallest number there is stands for 0, of which the logarithm is infinite."""
    return chances.clamp(min=torch.finfo(torch.float32).tiny).log()


def unseen(right: Iterable[str], classes: Sequence[str]) -> dict[str, int]:
    """How often each class occurs that is not among ``classes``.

    >>> unseen(["a", "c", "c"], ["a", "b"])
    {'c': 2}
    """
    return dict(Counter(name for name in right if name not in set(classes)).most_common())


def indicators(rows: Sequence[Iterable[str]], classes: Sequence[str]) -> Tensor:
    """(N, K) 1 where a row has a label; labels outside ``classes`` are left out.

    >>> indicators([["b"], []], ["a", "b"])
    tensor([[0., 1.],
            [0., 0.]])
    """
    numbers = {name: number for number, name in enumerate(classes)}
    table = torch.zeros(len(rows), len(classes))
    for row, labels in enumerate(rows):
        for label in labels:
            if label in numbers:
                table[row, numbers[label]] = 1
    return table


def all_classes(right: Iterable[Any], classes: Sequence[str]) -> list[str]:
    """``classes``, and behind them what else is right somewhere."""
    return [*classes, *sorted(set(right) - set(classes))]


def _numbers(names: Sequence[str], classes: Sequence[str]) -> Tensor:
    numbers = {name: number for number, name in enumerate(classes)}
    return torch.tensor([numbers[name] for name in names])
