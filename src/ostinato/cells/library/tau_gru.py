"""The gated recurrent unit with weighted time-delay feedback."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from ostinato.cells import checks
from ostinato.cells.initialise import Init
from ostinato.cells.registry import known
from ostinato.cells.stacked import StackedCell


@known("tau-gru", "GRU with weighted time-delay feedback", 2022)
class TauGRUCell(StackedCell):
    r"""A gated unit that also reads its own state of d steps ago.

    .. math::
        u_n &= \tanh(W_1 h_n + U_1 x_n + b_1) \\
        z_n &= \tanh(W_2 h_{n-d} + U_2 x_n + b_2) \\
        g_n &= \sigma(W_3 h_n + U_3 x_n + b_3) \\
        a_n &= \sigma(W_4 h_n + U_4 x_n + b_4) \\
        h_{n+1} &= (1 - g_n) \odot h_n + g_n \odot (u_n + a_n \odot z_n)

    d is :math:`\lfloor \tau / \Delta t \rfloor`, and h is zero before the sequence. What a step needs of the past is a
    state of its own, ``past`` (B, d·H): :math:`h_{n-1}, \dots, h_{n-d}`, newest first, so that chunks, streams and
    initial states carry it too. Its width is moved at every step. The products lie stacked in the weights as u, g, a,
    z.

    The paper prints no biases (``bias=False``). In torchrecurrent the layer keeps the past, from zeros at each call;
    its cell is given the delayed state.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_ih``.
        delay: d, in steps; the paper chooses it for each task.
        recurrent_init: ``"uniform"`` is torch's; ``"orthogonal"`` draws each block of ``weight_hh`` orthogonal.

    Parameters:
        weight_ih = U (4·H, I), weight_hh = W (4·H, H), bias_ih (4·H).

    Paper:
        N. B. Erichson, S. H. Lim, M. W. Mahoney, Gated recurrent neural networks with weighted time-delay feedback,
        arXiv:2212.00228, 2022.

    Example:
        >>> h, past = ostinato.cells.TauGRUCell(4, 5, delay=3)(torch.randn(2, 4))
        >>> h.shape, past.shape
        (torch.Size([2, 5]), torch.Size([2, 15]))
    """

    state_names = ("h", "past")
    gates = 4
    two_biases = False

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        delay: int = 1,
        recurrent_init: Init = "uniform",
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype, recurrent_init)
        self.delay = checks.size("delay", delay)
        self.reset_parameters()

    @property
    def state_sizes(self) -> tuple[int, ...]:
        return (self.hidden_size, self.delay * self.hidden_size)

    def step(self, x: Tensor, h: Tensor, past: Tensor) -> Any:
        now = 3 * self.hidden_size
        w_now, w_z = self.weight_hh[:now], self.weight_hh[now:]
        x_u, x_g, x_a, x_z = linear(x, self.weight_ih, self.bias_ih).chunk(4, dim=-1)
        h_u, h_g, h_a = linear(h, w_now).chunk(3, dim=-1)
        kept, delayed = past[..., : -self.hidden_size], past[..., -self.hidden_size :]
        u = torch.tanh(x_u + h_u)
        g = torch.sigmoid(x_g + h_g)
        a = torch.sigmoid(x_a + h_a)
        z = torch.tanh(x_z + linear(delayed, w_z))
        n = self.candidate(u + a * z)
        past = torch.cat([h, kept], dim=-1)
        h = (1 - g) * h + g * n
        return h, past
