"""Gradients that come from several places, added up by name."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Generic, TypeVar

from torch import Tensor

Name = TypeVar("Name", bound=Hashable)


class Sums(Generic[Name]):
    """Gradients by name, added up; only those in ``wanted`` are kept."""

    def __init__(self, wanted: Iterable[Name]) -> None:
        self.wanted = frozenset(wanted)
        self.values: dict[Name, Tensor] = {}

    def add(self, name: Name, grad: Tensor | None) -> None:
        if grad is None or name not in self.wanted:
            return
        before = self.values.get(name)
        self.values[name] = grad if before is None else before + grad

    def add_all(self, grads: Mapping[Name, Tensor]) -> None:
        for name, grad in grads.items():
            self.add(name, grad)
