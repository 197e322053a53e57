"""Many-to-one learning as a task to train: its batches, its losses, its scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ostinato.data.buckets import bucketed
from ostinato.models.classifier import Classifier
from ostinato.models.regressor import Regressor
from ostinato.models.sequence_inputs import Sequences, together
from ostinato.models.sequence_model import SequenceModel
from ostinato.models.states import State
from ostinato.tasks.classification.answers import class_figures, number_figures, numbers
from ostinato.tasks.classification.measure import confusion, indicators
from ostinato.tasks.task import Score

Batch = tuple[Sequences, Tensor]
"""Sequences, and their targets: (B,) classes, or (B, K) labels or quantities."""

MOST_CLASSES_SHOWN = 100
"""The confusion matrix is stored with the model up to so many classes."""


class Examples(NamedTuple):
    """Rows of one part.

    Args:
        inputs: texts, or series (T, I); read when they are needed.
        lengths: steps of each.
        targets: a class each, or a tuple of labels; or (N, P) numbers.
    """

    inputs: Sequence[Any]
    lengths: Sequence[int]
    targets: Any

    def first(self, most: int) -> Examples:
        """At most so many rows, spread evenly over all."""
        if len(self.inputs) <= most:
            return self
        rows = torch.linspace(0, len(self.inputs) - 1, most).long().tolist()
        targets = self.targets[rows] if isinstance(self.targets, Tensor) else [self.targets[row] for row in rows]
        return Examples([self.inputs[row] for row in rows], [self.lengths[row] for row in rows], targets)


class SequenceTask(ABC):
    """What both tasks share: batches of sequences of similar length, each with its target.

    Args:
        model: learns.
        training: rows to learn from, each with a step at least.
        targets: (N,) or (N, K) what the loss compares with.
        validation: rows to check with.
        batch_size, batch_steps: most rows, and most steps, of a batch.
        seed: decides the order of the batches.
        fingerprint: of the data.
    """

    name: ClassVar[str]

    def __init__(
        self,
        model: SequenceModel,
        training: Examples,
        targets: Tensor,
        validation: Examples,
        *,
        batch_size: int,
        batch_steps: int,
        seed: int,
        fingerprint: str,
    ) -> None:
        self.network = model.network
        self.fingerprint = fingerprint
        self.validation = validation
        self._inputs = model.inputs
        self._training = training
        self._targets = targets
        self._batches = bucketed(training.lengths, batch_size=batch_size, batch_tokens=batch_steps, seed=seed)

    @property
    def batches_per_epoch(self) -> int:
        """Batches until each sequence was read once."""
        return len(self._batches)

    def batch(self, step: int) -> Batch:
        """Training batch number ``step``, whatever was read before."""
        rows = self._batches.batch(step)
        chosen = [self._inputs.sequence(self._training.inputs[row]) for row in rows.tolist()]
        return together(chosen), self._targets[rows]

    @abstractmethod
    def loss(self, batch: Batch, state: State) -> tuple[Tensor, State]:
        """The mean loss of a batch; nothing is carried to the next."""

    @abstractmethod
    def validate(self) -> Score:
        """The figures of the validation part; the loss decides, which is finer than a count of errors."""


class Classification(SequenceTask):
    """Cross-entropy of classes that exclude each other, or of each label alone.

    Args:
        model: learns.
        weights: (K,) what a class counts; of labels, what one that is there counts beside one that is not. None for 1.
        label_smoothing: part of the probability that is spread over all classes (Szegedy et al. 2016).
        training, validation, options: see :class:`SequenceTask`.
    """

    name: ClassVar[str] = "classify"

    def __init__(
        self,
        model: Classifier,
        training: Examples,
        validation: Examples,
        weights: Tensor | None,
        label_smoothing: float,
        **options: Any,
    ) -> None:
        if model.separator is None:
            numbers = {label: number for number, label in enumerate(model.labels)}
            targets = torch.tensor([numbers[label] for label in training.targets])
        else:
            targets = indicators(training.targets, model.labels)
        super().__init__(model, training, targets, validation, **options)
        self.model = model
        self.weights = weights
        self.label_smoothing = label_smoothing

    def loss(self, batch: Batch, state: State) -> tuple[Tensor, State]:
        """Mean over the rows of −ln p(right class), weighted; or over rows and labels."""
        sequences, targets = batch
        output = self.network(*sequences)
        weights = None if self.weights is None else self.weights.to(output.device)
        if self.model.separator is None:
            smoothing = self.label_smoothing
            return F.cross_entropy(output, targets, weight=weights, label_smoothing=smoothing), None
        targets = targets * (1 - self.label_smoothing) + self.label_smoothing / 2
        return F.binary_cross_entropy_with_logits(output, targets, pos_weight=weights), None

    def validate(self) -> Score:
        """Loss, accuracy and macro F1, or those of several labels."""
        figures, predicted = class_figures(self.model, self.validation.inputs, self.validation.targets, self.weights)
        about = {}
        if self.model.separator is None and len(self.model.labels) <= MOST_CLASSES_SHOWN:
            about["confusion"] = confusion(predicted, self.validation.targets, self.model.labels)
        return Score(figures, "loss", higher_is_better=False, of_loss=1.0, about=about)

    def finished(self, training: dict[str, Any]) -> Classifier:
        """The model with the figures of its training, to be saved."""
        model = self.model
        return Classifier(model.network, model.inputs, model.labels, model.separator, model.columns, training)


class Regression(SequenceTask):
    """The mean squared error of targets in deviations from their means.

    Args:
        model: learns.
        training, validation, options: see :class:`SequenceTask`.
    """

    name: ClassVar[str] = "regress"

    def __init__(self, model: Regressor, training: Examples, validation: Examples, **options: Any) -> None:
        super().__init__(model, training, model.standardised(training.targets), validation, **options)
        self.model = model

    def loss(self, batch: Batch, state: State) -> tuple[Tensor, State]:
        """Mean over rows and targets."""
        sequences, targets = batch
        return F.mse_loss(self.network(*sequences), targets), None

    def validate(self) -> Score:
        """Loss, mean absolute and mean squared error, and R²."""
        predicted = numbers(self.model, self.validation.inputs)
        figures = number_figures(self.model, predicted, self.validation.targets)
        return Score(figures, "loss", higher_is_better=False, of_loss=1.0)

    def finished(self, training: dict[str, Any]) -> Regressor:
        """The model with the figures of its training, to be saved."""
        model = self.model
        scaling = (model.means, model.deviations)
        return Regressor(model.network, model.inputs, model.targets, *scaling, model.columns, training)
