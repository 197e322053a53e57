"""Long short-term memory, with and without a projection of the output."""

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
from ostinato.errors import InvalidType, InvalidValue


@known("lstm", "Long short-term memory", 1997)
class LSTMCell(StackedCell):
    r"""The LSTM cell with a forget gate, under torch.nn.LSTMCell's signature, with ``proj_size`` as an option.

    .. math::
        i_t &= \sigma(W_{ii} x_t + b_{ii} + W_{hi} h_{t-1} + b_{hi}) \\
        f_t &= \sigma(W_{if} x_t + b_{if} + W_{hf} h_{t-1} + b_{hf}) \\
        g_t &= \tanh(W_{ig} x_t + b_{ig} + W_{hg} h_{t-1} + b_{hg}) \\
        o_t &= \sigma(W_{io} x_t + b_{io} + W_{ho} h_{t-1} + b_{ho}) \\
        c_t &= f_t \odot c_{t-1} + i_t \odot g_t \\
        h_t &= o_t \odot \tanh(c_t), \qquad\text{with a projection } h_t = W_{hr}\,(o_t \odot \tanh(c_t))

    The gates lie stacked in the weights as i, f, g, o. With ``proj_size`` P the output and h have width P, and c
    keeps H.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_ih`` and ``bias_hh``.
        proj_size: P, smaller than H; 0 for none.
        forget_bias: the forget gate's bias to begin with (``bias_hh``'s part is zero then); torch's draw if None.
            1 keeps early gradients alive (Gers et al. 2000; Jozefowicz et al. 2015).
        activation: what stands where the equations have tanh: a name (``ostinato.cells.activations``) or a function.
        gate_activation: what stands where they have σ; Keras calls it ``recurrent_activation``.
        recurrent_init: ``"uniform"`` is torch's; ``"orthogonal"`` draws each gate of ``weight_hh`` orthogonal.
        recurrent_rank: r, for a recurrent weight of low rank, :math:`W_{hh} = U V`.
        heads: n, for a block-diagonal recurrent weight: n groups of units, each with its own part of h alone.

    Parameters:
        weight_ih (4·H, I), weight_hh (4·H, P or H), bias_ih (4·H), bias_hh (4·H), weight_hr (P, H). With a rank
        weight_hh_u, U of 4·H × r, and weight_hh_v, V of r × P or H, stand for weight_hh; with heads it has n × 4·H/n ×
        P/n or H/n, the gates stacked in each head.

    Papers:
        S. Hochreiter, J. Schmidhuber, Long short-term memory, Neural Computation 9, 1997; the forget gate:
        F. A. Gers, J. Schmidhuber, F. Cummins, Learning to forget, Neural Computation 12, 2000; the projection:
        H. Sak, A. Senior, F. Beaufays, LSTM based RNN architectures for large vocabulary speech recognition,
        arXiv:1402.1128, 2014.

    Example:
        >>> cell = ostinato.LSTMCell(4, 5)
        >>> h, c = cell(torch.randn(2, 4))
        >>> h.shape, c.shape
        (torch.Size([2, 5]), torch.Size([2, 5]))
        >>> h, c = ostinato.LSTMCell(4, 5, proj_size=3)(torch.randn(2, 4))
        >>> h.shape, c.shape
        (torch.Size([2, 3]), torch.Size([2, 5]))
    """

    state_names = ("h", "c")
    gates = 4

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        proj_size: int = 0,
        forget_bias: float | None = None,
        activation: Activation = "tanh",
        gate_activation: Activation = "sigmoid",
        recurrent_init: Init = "uniform",
        recurrent_rank: int | None = None,
        heads: int = 1,
    ) -> None:
        width = _proj_size(proj_size, checks.size("hidden_size", hidden_size)) or hidden_size
        super().__init__(
            input_size,
            hidden_size,
            bias,
            device,
            dtype,
            recurrent_init,
            width,
            recurrent_rank=recurrent_rank,
            heads=heads,
        )
        self.proj_size = proj_size
        self.forget_bias = checks.first_bias("forget_bias", forget_bias, bias)
        self.activation, self.gate_activation = activation, gate_activation
        self._squash = activations.activation("activation", activation)
        self._squash_gate = activations.activation("gate_activation", gate_activation)
        kind = {"device": device, "dtype": dtype}
        self.weight_hr = nn.Parameter(torch.empty(proj_size, hidden_size, **kind)) if proj_size else None
        self.reset_parameters()

    @property
    def state_sizes(self) -> tuple[int, ...]:
        return (self.proj_size or self.hidden_size, self.hidden_size)

    def reset_parameters(self) -> None:
        super().reset_parameters()
        if self.forget_bias is not None and self.bias_ih is not None and self.bias_hh is not None:
            forget = slice(self.hidden_size, 2 * self.hidden_size)
            with torch.no_grad():
                self.bias_ih[forget] = self.forget_bias
                self.bias_hh[forget] = 0.0

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> Any:
        gates = linear(x, self.weight_ih, self.bias_ih) + self.from_state(h)
        i, f, g, o = gates.chunk(4, dim=-1)
        i, f, o = self._squash_gate(i), self._squash_gate(f), self._squash_gate(o)
        g = self.candidate(self._squash(g))
        c = f * c + i * g
        h = o * self._squash(c)
        if self.weight_hr is not None:
            h = linear(h, self.weight_hr)
        return h, c


def _proj_size(value: Any, hidden_size: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidType(f"proj_size must be a whole number (int), got {value!r} of type {type(value).__name__}")
    if not 0 <= value < hidden_size:
        raise InvalidValue(
            f"proj_size must be 0 (none) or between 1 and hidden_size - 1 = {hidden_size - 1}, got {value}"
        )
    return value
