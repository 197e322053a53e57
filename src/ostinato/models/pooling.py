"""One vector for a whole sequence, out of one for each of its steps: the last, the mean, the largest, or an attention.

Each is a function of the steps that a sequence has; what stands past its end changes nothing. A sequence of no steps
gives zeros.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from ostinato.cells import checks
from ostinato.layers.sequences import last_step

PoolingName = Literal["last", "mean", "max", "attention"]
POOLINGS: tuple[str, ...] = get_args(PoolingName)


class Pooling(nn.Module):
    """(T, B, D·H) → (B, D·H).

    ::

        last         the forward direction's features at the last step, the backward's at the first
        mean         the mean over the steps
        max          each feature's largest value (Collobert et al. 2011)
        attention    Σ_t α_t y_t,  α = softmax over the steps of  u · tanh(W y_t + b)    (Yang et al. 2016)

    Args:
        name: one of the four.
        width: D·H.
        directions: D, 1 or 2.

    Raises:
        InvalidValue: another name.

    Example:
        >>> y = torch.tensor([[[1.0]], [[3.0]], [[9.0]]])
        >>> [Pooling(name, 1)(y, torch.tensor([2])).item() for name in ("last", "mean", "max")]
        [3.0, 2.0, 3.0]
    """

    def __init__(self, name: str, width: int, directions: int = 1, *, device: torch.device | str | None = None) -> None:
        super().__init__()
        self.name = checks.one_of("pooling", name, POOLINGS)
        self.directions = directions
        if name == "attention":
            self.key = nn.Linear(width, width, device=device)
            self.query = nn.Linear(width, 1, bias=False, device=device)

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """The vector of each sequence.

        Args:
            features: (T, B, D·H).
            lengths: (B,) steps of each sequence, int64.
        """
        if self.name == "last":
            return last_step(features, lengths, self.directions)
        if self.name == "attention":
            return (
                self.weights(features, lengths).unsqueeze(2) * features.where(self._inside(features, lengths), 0)
            ).sum(0)
        inside = self._inside(features, lengths)
        if self.name == "mean":
            return features.where(inside, 0).sum(0) / lengths.clamp(min=1).unsqueeze(1)
        if len(features) == 0:
            return features.new_zeros(features.shape[1:])
        return features.masked_fill(~inside, -torch.inf).amax(0).where(lengths.unsqueeze(1) > 0, 0)

    def weights(self, features: Tensor, lengths: Tensor) -> Tensor:
        """(T, B) the attention α: what each step counts. Only a pooling by attention has it."""
        scores = self.query(torch.tanh(self.key(features))).squeeze(2)
        # Of a sequence without steps all scores would be −∞, and their softmax NaN.
        scores = scores.masked_fill(~self._inside(features, lengths.clamp(min=1)).squeeze(2), -torch.inf)
        return scores.softmax(0)

    def _inside(self, features: Tensor, lengths: Tensor) -> Tensor:
        """(T, B, 1) whether a step is one of its sequence."""
        return (torch.arange(len(features), device=features.device).unsqueeze(1) < lengths).unsqueeze(2)
