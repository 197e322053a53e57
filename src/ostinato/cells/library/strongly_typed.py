"""Strongly typed networks: no matrix multiplies the state, so that it stays in the space it was made in."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ostinato.cells import activations, checks
from ostinato.cells.activations import Activation
from ostinato.cells.cell import Cell
from ostinato.cells.registry import known


@known("t-rnn", "Strongly typed RNN", 2016)
class TRNNCell(Cell):
    r"""A moving average of a product with x, weighted by a gate that reads x alone.

    .. math::
        z_t &= W x_t \\
        f_t &= \sigma(V x_t + b) \\
        h_t &= f_t \odot h_{t-1} + (1 - f_t) \odot z_t

    The products lie stacked in ``weight_ih`` as W, V. In torchrecurrent z has a bias too.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_f``.

    Parameters:
        weight_ih (2·H, I), bias_f = b (H).

    Paper:
        D. Balduzzi, M. Ghifary, Strongly-typed recurrent neural networks, ICML 2016, arXiv:1602.02218.

    Example:
        >>> ostinato.cells.TRNNCell(4, 5)(torch.randn(2, 4)).shape
        torch.Size([2, 5])
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.bias = checks.flag("bias", bias)
        kind = {"device": device, "dtype": dtype}
        self.weight_ih = nn.Parameter(torch.empty(2 * hidden_size, input_size, **kind))
        self.bias_f = nn.Parameter(torch.empty(hidden_size, **kind)) if bias else None
        self.reset_parameters()

    def step(self, x: Tensor, h: Tensor) -> Any:
        z, f = linear(x, self.weight_ih).chunk(2, dim=-1)
        f = torch.sigmoid(f if self.bias_f is None else f + self.bias_f)
        h = f * h + (1 - f) * self.candidate(z)
        return h


class TypedCell(Cell):
    """What the strongly typed GRU and LSTM have in common: three products with x and three with the x before."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        activation: Activation = "tanh",
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.bias = checks.flag("bias", bias)
        self.activation = activation
        self._squash = activations.activation("activation", activation)
        kind = {"device": device, "dtype": dtype}
        self.weight_ih = nn.Parameter(torch.empty(3 * hidden_size, input_size, **kind))
        self.weight_before = nn.Parameter(torch.empty(3 * hidden_size, input_size, **kind))
        self.bias_ih = nn.Parameter(torch.empty(3 * hidden_size, **kind)) if bias else None
        self.reset_parameters()

    @property
    def state_sizes(self) -> tuple[int, ...]:
        return (self.hidden_size, 3 * self.hidden_size)

    def products(self, x: Tensor, before: Tensor) -> tuple[Tensor, ...]:
        """z, f and o before their activations, and what the next step needs of x."""
        z, f, o = (linear(x, self.weight_ih, self.bias_ih) + before).chunk(3, dim=-1)
        return z, f, o, linear(x, self.weight_before)


@known("t-gru", "Strongly typed GRU", 2016)
class TGRUCell(TypedCell):
    r"""A sum of what x and the x before let in, which a gate forgets.

    .. math::
        z_t &= V_z x_{t-1} + W_z x_t + b_z \\
        f_t &= \sigma(V_f x_{t-1} + W_f x_t + b_f) \\
        o_t &= \tau(V_o x_{t-1} + W_o x_t + b_o) \\
        h_t &= f_t \odot h_{t-1} + z_t \odot o_t

    What a step needs of the x before is a state of its own, ``before`` (B, 3·H): :math:`V x_{t-1}`, zero where a
    sequence begins. So all layers of a stack have states of the same widths, and no product is left in the loop. The
    products lie stacked in the weights as z, f, o. torchrecurrent has the same equations with two biases, which add up
    to this one, and :math:`x_{t-1}` for the second state.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_ih``.
        activation: :math:`\tau`, a name or a function.

    Parameters:
        weight_ih = W (3·H, I), weight_before = V (3·H, I), bias_ih = b (3·H).

    Paper:
        D. Balduzzi, M. Ghifary, Strongly-typed recurrent neural networks, ICML 2016, arXiv:1602.02218.

    Example:
        >>> h, before = ostinato.cells.TGRUCell(4, 5)(torch.randn(2, 4))
        >>> h.shape, before.shape
        (torch.Size([2, 5]), torch.Size([2, 15]))
    """

    state_names = ("h", "before")

    def step(self, x: Tensor, h: Tensor, before: Tensor) -> Any:
        z, f, o, before = self.products(x, before)
        f, o = torch.sigmoid(f), self._squash(o)
        h = f * h + self.candidate(z) * o
        return h, before


@known("t-lstm", "Strongly typed LSTM", 2016)
class TLSTMCell(TypedCell):
    r"""A moving average of what x and the x before let in, read through a gate.

    .. math::
        z_t &= V_z x_{t-1} + W_z x_t + b_z \\
        f_t &= \sigma(V_f x_{t-1} + W_f x_t + b_f) \\
        o_t &= \tau(V_o x_{t-1} + W_o x_t + b_o) \\
        c_t &= f_t \odot c_{t-1} + (1 - f_t) \odot z_t \\
        h_t &= c_t \odot o_t

    h is the output and no part of the state, which is c and ``before`` (B, 3·H), as in :class:`TGRUCell`:
    :math:`V x_{t-1}`, zero where a sequence begins. The products lie stacked in the weights as z, f, o. torchrecurrent
    has the same equations with two biases, which add up to this one, and :math:`x_{t-1}` for the second state.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_ih``.
        activation: :math:`\tau`, a name or a function.

    Parameters:
        weight_ih = W (3·H, I), weight_before = V (3·H, I), bias_ih = b (3·H).

    Paper:
        D. Balduzzi, M. Ghifary, Strongly-typed recurrent neural networks, ICML 2016, arXiv:1602.02218.

    Example:
        >>> h, (c, before) = ostinato.cells.TLSTMCell(4, 5)(torch.randn(2, 4))
        >>> h.shape, c.shape, before.shape
        (torch.Size([2, 5]), torch.Size([2, 5]), torch.Size([2, 15]))
    """

    state_names = ("c", "before")
    separate_output = True

    @property
    def output_size(self) -> int:
        return self.hidden_size

    def step(self, x: Tensor, c: Tensor, before: Tensor) -> Any:
        z, f, o, before = self.products(x, before)
        f, o = torch.sigmoid(f), self._squash(o)
        c = f * c + (1 - f) * self.candidate(z)
        h = c * o
        return h, c, before
