"""Long expressive memory: two states, each with a time scale of its own at every step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ostinato.cells import checks
from ostinato.cells.activations import Activation
from ostinato.cells.activations import activation as activation_named
from ostinato.cells.cell import Cell
from ostinato.cells.registry import known


@known("lem", "Long expressive memory", 2021)
class LEMCell(Cell):
    r"""Long expressive memory: a slow and a fast state whose time steps are learned functions of state and input.

    .. math::
        \Delta t_n &= \Delta t\, \hat\sigma(W_1 y_{n-1} + V_1 u_n + b_1) \\
        \overline{\Delta t}_n &= \Delta t\, \hat\sigma(W_2 y_{n-1} + V_2 u_n + b_2) \\
        z_n &= (1 - \Delta t_n) \odot z_{n-1} + \Delta t_n \odot \sigma(W_z y_{n-1} + V_z u_n + b_z) \\
        y_n &= (1 - \overline{\Delta t}_n) \odot y_{n-1}
            + \overline{\Delta t}_n \odot \sigma(W_y z_n + V_y u_n + b_y)

    :math:`\hat\sigma` is the logistic function, :math:`\sigma = \tanh`; the output is y. The last line reads the new
    :math:`z_n`, in the paper and in the authors' implementation; torchrecurrent's reads the old one. The gates lie
    stacked as 1, 2, z, y in ``weight_ih`` and as 1, 2, z in ``weight_hh``.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_ih``.
        device, dtype: of the parameters.
        dt: Δt, the longest step.
        activation: σ, a name or a function.

    Parameters:
        weight_ih (4·H, I), weight_hh (3·H, H), weight_zh = W_y (H, H), bias_ih (4·H).

    Paper:
        T. K. Rusch, S. Mishra, N. B. Erichson, M. W. Mahoney, Long expressive memory for sequence modeling,
        ICLR 2022, arXiv:2110.04744.

    Example:
        >>> output, (y_n, z_n) = ostinato.Recurrent("lem", 4, 5)(torch.randn(7, 2, 4))
        >>> output.shape, z_n.shape
        (torch.Size([7, 2, 5]), torch.Size([1, 2, 5]))
    """

    state_names = ("y", "z")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        dt: float = 1.0,
        activation: Activation = "tanh",
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.bias = checks.flag("bias", bias)
        self.dt = checks.number("dt", dt, above=0)
        self.activation, self._f = activation, activation_named("activation", activation)
        kind = {"device": device, "dtype": dtype}
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden_size, input_size, **kind))
        self.weight_hh = nn.Parameter(torch.empty(3 * hidden_size, hidden_size, **kind))
        self.weight_zh = nn.Parameter(torch.empty(hidden_size, hidden_size, **kind))
        self.bias_ih = nn.Parameter(torch.empty(4 * hidden_size, **kind)) if bias else None
        self.reset_parameters()

    def step(self, x: Tensor, y: Tensor, z: Tensor) -> Any:
        x_1, x_2, x_z, x_y = linear(x, self.weight_ih, self.bias_ih).chunk(4, dim=-1)
        y_1, y_2, y_z = linear(y, self.weight_hh).chunk(3, dim=-1)
        dt_z = self.dt * torch.sigmoid(y_1 + x_1)
        dt_y = self.dt * torch.sigmoid(y_2 + x_2)
        z = (1 - dt_z) * z + dt_z * self.candidate(self._f(y_z + x_z))
        y = (1 - dt_y) * y + dt_y * self.candidate(self._f(linear(z, self.weight_zh) + x_y))
        return y, z
