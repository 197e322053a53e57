"""The stackable recurrent cell."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from ostinato.cells.registry import known
from ostinato.cells.stacked import GatedCell


@known("star", "Stackable recurrent cell", 2019)
class STARCell(GatedCell):
    r"""One gate between the state and a candidate made of x alone, in a form that keeps gradients in deep stacks.

    .. math::
        z_t &= \tanh(W_z x_t + b_z) \\
        k_t &= \sigma(W_x x_t + W_h h_{t-1} + b_k) \\
        h_t &= \tanh((1 - k_t) \odot h_{t-1} + k_t \odot z_t)

    The products with x lie stacked in ``weight_ih`` as :math:`W_x, W_z`, the biases as :math:`b_k, b_z`.
    torchrecurrent stacks them the other way round and has a second bias in k, which adds up to the first.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_ih``.
        recurrent_init: ``"uniform"`` is torch's; ``"orthogonal"`` draws ``weight_hh`` orthogonal.

    Parameters:
        weight_ih (2·H, I), weight_hh = :math:`W_h` (H, H), bias_ih (2·H).

    Paper:
        M. O. Turkoglu, S. D'Aronco, J. D. Wegner, K. Schindler, Gating revisited: deep multi-layer RNNs that can be
        trained, arXiv:1911.11033, 2019; IEEE Transactions on Pattern Analysis and Machine Intelligence 44, 2022.

    Example:
        >>> ostinato.cells.STARCell(4, 5)(torch.randn(2, 4)).shape
        torch.Size([2, 5])
    """

    gates = 2
    recurrent_gates = 1
    two_biases = False

    def step(self, x: Tensor, h: Tensor) -> Any:
        x_k, x_z = linear(x, self.weight_ih, self.bias_ih).chunk(2, dim=-1)
        z = self.candidate(torch.tanh(x_z))
        k = torch.sigmoid(x_k + linear(h, self.weight_hh))
        h = torch.tanh((1 - k) * h + k * z)
        return h
