"""The quasi-recurrent network: convolutions over time, and a pooling that runs through it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, pad

from ostinato.cells import checks
from ostinato.cells.activations import Activation
from ostinato.cells.activations import activation as activation_named
from ostinato.cells.cell import Cell
from ostinato.cells.registry import known

POOLINGS = {"f": 2, "fo": 3, "ifo": 4}
"""How many of z, f, o, i each pooling has."""


@known("qrnn", "Quasi-recurrent network", 2016)
class QRNNCell(Cell):
    r"""The quasi-recurrent network: gates out of the last k inputs, and a pooling without weights.

    .. math::
        z_t &= \tanh(W_z^1 x_{t-k+1} + \dots + W_z^k x_t + b_z) \\
        f_t &= \sigma(W_f^1 x_{t-k+1} + \dots + W_f^k x_t + b_f), \qquad o_t, i_t \text{ likewise} \\
        \text{f:}\quad h_t &= f_t \odot h_{t-1} + (1 - f_t) \odot z_t \\
        \text{fo:}\quad c_t &= f_t \odot c_{t-1} + (1 - f_t) \odot z_t, \qquad h_t = o_t \odot c_t \\
        \text{ifo:}\quad c_t &= f_t \odot c_{t-1} + i_t \odot z_t, \qquad h_t = o_t \odot c_t

    The state is c (f-pooling's h is the same thing); the output h is no state. A window of k > 1 has a second state, u
    of width (k - 1)·G·H: what the inputs so far will add to the gates of the next k - 1 steps. It holds finished
    products, not inputs, so that no product reads a state, and every one of them can be done for all steps at once.
    Zeros to begin with are the paper's masked convolution, padded with zeros on the left. The rows of the weight
    are k blocks, that of :math:`x_t` first and that of :math:`x_{t-k+1}` last, each with its gates as z, f, o, i.
    The zoneout of f that the paper regularises with is the layer's.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_ih``; the paper writes its convolutions without.
        device, dtype: of the parameters.
        window: k.
        pooling: ``"f"``, ``"fo"`` or ``"ifo"``.
        activation: of z, a name or a function.

    Parameters:
        weight_ih (k·G·H, I), bias_ih (G·H), G = 2, 3 or 4 for f-, fo- and ifo-pooling.

    Paper:
        J. Bradbury, S. Merity, C. Xiong, R. Socher, Quasi-recurrent neural networks, ICLR 2017, arXiv:1611.01576.

    Example:
        >>> output, c_n = ostinato.Recurrent("qrnn", 4, 5)(torch.randn(7, 2, 4))
        >>> output.shape, c_n.shape
        (torch.Size([7, 2, 5]), torch.Size([1, 2, 5]))
        >>> output, (c_n, u_n) = ostinato.Recurrent("qrnn", 4, 5, window=2)(torch.randn(7, 2, 4))
        >>> u_n.shape
        torch.Size([1, 2, 15])
    """

    state_names: tuple[str, ...] = ("c",)
    separate_output = True

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        window: int = 1,
        pooling: str = "fo",
        activation: Activation = "tanh",
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.bias, self.window = checks.flag("bias", bias), checks.size("window", window)
        self.pooling = checks.one_of("pooling", pooling, POOLINGS)
        self.activation, self._f = activation, activation_named("activation", activation)
        if window > 1:
            self.state_names = ("c", "u")
        self._width = POOLINGS[pooling] * hidden_size
        kind = {"device": device, "dtype": dtype}
        self.weight_ih = nn.Parameter(torch.empty(window * self._width, input_size, **kind))
        self.bias_ih = nn.Parameter(torch.empty(self._width, **kind)) if bias else None
        self.reset_parameters()

    @property
    def state_sizes(self) -> tuple[int, ...]:
        return (self.hidden_size, (self.window - 1) * self._width)[: len(self.state_names)]

    @property
    def output_size(self) -> int:
        return self.hidden_size

    def step(self, x: Tensor, c: Tensor, *waiting: Tensor) -> Any:
        gates = linear(x, self.weight_ih[: self._width], self.bias_ih)
        if waiting:
            (u,) = waiting
            gates = gates + u[..., : self._width]
            u = linear(x, self.weight_ih[self._width :]) + pad(u[..., self._width :], (0, self._width))
            waiting = (u,)
        z, f, *rest = gates.chunk(POOLINGS[self.pooling], dim=-1)
        z, f = self.candidate(self._f(z)), torch.sigmoid(f)
        i = torch.sigmoid(rest[1]) if self.pooling == "ifo" else 1 - f
        c = f * c + i * z
        h = c if self.pooling == "f" else torch.sigmoid(rest[0]) * c
        return h, c, *waiting
