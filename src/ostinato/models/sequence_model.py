"""What classifiers and regressors share: a network from sequences to numbers, what it reads, and how it is asked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from ostinato.cells.cell import Cell
from ostinato.errors import InvalidType, ModelFolderError
from ostinato.models.cell_names import name_of_cell
from ostinato.models.evaluation import evaluating
from ostinato.models.pooling import POOLINGS
from ostinato.models.reader import DEEPEST, WIDEST, Reader
from ostinato.models.sequence_inputs import Inputs, Texts, inputs_from_content, together
from ostinato.models.sequence_network import SequenceNetwork, SequenceSize

STEPS = 16384
"""So many steps, padding included, are read in one call, which bounds the memory; a longer sequence is alone."""


class SequenceModel(ABC):
    """A network and what it reads.

    Args:
        network: the model proper, an ordinary ``nn.Module``.
        inputs: texts or series ↔ tensors.
        columns: what stands where in the files it learnt from, by the settings' names, for reading others like them.
        training: figures of the run that made it.
    """

    kind: ClassVar[str]

    def __init__(
        self,
        network: SequenceNetwork,
        inputs: Inputs,
        columns: dict[str, Any] | None = None,
        training: dict[str, Any] | None = None,
    ) -> None:
        self.network = network
        self.inputs = inputs
        self.columns = columns or {}
        self.training = training or {}

    @abstractmethod
    def answers(self, output: Tensor) -> Tensor:
        """What ``scores`` gives, from the network's output (B, K)."""

    @abstractmethod
    def from_scores(self, scores: Tensor) -> Any:
        """What ``predict`` gives, from scores."""

    def predict(self, x: Any) -> Any:
        """What the model says of a sequence, or of each of a list of them.

        Args:
            x: a text or a list of texts, for a model of texts; for a model of series a tensor, an array or lists
                (T, I), or a list of those.

        Raises:
            InvalidType: something else.
            InvalidValue: a sequence without steps, NaN, or another number of channels.
        """
        return self.from_scores(self.scores(x))

    def scores(self, x: Any) -> Tensor:
        """(K,) for a sequence, (N, K) for a list: probabilities of a classifier, quantities of a regressor.

        Raises:
            InvalidType, InvalidValue: as for :meth:`predict`.
        """
        return self._asked(x, lambda sequences: self.answers(self.network(*sequences)), self.network.size.outputs)

    def encode(self, x: Any) -> Tensor:
        """(N, D·H) each sequence as a vector: what the pooling makes of the states, and the head reads. One row for
        a single sequence.

        Raises:
            InvalidType, InvalidValue: as for :meth:`predict`.
        """
        width = self.network.stack.output_size
        vectors = self._asked(x, lambda sequences: self.network.encode(*sequences), width)
        return vectors.reshape(-1, width)

    def _asked(self, x: Any, ask: Callable[[Any], Tensor], width: int) -> Tensor:
        single = self.inputs.is_single(x)
        sequences = self._read(x, single)
        found = torch.empty(len(sequences), width)
        device = self.network.head.weight.device
        with evaluating(self.network):
            for rows in in_batches([len(one) for one in sequences], STEPS):
                batch = together([sequences[row] for row in rows]).to(device)
                found[rows] = ask(batch).float().cpu()
        return found[0] if single else found

    def _read(self, x: Any, single: bool) -> list[Tensor]:
        if single:
            return [self.inputs.sequence(x)]
        try:
            several = list(x)
        except TypeError:
            raise InvalidType(f"a {self.inputs.kind} or a list of such is needed, got {type(x).__name__}") from None
        word = "text" if isinstance(self.inputs, Texts) else "series"
        return [self.inputs.sequence(one, f"{word} {number}") for number, one in enumerate(several, start=1)]

    def content(self) -> dict[str, Any]:
        """All that rebuilds it besides the weights, for JSON; a model adds its own."""
        size = self.network.size
        return {
            "cell": name_of_cell(self.network.cell_type),
            "embedding_size": size.embedding_size,
            "hidden_size": size.hidden_size,
            "num_layers": size.num_layers,
            "bidirectional": size.bidirectional,
            "pooling": size.pooling,
            "dropout": size.dropout,
            "cell_options": size.cell_options,
            "columns": self.columns,
            "input": self.inputs.content(),
        }


def network_from_content(
    content: dict[str, Any], outputs: int, read: Reader, cell: type[Cell], device: str | None
) -> tuple[SequenceNetwork, Inputs]:
    """An untrained network of that content, and what it reads.

    Raises:
        ModelFolderError: an entry is missing, of the wrong type or out of bounds.
    """
    inputs = inputs_from_content(read.table(content, "input"), read)
    size = SequenceSize(
        outputs=outputs,
        tokens=inputs.tokens.size if isinstance(inputs, Texts) else 0,
        channels=0 if isinstance(inputs, Texts) else len(inputs.channels),
        embedding_size=read.whole(content, "embedding_size", WIDEST),
        hidden_size=read.whole(content, "hidden_size", WIDEST),
        num_layers=read.whole(content, "num_layers", DEEPEST),
        bidirectional=read.flag(content, "bidirectional"),
        pooling=read.one_of(content, "pooling", POOLINGS),
        dropout=read.fraction(content, "dropout"),
        cell_options=read.options(content, "cell_options"),
    )
    return SequenceNetwork(size, cell, device=device), inputs


def distinct_names(content: dict[str, Any], name: str, least: int, read: Reader) -> tuple[str, ...]:
    """A list of names without repeats.

    Raises:
        ModelFolderError: it is none, or holds fewer than ``least``.
    """
    names = tuple(read.words(content, name, WIDEST))
    if len(names) < least or len(set(names)) < len(names):
        raise ModelFolderError(
            f"{read.path}: {name} must be at least {least} and without repeats, got {str(names)[:80]}"
        )
    return names


def in_batches(lengths: Sequence[int], most: int) -> Iterator[list[int]]:
    """Rows of similar length together, at most ``most`` steps at a time, padding included.

    >>> list(in_batches([3, 9, 2, 3], 9))
    [[2, 0, 3], [1]]
    """
    rows: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda row: lengths[row]):
        if rows and (len(rows) + 1) * lengths[row] > most:
            yield rows
            rows = []
        rows.append(row)
    if rows:
        yield rows
