"""The minimal recurrent network: a state that is a weighted mean of what the inputs alone give."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ostinato.cells.activations import Activation
from ostinato.cells.activations import activation as activation_named
from ostinato.cells.initialise import Init
from ostinato.cells.registry import known
from ostinato.cells.stacked import StackedCell


@known("minimal-rnn", "MinimalRNN", 2017)
class MinimalRNNCell(StackedCell):
    r"""The minimal recurrent cell: one gate between the state and an image of the input that no state reaches.

    .. math::
        z_t &= \Phi(x_t) = \tanh(W_{iz} x_t + b_z) \\
        u_t &= \sigma(U_h h_{t-1} + U_z z_t + b_u) \\
        h_t &= u_t \odot h_{t-1} + (1 - u_t) \odot z_t

    u = 1 keeps h. The paper leaves Φ open and takes one tanh layer, as here. No state reaches the products with x and
    z, so of three products one is bound to the order of time. torchrecurrent has the same equations.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_ih`` and ``bias_hh``.
        activation: of Φ, a name or a function.
        recurrent_init: ``"uniform"`` is torch's; ``"orthogonal"`` draws ``weight_hh`` orthogonal.

    Parameters:
        weight_ih (H, I), weight_hh = :math:`U_h` (H, H), bias_ih = :math:`b_z` (H), bias_hh = :math:`b_u` (H),
        weight_zh = :math:`U_z` (H, H).

    Paper:
        M. Chen, MinimalRNN: toward more interpretable and trainable recurrent neural networks, NIPS 2017 symposium,
        arXiv:1711.06788.

    Example:
        >>> ostinato.cells.MinimalRNNCell(4, 5)(torch.randn(2, 4), torch.zeros(2, 5)).shape
        torch.Size([2, 5])
    """

    gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        activation: Activation = "tanh",
        recurrent_init: Init = "uniform",
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype, recurrent_init)
        self.activation, self._phi = activation, activation_named("activation", activation)
        self.weight_zh = nn.Parameter(torch.empty(hidden_size, hidden_size, device=device, dtype=dtype))
        self.reset_parameters()

    def step(self, x: Tensor, h: Tensor) -> Any:
        z = self._phi(linear(x, self.weight_ih, self.bias_ih))
        u = torch.sigmoid(linear(h, self.weight_hh) + linear(z, self.weight_zh, self.bias_hh))
        h = u * h + (1 - u) * self.candidate(z)
        return h
