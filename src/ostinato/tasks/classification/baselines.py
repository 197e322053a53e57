"""What a model has to beat: the most frequent class or the mean, and a linear model of simple features.

Texts become weighted counts of their n-grams (Salton and Buckley 1988). Of a series each channel becomes a few
numbers: its mean, deviation, extremes, ends and slope, and the series' length. Both need scikit-learn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ostinato.models.needs import need

NGRAMS = {"characters": ("char_wb", (1, 4)), "subwords": ("char_wb", (1, 4)), "words": ("word", (1, 2))}
"""What the linear model counts, by what the network reads: pieces of 1–4 characters, or single words and pairs."""

MOST_NGRAMS = 200_000
"""The most frequent ones are kept."""


class Summaries:
    """Turns sequences into rows of features; what is learnt for it is learnt from the training part.

    Args:
        training: texts, or series (T, I).
        unit: what a network reads texts as; None for series.
    """

    def __init__(self, training: Sequence[Any], unit: str | None) -> None:
        if unit is None:
            self._pipeline = need("sklearn.preprocessing", "tasks").StandardScaler()
            self._first: Any = lambda rows: torch.stack([summary(one) for one in rows]).numpy()
        else:
            analyzer, span = NGRAMS[unit]
            self._pipeline = need("sklearn.feature_extraction.text", "tasks").TfidfVectorizer(
                analyzer=analyzer, ngram_range=span, lowercase=unit == "words", sublinear_tf=True,
                max_features=MOST_NGRAMS, token_pattern=r"\S+" if analyzer == "word" else None,
            )  # fmt: skip
            self._first = list
        self._pipeline.fit(self._first(training))

    def __call__(self, rows: Sequence[Any]) -> Any:
        """(N, features)."""
        return self._pipeline.transform(self._first(rows))


def summary(series: Tensor) -> Tensor:
    """(7·I + 1,) of a series (T, I): mean, deviation, least, largest, first, last and slope of each channel; and T.

    >>> summary(torch.tensor([[1.0], [2.0], [3.0]]))
    tensor([2.0000, 0.8165, 1.0000, 3.0000, 1.0000, 3.0000, 1.0000, 3.0000])
    """
    steps, channels = series.shape
    if steps == 0:
        return torch.zeros(7 * channels + 1)
    time = torch.arange(steps, dtype=series.dtype) - (steps - 1) / 2
    slope = time @ series / time.square().sum().clamp(min=1)
    parts = (
        series.mean(0),
        series.std(0, correction=0),
        series.amin(0),
        series.amax(0),
        series[0],
        series[-1],
        slope,
    )
    return torch.cat([*parts, torch.tensor([float(steps)], dtype=series.dtype)]).float()


class LinearClasses:
    """Logistic regression on :class:`Summaries`."""

    def __init__(self, training: Sequence[Any], right: Sequence[str], unit: str | None, balanced: bool) -> None:
        self._summaries = Summaries(training, unit)
        linear = need("sklearn.linear_model", "tasks")
        self._model = linear.LogisticRegression(
            C=10.0 if unit else 1.0, max_iter=1000, class_weight="balanced" if balanced else None
        )
        self._model.fit(self._summaries(training), list(right))

    def predict(self, rows: Sequence[Any]) -> list[str]:
        """A class each."""
        return [str(name) for name in self._model.predict(self._summaries(rows))]


class LinearSets:
    """Logistic regression for each label; one that all rows have, or none, is answered as it was."""

    def __init__(self, training: Sequence[Any], right: Tensor, unit: str | None) -> None:
        self._summaries = Summaries(training, unit)
        features = self._summaries(training)
        linear = need("sklearn.linear_model", "tasks")
        self._models: list[Any] = []
        for column in right.T:
            if len(column.unique()) == 1:
                self._models.append(bool(column[0]))
            else:
                self._models.append(linear.LogisticRegression(max_iter=1000).fit(features, column.int().numpy()))

    def predict(self, rows: Sequence[Any], labels: Sequence[str]) -> list[list[str]]:
        """Labels of each row."""
        features = self._summaries(rows)
        columns = [
            [model] * len(rows) if isinstance(model, bool) else model.predict(features).tolist()
            for model in self._models
        ]
        return [[label for label, yes in zip(labels, row, strict=True) if yes] for row in zip(*columns, strict=True)]


class LinearNumbers:
    """Ridge regression on :class:`Summaries`, its penalty chosen by leaving out one row at a time."""

    def __init__(self, training: Sequence[Any], right: Tensor, unit: str | None) -> None:
        self._summaries = Summaries(training, unit)
        linear = need("sklearn.linear_model", "tasks")
        features = self._summaries(training)
        if unit is None:
            self._model = linear.RidgeCV(alphas=(0.1, 1.0, 10.0, 100.0))
        else:
            self._model = linear.Ridge(alpha=1.0)
        self._model.fit(features, right.numpy())

    def predict(self, rows: Sequence[Any]) -> Tensor:
        """(N, P)."""
        return torch.as_tensor(self._model.predict(self._summaries(rows))).reshape(len(rows), -1).float()


def most_frequent(right: Sequence[str]) -> str:
    """The class that occurs most often; of two as frequent, the first by name.

    >>> most_frequent(["b", "a", "b", "a"])
    'a'
    """
    counts = Counter(right)
    return min(counts, key=lambda name: (-counts[name], name))
