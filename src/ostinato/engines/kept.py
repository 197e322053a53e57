"""What an operator keeps for its backward: few tensors, of sizes that do not depend on the lengths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

from ostinato.engines.compiled import Plan


@dataclass(frozen=True)
class Kept:
    """One tensor that a forward keeps for its backward: values of one direction that lie side by side.

    Attributes:
        shapes: of each value, after the first axis.
        by_step: whether it has a row for each step and row, or one for each row.
    """

    shapes: tuple[tuple[int, ...], ...]
    by_step: bool

    @property
    def widths(self) -> list[int]:
        return [prod(shape) for shape in self.shapes]

    def joined(self, values: Sequence[Tensor]) -> Tensor:
        """The values as one tensor; no copy where a kernel wrote them side by side."""
        first, widths = values[0], self.widths
        total, offset = sum(widths), first.storage_offset()
        if len(values) == 1:
            return first.flatten(1).contiguous()
        for value, width in zip(values, widths, strict=True):
            beside = value.data_ptr() == first.data_ptr() + (offset - first.storage_offset()) * first.element_size()
            if not beside or value.stride() != (total, 1):
                return torch.cat([v.flatten(1) for v in values], dim=1)
            offset += width
        return first.as_strided((first.shape[0], total), (total, 1))

    def apart(self, value: Tensor) -> list[Tensor]:
        """The inverse of :meth:`joined`."""
        parts = value.split(self.widths, dim=1)
        return [part.unflatten(1, s) if len(s) != 1 else part for part, s in zip(parts, self.shapes, strict=True)]


def kept_of(plan: Plan) -> list[Kept]:
    """What a forward keeps for its backward, in the order of ``passes.Done.kept``."""
    kept = []
    for compiled in plan.directions:
        made = compiled.program
        if made.backward is None:
            continue
        outputs, inner = made.forward.outputs, made.hoist.outputs
        if made.sink is not None:
            kept.append(Kept((outputs["output"].shape,), True))
        if made.saved:
            kept.append(Kept(tuple(outputs[n].shape for n in made.saved), True))
        kept += [Kept((outputs[f"new.{s}"].shape,), True) for s in compiled.kept_states]
        kept += [Kept((inner[n].shape,), True) for n in compiled.kept_streams if n in inner]
        kept += [Kept((inner[n].shape,), False) for n in compiled.kept_constants if n in inner]
        kept += [Kept((node.shape,), True) for node in compiled.hoist.within]
    return kept


def count_of(x: Tensor, by_step: bool) -> Any:
    return x.shape[0] * x.shape[1] if by_step else x.shape[1]
