"""Several models of one kind that were trained from different seeds, and answer together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ostinato.errors import InvalidValue, ModelFolderError

MOST = 64
"""How many members are believed."""


class Ensemble:
    """Predicts with the mean of its members' scores: probabilities, values or quantiles (Hansen and Salamon 1990).

    Whatever else a member has, the classes or the columns, is read from the first one: all members are of one kind and
    saw the same data.

    Args:
        members: at least one, of one kind.
        training: what is known of its making.

    Raises:
        ModelFolderError: the members are of several kinds.
        InvalidValue: their kind has nothing that can be averaged.
    """

    def __init__(self, members: Sequence[Any], training: dict[str, Any]) -> None:
        kinds = {member.kind for member in members}
        if len(kinds) != 1:
            raise ModelFolderError(f"the members of an ensemble must be of one kind, got {', '.join(sorted(kinds))}")
        if not all(can_be_averaged(type(member)) for member in members):
            raise InvalidValue(f"models of the kind {members[0].kind} cannot answer together; train one")
        self.members = tuple(members)
        self.training = training

    def __getattr__(self, name: str) -> Any:
        if name == "members":
            raise AttributeError(name)
        return getattr(self.members[0], name)

    def __len__(self) -> int:
        return len(self.members)

    def scores(self, x: Any, **options: Any) -> Tensor | list[Tensor]:
        """The mean of the members' scores."""
        every = [member.scores(x, **options) for member in self.members]
        if isinstance(every[0], Tensor):
            return _mean(every)
        return [_mean(one) for one in zip(*every, strict=True)]

    def predict(self, x: Any, **options: Any) -> Any:
        """What a member's ``predict`` gives, from the mean of all scores."""
        return self.members[0].from_scores(self.scores(x, **options))

    def encode(self, x: Any, **options: Any) -> Tensor:
        """(N, members · P) the members' encodings side by side."""
        return torch.cat([member.encode(x, **options) for member in self.members], dim=1)


def can_be_averaged(kind: type) -> bool:
    """Whether models of this class have what :class:`~ostinato.models.model.Averageable` asks for."""
    return all(hasattr(kind, name) for name in ("scores", "from_scores"))


def _mean(scores: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(scores)).mean(0)
