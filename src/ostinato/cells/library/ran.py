"""The recurrent additive network: gates that weigh inputs, and a state that is their sum."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from ostinato.cells.activations import Activation
from ostinato.cells.activations import activation as activation_named
from ostinato.cells.initialise import Init
from ostinato.cells.registry import known
from ostinato.cells.stacked import StackedCell


@known("ran", "Recurrent additive network", 2017)
class RANCell(StackedCell):
    r"""The recurrent additive cell: the state is a sum of linear images of the inputs, each weighed by gates.

    .. math::
        \tilde c_t &= W_{ic} x_t \\
        i_t &= \sigma(W_{ii} x_t + W_{hi} h_{t-1} + b_i) \\
        f_t &= \sigma(W_{if} x_t + W_{hf} h_{t-1} + b_f) \\
        c_t &= i_t \odot \tilde c_t + f_t \odot c_{t-1} \\
        h_t &= g(c_t), \qquad g = \tanh \text{ or the identity}

    The blocks lie stacked in the weights as i, f, c, of which c has no recurrent part and no bias. The gates are not
    coupled, so a sum may grow with time; tanh bounds what is put out. torchrecurrent has the same equations with tanh
    alone, c before i and f in ``weight_ih``, and a second bias of the gates.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_hh``.
        activation: g, ``"tanh"`` or ``"identity"`` in the paper; a name or a function.
        recurrent_init: ``"uniform"`` is torch's; ``"orthogonal"`` draws each gate of ``weight_hh`` orthogonal.

    Parameters:
        weight_ih (3·H, I), weight_hh (2·H, H), bias_hh (2·H).

    Paper:
        K. Lee, O. Levy, L. Zettlemoyer, Recurrent additive networks, arXiv:1705.07393, 2017.

    Example:
        >>> h, c = ostinato.cells.RANCell(4, 5)(torch.randn(2, 4))
        >>> h.shape, c.shape
        (torch.Size([2, 5]), torch.Size([2, 5]))
    """

    state_names = ("h", "c")
    gates = 3
    recurrent_gates = 2
    input_bias = False

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
        self.activation, self._g = activation, activation_named("activation", activation)
        self.reset_parameters()

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> Any:
        x_i, x_f, content = linear(x, self.weight_ih).chunk(3, dim=-1)
        h_i, h_f = linear(h, self.weight_hh, self.bias_hh).chunk(2, dim=-1)
        i, f, content = torch.sigmoid(x_i + h_i), torch.sigmoid(x_f + h_f), self.candidate(content)
        c = i * content + f * c
        h = self._g(c)
        return h, c
