"""Many to one: a sequence in, a few numbers out — scores of classes, or quantities.

What reads texts and what reads series differ in their first layer alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ostinato.cells.cell import Cell
from ostinato.errors import InvalidValue
from ostinato.layers.recurrent import Recurrent
from ostinato.models.pooling import Pooling

SPREAD = 0.3
"""Standard deviation of the vectors of tokens at the beginning."""


@dataclass(frozen=True)
class SequenceSize:
    """Everything that decides the shapes of a :class:`SequenceNetwork`, besides its cell.

    Args:
        tokens: how many tokens a vocabulary has, for texts; 0 for series.
        channels: I, how many numbers a step of a series has; 0 for texts.
        outputs: K, how many numbers come out.
        embedding_size: width of a token's vector.
        hidden_size: H, in each direction.
        num_layers: of the stack.
        bidirectional: whether a second run reads from the end.
        pooling: ``last``, ``mean``, ``max`` or ``attention``, see :class:`~ostinato.models.pooling.Pooling`.
        dropout: of the vectors of tokens, between layers, and of what the head reads.
        cell_options: passed to every cell.

    Raises:
        InvalidValue: a width below 1, both tokens and channels or neither, or a dropout outside [0, 1).
    """

    outputs: int
    tokens: int = 0
    channels: int = 0
    embedding_size: int = 64
    hidden_size: int = 128
    num_layers: int = 1
    bidirectional: bool = True
    pooling: str = "last"
    dropout: float = 0.0
    cell_options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("outputs", "embedding_size", "hidden_size", "num_layers"):
            if getattr(self, name) < 1:
                raise InvalidValue(f"{name} must be positive, got {getattr(self, name)}")
        if (self.tokens > 0) == (self.channels > 0):
            raise InvalidValue(
                f"a network reads either tokens or channels, got {self.tokens} tokens and {self.channels} channels"
            )
        if not 0 <= self.dropout < 1:
            raise InvalidValue(f"dropout must be at least 0 and below 1, got {self.dropout}")


class SequenceNetwork(nn.Module):
    """(B, K) out of a batch of sequences.

    ::

        x = dropout(embedding[token])                    of a text
        x = (value − mean) / deviation                   of a series
        y = stack(x)                                     Recurrent(cell_type, …)
        z = pooling(y)                                   (B, D·H), see Pooling
        output = head(dropout(z))

    >>> from ostinato.cells.library.gru import GRUCell
    >>> network = SequenceNetwork(SequenceSize(outputs=3, tokens=9, hidden_size=4), GRUCell)
    >>> network(torch.tensor([[8, 1], [2, 0]]), torch.tensor([2, 1])).shape
    torch.Size([2, 3])

    Args:
        size: the widths, the number of layers, the pooling, dropout.
        cell_type: the cell of every layer.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, size: SequenceSize, cell_type: type[Cell], *, device: torch.device | str | None = None) -> None:
        super().__init__()
        self.size = size
        self.cell_type = cell_type
        if size.tokens:
            self.embedding = nn.Embedding(size.tokens, size.embedding_size, device=device)
            # Of torch's own spread, 1, the vectors saturate the gates that first read them.
            nn.init.normal_(self.embedding.weight, std=SPREAD)
        else:
            self.register_buffer("mean", torch.zeros(size.channels, device=device))
            self.register_buffer("deviation", torch.ones(size.channels, device=device))
        self.stack = Recurrent(
            cell_type,
            size.embedding_size if size.tokens else size.channels,
            size.hidden_size,
            size.num_layers,
            bidirectional=size.bidirectional,
            dropout=size.dropout if size.num_layers > 1 else 0.0,
            device=device,
            **size.cell_options,
        )
        self.pooling = Pooling(size.pooling, self.stack.output_size, 2 if size.bidirectional else 1, device=device)
        self.dropout = nn.Dropout(size.dropout)
        self.head = nn.Linear(self.stack.output_size, size.outputs, device=device)

    def scale(self, mean: Tensor, deviation: Tensor) -> None:
        """Sets by what each channel of a series is centred and divided.

        Args:
            mean, deviation: (I,). A channel that never changes has deviation 0, and is divided by 1.
        """
        self.mean.copy_(mean)
        self.deviation.copy_(torch.where(deviation > 0, deviation, 1.0))

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, K).

        Args:
            x: (T, B) numbers of tokens, int64; or (T, B, I) values of series.
            lengths: (B,) steps of each sequence, int64; 0 is allowed.
        """
        return self.head(self.dropout(self.encode(x, lengths)))

    def encode(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, D·H) each sequence as a vector: what the head reads."""
        return self.pooling(self.features(x, lengths), lengths)

    def features(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(T, B, D·H) the stack's output at each step; zero past a sequence's end."""
        x = self.dropout(self.embedding(x)) if self.size.tokens else (x - self.mean) / self.deviation
        output, _ = self.stack(x, lengths=lengths)
        return output
