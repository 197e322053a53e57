"""The antisymmetric network: Euler steps of a differential equation that neither explodes nor forgets."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ostinato.cells import checks
from ostinato.cells.activations import Activation
from ostinato.cells.activations import activation as activation_named
from ostinato.cells.cell import Cell
from ostinato.cells.registry import known


@known("antisymmetric-rnn", "Antisymmetric network", 2019)
class AntisymmetricRNNCell(Cell):
    r"""The antisymmetric network: the recurrent matrix has eigenvalues on the imaginary axis, but for a little damping.

    .. math::
        A &= W_h - W_h^\top - \gamma I \\
        h_t &= h_{t-1} + \epsilon \tanh(A h_{t-1} + V_h x_t + b_h) \\
        \text{gated:}\quad z_t &= \sigma(A h_{t-1} + V_z x_t + b_z) \\
        h_t &= h_{t-1} + \epsilon\, z_t \odot \tanh(A h_{t-1} + V_h x_t + b_h)

    The gate reads the same :math:`A h_{t-1}`, so that the Jacobian stays close to antisymmetric. The paper keeps the
    upper triangle of W only, half as many numbers for the same A; here W is whole, as in torchrecurrent, whose defaults
    are ε = 1 and γ = 0 and whose recurrent bias enters the candidate but not the gate. The rows of ``weight_ih``
    are h, or z, h where there is a gate.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_ih``.
        device, dtype: of the parameters.
        epsilon: ε, the length of a step.
        gamma: γ, the damping.
        gated: with z.
        activation: in the place of tanh, a name or a function.

    Parameters:
        weight_ih (H, I), or (2·H, I) with a gate; weight_hh (H, H); bias_ih (H) or (2·H).

    Paper:
        B. Chang, M. Chen, E. Haber, E. H. Chi, AntisymmetricRNN: a dynamical system view on recurrent neural networks,
        ICLR 2019, arXiv:1902.09689.

    Example:
        >>> output, h_n = ostinato.Recurrent("antisymmetric-rnn", 4, 5, gated=True)(torch.randn(7, 2, 4))
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
        epsilon: float = 0.01,
        gamma: float = 0.01,
        gated: bool = False,
        activation: Activation = "tanh",
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.bias, self.gated = checks.flag("bias", bias), checks.flag("gated", gated)
        self.epsilon = checks.number("epsilon", epsilon, above=0)
        self.gamma = checks.number("gamma", gamma, least=0)
        self.activation, self._f = activation, activation_named("activation", activation)
        kind = {"device": device, "dtype": dtype}
        rows = (1 + gated) * hidden_size
        self.weight_ih = nn.Parameter(torch.empty(rows, input_size, **kind))
        self.weight_hh = nn.Parameter(torch.empty(hidden_size, hidden_size, **kind))
        self.bias_ih = nn.Parameter(torch.empty(rows, **kind)) if bias else None
        self.reset_parameters()

    def step(self, x: Tensor, h: Tensor) -> Any:
        *x_z, x_h = linear(x, self.weight_ih, self.bias_ih).chunk(1 + self.gated, dim=-1)
        a_h = linear(h, self.weight_hh - self.weight_hh.T) - self.gamma * h
        new = self.candidate(self._f(a_h + x_h))
        if self.gated:
            z = torch.sigmoid(a_h + x_z[0])
            new = z * new
        h = h + self.epsilon * new
        return h
