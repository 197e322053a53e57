"""A trained classifier: sequences in, classes out."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor

from ostinato.cells.cell import Cell
from ostinato.errors import ModelFolderError
from ostinato.models.reader import Reader
from ostinato.models.sequence_inputs import Inputs
from ostinato.models.sequence_model import SequenceModel, distinct_names, network_from_content
from ostinato.models.sequence_network import SequenceNetwork

THRESHOLD = 0.5
"""Of several labels, those with a probability from here on are given."""


class Labelled(NamedTuple):
    """A class, and how probable the model takes it to be."""

    label: str
    probability: float


class LabelledSet(NamedTuple):
    """The labels of a sequence that may have several or none, each with its probability."""

    labels: tuple[str, ...]
    probabilities: tuple[float, ...]


class Classifier(SequenceModel):
    """A network with its inputs and its classes: what :func:`ostinato.load` returns for a classifier's folder.

    Args:
        network: one output a class.
        inputs: texts or series ↔ tensors.
        labels: the classes, by their numbers.
        separator: the sign between the labels of a row that may have several; None if each has exactly one.
        columns, training: see :class:`~ostinato.models.sequence_model.SequenceModel`.

    Example:
        >>> from ostinato.cells.library.gru import GRUCell
        >>> from ostinato.models.sequence_inputs import Series
        >>> from ostinato.models.sequence_network import SequenceSize
        >>> network = SequenceNetwork(SequenceSize(outputs=2, channels=3, hidden_size=4), GRUCell)
        >>> classifier = Classifier(network, Series(("x", "y", "z")), ("calm", "storm"))
        >>> series = [torch.randn(5, 3), torch.randn(9, 3)]
        >>> [one.label in ("calm", "storm") for one in classifier.predict(series)]
        [True, True]
        >>> classifier.scores(series).shape, classifier.encode(series).shape
        (torch.Size([2, 2]), torch.Size([2, 8]))
    """

    kind: ClassVar[str] = "classifier"

    def __init__(
        self,
        network: SequenceNetwork,
        inputs: Inputs,
        labels: tuple[str, ...],
        separator: str | None = None,
        columns: dict[str, Any] | None = None,
        training: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(network, inputs, columns, training)
        self.labels = labels
        self.separator = separator

    def answers(self, output: Tensor) -> Tensor:
        """(B, K) the probabilities: of classes that exclude each other, or of each label alone."""
        return output.softmax(1) if self.separator is None else output.sigmoid()

    def from_scores(self, scores: Tensor) -> Any:
        """The likeliest class and its probability, or every label from ``THRESHOLD`` on with its own.

        Args:
            scores: (K,), or (N, K) for a list of answers.

        Returns:
            A :class:`Labelled`, or where there may be several labels a :class:`LabelledSet`; or a list of them.
        """
        if scores.dim() == 2:
            return [self.from_scores(one) for one in scores]
        if self.separator is None:
            best = int(scores.argmax())
            return Labelled(self.labels[best], float(scores[best]))
        chosen = torch.nonzero(scores >= THRESHOLD).flatten().tolist()
        return LabelledSet(tuple(self.labels[one] for one in chosen), tuple(float(scores[one]) for one in chosen))

    def content(self) -> dict[str, Any]:
        """All that rebuilds it besides the weights."""
        return {**super().content(), "labels": list(self.labels), "separator": self.separator}

    @classmethod
    def from_content(
        cls, content: dict[str, Any], training: dict[str, Any], read: Reader, cell: type[Cell], device: str | None
    ) -> Self:
        """An untrained network of that content.

        Raises:
            ModelFolderError: an entry is missing, of the wrong type, or out of bounds.
        """
        separator = content.get("separator")
        if separator is not None and not (isinstance(separator, str) and 1 <= len(separator) <= 16):
            raise ModelFolderError(f"{read.path}: separator must be null or a short text, got {str(separator)[:80]!r}")
        labels = distinct_names(content, "labels", 2 if separator is None else 1, read)
        network, inputs = network_from_content(content, len(labels), read, cell, device)
        return cls(network, inputs, labels, separator, read.table(content, "columns"), training)
