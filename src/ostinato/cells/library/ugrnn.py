"""The update gate recurrent network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from ostinato.cells import checks
from ostinato.cells.activations import Activation
from ostinato.cells.activations import activation as activation_named
from ostinato.cells.initialise import Init
from ostinato.cells.registry import known
from ostinato.cells.stacked import StackedCell


@known("ugrnn", "Update gate recurrent network", 2016)
class UGRNNCell(StackedCell):
    r"""The update gate recurrent network: a simple recurrent cell with one gate, which reads what the candidate reads.

    .. math::
        c_t &= s(W_{ic} x_t + W_{hc} h_{t-1} + b_c) \\
        g_t &= \sigma(W_{ig} x_t + W_{hg} h_{t-1} + b_g + b^{fg}) \\
        h_t &= g_t \odot h_{t-1} + (1 - g_t) \odot c_t

    The gates lie stacked in the weights as c, g; g = 1 keeps h. The paper's :math:`b^{fg}` is a number chosen before
    training, beside a bias that is trained: together that is a bias which begins elsewhere, so ``forget_bias`` says
    where :math:`b_g` begins. TensorFlow's UGRNNCell adds 1; torchrecurrent has no such number, a second bias of the
    recurrent product, and tanh alone for s.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_ih``.
        activation: s, ``"tanh"`` or ``"relu"`` in the paper; a name or a function.
        forget_bias: what :math:`b_g` begins with; drawn as the rest if None.
        recurrent_init: ``"uniform"`` is torch's; ``"orthogonal"`` draws each gate of ``weight_hh`` orthogonal.

    Parameters:
        weight_ih (2·H, I), weight_hh (2·H, H), bias_ih (2·H).

    Paper:
        J. Collins, J. Sohl-Dickstein, D. Sussillo, Capacity and trainability in recurrent neural networks,
        ICLR 2017, arXiv:1611.09913.

    Example:
        >>> ostinato.cells.UGRNNCell(4, 5, forget_bias=1.0)(torch.randn(2, 4), torch.zeros(2, 5)).shape
        torch.Size([2, 5])
    """

    gates = 2
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
        forget_bias: float | None = None,
        recurrent_init: Init = "uniform",
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype, recurrent_init)
        self.activation, self._s = activation, activation_named("activation", activation)
        self.forget_bias = checks.first_bias("forget_bias", forget_bias, bias)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        super().reset_parameters()
        if self.forget_bias is not None and self.bias_ih is not None:
            with torch.no_grad():
                self.bias_ih[self.hidden_size :] = self.forget_bias

    def step(self, x: Tensor, h: Tensor) -> Any:
        c, g = (linear(x, self.weight_ih, self.bias_ih) + linear(h, self.weight_hh)).chunk(2, dim=-1)
        c, g = self.candidate(self._s(c)), torch.sigmoid(g)
        h = g * h + (1 - g) * c
        return h
