"""The light recurrent unit."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from ostinato.cells.registry import known
from ostinato.cells.stacked import GatedCell


@known("light-ru", "Light recurrent unit", 2024)
class LightRUCell(GatedCell):
    r"""One gate between the state and a candidate made of x alone.

    .. math::
        \tilde h_t &= \tanh(W_h x_t) \\
        f_t &= \sigma(W_f h_{t-1} + U_f x_t + b_f) \\
        h_t &= (1 - f_t) \odot h_{t-1} + f_t \odot \tilde h_t

    The paper calls it LRU, a name that the linear recurrent unit has since taken. Its candidate has no bias, which
    torchrecurrent gives it. The products with x lie stacked in ``weight_ih`` as :math:`U_f, W_h`.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_hh``.
        recurrent_init: ``"uniform"`` is torch's; ``"orthogonal"`` draws ``weight_hh`` orthogonal.

    Parameters:
        weight_ih (2·H, I), weight_hh = :math:`W_f` (H, H), bias_hh = :math:`b_f` (H).

    Paper:
        H. Ye, Y. Zhang, H. Liu, X. Li, J. Chang, H. Zheng, Light recurrent unit: towards an interpretable recurrent
        neural network for modeling long-range dependency, Electronics 13(16), 2024, doi:10.3390/electronics13163204.

    Example:
        >>> ostinato.cells.LightRUCell(4, 5)(torch.randn(2, 4)).shape
        torch.Size([2, 5])
    """

    gates = 2
    recurrent_gates = 1
    input_bias = False

    def step(self, x: Tensor, h: Tensor) -> Any:
        x_f, x_n = linear(x, self.weight_ih).chunk(2, dim=-1)
        n = self.candidate(torch.tanh(x_n))
        f = torch.sigmoid(x_f + linear(h, self.weight_hh, self.bias_hh))
        h = (1 - f) * h + f * n
        return h
