"""A cell on numbers drawn for it: what each part of a check runs."""

from __future__ import annotations

import copy
import traceback
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import torch
from torch import Tensor

from ostinato.cells.cell import Cell, check_step
from ostinato.engines import loop
from ostinato.engines.call import LayerCall, States

ROWS = 3
Form = tuple[int, torch.dtype | None]
"""A keyword's width, and its dtype; None: that of x."""


class Trial:
    """One cell in one precision, and the keywords it was found to take.

    Attributes:
        cell: a copy of the user's, with assignments to it refused.
        dtype: of its numbers and of x.
        given: the keywords of a step that are given, with their widths and dtypes.
    """

    def __init__(self, cell: Cell, given: dict[str, Form], dtype: torch.dtype = torch.float64) -> None:
        own = copy.deepcopy(cell)
        real = not any(p.is_complex() for p in own.parameters())
        self.dtype = dtype if real else torch.complex128
        self.own = own.to(dtype) if real else own
        self.cell = self.own._frozen_view()
        self.given = given
        self._draw = torch.Generator().manual_seed(0)

    @property
    def parameters(self) -> dict[str, Tensor]:
        """What is learnt, by name."""
        return {name: p for name, p in self.own.named_parameters() if p.requires_grad}

    def shake(self) -> None:
        """Move every parameter a little: one that begins at zero may hold back another's gradient."""
        with torch.no_grad():
            for parameter in self.parameters.values():
                parameter += 0.05 * self.random(*parameter.shape).to(parameter.dtype)

    def random(self, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        """Random numbers, or flags."""
        if dtype == torch.bool:
            return torch.rand(shape, generator=self._draw) < 0.5
        return torch.randn(shape, generator=self._draw, dtype=dtype or self.dtype)

    def step_inputs(self, rows: int = ROWS, zeros: bool = False) -> tuple[Tensor, States, dict[str, Tensor]]:
        """x, the states and the keywords of one step."""
        x = self.random(rows, self.cell.input_size)
        states = tuple(self.random(rows, size) * (not zeros) for size in self.cell.state_sizes)
        return x, states, {n: self.random(rows, width, dtype=dtype) for n, (width, dtype) in self.given.items()}

    def step(self, x: Tensor, states: States, given: dict[str, Tensor]) -> tuple[Tensor, States]:
        """The output and the new states, of the widths the cell declares."""
        output, new = self.cell.split(self.cell.step(x, *states, **given))
        check_step(self.cell, x, states, output, new)
        return output, new

    def call(self, steps: int, sizes: Tensor | None = None, directions: int = 1, zeros: bool = False) -> LayerCall:
        """A layer's call; packed rows if ``sizes`` says how many are active at each step."""
        lead = (steps, ROWS) if sizes is None else (int(sizes.sum()),)
        x = self.random(*lead, self.cell.input_size)
        streams = {n: self.random(*lead, width, dtype=dtype) for n, (width, dtype) in self.given.items()}
        states = tuple(self.step_inputs(zeros=zeros)[1] for _ in range(directions))
        cells = (self.cell,) * directions
        steps_ = (self.cell.step,) * directions
        return LayerCall(cells, steps_, x, states, streams, {}, sizes, (self.own,) * directions)

    @staticmethod
    def loop(call: LayerCall) -> list[Tensor]:
        """The output and the final states, by the loop."""
        output, finals = loop.run(call)
        return [output, *(s for final in finals for s in final)]


def forms(cell: Cell) -> Iterator[dict[str, Form]]:
    """What the keywords a step needs may look like: one number or one flag a row, or one for each unit."""
    names = [name for name, need in cell.streams().items() if need]
    kinds: list[Form] = [(1, None), (cell.hidden_size, None), (1, torch.bool), (cell.hidden_size, torch.bool)]
    if len(names) > 3:
        yield from (dict.fromkeys(names, kind) for kind in kinds)
        return
    for made in product(kinds, repeat=len(names)):
        yield dict(zip(names, made, strict=True))


def where(error: BaseException) -> str:
    """The error in a line, after the last line of the user's own that it came through."""
    here = (str(Path(torch.__file__).parent), str(Path(__file__).parents[1]))
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(here)]
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}: " if frames else ""
    message = str(error).strip().splitlines()
    return f"{place}{type(error).__name__}: {message[0] if message else ''}".rstrip(": ")
