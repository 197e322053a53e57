"""Jordan's recurrent network: what comes back is the output."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ostinato.cells import checks
from ostinato.cells.activations import Activation
from ostinato.cells.activations import activation as activation_named
from ostinato.cells.initialise import Init
from ostinato.cells.registry import known
from ostinato.cells.stacked import StackedCell
from ostinato.errors import InvalidValue


@known("jordan", "Jordan network", 1986)
class JordanCell(StackedCell):
    r"""Jordan's recurrent cell: the hidden units read a context made of the previous outputs.

    .. math::
        h_t &= f(W_{ih} x_t + W_{sh} s_{t-1} + b_h) \\
        y_t &= g(W_{ho} h_t + b_y) \\
        s_t &= \mu s_{t-1} + y_t

    With :math:`\mu = 0`, the usual form, the context is the previous output. Jordan's state units are also connected
    to themselves, which is :math:`\mu`: they keep the outputs of the past, the older the less. The state is s, of the
    output's width O, and y is the output, in every layer of a stack; h is no state. Jordan's units are logistic, which
    is ``"sigmoid"`` for both activations. torch and torchrecurrent have no such cell.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_ih``.
        activation: f, a name or a function.
        output_size: O; H if not given.
        output_activation: g, a name or a function.
        output_bias: with ``bias_ho``.
        decay: :math:`\mu`, what the context keeps of itself, at least 0 and less than 1.
        recurrent_init: ``"uniform"`` is torch's; ``"orthogonal"`` draws ``weight_hh`` orthogonal.

    Parameters:
        weight_ih (H, I), weight_hh = :math:`W_{sh}` (H, O), bias_ih = :math:`b_h` (H), weight_ho (O, H),
        bias_ho = :math:`b_y` (O).

    Papers:
        M. I. Jordan, Serial order: a parallel distributed processing approach, technical report 8604, Institute for
        Cognitive Science, University of California, San Diego, 1986; the same in Advances in Psychology 121, 1997.

    Example:
        >>> y, s = ostinato.cells.JordanCell(4, 5, output_size=3, decay=0.5)(torch.randn(2, 4))
        >>> y.shape, s.shape
        (torch.Size([2, 3]), torch.Size([2, 3]))
    """

    state_names = ("s",)
    separate_output = True
    gates = 1
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
        output_size: int | None = None,
        output_activation: Activation = "identity",
        output_bias: bool = True,
        decay: float = 0.0,
        recurrent_init: Init = "uniform",
    ) -> None:
        width = hidden_size if output_size is None else checks.size("output_size", output_size)
        super().__init__(input_size, hidden_size, bias, device, dtype, recurrent_init, width)
        self._output_size = width
        self.activation, self._f = activation, activation_named("activation", activation)
        self.output_activation = output_activation
        self._g = activation_named("output_activation", output_activation)
        self.output_bias = checks.flag("output_bias", output_bias)
        self.decay = checks.number("decay", decay, least=0)
        if self.decay >= 1:
            raise InvalidValue(f"decay must be less than 1, or the context grows without end, got {decay}")
        kind = {"device": device, "dtype": dtype}
        self.weight_ho = nn.Parameter(torch.empty(width, hidden_size, **kind))
        self.bias_ho = nn.Parameter(torch.empty(width, **kind)) if output_bias else None
        self.reset_parameters()

    @property
    def state_sizes(self) -> tuple[int, ...]:
        return (self._output_size,)

    @property
    def output_size(self) -> int:
        return self._output_size

    def step(self, x: Tensor, s: Tensor) -> Any:
        h = self._f(linear(x, self.weight_ih, self.bias_ih) + linear(s, self.weight_hh))
        y = self._g(linear(h, self.weight_ho, self.bias_ho))
        s = self.decay * s + y if self.decay else y
        return y, s
