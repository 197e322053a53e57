"""The addition-subtraction twin-gated recurrent network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from ostinato.cells.registry import known
from ostinato.cells.stacked import GatedCell


@known("atr", "Addition-subtraction twin-gated recurrent network", 2018)
class ATRCell(GatedCell):
    r"""Two gates out of the sum and the difference of one product with x and one with h.

    .. math::
        p_t &= W_{ih} x_t + b_{ih} \\
        q_t &= W_{hh} h_{t-1} \\
        i_t &= \sigma(p_t + q_t) \\
        f_t &= \sigma(p_t - q_t) \\
        h_t &= i_t \odot p_t + f_t \odot h_{t-1}

    The gates have no weights of their own: where one opens because of h, the other closes. The paper prints no bias
    (``bias=False``). torchrecurrent has a second one in q, which changes the function, since q enters with both signs.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_ih``.
        recurrent_init: ``"uniform"`` is torch's; ``"orthogonal"`` draws ``weight_hh`` orthogonal.

    Parameters:
        weight_ih (H, I), weight_hh (H, H), bias_ih (H).

    Paper:
        B. Zhang, D. Xiong, J. Su, Q. Lin, H. Zhang, Simplifying neural machine translation with addition-subtraction
        twin-gated recurrent networks, EMNLP 2018, arXiv:1810.12546.

    Example:
        >>> ostinato.cells.ATRCell(4, 5)(torch.randn(2, 4)).shape
        torch.Size([2, 5])
    """

    gates = 1
    two_biases = False

    def step(self, x: Tensor, h: Tensor) -> Any:
        p = linear(x, self.weight_ih, self.bias_ih)
        q = linear(h, self.weight_hh)
        i = torch.sigmoid(p + q)
        f = torch.sigmoid(p - q)
        h = i * self.candidate(p) + f * h
        return h
