"""The intersection RNN, +RNN: two gated ways, one through time and one through depth."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ostinato.cells import activations, checks
from ostinato.cells.activations import Activation
from ostinato.cells.initialise import Init
from ostinato.cells.registry import known
from ostinato.cells.stacked import StackedCell


@known("intersection-rnn", "Intersection RNN (+RNN)", 2017)
class IntersectionRNNCell(StackedCell):
    r"""A gate between the old state and a new one, and a gate between x and an output of its own.

    .. math::
        y^{in}_t &= s_1(W^{yx} x_t + W^{yh} h_{t-1} + b^{y}) \\
        h^{in}_t &= s_2(W^{hx} x_t + W^{hh} h_{t-1} + b^{h}) \\
        g^y_t &= \sigma(W^{g^y x} x_t + W^{g^y h} h_{t-1} + b^{g^y}) \\
        g^h_t &= \sigma(W^{g^h x} x_t + W^{g^h h} h_{t-1} + b^{g^h}) \\
        y_t &= g^y_t \odot x_t + (1 - g^y_t) \odot y^{in}_t \\
        h_t &= g^h_t \odot h_{t-1} + (1 - g^h_t) \odot h^{in}_t

    y goes to the next layer and is no part of the state. :math:`g^y \odot x` needs I = H. Where the widths differ, or
    with ``project=True``, x is first projected, :math:`W_{xh} x_t`, for all of the cell, as the authors' code in
    TensorFlow does in the lowest layer (there with a bias). torchrecurrent refuses I other than H.

    The paper adds constants to the gates, so that they begin open to the past and to x: ``forget_bias`` sets what their
    biases begin with, 1 in the authors' code. The products lie stacked in the weights as y, h, g^y, g^h.

    Args:
        input_size: I.
        hidden_size: H, and the width of y.
        bias: with ``bias_ih``.
        activation: :math:`s_2`, a name or a function.
        output_activation: :math:`s_1`, a name or a function.
        forget_bias: what the biases of both gates begin with; drawn like all others if None.
        project: with ``weight_xh``; where I and H differ if None.
        recurrent_init: ``"uniform"`` is torch's; ``"orthogonal"`` draws each block of ``weight_hh`` orthogonal.

    Parameters:
        weight_ih (4·H, I) or (4·H, H) with a projection; weight_hh (4·H, H), bias_ih (4·H),
        weight_xh = :math:`W_{xh}` (H, I).

    Paper:
        J. Collins, J. Sohl-Dickstein, D. Sussillo, Capacity and trainability in recurrent neural networks, ICLR 2017,
        arXiv:1611.09913.

    Example:
        >>> y, h = ostinato.cells.IntersectionRNNCell(4, 5, forget_bias=1.0)(torch.randn(2, 4))
        >>> y.shape, h.shape
        (torch.Size([2, 5]), torch.Size([2, 5]))
    """

    separate_output = True
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
        output_activation: Activation = "relu",
        forget_bias: float | None = None,
        project: bool | None = None,
        recurrent_init: Init = "uniform",
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype, recurrent_init)
        self.activation, self.output_activation, self.project = activation, output_activation, project
        self._squash = activations.activation("activation", activation)
        self._squash_output = activations.activation("output_activation", output_activation)
        self.forget_bias = checks.first_bias("forget_bias", forget_bias, bias)
        projects = checks.projects("project", project, input_size, hidden_size)
        kind = {"device": device, "dtype": dtype}
        if projects:
            self.weight_ih = nn.Parameter(torch.empty(4 * hidden_size, hidden_size, **kind))
        self.weight_xh = nn.Parameter(torch.empty(hidden_size, input_size, **kind)) if projects else None
        self.reset_parameters()

    @property
    def output_size(self) -> int:
        return self.hidden_size

    def reset_parameters(self) -> None:
        super().reset_parameters()
        if self.forget_bias is not None and self.bias_ih is not None:
            nn.init.constant_(self.bias_ih.detach()[2 * self.hidden_size :], self.forget_bias)

    def step(self, x: Tensor, h: Tensor) -> Any:
        x = x if self.weight_xh is None else linear(x, self.weight_xh)
        gates = linear(x, self.weight_ih, self.bias_ih) + linear(h, self.weight_hh)
        y_in, h_in, g_y, g_h = gates.chunk(4, dim=-1)
        y_in, h_in = self._squash_output(y_in), self.candidate(self._squash(h_in))
        g_y, g_h = torch.sigmoid(g_y), torch.sigmoid(g_h)
        y = g_y * x + (1 - g_y) * y_in
        h = g_h * h + (1 - g_h) * h_in
        return y, h
