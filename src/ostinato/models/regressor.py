"""A trained regressor: sequences in, quantities out."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from ostinato.cells.cell import Cell
from ostinato.errors import ModelFolderError
from ostinato.models.reader import Reader
from ostinato.models.sequence_inputs import Inputs
from ostinato.models.sequence_model import SequenceModel, distinct_names, network_from_content
from ostinato.models.sequence_network import SequenceNetwork


class Regressor(SequenceModel):
    """A network with its inputs and its targets: what :func:`ostinato.load` returns for a regressor's folder.

    The network gives each target in deviations from its mean over the training part.

    Args:
        network: one output a target.
        inputs: texts or series ↔ tensors.
        targets: their names.
        means, deviations: (P,) of the targets; no deviation is 0.
        columns, training: see :class:`~ostinato.models.sequence_model.SequenceModel`.

    Example:
        >>> from ostinato.cells.library.gru import GRUCell
        >>> from ostinato.models.sequence_inputs import Series
        >>> from ostinato.models.sequence_network import SequenceSize
        >>> network = SequenceNetwork(SequenceSize(outputs=1, channels=1, hidden_size=4), GRUCell)
        >>> regressor = Regressor(network, Series(("load",)), ("price",), torch.tensor([50.0]), torch.tensor([9.0]))
        >>> type(regressor.predict([1.0, 2.0, 3.0])), len(regressor.predict([[1.0, 2.0], [3.0]]))
        (<class 'float'>, 2)
    """

    kind: ClassVar[str] = "regressor"

    def __init__(
        self,
        network: SequenceNetwork,
        inputs: Inputs,
        targets: tuple[str, ...],
        means: Tensor,
        deviations: Tensor,
        columns: dict[str, Any] | None = None,
        training: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(network, inputs, columns, training)
        self.targets = targets
        self.means = means
        self.deviations = deviations

    def answers(self, output: Tensor) -> Tensor:
        """(B, P) the targets in their own units."""
        return output.cpu() * self.deviations + self.means

    def standardised(self, values: Tensor) -> Tensor:
        """(N, P) targets in deviations from their means: what the network learns."""
        return (values - self.means) / self.deviations

    def from_scores(self, scores: Tensor) -> Any:
        """A number, or with several targets a dict of them by name; or a list of those.

        Args:
            scores: (P,), or (N, P) for a list of answers.
        """
        if scores.dim() == 2:
            return [self.from_scores(one) for one in scores]
        values = scores.tolist()
        return values[0] if len(self.targets) == 1 else dict(zip(self.targets, values, strict=True))

    def content(self) -> dict[str, Any]:
        """All that rebuilds it besides the weights."""
        return {
            **super().content(),
            "targets": list(self.targets),
            "means": self.means.tolist(),
            "deviations": self.deviations.tolist(),
        }

    @classmethod
    def from_content(
        cls, content: dict[str, Any], training: dict[str, Any], read: Reader, cell: type[Cell], device: str | None
    ) -> Self:
        """An untrained network of that content.

        Raises:
            ModelFolderError: an entry is missing, of the wrong type, or out of bounds.
        """
        targets = distinct_names(content, "targets", 1, read)
        means, deviations = read.numbers(content, "means"), read.numbers(content, "deviations")
        if not len(means) == len(deviations) == len(targets) or min(deviations) <= 0:
            raise ModelFolderError(
                f"{read.path}: means and deviations must be one for each of {len(targets)} targets, and the "
                f"deviations above 0, got {str(means)[:40]} and {str(deviations)[:40]}"
            )
        network, inputs = network_from_content(content, len(targets), read, cell, device)
        columns = read.table(content, "columns")
        return cls(network, inputs, targets, torch.tensor(means), torch.tensor(deviations), columns, training)
