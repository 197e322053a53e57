"""The cell that an architecture search found."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from ostinato.cells.registry import known
from ostinato.cells.stacked import GatedCell


@known("nas", "Neural architecture search cell", 2017)
class NASCell(GatedCell):
    r"""The cell that a search by reinforcement learning found for language modelling: a tree over eight products.

    .. math::
        u_k &= W_k x_t, \qquad v_k = U_k h_{t-1} + b_k, \qquad k = 0, \dots, 7 \\
        a_0 &= \sigma(u_0 + v_0) \qquad a_1 = \mathrm{relu}(u_1 + v_1) \\
        a_2 &= \sigma(u_2 + v_2) \qquad a_3 = \mathrm{relu}(u_3 \odot v_3) \\
        a_4 &= \tanh(u_4 + v_4) \qquad a_5 = \sigma(u_5 + v_5) \\
        a_6 &= \tanh(u_6 + v_6) \qquad a_7 = \sigma(u_7 + v_7) \\
        l_0 &= \tanh(\tanh(a_0 \odot a_1) + c_{t-1}) \\
        l_1 &= \tanh(a_2 + a_3) \\
        l_2 &= \tanh(a_4 \odot a_5) \\
        l_3 &= \sigma(a_6 + a_7) \\
        c_t &= l_0 \odot l_1 \\
        h_t &= \tanh(c_t \odot \tanh(l_2 + l_3))

    The paper draws the cell and prints no equations; these are those of its authors' code in TensorFlow
    (``tf.contrib.rnn.NASCell``, later TensorFlow Addons), where :math:`a_3` multiplies and the bias, off by default, is
    on the side of h. In torchrecurrent :math:`a_3` adds. The blocks lie stacked in the weights as 0, …, 7.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_hh``.
        recurrent_init: ``"uniform"`` is torch's; ``"orthogonal"`` draws each block of ``weight_hh`` orthogonal.

    Parameters:
        weight_ih (8·H, I), weight_hh (8·H, H), bias_hh (8·H).

    Paper:
        B. Zoph, Q. V. Le, Neural architecture search with reinforcement learning, ICLR 2017, arXiv:1611.01578.

    Example:
        >>> h, c = ostinato.cells.NASCell(4, 5)(torch.randn(2, 4))
        >>> h.shape, c.shape
        (torch.Size([2, 5]), torch.Size([2, 5]))
    """

    state_names = ("h", "c")
    gates = 8
    input_bias = False

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> Any:
        u = linear(x, self.weight_ih).chunk(8, dim=-1)
        v = linear(h, self.weight_hh, self.bias_hh).chunk(8, dim=-1)
        a_0, a_1 = torch.sigmoid(u[0] + v[0]), torch.relu(u[1] + v[1])
        a_2, a_3 = torch.sigmoid(u[2] + v[2]), torch.relu(u[3] * v[3])
        a_4, a_5 = torch.tanh(u[4] + v[4]), torch.sigmoid(u[5] + v[5])
        a_6, a_7 = torch.tanh(u[6] + v[6]), torch.sigmoid(u[7] + v[7])
        n = self.candidate(torch.tanh(a_0 * a_1))
        l_0 = torch.tanh(n + c)
        l_1 = torch.tanh(a_2 + a_3)
        l_2 = torch.tanh(a_4 * a_5)
        l_3 = torch.sigmoid(a_6 + a_7)
        c = l_0 * l_1
        h = torch.tanh(c * torch.tanh(l_2 + l_3))
        return h, c
