"""What an engine is asked to run: one layer, all its directions, over a whole sequence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ostinato.cells.cell import Cell

States = tuple[Tensor, ...]
"""The states of one cell, (B, ·) each, in the order of its ``state_names``."""

Step = Callable[..., Any]


@dataclass(slots=True, eq=False)
class LayerCall:
    """One layer, all its directions, over a whole sequence.

    Attributes:
        cells: the bound cell of each direction; the second, if any, runs from the last step to the first.
        steps: the function each direction calls once a step: the cell's own, or one that watches it.
        input: (T, B, I); or (N, I) with ``batch_sizes``, the rows of step t after those of step t - 1.
        states: the initial states of each direction. Packed rows are sorted by length, longest first, and rows
            of length zero, which no step touches, come last.
        streams: a value a step, laid out as ``input``.
        constants: a value a sequence, (B, ·), rows in the order of ``states``.
        batch_sizes: (T,) how many rows are active at each step, never growing; on the CPU. None: all of them.
        templates: the lasting cell behind each bound one, which what was compiled for it is kept by.
        recompute: between forward and backward keep the states of few steps, and run the steps between them again.
    """

    cells: tuple[Cell, ...]
    steps: tuple[Step, ...]
    input: Tensor
    states: tuple[States, ...]
    streams: Mapping[str, Tensor] = field(default_factory=dict)
    constants: Mapping[str, Tensor] = field(default_factory=dict)
    batch_sizes: Tensor | None = None
    templates: tuple[Cell, ...] = ()
    recompute: bool = False
