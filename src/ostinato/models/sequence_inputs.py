"""What a many-to-one model reads, as tensors: texts by their tokens, series by their channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ostinato.data.tokens import Tokens, tokens_from_json
from ostinato.errors import InvalidType, InvalidValue
from ostinato.models.reader import Reader

MOST_CHANNELS = 1 << 16
"""So many channels are believed of a folder."""


class Sequences(NamedTuple):
    """B sequences, the longest of T steps.

    Args:
        x: (T, B) numbers of tokens, int64; or (T, B, I) values, float32.
        lengths: (B,) steps of each, int64.
    """

    x: Tensor
    lengths: Tensor

    def to(self, device: torch.device) -> Sequences:
        """The same on a device."""
        return Sequences(self.x.to(device), self.lengths.to(device))


def together(sequences: Sequence[Tensor]) -> Sequences:
    """Sequences (T,) or (T, I) of any lengths as one batch, padded with zeros.

    >>> together([torch.tensor([3]), torch.tensor([1, 2])])
    Sequences(x=tensor([[3, 1],
            [0, 2]]), lengths=tensor([1, 2]))
    """
    return Sequences(pad_sequence(list(sequences)), torch.tensor([len(one) for one in sequences]))


@dataclass(frozen=True)
class Texts:
    """Texts, read as tokens.

    >>> from ostinato.data.tokens import build_tokens
    >>> Texts(build_tokens(["aab"], "characters")).sequence("abc")
    tensor([1, 2, 0])

    Args:
        tokens: characters, words or subwords, and their numbers.
    """

    tokens: Tokens

    kind: ClassVar[str] = "text"

    def sequence(self, text: Any, name: str = "the text") -> Tensor:
        """(T,) the tokens' numbers.

        Raises:
            InvalidType: no text.
            InvalidValue: it has no token: it is empty, or of spaces where words are read.
        """
        if not isinstance(text, str):
            raise InvalidType(f"{name} must be a str, got {type(text).__name__}: this model reads texts")
        numbers = self.tokens.encode(text)
        if not numbers:
            raise InvalidValue(f"{name} must hold at least one of the {self.tokens.kind} it is read as, got {text!r}")
        return torch.tensor(numbers)

    def is_single(self, x: Any) -> bool:
        """Whether ``x`` is one text, not a list of them."""
        return isinstance(x, str)

    def count_unknown(self, texts: Sequence[str]) -> tuple[int, int]:
        """How many tokens of the texts are unknown, and how many there are."""
        return sum(map(self.tokens.count_unknown, texts)), sum(len(self.tokens.split(text)) for text in texts)

    def content(self) -> dict[str, Any]:
        """For JSON."""
        return {"kind": self.kind, **self.tokens.to_json()}


@dataclass(frozen=True)
class Series:
    """Series of numbers, some channels a step.

    >>> Series(("heart", "breath")).sequence([[60, 12], [61, 12]])
    tensor([[60., 12.],
            [61., 12.]])

    Args:
        channels: their names, in the order of a step's numbers.
    """

    channels: tuple[str, ...]

    kind: ClassVar[str] = "series"

    def sequence(self, series: Any, name: str = "the series") -> Tensor:
        """(T, I) float32.

        Args:
            series: a tensor, an array or lists, (T, I); with one channel also (T,).
            name: in messages.

        Raises:
            InvalidType: no numbers.
            InvalidValue: another shape, no step, NaN or infinity.
        """
        width = len(self.channels)
        try:
            values = torch.as_tensor(series, dtype=torch.float32)
        except (TypeError, ValueError, RuntimeError) as error:
            raise InvalidType(
                f"{name} must be numbers (T, {width}), got {type(series).__name__}: this model reads series "
                f"of the channels {self._named()} ({str(error)[:80]})"
            ) from None
        if values.dim() == 1 and width == 1:
            values = values.unsqueeze(1)
        if values.dim() != 2 or values.shape[1] != width or len(values) == 0:
            raise InvalidValue(
                f"{name} must be (T, {width}), with T steps from 1 and the channels {self._named()}, "
                f"got {tuple(values.shape)}"
            )
        if not bool(torch.isfinite(values).all()):
            step, channel = torch.nonzero(~torch.isfinite(values))[0].tolist()
            raise InvalidValue(
                f"{name} must be finite, got {float(values[step, channel])} in channel "
                f"{self.channels[channel]!r} at step {step}; fill the gap or leave the series out"
            )
        return values

    def is_single(self, x: Any) -> bool:
        """Whether ``x`` is one series, not a list of them: nested as deep as one is."""
        depth = 1 if len(self.channels) == 1 else 2
        return _depth(x) <= depth or (depth == 1 and isinstance(x, Tensor) and x.dim() == 2 and x.shape[1] == 1)

    def content(self) -> dict[str, Any]:
        """For JSON."""
        return {"kind": self.kind, "channels": list(self.channels)}

    def _named(self) -> str:
        return ", ".join(self.channels[:8]) + (", …" if len(self.channels) > 8 else "")


Inputs = Texts | Series


def inputs_from_content(content: dict[str, Any], read: Reader) -> Inputs:
    """What ``content()`` gave.

    Raises:
        ModelFolderError: an entry is missing, of the wrong type or out of bounds.
    """
    if read.one_of(content, "kind", (Texts.kind, Series.kind)) == Texts.kind:
        return Texts(tokens_from_json(content, f"{read.path}: input"))
    return Series(tuple(read.words(content, "channels", MOST_CHANNELS)))


def _depth(x: Any) -> int:
    """How many indices it takes to reach a number."""
    shape = getattr(x, "shape", None)
    if shape is not None:
        return len(shape)
    return 1 + _depth(x[0]) if isinstance(x, list | tuple) and x else int(isinstance(x, list | tuple))
