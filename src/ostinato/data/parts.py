"""Training, validation and test rows: three sets without a row in common, and how they came about."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

NAMES = ("training", "validation", "test")


@dataclass(frozen=True)
class Parts:
    """Row numbers of each part, ascending, int64.

    Args:
        training, validation, test: (N,) row numbers; a part may be empty.
        how: how they were cut: JSON, stored with the model.
        notes: what was counted on the way, to be printed.
    """

    training: Tensor
    validation: Tensor
    test: Tensor
    how: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.training) + len(self.validation) + len(self.test)

    def to_json(self) -> dict[str, Any]:
        """How the parts were cut, their sizes, and a hash of their rows to tell later whether a cut is the same.

        >>> Parts(torch.arange(8), torch.tensor([8]), torch.tensor([9]), {"by": "time"}).to_json()["rows"]
        {'training': 8, 'validation': 1, 'test': 1}
        """
        digest = hashlib.blake2b(digest_size=16)
        for name in NAMES:
            digest.update(name.encode() + getattr(self, name).contiguous().numpy().tobytes())
        rows = {name: len(getattr(self, name)) for name in NAMES}
        return {**self.how, "rows": rows, "digest": digest.hexdigest()}

    def noting(self, *notes: str) -> Parts:
        """The same parts with more notes."""
        return replace(self, notes=(*self.notes, *notes))


def parts_of(side: Tensor, how: dict[str, Any], notes: tuple[str, ...] = ()) -> Parts:
    """The parts of (N,) part numbers: 0 for training, 1 for validation, 2 for test, anything else for none."""
    training, validation, test = (torch.nonzero(side == number).flatten() for number in range(3))
    return Parts(training, validation, test, how, notes)
