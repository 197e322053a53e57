"""minGRU: the GRU without the state in its gates."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ostinato.cells import checks
from ostinato.cells.cell import Cell
from ostinato.cells.registry import known


def positive(x: Tensor) -> Tensor:
    """x + 0.5 where x is not negative, σ(x) elsewhere: continuous, increasing, greater than zero."""
    return torch.where(x >= 0, x + 0.5, torch.sigmoid(x))


@known("min-gru", "minGRU", 2024)
class MinGRUCell(Cell):
    r"""The GRU whose gate and candidate do not read the state: all of it but one line is known for all steps at once.

    .. math::
        z_t &= \sigma(W_z x_t + b_z) \\
        \tilde{h}_t &= W_h x_t + b_h, \qquad\text{or } g(W_h x_t + b_h) \text{ with positive=True} \\
        h_t &= (1 - z_t) \odot h_{t-1} + z_t \odot \tilde{h}_t

    :math:`g(x) = x + 0.5` for :math:`x \ge 0` and :math:`\sigma(x)` below. The rows of the weight are z, h.
    The paper computes its sequences in logarithms, which only numbers above zero have, and takes g for that reason.
    Here the state is computed as it stands, so g is an option. Here z = 1 takes the candidate: the opposite of
    :class:`ostinato.GRUCell`'s z.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_ih``.
        device, dtype: of the parameters.
        positive: the candidate passes through g.

    Parameters:
        weight_ih (2·H, I), bias_ih (2·H).

    Paper:
        L. Feng, F. Tung, M. O. Ahmed, Y. Bengio, H. Hajimirsadeghi, Were RNNs all we needed?, arXiv:2410.01201, 2024.

    Example:
        >>> output, h_n = ostinato.Recurrent("min-gru", 4, 5)(torch.randn(7, 2, 4))
        >>> output.shape, h_n.shape
        (torch.Size([7, 2, 5]), torch.Size([1, 2, 5]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        positive: bool = False,
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.bias, self.positive = checks.flag("bias", bias), checks.flag("positive", positive)
        kind = {"device": device, "dtype": dtype}
        self.weight_ih = nn.Parameter(torch.empty(2 * hidden_size, input_size, **kind))
        self.bias_ih = nn.Parameter(torch.empty(2 * hidden_size, **kind)) if bias else None
        self.reset_parameters()

    def step(self, x: Tensor, h: Tensor) -> Any:
        z, new = linear(x, self.weight_ih, self.bias_ih).chunk(2, dim=-1)
        z = torch.sigmoid(z)
        new = self.candidate(positive(new) if self.positive else new)
        h = (1 - z) * h + z * new
        return h
