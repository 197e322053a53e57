"""What cells share whose gates lie stacked in two matrices, as torch.nn stores them."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ostinato.cells import checks
from ostinato.cells.cell import Cell
from ostinato.cells.initialise import Init, recurrent_
from ostinato.errors import InvalidValue


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
        recurrent_size: P, the width of the state that ``weight_hh`` reads; H if not given.
        recurrent_rank: r, smaller than P: the recurrent weight is a product of two thin matrices, U V.
        heads: n, a divisor of H and P: units in n groups, each of which reads its own group of the state alone, so that
            the recurrent weight is block-diagonal.

    Parameters:
        weight_ih (G·H, I), weight_hh (G·H, P), bias_ih (G·H), bias_hh (G·H), the recurrent ones with
        ``recurrent_gates`` for G where a cell says so. With a rank, in the place of weight_hh, weight_hh_u = U (G·H, r)
        and weight_hh_v = V (r, P); with heads weight_hh is (n, G·H/n, P/n), the gates stacked within each head.
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
        *,
        recurrent_rank: int | None = None,
        heads: int = 1,
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.bias = checks.flag("bias", bias)
        self.recurrent_init = recurrent_init
        kind = {"device": device, "dtype": dtype}
        rows, recurrent_rows = self.gates * hidden_size, (self.recurrent_gates or self.gates) * hidden_size
        self.weight_ih = nn.Parameter(torch.empty(rows, input_size, **kind))
        width = recurrent_size or hidden_size
        self.recurrent_rank = checks.thin("recurrent_rank", recurrent_rank, width, "the state's width, here")
        self.heads = _heads(heads, hidden_size, width)
        if recurrent_rank is not None and heads > 1:
            raise InvalidValue(
                f"recurrent_rank and heads cannot be combined, got recurrent_rank={recurrent_rank} and heads={heads}"
            )
        if recurrent_rank is not None:
            self.register_parameter("weight_hh", None)
            self.weight_hh_u = nn.Parameter(torch.empty(recurrent_rows, recurrent_rank, **kind))
            self.weight_hh_v = nn.Parameter(torch.empty(recurrent_rank, width, **kind))
        else:
            shape = (recurrent_rows, width) if heads == 1 else (heads, recurrent_rows // heads, width // heads)
            self.weight_hh = nn.Parameter(torch.empty(shape, **kind))
        self.bias_ih = nn.Parameter(torch.empty(rows, **kind)) if bias and self.input_bias else None
        self.bias_hh = nn.Parameter(torch.empty(recurrent_rows, **kind)) if bias and self.two_biases else None

    def reset_parameters(self) -> None:
        super().reset_parameters()
        gates = self.recurrent_gates or self.gates
        if self.recurrent_rank is not None:
            # U(-√(3/r), √(3/r)): an element of U V then varies as one of the whole matrix would.
            _scale(self.weight_hh_u, math.sqrt(3 * self.hidden_size / self.recurrent_rank))
            recurrent_(self.weight_hh_u, gates, self.recurrent_init)
            recurrent_(self.weight_hh_v, 1, self.recurrent_init)
        elif self.heads > 1:
            # A sum has fewer terms by the number of heads.
            _scale(self.weight_hh, math.sqrt(self.heads))
            for head in self.weight_hh.unbind():
                recurrent_(head, gates, self.recurrent_init)
        else:
            recurrent_(self.weight_hh, gates, self.recurrent_init)

    def from_state(self, h: Tensor, first: int = 0, stop: int | None = None) -> Tensor:
        """The recurrent weight times h, with ``bias_hh`` where there is one.

        Args:
            h: the state, or what a gate left of it, (B, P).
            first, stop: of which gates; of all if not given.

        Returns:
            (B, G·H), with the number of those gates for G.
        """
        gates = self.recurrent_gates or self.gates
        stop = gates if stop is None else stop
        # The slice of everything is left out: a loop would take it at every step.
        rows = None if stop - first == gates else slice(first * self.hidden_size, stop * self.hidden_size)
        bias = self.bias_hh if self.bias_hh is None or rows is None else self.bias_hh[rows]
        if self.heads > 1:
            product = self._by_heads(h, first, stop)
            return product if bias is None else product + bias
        weight: Tensor = self.weight_hh
        if self.recurrent_rank is not None:
            weight, h = self.weight_hh_u, linear(h, self.weight_hh_v)
        return linear(h, weight if rows is None else weight[rows], bias)

    def _by_heads(self, h: Tensor, first: int, stop: int) -> Tensor:
        n, units = self.heads, self.hidden_size // self.heads
        weight = self.weight_hh[:, first * units : stop * units]
        product = torch.bmm(h.unflatten(-1, (n, -1)).transpose(0, 1), weight.transpose(1, 2))
        return product.unflatten(-1, (stop - first, units)).permute(1, 2, 0, 3).flatten(1)


class GatedCell(StackedCell):
    """A stacked cell without options or parameters of its own: it says its gates and has a step, and no constructor."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        recurrent_init: Init = "uniform",
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype, recurrent_init)
        self.reset_parameters()


def _scale(parameter: Tensor, factor: float) -> None:
    if not parameter.is_meta:
        with torch.no_grad():
            parameter.mul_(factor)


def _heads(value: Any, hidden_size: int, width: int) -> int:
    if hidden_size % checks.size("heads", value) or width % value:
        both = f"hidden_size = {hidden_size}" + (f" and proj_size = {width}" if width != hidden_size else "")
        raise InvalidValue(f"heads must divide {both}, got {value}")
    return value
