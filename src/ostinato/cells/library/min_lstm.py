"""minLSTM: the LSTM without the state in its gates, and without an output gate."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ostinato.cells import checks
from ostinato.cells.cell import Cell
from ostinato.cells.library.min_gru import positive
from ostinato.cells.registry import known


@known("min-lstm", "minLSTM", 2024)
class MinLSTMCell(Cell):
    r"""The LSTM whose gates and candidate do not read the state, its two gates made to add up to one.

    .. math::
        f_t &= \sigma(W_f x_t + b_f) \\
        i_t &= \sigma(W_i x_t + b_i) \\
        \tilde{h}_t &= W_h x_t + b_h, \qquad\text{or } g(W_h x_t + b_h) \text{ with positive=True} \\
        f'_t, i'_t &= \frac{f_t}{f_t + i_t}, \frac{i_t}{f_t + i_t} \\
        h_t &= f'_t \odot h_{t-1} + i'_t \odot \tilde{h}_t

    g is that of :class:`ostinato.cells.MinGRUCell`, and an option for the same reason. The rows of the weight are
    f, i, h. ``normalise=False`` leaves the gates as they are, the paper's first form, whose state may grow with time.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_ih``.
        device, dtype: of the parameters.
        normalise: divide both gates by their sum.
        positive: the candidate passes through g.

    Parameters:
        weight_ih (3·H, I), bias_ih (3·H).

    Paper:
        L. Feng, F. Tung, M. O. Ahmed, Y. Bengio, H. Hajimirsadeghi, Were RNNs all we needed?, arXiv:2410.01201, 2024.

    Example:
        >>> output, h_n = ostinato.Recurrent("min-lstm", 4, 5)(torch.randn(7, 2, 4))
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
        normalise: bool = True,
        positive: bool = False,
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.bias, self.positive = checks.flag("bias", bias), checks.flag("positive", positive)
        self.normalise = checks.flag("normalise", normalise)
        kind = {"device": device, "dtype": dtype}
        self.weight_ih = nn.Parameter(torch.empty(3 * hidden_size, input_size, **kind))
        self.bias_ih = nn.Parameter(torch.empty(3 * hidden_size, **kind)) if bias else None
        self.reset_parameters()

    def step(self, x: Tensor, h: Tensor) -> Any:
        f, i, new = linear(x, self.weight_ih, self.bias_ih).chunk(3, dim=-1)
        f, i = torch.sigmoid(f), torch.sigmoid(i)
        new = self.candidate(positive(new) if self.positive else new)
        if self.normalise:
            total = f + i
            f, i = f / total, i / total
        h = f * h + i * new
        return h
