"""The LSTM with a memory controller: what is put out and what is fed back are two things."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from ostinato.cells.registry import known
from ostinato.cells.stacked import GatedCell


@known("memory-controller-lstm", "LSTM with a memory controller", 2017)
class MemoryControllerLSTMCell(GatedCell):
    r"""The LSTM cell with a fifth gate, which makes a control vector that the gates read in the place of h.

    .. math::
        f_t &= \sigma(W_f x_t + U_f v_{t-1} + b_f) \\
        i_t &= \sigma(W_i x_t + U_i v_{t-1} + b_i) \\
        o_t &= \sigma(W_o x_t + U_o v_{t-1} + b_o) \\
        m_t &= \sigma(W_m x_t + U_m v_{t-1} + b_m) \\
        n_t &= \tanh(W_n x_t + U_n v_{t-1} + b_n) \\
        c_t &= f_t \odot c_{t-1} + i_t \odot n_t \\
        h_t &= o_t \odot \tanh(c_t) \\
        v_t &= m_t \odot \tanh(c_t)

    h is the output and no part of the state, which is (v, c). The paper calls this MC-LSTM, as torchrecurrent's
    ``MCLSTM`` does, with two biases that add up to this one; :class:`ostinato.cells.MCLSTMCell` is the mass-conserving
    LSTM. The products lie stacked in the weights as f, i, o, m, n.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_ih``.
        recurrent_init: ``"uniform"`` is torch's; ``"orthogonal"`` draws each gate of ``weight_hh`` orthogonal.

    Parameters:
        weight_ih = W (5·H, I), weight_hh = U (5·H, H), bias_ih (5·H).

    Paper:
        I. Ben-Ari, R. Shwartz-Ziv, Sequence modeling using a memory controller extension for LSTM, NIPS 2017 Time
        Series Workshop.

    Example:
        >>> h, (v, c) = ostinato.cells.MemoryControllerLSTMCell(4, 5)(torch.randn(2, 4))
        >>> h.shape, v.shape, c.shape
        (torch.Size([2, 5]), torch.Size([2, 5]), torch.Size([2, 5]))
    """

    state_names = ("v", "c")
    separate_output = True
    gates = 5
    two_biases = False

    @property
    def output_size(self) -> int:
        return self.hidden_size

    def step(self, x: Tensor, v: Tensor, c: Tensor) -> Any:
        f, i, o, m, n = (linear(x, self.weight_ih, self.bias_ih) + linear(v, self.weight_hh)).chunk(5, dim=-1)
        f, i, o, m = torch.sigmoid(f), torch.sigmoid(i), torch.sigmoid(o), torch.sigmoid(m)
        n = self.candidate(torch.tanh(n))
        c = f * c + i * n
        h = o * torch.tanh(c)
        v = m * torch.tanh(c)
        return h, v, c
