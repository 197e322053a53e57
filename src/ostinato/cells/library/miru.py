"""Minion recurrent units: gated recurrent units with numbers in the place of gates."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from ostinato.cells import checks
from ostinato.cells.initialise import Init
from ostinato.cells.registry import known
from ostinato.cells.stacked import StackedCell
from ostinato.errors import InvalidValue


@known("miru1", "Minion recurrent unit 1", 2025)
class MiRU1Cell(StackedCell):
    r"""A GRU whose update gate is one number for all units and steps.

    .. math::
        r_t &= \sigma(W_r x_t + b_r + U_r h_{t-1}) \\
        \tilde h_t &= \tanh(W_h x_t + b_h + U_h (r_t \odot h_{t-1})) \\
        h_t &= \lambda h_{t-1} + (1 - \lambda) \tilde h_t

    The products lie stacked in the weights as r, h. torchrecurrent has the same equations with two biases, which add up
    to this one.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_ih``.
        update_coefficient: :math:`\lambda`, in [0, 1): what of the state stays at a step.
        recurrent_init: ``"uniform"`` is torch's; ``"orthogonal"`` draws each block of ``weight_hh`` orthogonal.

    Parameters:
        weight_ih = W (2·H, I), weight_hh = U (2·H, H), bias_ih = b (2·H).

    Paper:
        A. M. Zyarah, D. Kudithipudi, Minion gated recurrent unit for continual learning, arXiv:2503.06175, 2025;
        Neurocomputing 673, 2026, doi:10.1016/j.neucom.2026.132847.

    Example:
        >>> ostinato.cells.MiRU1Cell(4, 5, update_coefficient=0.9)(torch.randn(2, 4)).shape
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
        update_coefficient: float = 0.5,
        recurrent_init: Init = "uniform",
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype, recurrent_init)
        self.update_coefficient = _update_coefficient(update_coefficient)
        self.reset_parameters()

    def step(self, x: Tensor, h: Tensor) -> Any:
        w_r, w_n = self.weight_hh.chunk(2)
        x_r, x_n = linear(x, self.weight_ih, self.bias_ih).chunk(2, dim=-1)
        r = torch.sigmoid(x_r + linear(h, w_r))
        n = self.candidate(torch.tanh(x_n + linear(r * h, w_n)))
        h = self.update_coefficient * h + (1 - self.update_coefficient) * n
        return h


@known("miru2", "Minion recurrent unit 2", 2025)
class MiRU2Cell(StackedCell):
    r"""A GRU with both gates replaced by numbers: a simple network that leaks.

    .. math::
        \tilde h_t &= \tanh(W_h x_t + b_h + U_h (\theta h_{t-1})) \\
        h_t &= \lambda h_{t-1} + (1 - \lambda) \tilde h_t

    torchrecurrent has the same equations with two biases, which add up to this one.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_ih``.
        update_coefficient: :math:`\lambda`, in [0, 1): what of the state stays at a step.
        reset_coefficient: :math:`\theta`: what of the state the candidate sees.
        recurrent_init: ``"uniform"`` is torch's; ``"orthogonal"`` draws ``weight_hh`` orthogonal.

    Parameters:
        weight_ih = :math:`W_h` (H, I), weight_hh = :math:`U_h` (H, H), bias_ih = :math:`b_h` (H).

    Paper:
        A. M. Zyarah, D. Kudithipudi, Minion gated recurrent unit for continual learning, arXiv:2503.06175, 2025;
        Neurocomputing 673, 2026, doi:10.1016/j.neucom.2026.132847.

    Example:
        >>> ostinato.cells.MiRU2Cell(4, 5, update_coefficient=0.9, reset_coefficient=0.7)(torch.randn(2, 4)).shape
        torch.Size([2, 5])
    """

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
        update_coefficient: float = 0.5,
        reset_coefficient: float = 0.5,
        recurrent_init: Init = "uniform",
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype, recurrent_init)
        self.update_coefficient = _update_coefficient(update_coefficient)
        self.reset_coefficient = checks.number("reset_coefficient", reset_coefficient)
        self.reset_parameters()

    def step(self, x: Tensor, h: Tensor) -> Any:
        x_n = linear(x, self.weight_ih, self.bias_ih)
        n = self.candidate(torch.tanh(x_n + linear(self.reset_coefficient * h, self.weight_hh)))
        h = self.update_coefficient * h + (1 - self.update_coefficient) * n
        return h


def _update_coefficient(value: Any) -> float:
    number = checks.number("update_coefficient", value)
    if not 0 <= number < 1:
        raise InvalidValue(f"update_coefficient must be in [0, 1), where 1 would let nothing in, got {value}")
    return number
