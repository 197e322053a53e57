"""What decides the shapes of a sequence-to-sequence network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ostinato.errors import InvalidValue

ATTENTIONS = ("multiplicative", "additive", "none")
FEEDS = ("nothing", "output", "context")


@dataclass(frozen=True)
class TransductionSize:
    """Everything that decides the shapes of a :class:`TransductionNetwork`, besides its cell.

    Args:
        source_size, target_size: tokens of each vocabulary; the end of a sequence and the target's start come on top.
        hidden_size: H, of the decoder and of each direction of the encoder.
        num_layers: of the encoder and of the decoder.
        embedding_size: width of a token's vector.
        attention: one of ``multiplicative``, ``additive``, ``none``.
        feed: what the decoder's recurrence reads of the attention: see the network.
        shared: source and target tokens are the same, and have one table of vectors.
        tied: the target's vectors also score the output.
        dropout: of the vectors, between layers and before the scores.
        cell_options: passed to the cell.
    """

    source_size: int
    target_size: int
    hidden_size: int = 128
    num_layers: int = 1
    embedding_size: int = 64
    attention: str = "multiplicative"
    feed: str = "nothing"
    shared: bool = False
    tied: bool = False
    dropout: float = 0.0
    cell_options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("source_size", "target_size", "hidden_size", "num_layers", "embedding_size"):
            if getattr(self, name) < 1:
                raise InvalidValue(f"{name} must be positive, got {getattr(self, name)}")
        for name, choices in (("attention", ATTENTIONS), ("feed", FEEDS)):
            if getattr(self, name) not in choices:
                raise InvalidValue(f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}")
        if self.attention == "none" and self.feed != "nothing":
            raise InvalidValue(f"feed must be nothing where attention is none, got {self.feed!r}")
        if self.shared and self.source_size != self.target_size:
            raise InvalidValue(
                f"a shared vocabulary has one size, got source_size {self.source_size}, target_size {self.target_size}"
            )
        if not 0 <= self.dropout < 1:
            raise InvalidValue(f"dropout must be at least 0 and below 1, got {self.dropout}")

    @property
    def source_end(self) -> int:
        """The token that ends a source."""
        return self.source_size

    @property
    def end(self) -> int:
        """The token that ends a target."""
        return self.target_size

    @property
    def start(self) -> int:
        """What the decoder reads before a target's first token; it is never written."""
        return self.target_size + 1
