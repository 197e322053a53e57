"""The independently recurrent network: a unit's state reaches itself alone."""

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


@known("ind-rnn", "Independently recurrent network", 2018)
class IndRNNCell(Cell):
    r"""The independently recurrent cell: its recurrent weight is a vector, one number a unit.

    .. math::
        h_t = \sigma(W_{ih} x_t + u \odot h_{t-1} + b), \qquad \sigma = \mathrm{relu}

    Units meet in the next layer of a stack, so two layers are the least that mixes them over time. Over T steps a
    gradient is multiplied by :math:`u^T`, and the paper keeps :math:`|u| \le 2^{1/T}`, so that it at most doubles:
    ``max_steps`` is that T, and the step reads u clamped to the bound. Outside it u has no gradient. The paper's
    authors clip u itself after every update, from where it can come back; that is ``weight.clamp_(-bound, bound)``
    with :meth:`bound`, and it goes together with ``max_steps``. u is drawn from U(0, bound), with a bound of 1 where
    ``max_steps`` is not given: units of many time scales. torchrecurrent has tanh for σ, draws u from N(0, 1), and
    has a second bias.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_ih``.
        activation: σ, a name or a function.
        max_steps: T of the bound, the length of a sequence; no bound if None.

    Parameters:
        weight_ih (H, I), weight_hh = u (H), bias_ih (H).

    Paper:
        S. Li, W. Li, C. Cook, C. Zhu, Y. Gao, Independently recurrent neural network (IndRNN): building a longer and
        deeper RNN, CVPR 2018, arXiv:1803.04831.

    Example:
        >>> rnn = ostinato.Recurrent("ind-rnn", 4, 5, num_layers=2, max_steps=100)
        >>> rnn(torch.randn(7, 2, 4))[0].sum().backward()
        >>> bound = ostinato.cells.IndRNNCell.bound(100)
        >>> with torch.no_grad():
        ...     clipped = rnn.weight_hh_l0.clamp_(-bound, bound)
        >>> round(bound, 5)
        1.00696
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        activation: Activation = "relu",
        max_steps: int | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.bias = checks.flag("bias", bias)
        self.activation, self._sigma = activation, activation_named("activation", activation)
        self.max_steps = max_steps
        self._bound = None if max_steps is None else self.bound(max_steps)
        kind = {"device": device, "dtype": dtype}
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size, **kind))
        self.weight_hh = nn.Parameter(torch.empty(hidden_size, **kind))
        self.bias_ih = nn.Parameter(torch.empty(hidden_size, **kind)) if bias else None
        self.reset_parameters()

    @staticmethod
    def bound(max_steps: int) -> float:
        """2^(1/T), the largest recurrent weight whose gradient at most doubles over T steps."""
        return 2.0 ** (1 / checks.size("max_steps", max_steps))

    def reset_parameters(self) -> None:
        super().reset_parameters()
        if not self.weight_hh.is_meta:
            nn.init.uniform_(self.weight_hh, 0.0, self._bound or 1.0)

    def step(self, x: Tensor, h: Tensor) -> Any:
        u = self.weight_hh if self._bound is None else self.weight_hh.clamp(-self._bound, self._bound)
        h = self._sigma(linear(x, self.weight_ih, self.bias_ih) + u * h)
        return h
