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
from ostinato.models.regularisation import Regularisation, drop_tokens, locked_dropout
from ostinato.models.states import State

INPUTS = ("embedding", "one-hot")


@dataclass(frozen=True)
class LanguageModelSize:
    """Everything that decides the shapes of a :class:`LanguageModel`, besides its cell, and what it drops.

    Args:
        vocabulary_size: V, tokens.
        hidden_size: H.
        num_layers: L.
        input: ``"embedding"``, or ``"one-hot"``.
        embedding_size: E, width of a token's vector.
        dropout: of the values before, between and after the layers, where ``regularisation`` is None.
        cell_options: passed to the cell.
        tied: the tokens' vectors also score the output.
        regularisation: what is dropped, part by part.
    """

    vocabulary_size: int
    hidden_size: int = 256
    num_layers: int = 1
    input: str = "embedding"
    embedding_size: int = 64
    dropout: float = 0.0
    cell_options: dict[str, Any] = field(default_factory=dict)
    tied: bool = False
    regularisation: Regularisation | None = None

    def __post_init__(self) -> None:
        for name in ("vocabulary_size", "hidden_size", "num_layers", "embedding_size"):
            if getattr(self, name) < 1:
                raise InvalidValue(f"{name} must be positive, got {getattr(self, name)}")
        if self.input not in INPUTS:
            raise InvalidValue(f"input must be one of {', '.join(INPUTS)}, got {self.input!r}")
        if not 0 <= self.dropout < 1:
            raise InvalidValue(f"dropout must be at least 0 and below 1, got {self.dropout}")
        if self.tied and self.input != "embedding":
            raise InvalidValue(f"tied embeddings need input to be embedding, got {self.input!r}")

    @property
    def dropped(self) -> Regularisation:
        """What is dropped, part by part, whichever way it was said."""
        return self.regularisation or Regularisation(input=self.dropout, hidden=self.dropout, output=self.dropout)


class LanguageModel(nn.Module):
    """Scores for the next token, at every position of a batch of token streams.

    ::

        x = embedding[token]                    or one-hot: x = [0 … 1 … 0]
        y, state = stack(dropout(x), state)     Recurrent(cell_type, …), any cell
        scores = head(dropout(y))               softmax of them is p(next token)

    With ``size.tied`` head and embedding are one tensor (V, E); where H differs from E, y is first projected to E
    without a bias, so that both widths stay free. O. Press, L. Wolf, "Using the output embedding to improve language
    models", 2017; H. Inan, K. Khosravi, R. Socher, "Tying word vectors and word classifiers", 2017.

    >>> from ostinato.cells.library.gru import GRUCell
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
        self.stack = _stack(size, cell_type, width, device)
        self.projection: nn.Linear | None = None
        inner = self.stack.output_size
        if size.tied and inner != size.embedding_size:
            self.projection = nn.Linear(inner, size.embedding_size, bias=False, device=device)
            inner = size.embedding_size
        self.head = nn.Linear(inner, size.vocabulary_size, device=device)
        if size.tied and self.embedding is not None:
            # The head's first weights serve both: an embedding's own are too large to score with.
            self.embedding.weight = self.head.weight

    def forward(self, tokens: Tensor, state: State = None) -> tuple[Tensor, State]:
        """Reads ``tokens`` on from ``state``.

        Args:
            tokens: (T, B) token numbers, int64.
            state: what the call before returned, or None for zeros.

        Returns:
            Scores (T, B, vocabulary) of the token that follows each, and the state after the last.
        """
        _, y, state = self.activations(tokens, state)
        return self.scores(y), state

    def activations(self, tokens: Tensor, state: State = None) -> tuple[Tensor, Tensor, State]:
        """What the top layer gives: (T, B, H) as it is, the same after dropout, and the state; arguments as above."""
        dropped = self.size.dropped
        x = drop_tokens(self._vectors(tokens), tokens, dropped.embedding, self.size.vocabulary_size, self.training)
        y, state = self.stack(self._drop(x, dropped.input), state)
        return y, self._drop(y, dropped.output), state

    def scores(self, y: Tensor) -> Tensor:
        """(T, B, vocabulary), of the top layer's values (T, B, H)."""
        return self.head(y if self.projection is None else self.projection(y))

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

    def _drop(self, x: Tensor, part: float) -> Tensor:
        if self.size.dropped.locked:
            return locked_dropout(x, part, self.training)
        return F.dropout(x, part, self.training)

    def _vectors(self, tokens: Tensor) -> Tensor:
        if self.embedding is not None:
            return self.embedding(tokens)
        return F.one_hot(tokens, self.size.vocabulary_size).to(self.head.weight.dtype)


def _stack(size: LanguageModelSize, cell_type: type[Cell], width: int, device: torch.device | str | None) -> Recurrent:
    """The recurrent layers, with what is dropped in and between them."""
    dropped = size.dropped
    return Recurrent(
        cell_type,
        width,
        size.hidden_size,
        size.num_layers,
        dropout=dropped.hidden if size.num_layers > 1 else 0.0,
        dropout_form="sequence" if dropped.locked else "element",
        weight_dropout=dropped.weights,
        device=device,
        **size.cell_options,
    )
