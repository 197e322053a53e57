"""The chaos-free network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from ostinato.cells.registry import known
from ostinato.cells.stacked import GatedCell


@known("cfn", "Chaos-free network", 2017)
class CFNCell(GatedCell):
    r"""A gated network whose state comes to rest at zero when nothing comes in.

    .. math::
        \theta_t &= \sigma(U_\theta h_{t-1} + V_\theta x_t + b_\theta) \\
        \eta_t &= \sigma(U_\eta h_{t-1} + V_\eta x_t + b_\eta) \\
        h_t &= \theta_t \odot \tanh(h_{t-1}) + \eta_t \odot \tanh(W x_t)

    :math:`\theta` forgets and :math:`\eta` lets in. The candidate has no bias: with one, the state would not relax to
    zero, which is what the paper proves of it. torchrecurrent gives it one. The products with x lie stacked in
    ``weight_ih`` as :math:`V_\theta, V_\eta, W`.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_hh``.
        recurrent_init: ``"uniform"`` is torch's; ``"orthogonal"`` draws each gate of ``weight_hh`` orthogonal.

    Parameters:
        weight_ih (3·H, I), weight_hh = U (2·H, H), bias_hh = b (2·H).

    Paper:
        T. Laurent, J. von Brecht, A recurrent neural network without chaos, ICLR 2017, arXiv:1612.06212.

    Example:
        >>> ostinato.cells.CFNCell(4, 5)(torch.randn(2, 4)).shape
        torch.Size([2, 5])
    """

    gates = 3
    recurrent_gates = 2
    input_bias = False

    def step(self, x: Tensor, h: Tensor) -> Any:
        x_theta, x_eta, x_n = linear(x, self.weight_ih).chunk(3, dim=-1)
        h_theta, h_eta = linear(h, self.weight_hh, self.bias_hh).chunk(2, dim=-1)
        theta = torch.sigmoid(x_theta + h_theta)
        eta = torch.sigmoid(x_eta + h_eta)
        n = self.candidate(torch.tanh(x_n))
        h = theta * torch.tanh(h) + eta * n
        return h
