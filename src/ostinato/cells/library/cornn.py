"""The coupled oscillatory network: a forced, damped oscillator for every unit."""

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


@known("cornn", "Coupled oscillatory network", 2020)
class coRNNCell(Cell):  # noqa: N801 - the name as the paper writes it
    r"""The coupled oscillatory network: positions y, velocities z, and a force out of both and the input.

    .. math::
        z_n &= z_{n-1} + \Delta t\, \sigma(W y_{n-1} + \mathcal{W} z_{n-1} + V u_n + b)
            - \Delta t\, \gamma\, y_{n-1} - \Delta t\, \epsilon\, z_{\bar n} \\
        y_n &= y_{n-1} + \Delta t\, z_n, \qquad \sigma = \tanh

    :math:`\bar n` is n - 1, as in the authors' implementation and in torchrecurrent, or n with ``implicit=True``, the
    paper's other choice: then the damping divides, :math:`z_n = (\dots) / (1 + \Delta t\,\epsilon)`. The output is
    y. torchrecurrent has a bias for each of the three products and calls the states h and c.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_ih``.
        device, dtype: of the parameters.
        dt: Δt, the length of a step.
        gamma: γ, the square of the oscillators' own frequency.
        epsilon: ε, their damping.
        implicit: damp by the new velocity.
        activation: σ, a name or a function.

    Parameters:
        weight_ih = V (H, I), weight_yh = W (H, H), weight_zh = 𝒲 (H, H), bias_ih (H).

    Paper:
        T. K. Rusch, S. Mishra, Coupled oscillatory recurrent neural network (coRNN): an accurate and (gradient) stable
        architecture for learning long time dependencies, ICLR 2021, arXiv:2010.00951.

    Example:
        >>> output, (y_n, z_n) = ostinato.Recurrent("cornn", 4, 5, dt=0.05)(torch.randn(7, 2, 4))
        >>> output.shape, z_n.shape
        (torch.Size([7, 2, 5]), torch.Size([1, 2, 5]))
    """

    state_names = ("y", "z")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        dt: float = 0.1,
        gamma: float = 1.0,
        epsilon: float = 1.0,
        implicit: bool = False,
        activation: Activation = "tanh",
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.bias, self.implicit = checks.flag("bias", bias), checks.flag("implicit", implicit)
        self.dt = checks.number("dt", dt, above=0)
        self.gamma = checks.number("gamma", gamma, least=0)
        self.epsilon = checks.number("epsilon", epsilon, least=0)
        self.activation, self._f = activation, activation_named("activation", activation)
        kind = {"device": device, "dtype": dtype}
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size, **kind))
        self.weight_yh = nn.Parameter(torch.empty(hidden_size, hidden_size, **kind))
        self.weight_zh = nn.Parameter(torch.empty(hidden_size, hidden_size, **kind))
        self.bias_ih = nn.Parameter(torch.empty(hidden_size, **kind)) if bias else None
        self.reset_parameters()

    def step(self, x: Tensor, y: Tensor, z: Tensor) -> Any:
        of_x = linear(x, self.weight_ih, self.bias_ih)
        force = self.candidate(self._f(linear(y, self.weight_yh) + linear(z, self.weight_zh) + of_x))
        pushed = z + self.dt * (force - self.gamma * y)
        z = pushed / (1 + self.dt * self.epsilon) if self.implicit else pushed - self.dt * self.epsilon * z
        y = y + self.dt * z
        return y, z
