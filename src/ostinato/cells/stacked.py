"""What cells share whose gates lie stacked in two matrices, as torch.nn stores them."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import nn

from ostinato.cells import checks
from ostinato.cells.cell import Cell
from ostinato.cells.initialise import Init, recurrent_


class StackedCell(Cell):
    """The parameters of a cell with G gates stacked in ``weight_ih`` and ``weight_hh``.

    A subclass names its :attr:`gates`, registers what else it has, and then calls ``reset_parameters``. One bias is
    enough for the function; two are torch's, and :attr:`two_biases` says which it is. A cell whose candidate reads x
    alone, without a bias, says ``recurrent_gates`` and ``input_bias = False``: its gates, the first blocks of
    ``weight_ih``, have ``weight_hh`` and ``bias_hh``.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_ih`` and, where there are two, ``bias_hh``.
        device, dtype: of the parameters.
        recurrent_init: ``"uniform"`` is torch's; ``"orthogonal"`` draws each gate of ``weight_hh`` orthogonal.
        recurrent_size: the width of the state that ``weight_hh`` reads; H if not given.

    Parameters:
        weight_ih (G·H, I), weight_hh (G·H, H), bias_ih (G·H), bias_hh (G·H), the recurrent ones with
        ``recurrent_gates`` for G where a cell says so.
    """

    gates: ClassVar[int]
    recurrent_gates: ClassVar[int | None] = None
    two_biases: ClassVar[bool] = True
    input_bias: ClassVar[bool] = True

    weight_ih: nn.Parameter
    weight_hh: nn.Parameter
    bias_ih: nn.Parameter | None
    bias_hh: nn.Parameter | None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        device: Any,
        dtype: Any,
        recurrent_init: Init,
        recurrent_size: int | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.bias = checks.flag("bias", bias)
        self.recurrent_init = recurrent_init
        kind = {"device": device, "dtype": dtype}
        rows, recurrent_rows = self.gates * hidden_size, (self.recurrent_gates or self.gates) * hidden_size
        self.weight_ih = nn.Parameter(torch.empty(rows, input_size, **kind))
        self.weight_hh = nn.Parameter(torch.empty(recurrent_rows, recurrent_size or hidden_size, **kind))
        self.bias_ih = nn.Parameter(torch.empty(rows, **kind)) if bias and self.input_bias else None
        self.bias_hh = nn.Parameter(torch.empty(recurrent_rows, **kind)) if bias and self.two_biases else None

    def reset_parameters(self) -> None:
        super().reset_parameters()
        recurrent_(self.weight_hh, self.recurrent_gates or self.gates, self.recurrent_init)
