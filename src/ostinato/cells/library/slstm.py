"""Long short-term memory with exponential gates, a normaliser, and a stabiliser: xLSTM's scalar cell."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear, logsigmoid

from ostinato.cells import checks
from ostinato.cells.initialise import Init
from ostinato.cells.registry import known
from ostinato.cells.stacked import StackedCell

FORGET_GATES = ("sigmoid", "exp")


@known("slstm", "sLSTM, with exponential gates", 2024)
class SLSTMCell(StackedCell):
    r"""The LSTM cell with an exponential input gate, whose cell state is a weighted mean of what it was given.

    .. math::
        \tilde i_t &= W_{ii} x_t + W_{hi} h_{t-1} + b_i \\
        \tilde f_t &= W_{if} x_t + W_{hf} h_{t-1} + b_f \\
        z_t &= \tanh(W_{iz} x_t + W_{hz} h_{t-1} + b_z) \\
        o_t &= \sigma(W_{io} x_t + W_{ho} h_{t-1} + b_o) \\
        f_t &= \sigma(\tilde f_t) \text{ or } \exp(\tilde f_t) \\
        m_t &= \max(\log f_t + m_{t-1}, \tilde i_t) \\
        i'_t &= \exp(\tilde i_t - m_t) \\
        f'_t &= \exp(\log f_t + m_{t-1} - m_t) \\
        c_t &= f'_t \odot c_{t-1} + i'_t \odot z_t \\
        n_t &= f'_t \odot n_{t-1} + i'_t \\
        h_t &= o_t \odot c_t / n_t

    The blocks lie stacked in the weights as i, f, z, o; the states are h, c, n and m. m keeps the exponentials from
    overflowing and cancels in c / n, so that h is the same as with :math:`\exp(\tilde i_t)` and no m. The paper does
    not say where m begins. Here a state whose n is not positive, zeros included, is a beginning:
    :math:`m_1 = \tilde i_1` and :math:`n_1 = 1`. Since one of i' and f' is 1 at every step, n then never falls below 1,
    and c / n is finite however small a gate is; with :math:`m_0 = 0` a very small first input gate would make it 0 / 0.
    Around this cell the paper puts a block with a convolution, a norm and projections, which are not part of it. With
    ``heads`` the recurrent weights are block-diagonal: the paper's memory mixing within heads.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_ih``.
        forget_gate: f, ``"sigmoid"`` or ``"exp"``; the paper allows both.
        heads: a divisor of H: so many groups of units, each of which reads its own group of h alone.
        recurrent_init: ``"uniform"`` is torch's; ``"orthogonal"`` draws each block of ``weight_hh`` orthogonal.

    Parameters:
        weight_ih (4·H, I), weight_hh (4·H, H), bias_ih (4·H). With k heads weight_hh has k × 4·H/k × H/k, the
        blocks stacked in each head.

    Paper:
        M. Beck, K. Pöppel, M. Spanring, A. Auer, O. Prudnikova, M. Kopp, G. Klambauer, J. Brandstetter, S. Hochreiter,
        xLSTM: extended long short-term memory, NeurIPS 2024, arXiv:2405.04517.

    Example:
        >>> h, c, n, m = ostinato.cells.SLSTMCell(4, 6, heads=2)(torch.randn(2, 4))
        >>> h.shape, (n == 1).all()
        (torch.Size([2, 6]), tensor(True))
    """

    state_names = ("h", "c", "n", "m")
    gates = 4
    two_biases = False

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        forget_gate: str = "sigmoid",
        heads: int = 1,
        recurrent_init: Init = "uniform",
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype, recurrent_init, heads=heads)
        self.forget_gate = checks.one_of("forget_gate", forget_gate, FORGET_GATES)
        self.reset_parameters()

    def step(self, x: Tensor, h: Tensor, c: Tensor, n: Tensor, m: Tensor) -> Any:
        log_i, f, z, o = (linear(x, self.weight_ih, self.bias_ih) + self.from_state(h)).chunk(4, dim=-1)
        z, o = self.candidate(torch.tanh(z)), torch.sigmoid(o)
        log_f = f if self.forget_gate == "exp" else logsigmoid(f)
        kept = torch.where(n > 0, log_f + m, log_i)
        m = torch.maximum(kept, log_i)
        i, f = torch.exp(log_i - m), torch.exp(kept - m)
        c = f * c + i * z
        n = f * n.clamp(min=0) + i
        h = o * c / n
        return h, c, n, m
