"""Bistable recurrent cells: units that hold one of two values by their own feedback."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ostinato.cells import checks
from ostinato.cells.cell import Cell
from ostinato.cells.registry import known
from ostinato.cells.stacked import GatedCell


@known("br", "Bistable recurrent cell", 2021)
class BRCell(Cell):
    r"""The bistable recurrent cell: each unit reads x and itself, and no other unit.

    .. math::
        a_t &= 1 + \tanh(U_a x_t + w_a \odot h_{t-1} + b_a) \\
        c_t &= \sigma(U_c x_t + w_c \odot h_{t-1} + b_c) \\
        h_t &= c_t \odot h_{t-1} + (1 - c_t) \odot \tanh(U x_t + a_t \odot h_{t-1})

    Where :math:`a > 1` a unit's feedback has two stable points, so it keeps one of two values for as long as it is
    left alone. The products lie stacked in the weights as a, c, h.

    The authors' code begins with :math:`w_a = w_c = 1` and biases of zero, and so does this cell. The paper prints no
    biases; the code has those of the gates. torchrecurrent has one in the candidate too.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_hh``.

    Parameters:
        weight_ih = U (3·H, I), weight_hh = w (2·H), bias_hh = b (2·H).

    Paper:
        N. Vecoven, D. Ernst, G. Drion, A bio-inspired bistable recurrent cell allows for long-lasting memory,
        PLOS ONE 16, 2021, arXiv:2006.05252.

    Example:
        >>> ostinato.cells.BRCell(4, 5)(torch.randn(2, 4)).shape
        torch.Size([2, 5])
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.bias = checks.flag("bias", bias)
        kind = {"device": device, "dtype": dtype}
        self.weight_ih = nn.Parameter(torch.empty(3 * hidden_size, input_size, **kind))
        self.weight_hh = nn.Parameter(torch.empty(2 * hidden_size, **kind))
        self.bias_hh = nn.Parameter(torch.empty(2 * hidden_size, **kind)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.ones_(self.weight_hh)
        if self.bias_hh is not None:
            nn.init.zeros_(self.bias_hh)

    def step(self, x: Tensor, h: Tensor) -> Any:
        x_a, x_c, x_h = linear(x, self.weight_ih).chunk(3, dim=-1)
        h_ac = self.weight_hh * torch.cat([h, h], dim=-1)
        h_a, h_c = (h_ac if self.bias_hh is None else h_ac + self.bias_hh).chunk(2, dim=-1)
        a = 1 + torch.tanh(x_a + h_a)
        c = torch.sigmoid(x_c + h_c)
        n = self.candidate(torch.tanh(x_h + a * h))
        h = c * h + (1 - c) * n
        return h


@known("nbr", "Recurrently neuromodulated bistable recurrent cell", 2021)
class NBRCell(GatedCell):
    r"""The neuromodulated bistable recurrent cell: the gates of a unit read all units.

    .. math::
        a_t &= 1 + \tanh(U_a x_t + W_a h_{t-1} + b_a) \\
        c_t &= \sigma(U_c x_t + W_c h_{t-1} + b_c) \\
        h_t &= c_t \odot h_{t-1} + (1 - c_t) \odot \tanh(U x_t + a_t \odot h_{t-1})

    The products lie stacked in the weights as a, c, h. The paper prints no biases; the authors' code has those of the
    gates, which begin at zero there and here. torchrecurrent has one in the candidate too.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_hh``.
        recurrent_init: ``"uniform"`` is torch's; ``"orthogonal"`` draws each gate of ``weight_hh`` orthogonal.

    Parameters:
        weight_ih = U (3·H, I), weight_hh = W (2·H, H), bias_hh = b (2·H).

    Paper:
        N. Vecoven, D. Ernst, G. Drion, A bio-inspired bistable recurrent cell allows for long-lasting memory,
        PLOS ONE 16, 2021, arXiv:2006.05252.

    Example:
        >>> ostinato.cells.NBRCell(4, 5)(torch.randn(2, 4)).shape
        torch.Size([2, 5])
    """

    gates = 3
    recurrent_gates = 2
    input_bias = False

    def reset_parameters(self) -> None:
        super().reset_parameters()
        if self.bias_hh is not None:
            nn.init.zeros_(self.bias_hh)

    def step(self, x: Tensor, h: Tensor) -> Any:
        x_a, x_c, x_h = linear(x, self.weight_ih).chunk(3, dim=-1)
        h_a, h_c = linear(h, self.weight_hh, self.bias_hh).chunk(2, dim=-1)
        a = 1 + torch.tanh(x_a + h_a)
        c = torch.sigmoid(x_c + h_c)
        n = self.candidate(torch.tanh(x_h + a * h))
        h = c * h + (1 - c) * n
        return h
