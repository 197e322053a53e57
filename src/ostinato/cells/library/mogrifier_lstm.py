"""Long short-term memory whose input and state gate each other before the step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ostinato.cells import checks
from ostinato.cells.initialise import Init
from ostinato.cells.registry import known
from ostinato.cells.stacked import StackedCell
from ostinato.errors import InvalidType, InvalidValue


@known("mogrifier-lstm", "Mogrifier LSTM", 2019)
class MogrifierLSTMCell(StackedCell):
    r"""The LSTM cell on an x and an h that have gated each other in turn, r times.

    .. math::
        x^j &= 2 \sigma(Q^j h^{j-1}) \odot x^{j-2} \quad \text{for odd } j \le r, \qquad x^{-1} = x_t \\
        h^j &= 2 \sigma(R^j x^{j-1}) \odot h^{j-2} \quad \text{for even } j \le r, \qquad h^0 = h_{t-1} \\
        i_t &= \sigma(W_{ii} x^\uparrow + W_{hi} h^\uparrow + b_i) \\
        f_t &= \sigma(W_{if} x^\uparrow + W_{hf} h^\uparrow + b_f) \\
        g_t &= \tanh(W_{ig} x^\uparrow + W_{hg} h^\uparrow + b_g) \\
        o_t &= \sigma(W_{io} x^\uparrow + W_{ho} h^\uparrow + b_o) \\
        c_t &= f_t \odot c_{t-1} + i_t \odot g_t \\
        h_t &= o_t \odot \tanh(c_t)

    :math:`x^\uparrow` and :math:`h^\uparrow` are the last of each. The factor 2 lets a gate begin near 1, and r = 0 is
    the LSTM. With a rank k each Q and R is a product of two thin matrices. The gates lie stacked in the weights as
    i, f, g, o; the paper writes j for g. Since the state changes x, no product with x can be taken for all steps at
    once: x is multiplied inside the loop, and the rounds come on top.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_ih``.
        rounds: r.
        rank: k, smaller than I and H; full matrices if None.
        recurrent_init: ``"uniform"`` is torch's; ``"orthogonal"`` draws each gate of ``weight_hh`` orthogonal.

    Parameters:
        weight_ih (4·H, I), weight_hh (4·H, H), bias_ih (4·H), weight_q (M, I, H), weight_r (N, H, I), which hold the
        M = ⌈r/2⌉ matrices Q and the N = ⌊r/2⌋ matrices R in order. With a rank K these are the products of
        weight_q_left (M, I, K) and weight_q_right (M, K, H), of weight_r_left (N, H, K) and weight_r_right (N, K, I).

    Raises:
        InvalidValue: fewer than 0 rounds, a rank that saves nothing, or a rank without rounds.

    Paper:
        G. Melis, T. Kočiský, P. Blunsom, Mogrifier LSTM, ICLR 2020, arXiv:1909.01792.

    Example:
        >>> h, c = ostinato.cells.MogrifierLSTMCell(4, 5, rounds=4, rank=2)(torch.randn(2, 4))
        >>> h.shape, c.shape
        (torch.Size([2, 5]), torch.Size([2, 5]))
    """

    state_names = ("h", "c")
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
        rounds: int = 5,
        rank: int | None = None,
        recurrent_init: Init = "uniform",
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype, recurrent_init)
        self.rounds = _rounds(rounds)
        self.rank = _rank(rank, rounds, min(input_size, hidden_size))

        def matrices(*shape: int) -> nn.Parameter | None:
            return nn.Parameter(torch.empty(shape, device=device, dtype=dtype)) if all(shape) else None

        odd, even, k, full = (rounds + 1) // 2, rounds // 2, rank or 0, int(rank is None)
        self.weight_q = matrices(odd * full, input_size, hidden_size)
        self.weight_r = matrices(even * full, hidden_size, input_size)
        self.weight_q_left = matrices(odd, input_size, k)
        self.weight_q_right = matrices(odd, k, hidden_size)
        self.weight_r_left = matrices(even, hidden_size, k)
        self.weight_r_right = matrices(even, k, input_size)
        self.reset_parameters()

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> Any:
        x_up, h_up = x, h
        for j in range(self.rounds):
            if j % 2 == 0:
                x_up = 2 * torch.sigmoid(self._product("q", j // 2, h_up)) * x_up
            else:
                h_up = 2 * torch.sigmoid(self._product("r", j // 2, x_up)) * h_up
        gates = linear(x_up, self.weight_ih, self.bias_ih) + linear(h_up, self.weight_hh)
        i, f, g, o = gates.chunk(4, dim=-1)
        i, f, g, o = torch.sigmoid(i), torch.sigmoid(f), self.candidate(torch.tanh(g)), torch.sigmoid(o)
        c = f * c + i * g
        h = o * torch.tanh(c)
        return h, c

    def _product(self, letter: str, n: int, z: Tensor) -> Tensor:
        """The n-th Q or R times z."""
        if self.rank is None:
            return linear(z, getattr(self, f"weight_{letter}")[n])
        thin = linear(z, getattr(self, f"weight_{letter}_right")[n])
        return linear(thin, getattr(self, f"weight_{letter}_left")[n])


def _rounds(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidType(f"rounds must be a whole number (int), got {value!r} of type {type(value).__name__}")
    if value < 0:
        raise InvalidValue(f"rounds must be 0 (a plain LSTM) or greater, got {value}")
    return value


def _rank(value: Any, rounds: int, smaller: int) -> int | None:
    rank = checks.thin("rank", value, smaller, checks.SMALLER)
    if rank is not None and rounds == 0:
        raise InvalidValue(f"rank = {value} needs rounds: with rounds=0 there are no matrices to factorise")
    return rank
