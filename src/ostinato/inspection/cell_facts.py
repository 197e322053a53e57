"""What a known cell is and costs, counted and not written down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from ostinato.cells.cell import Cell
from ostinato.cells.registry import Known
from ostinato.inspection.trial import forms

WIDTH = 128
"""I and H that cells are compared at."""


@dataclass(frozen=True)
class Facts:
    """One cell of the library at I = H = :data:`WIDTH`.

    Attributes:
        name, title, year: as it is known.
        states: their names.
        parameters: how many numbers it learns.
        multiply_adds: of the matrix products of one step, for one row.
    """

    name: str
    title: str
    year: int
    states: tuple[str, ...]
    parameters: int
    multiply_adds: int


def facts(known: Known) -> Facts:
    """Name, states, size and cost of a known cell.

    Example:
        >>> from ostinato.cells import registry
        >>> from ostinato.inspection.cell_facts import facts
        >>> facts(registry.find("gru")).multiply_adds == 2 * 3 * 128 * 128
        True
    """
    with torch.random.fork_rng(devices=[]):
        cell = known.cell(WIDTH, WIDTH)
    count = sum(parameter.numel() for parameter in cell.parameters())
    return Facts(known.name, known.title, known.year, cell.state_names, count, multiply_adds(cell))


def multiply_adds(cell: Cell) -> int:
    """Of the matrix products that one step does for one row.

    The step runs on one row and on two; the difference leaves out what it does to its parameters alone.
    """
    return _products(cell, 2) - _products(cell, 1)


def _products(cell: Cell, rows: int) -> int:
    def zeros(width: int, dtype: torch.dtype | None = None) -> torch.Tensor:
        return torch.zeros(rows, width, dtype=dtype)

    given: dict[str, Any] = {name: zeros(*form) for name, form in next(forms(cell)).items()}
    counter = _Counter()
    with counter, torch.no_grad():
        cell.step(zeros(cell.input_size), *map(zeros, cell.state_sizes), **given)
    return counter.flops // 2


class _Counter(TorchDispatchMode):
    """Sums what torch's own table says of each product; its FlopCounterMode would first import torch._dynamo."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if (count := flop_registry.get(func.overloadpacket)) is not None:
            self.flops += count(*args, **(kwargs or {}), out_val=result)
        return result
