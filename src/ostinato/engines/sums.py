"""Gradients that come from several places, added up by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor


class Sums:
    """Gradients by name, added up; only those in ``wanted`` are kept."""

    def __init__(self, wanted: Iterable[str]) -> None:
        self.wanted = frozenset(wanted)
        self.values: dict[str, Tensor] = {}

    def add(self, name: str, grad: Tensor | None) -> None:
        if grad is None or name not in self.wanted:
            return
        before = self.values.get(name)
        self.values[name] = grad if before is None else before + grad

    def add_all(self, grads: Mapping[str, Tensor]) -> None:
        for name, grad in grads.items():
            self.add(name, grad)
