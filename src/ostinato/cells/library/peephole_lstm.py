"""Long short-term memory whose gates look at the cell state."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ostinato.cells import activations
from ostinato.cells.activations import Activation
from ostinato.cells.initialise import Init
from ostinato.cells.registry import known
from ostinato.cells.stacked import StackedCell


@known("peephole-lstm", "Peephole LSTM", 2002)
class PeepholeLSTMCell(StackedCell):
    r"""The LSTM cell whose gates also see the cell state, through one weight a unit and gate.

    .. math::
        i_t &= \sigma(W_{ii} x_t + W_{hi} h_{t-1} + p_i \odot c_{t-1} + b_i) \\
        f_t &= \sigma(W_{if} x_t + W_{hf} h_{t-1} + p_f \odot c_{t-1} + b_f) \\
        g_t &= \tanh(W_{ig} x_t + W_{hg} h_{t-1} + b_g) \\
        c_t &= f_t \odot c_{t-1} + i_t \odot g_t \\
        o_t &= \sigma(W_{io} x_t + W_{ho} h_{t-1} + p_o \odot c_t + b_o) \\
        h_t &= o_t \odot \tanh(c_t)

    The output gate sees the new cell state, the other two the old one. The gates lie stacked in the weights as i, f,
    g, o.

    Two tanh are what later work uses (Graves, arXiv:1308.0850). The paper leaves the cell's output as it is, which is
    ``output_activation="identity"``. torchrecurrent has the same equations with two biases, which add up to this one.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_ih``.
        activation: of g, a name or a function.
        output_activation: of c on its way out, a name or a function.
        recurrent_init: ``"uniform"`` is torch's; ``"orthogonal"`` draws each gate of ``weight_hh`` orthogonal.

    Parameters:
        weight_ih (4·H, I), weight_hh (4·H, H), bias_ih (4·H), peephole_i (H), peephole_f (H), peephole_o (H).

    Paper:
        F. A. Gers, N. N. Schraudolph, J. Schmidhuber, Learning precise timing with LSTM recurrent networks, Journal of
        Machine Learning Research 3, 2002.

    Example:
        >>> h, c = ostinato.cells.PeepholeLSTMCell(4, 5)(torch.randn(2, 4))
        >>> h.shape, c.shape
        (torch.Size([2, 5]), torch.Size([2, 5]))
    """

    state_names = ("h", "c")
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
        activation: Activation = "tanh",
        output_activation: Activation = "tanh",
        recurrent_init: Init = "uniform",
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype, recurrent_init)
        self.activation, self.output_activation = activation, output_activation
        self._squash = activations.activation("activation", activation)
        self._squash_output = activations.activation("output_activation", output_activation)
        kind = {"device": device, "dtype": dtype}
        self.peephole_i = nn.Parameter(torch.empty(hidden_size, **kind))
        self.peephole_f = nn.Parameter(torch.empty(hidden_size, **kind))
        self.peephole_o = nn.Parameter(torch.empty(hidden_size, **kind))
        self.reset_parameters()

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> Any:
        gates = linear(x, self.weight_ih, self.bias_ih) + linear(h, self.weight_hh)
        i, f, g, o = gates.chunk(4, dim=-1)
        i = torch.sigmoid(i + self.peephole_i * c)
        f = torch.sigmoid(f + self.peephole_f * c)
        g = self.candidate(self._squash(g))
        c = f * c + i * g
        o = torch.sigmoid(o + self.peephole_o * c)
        h = o * self._squash_output(c)
        return h, c
