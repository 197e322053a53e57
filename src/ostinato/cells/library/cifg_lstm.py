"""Long short-term memory with one gate for what is let in and what is forgotten."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ostinato.cells import checks
from ostinato.cells.initialise import Init
from ostinato.cells.registry import known
from ostinato.cells.stacked import StackedCell


@known("cifg-lstm", "Coupled input and forget gate LSTM", 2015)
class CIFGLSTMCell(StackedCell):
    r"""The LSTM cell whose forget gate is one minus its input gate.

    .. math::
        z_t &= \tanh(W_{iz} x_t + W_{hz} h_{t-1} + b_z) \\
        i_t &= \sigma(W_{ii} x_t + W_{hi} h_{t-1} + p_i \odot c_{t-1} + b_i) \\
        f_t &= 1 - i_t \\
        c_t &= i_t \odot z_t + f_t \odot c_{t-1} \\
        o_t &= \sigma(W_{io} x_t + W_{ho} h_{t-1} + p_o \odot c_t + b_o) \\
        h_t &= o_t \odot \tanh(c_t)

    The blocks lie stacked in the weights as i, z, o: an LSTM's i, g, o without f. The paper's cell has the peepholes p,
    which are here with ``peepholes=True``; without them is the usual form, such as the default of TensorFlow 1's
    CoupledInputForgetGateLSTMCell. The paper calls the output y.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_ih``.
        peepholes: with ``peephole_i`` and ``peephole_o``.
        recurrent_init: ``"uniform"`` is torch's; ``"orthogonal"`` draws each block of ``weight_hh`` orthogonal.

    Parameters:
        weight_ih (3·H, I), weight_hh (3·H, H), bias_ih (3·H), peephole_i (H), peephole_o (H).

    Paper:
        K. Greff, R. K. Srivastava, J. Koutník, B. R. Steunebrink, J. Schmidhuber, LSTM: a search space odyssey,
        arXiv:1503.04069, 2015; IEEE Transactions on Neural Networks and Learning Systems 28, 2017.

    Example:
        >>> h, c = ostinato.cells.CIFGLSTMCell(4, 5)(torch.randn(2, 4))
        >>> h.shape, c.shape
        (torch.Size([2, 5]), torch.Size([2, 5]))
    """

    state_names = ("h", "c")
    gates = 3
    two_biases = False

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        peepholes: bool = False,
        recurrent_init: Init = "uniform",
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype, recurrent_init)
        self.peepholes = checks.flag("peepholes", peepholes)
        kind = {"device": device, "dtype": dtype}
        self.peephole_i = nn.Parameter(torch.empty(hidden_size, **kind)) if peepholes else None
        self.peephole_o = nn.Parameter(torch.empty(hidden_size, **kind)) if peepholes else None
        self.reset_parameters()

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> Any:
        i, z, o = (linear(x, self.weight_ih, self.bias_ih) + linear(h, self.weight_hh)).chunk(3, dim=-1)
        i = torch.sigmoid(i if self.peephole_i is None else i + self.peephole_i * c)
        z = self.candidate(torch.tanh(z))
        f = 1 - i
        c = i * z + f * c
        o = torch.sigmoid(o if self.peephole_o is None else o + self.peephole_o * c)
        h = o * torch.tanh(c)
        return h, c
