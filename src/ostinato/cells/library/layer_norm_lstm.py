"""Long short-term memory with its products and its cell state normalised over the features."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, linear

from ostinato.cells import checks
from ostinato.cells.initialise import Init
from ostinato.cells.registry import known
from ostinato.cells.stacked import StackedCell

CELL_FORMULAS = ("output", "state", "none")


@known("layer-norm-lstm", "Layer-normalised LSTM", 2016)
class LayerNormLSTMCell(StackedCell):
    r"""The LSTM cell whose product with x, product with h, and cell state are each normalised over the features.

    .. math::
        (f_t, i_t, o_t, g_t) &= \mathrm{LN}(W_{hh} h_{t-1}; \alpha_1) + \mathrm{LN}(W_{ih} x_t; \alpha_2) + b \\
        c_t &= \sigma(f_t) \odot c_{t-1} + \sigma(i_t) \odot \tanh(g_t) \\
        h_t &= \sigma(o_t) \odot \tanh(\mathrm{LN}(c_t; \alpha_3, \beta_3)) \\
        \mathrm{LN}(z; \alpha, \beta) &= \frac{z - \mu}{\sqrt{\sigma^2 + \epsilon}} \odot \alpha + \beta

    :math:`\mu` and :math:`\sigma^2` are a row's mean and variance over all four gates of a product, and over the
    units of c. The gates lie stacked in the weights as i, f, g, o.

    These are the paper's equations 20 to 22 with the gains begun at 1 and the biases at 0 (it prints the two the other
    way round), and without a bias in the products' own norms, which b makes superfluous; haste's LayerNormLSTM is the
    same. Others differ in what becomes of c, which ``normalise_cell`` names. PyTorch's ``benchmarks/fastrnns`` keeps
    the normalised c as the state, so that it is normalised again at every step ("state"); its norms of the products
    have biases, which add up to b. Many leave c alone ("none").

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_ih`` and ``bias_c``.
        normalise_cell: ``"output"`` normalises c on its way to h and keeps it as it was, ``"state"`` keeps the
            normalised c, ``"none"`` does neither.
        eps: :math:`\epsilon`, added to the variance.
        recurrent_init: ``"uniform"`` is torch's; ``"orthogonal"`` draws each gate of ``weight_hh`` orthogonal.

    Parameters:
        weight_ih (4·H, I), weight_hh (4·H, H), bias_ih (4·H), gain_x = :math:`\alpha_2` (4·H),
        gain_h = :math:`\alpha_1` (4·H), gain_c = :math:`\alpha_3` (H), bias_c = :math:`\beta_3` (H).

    Paper:
        J. L. Ba, J. R. Kiros, G. E. Hinton, Layer normalization, arXiv:1607.06450, 2016.

    Example:
        >>> h, c = ostinato.cells.LayerNormLSTMCell(4, 5, normalise_cell="none")(torch.randn(2, 4))
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
        normalise_cell: str = "output",
        eps: float = 1e-5,
        recurrent_init: Init = "uniform",
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype, recurrent_init)
        self.normalise_cell = checks.one_of("normalise_cell", normalise_cell, CELL_FORMULAS)
        self.eps = checks.number("eps", eps, above=0)
        kind = {"device": device, "dtype": dtype}
        cell = normalise_cell != "none"
        self.gain_x = nn.Parameter(torch.empty(4 * hidden_size, **kind))
        self.gain_h = nn.Parameter(torch.empty(4 * hidden_size, **kind))
        self.gain_c = nn.Parameter(torch.empty(hidden_size, **kind)) if cell else None
        self.bias_c = nn.Parameter(torch.empty(hidden_size, **kind)) if cell and bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        super().reset_parameters()
        for gain in (self.gain_x, self.gain_h, self.gain_c):
            if gain is not None:
                nn.init.ones_(gain)
        if self.bias_c is not None:
            nn.init.zeros_(self.bias_c)

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> Any:
        from_x = self._norm(linear(x, self.weight_ih), self.gain_x, self.bias_ih)
        from_h = self._norm(linear(h, self.weight_hh), self.gain_h)
        i, f, g, o = (from_x + from_h).chunk(4, dim=-1)
        i, f, g, o = torch.sigmoid(i), torch.sigmoid(f), self.candidate(torch.tanh(g)), torch.sigmoid(o)
        c = f * c + i * g
        if self.gain_c is None:
            h = o * torch.tanh(c)
        elif self.normalise_cell == "state":
            c = self._norm(c, self.gain_c, self.bias_c)
            h = o * torch.tanh(c)
        else:
            h = o * torch.tanh(self._norm(c, self.gain_c, self.bias_c))
        return h, c

    def _norm(self, z: Tensor, gain: Tensor, bias: Tensor | None = None) -> Tensor:
        return layer_norm(z, gain.shape, gain, bias, self.eps)
