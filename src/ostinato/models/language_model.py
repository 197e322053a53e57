"""A language model: tokens → vectors → recurrent stack → a score for every possible next token."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ostinato.cells.cell import Cell
from ostinato.errors import InvalidValue
from ostinato.layers.recurrent import Recurrent
from ostinato.models.states import State

INPUTS = ("embedding", "one-hot")


@dataclass(frozen=True)
class LanguageModelSize:
    """Everything that decides the shapes of a :class:`LanguageModel`, besides its cell."""

    vocabulary_size: int
    hidden_size: int = 256
    num_layers: int = 1
    input: str = "embedding"
    embedding_size: int = 64
    dropout: float = 0.0
    cell_options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("vocabulary_size", "hidden_size", "num_layers", "embedding_size"):
            if getattr(self, name) < 1:
                raise InvalidValue(f"{name} must be positive, got {getattr(self, name)}")
        if self.input not in INPUTS:
            raise InvalidValue(f"input must be one of {', '.join(INPUTS)}, got {self.input!r}")
        if not 0 <= self.dropout < 1:
            raise InvalidValue(f"dropout must be at least 0 and below 1, got {self.dropout}")


class LanguageModel(nn.Module):
    """Scores for the next token, at every position of a batch of token streams.

    ::

        x = embedding[token]                    or one-hot: x = [0 … 1 … 0]
        y, state = stack(dropout(x), state)     Recurrent(cell_type, …), any cell
        scores = head(dropout(y))               softmax of them is p(next token)

    >>> from ostinato.cells.gru import GRUCell
    >>> model = LanguageModel(LanguageModelSize(vocabulary_size=11, hidden_size=8, embedding_size=4), GRUCell)
    >>> scores, state = model(torch.zeros(5, 2, dtype=torch.long))
    >>> scores.shape, state.shape
    (torch.Size([5, 2, 11]), torch.Size([1, 2, 8]))

    Args:
        size: the widths, the number of layers and the dropout before, between and after them.
        cell_type: the cell of every layer.
    """

    def __init__(self, size: LanguageModelSize, cell_type: type[Cell], *, device: torch.device | str | None = None):
        super().__init__()
        self.size = size
        self.cell_type = cell_type
        self.embedding: nn.Embedding | None = None
        width = size.vocabulary_size
        if size.input == "embedding":
            width = size.embedding_size
            self.embedding = nn.Embedding(size.vocabulary_size, width, device=device)
        self.stack = Recurrent(
            cell_type,
            width,
            size.hidden_size,
            size.num_layers,
            dropout=size.dropout if size.num_layers > 1 else 0.0,
            device=device,
            **size.cell_options,
        )
        self.head = nn.Linear(self.stack.output_size, size.vocabulary_size, device=device)
        self.dropout = nn.Dropout(size.dropout)

    def forward(self, tokens: Tensor, state: State = None) -> tuple[Tensor, State]:
        """Reads ``tokens`` on from ``state``.

        Args:
            tokens: (T, B) token numbers, int64.
            state: what the call before returned, or None for zeros.

        Returns:
            Scores (T, B, vocabulary) of the token that follows each, and the state after the last.
        """
        y, state = self.stack(self.dropout(self._vectors(tokens)), state)
        return self.head(self.dropout(y)), state

    def encode(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """What the top layer gives after the last token of each row.

        Args:
            tokens: (T, B) token numbers, int64; past a row's end any number.
            lengths: (B,) tokens of each row, at least 1.

        Returns:
            (B, H)
        """
        y, _ = self.stack(self._vectors(tokens), lengths=lengths)
        return y[lengths - 1, torch.arange(len(lengths))]

    def _vectors(self, tokens: Tensor) -> Tensor:
        if self.embedding is not None:
            return self.embedding(tokens)
        return F.one_hot(tokens, self.size.vocabulary_size).to(self.head.weight.dtype)
