"""Just another network: an LSTM that kept nothing but its forget gate."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from ostinato.cells import checks
from ostinato.cells.initialise import Init
from ostinato.cells.registry import known
from ostinato.cells.stacked import StackedCell
from ostinato.errors import InvalidType, InvalidValue


@known("janet", "Just another network: the forget gate alone", 2018)
class JANETCell(StackedCell):
    r"""An LSTM with its forget gate alone: it decides what stays, and with it what comes in.

    .. math::
        s_t &= W_{if} x_t + W_{hf} h_{t-1} + b_f \\
        \tilde c_t &= \tanh(W_{ic} x_t + W_{hc} h_{t-1} + b_c) \\
        c_t &= \sigma(s_t) \odot c_{t-1} + (1 - \sigma(s_t - \beta)) \odot \tilde c_t \\
        h_t &= c_t

    The blocks lie stacked in the weights as f, c. A positive :math:`\beta` lets in more than is forgotten. Since h and
    c are the same there is one state, h. In torchrecurrent there are both, and :math:`\beta` is learned; in the paper
    it is a constant, as here.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_ih``.
        beta: :math:`\beta`, a number; the paper's is 1.
        chrono: the longest dependency to expect, in steps, T > 2. The forget gate's bias then begins as the logarithm
            of draws from U(1, T - 1) and the other bias at 0 (Tallec and Ollivier, arXiv:1804.11188), as in the
            paper; drawn like every other parameter if None.
        recurrent_init: ``"uniform"`` is torch's; ``"orthogonal"`` draws each block of ``weight_hh`` orthogonal.

    Parameters:
        weight_ih (2·H, I), weight_hh (2·H, H), bias_ih (2·H).

    Paper:
        J. van der Westhuizen, J. Lasenby, The unreasonable effectiveness of the forget gate, arXiv:1804.04849, 2018.

    Example:
        >>> ostinato.cells.JANETCell(4, 5, chrono=100)(torch.randn(2, 4)).shape
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
        beta: float = 1.0,
        chrono: int | None = None,
        recurrent_init: Init = "uniform",
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype, recurrent_init)
        self.beta = checks.number("beta", beta)
        self.chrono = _chrono(chrono, bias)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        super().reset_parameters()
        if self.chrono is not None and self.bias_ih is not None and not self.bias_ih.is_meta:
            forget, other = self.bias_ih.detach().chunk(2)
            forget.uniform_(1, self.chrono - 1).log_()
            other.zero_()

    def step(self, x: Tensor, h: Tensor) -> Any:
        s, c_tilde = (linear(x, self.weight_ih, self.bias_ih) + linear(h, self.weight_hh)).chunk(2, dim=-1)
        f = torch.sigmoid(s)
        c_tilde = self.candidate(torch.tanh(c_tilde))
        h = f * h + (1 - torch.sigmoid(s - self.beta)) * c_tilde
        return h


def _chrono(value: Any, bias: bool) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidType(
            f"chrono must be a whole number of steps or None, got {value!r} of type {type(value).__name__}"
        )
    if value <= 2:
        raise InvalidValue(f"chrono must be greater than 2 steps, got {value}")
    if not bias:
        raise InvalidValue(f"chrono = {value} needs bias=True: without biases there is none to set")
    return value
