"""The simple gated unit and the deep simple gated unit."""

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


@known("sgu", "Simple gated unit", 2016)
class SGUCell(StackedCell):
    r"""The simple gated unit: x is let into the state by multiplying it.

    .. math::
        x_g &= W_{xh} x_t + b_g \\
        z_g &= \sigma_1(W_{zxh} (x_g \odot h_{t-1})) \\
        z_{out} &= \sigma_2(z_g \odot h_{t-1}) \\
        z_t &= \sigma_3(W_{xz} x_t + b_z + W_{hz} h_{t-1}) \\
        h_t &= (1 - z_t) \odot h_{t-1} + z_t \odot z_{out}

    In the paper :math:`\sigma_1` is tanh, :math:`\sigma_2` softplus, and :math:`\sigma_3` a hard sigmoid. Here that one
    is torch's, of slope 1/6; the one of Theano and Keras 2 has slope 1/5 and is
    ``gate_activation=lambda v: torch.clamp(0.2 * v + 0.5, 0, 1)``. The products lie stacked in the weights as g, z.
    torchrecurrent has a second bias, in :math:`z_g` too.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_ih``.
        activation: :math:`\sigma_1`, a name or a function.
        output_activation: :math:`\sigma_2`, a name or a function.
        gate_activation: :math:`\sigma_3`, a name or a function.
        recurrent_init: ``"uniform"`` is torch's; ``"orthogonal"`` draws each block of ``weight_hh`` orthogonal.

    Parameters:
        weight_ih (2·H, I), weight_hh (2·H, H), bias_ih (2·H).

    Paper:
        Y. Gao, D. Glowacka, Deep gate recurrent neural network, ACML 2016, arXiv:1604.02910.

    Example:
        >>> ostinato.cells.SGUCell(4, 5)(torch.randn(2, 4)).shape
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
        output_activation: Activation = "softplus",
        gate_activation: Activation = "hard_sigmoid",
        recurrent_init: Init = "uniform",
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype, recurrent_init)
        self.activation, self.output_activation = activation, output_activation
        self.gate_activation = gate_activation
        self._squash = activations.activation("activation", activation)
        self._squash_output = activations.activation("output_activation", output_activation)
        self._squash_gate = activations.activation("gate_activation", gate_activation)
        self.reset_parameters()

    def step(self, x: Tensor, h: Tensor) -> Any:
        w_zxh, w_hz = self.weight_hh.chunk(2)
        x_g, x_z = linear(x, self.weight_ih, self.bias_ih).chunk(2, dim=-1)
        z_g = self._squash(linear(x_g * h, w_zxh))
        z_out = self.candidate(self._squash_output(self.read(z_g * h)))
        z = self._squash_gate(x_z + linear(h, w_hz))
        h = (1 - z) * h + z * z_out
        return h

    def read(self, value: Tensor) -> Tensor:
        """What the new content is made of."""
        return value


@known("dsgu", "Deep simple gated unit", 2016)
class DSGUCell(SGUCell):
    r"""The deep simple gated unit: a matrix more on the way to the new content.

    .. math::
        x_g &= W_{xh} x_t + b_g \\
        z_g &= \sigma_1(W_{zxh} (x_g \odot h_{t-1})) \\
        z_{out} &= \sigma_2(W_{go} (z_g \odot h_{t-1})) \\
        z_t &= \sigma_3(W_{xz} x_t + b_z + W_{hz} h_{t-1}) \\
        h_t &= (1 - z_t) \odot h_{t-1} + z_t \odot z_{out}

    Here :math:`\sigma_2` is a sigmoid; the rest is as in :class:`SGUCell`, which also says which hard sigmoid
    :math:`\sigma_3` is.

    Args:
        input_size, hidden_size, bias, activation, output_activation, gate_activation, recurrent_init: as for
            :class:`SGUCell`.

    Parameters:
        those of :class:`SGUCell`, weight_go = :math:`W_{go}` (H, H).

    Paper:
        Y. Gao, D. Glowacka, Deep gate recurrent neural network, ACML 2016, arXiv:1604.02910.

    Example:
        >>> ostinato.cells.DSGUCell(4, 5)(torch.randn(2, 4)).shape
        torch.Size([2, 5])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        activation: Activation = "tanh",
        output_activation: Activation = "sigmoid",
        gate_activation: Activation = "hard_sigmoid",
        recurrent_init: Init = "uniform",
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            bias,
            device,
            dtype,
            activation=activation,
            output_activation=output_activation,
            gate_activation=gate_activation,
            recurrent_init=recurrent_init,
        )
        self.weight_go = nn.Parameter(torch.empty(hidden_size, hidden_size, device=device, dtype=dtype))
        self.reset_parameters()

    def read(self, value: Tensor) -> Tensor:
        return linear(value, self.weight_go)
