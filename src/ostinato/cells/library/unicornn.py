"""The undamped independent controlled oscillatory network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ostinato.cells import checks
from ostinato.cells.cell import Cell
from ostinato.cells.registry import known


@known("unicornn", "Undamped independent controlled oscillatory RNN", 2021)
class UnICORNNCell(Cell):
    r"""Oscillators without friction, each on its own, driven by x, with a time scale each learns.

    .. math::
        z_n &= z_{n-1} - \Delta t \, \hat\sigma(c) \odot
            \left[ \tanh(w \odot y_{n-1} + V u_n + b) + \alpha y_{n-1} \right] \\
        y_n &= y_{n-1} + \Delta t \, \hat\sigma(c) \odot z_n

    :math:`\hat\sigma(c) = 0.5 + 0.5 \tanh(c / 2)`, a sigmoid, is in (0, 1); u is x here, and y the output. A step keeps
    the volume of (y, z), so it can be undone: y first, then z. Units meet in V alone, so the paper stacks layers. The
    variant with residual connections between layers is the layer's option here, not the cell's.

    Begins as the authors' code does: w from U(0, 1), c from U(-0.1, 0.1), V from U(-a, a) with
    :math:`a = \sqrt{6 / (65 I)}` (He et al. with a slope of 8), b zero. torchrecurrent draws V otherwise.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_ih``.
        dt: :math:`\Delta t`, greater than zero.
        alpha: :math:`\alpha`, at least zero: the stiffness of the springs.

    Parameters:
        weight_ih = V (H, I), weight_hh = w (H), control = c (H), bias_ih = b (H).

    Paper:
        T. K. Rusch, S. Mishra, UnICORNN: a recurrent model for learning very long time dependencies, ICML 2021,
        arXiv:2103.05487.

    Example:
        >>> y, z = ostinato.cells.UnICORNNCell(4, 5, dt=0.1, alpha=1.0)(torch.randn(2, 4))
        >>> y.shape, z.shape
        (torch.Size([2, 5]), torch.Size([2, 5]))
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
        dt: float = 0.1,
        alpha: float = 0.0,
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.bias = checks.flag("bias", bias)
        self.dt = checks.number("dt", dt, above=0)
        self.alpha = checks.number("alpha", alpha, least=0)
        kind = {"device": device, "dtype": dtype}
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size, **kind))
        self.weight_hh = nn.Parameter(torch.empty(hidden_size, **kind))
        self.control = nn.Parameter(torch.empty(hidden_size, **kind))
        self.bias_ih = nn.Parameter(torch.empty(hidden_size, **kind)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        if self.weight_ih.is_meta:
            return
        nn.init.kaiming_uniform_(self.weight_ih, a=8)
        nn.init.uniform_(self.weight_hh, 0, 1)
        nn.init.uniform_(self.control, -0.1, 0.1)
        if self.bias_ih is not None:
            nn.init.zeros_(self.bias_ih)

    def step(self, x: Tensor, y: Tensor, z: Tensor) -> Any:
        scale = self.dt * torch.sigmoid(self.control)
        force = self.candidate(torch.tanh(self.weight_hh * y + linear(x, self.weight_ih, self.bias_ih)))
        z = z - scale * (force + self.alpha * y)
        y = y + scale * z
        return y, z
