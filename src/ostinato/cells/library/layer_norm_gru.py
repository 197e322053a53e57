"""The gated recurrent unit with its products normalised over the features."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, linear

from ostinato.cells import checks
from ostinato.cells.initialise import Init
from ostinato.cells.registry import known
from ostinato.cells.stacked import StackedCell


@known("layer-norm-gru", "Layer-normalised GRU", 2016)
class LayerNormGRUCell(StackedCell):
    r"""The GRU cell whose products with x and with h are each normalised over the features.

    .. math::
        (r_t, z_t) &= \sigma(\mathrm{LN}(W_{hg} h_{t-1}; \alpha_1, \beta_1)
            + \mathrm{LN}(W_{ig} x_t; \alpha_2, \beta_2)) \\
        n_t &= \tanh(\mathrm{LN}(W_{in} x_t; \alpha_3, \beta_3)
            + r_t \odot \mathrm{LN}(W_{hn} h_{t-1}; \alpha_4, \beta_4)) \\
        h_t &= (1 - z_t) \odot h_{t-1} + z_t \odot n_t \\
        \mathrm{LN}(a; \alpha, \beta) &= \frac{a - \mu}{\sqrt{\sigma^2 + \epsilon}} \odot \alpha + \beta

    :math:`\mu` and :math:`\sigma^2` are a row's mean and variance over the two gates of a product, g, and over its
    candidate apart. The gates lie stacked in the weights as r, z, n. The paper's reset acts after the product, as
    torch's and cuDNN's; with ``reset="before"`` it is :math:`\mathrm{LN}(W_{hn} (r_t \odot h_{t-1}); \alpha_4)`, as
    Cho et al. have it. :math:`\beta_1` and :math:`\beta_2` are added to one another, so ``bias_ih`` holds their sum.
    Here z = 1 lets all of n in, as in the paper; in :class:`ostinato.GRUCell` it keeps h. haste's LayerNormGRU has the
    reset after the product too, normalises all three blocks of a product together, and its z keeps h.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_ih`` and ``bias_hn``.
        reset: ``"after"`` the product, as in the paper, or ``"before"`` it.
        eps: :math:`\epsilon`, added to the variance.
        recurrent_init: ``"uniform"`` is torch's; ``"orthogonal"`` draws each gate of ``weight_hh`` orthogonal.

    Parameters:
        weight_ih (3·H, I), weight_hh (3·H, H), bias_ih (3·H), gain_x (3·H), gain_h (3·H) with :math:`\alpha_2` and
        :math:`\alpha_3`, :math:`\alpha_1` and :math:`\alpha_4`, which begin at 1, and
        bias_hn = :math:`\beta_4` (H), with the reset after the product alone.

    Paper:
        J. L. Ba, J. R. Kiros, G. E. Hinton, Layer normalization, arXiv:1607.06450, 2016.

    Example:
        >>> ostinato.cells.LayerNormGRUCell(4, 5)(torch.randn(2, 4), torch.zeros(2, 5)).shape
        torch.Size([2, 5])
    """

    gates = 3
    two_biases = False

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        reset: str = "after",
        eps: float = 1e-5,
        recurrent_init: Init = "uniform",
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype, recurrent_init)
        self.reset = checks.one_of("reset", reset, ("after", "before"))
        self.eps = checks.number("eps", eps, above=0)
        kind = {"device": device, "dtype": dtype}
        self.gain_x = nn.Parameter(torch.empty(3 * hidden_size, **kind))
        self.gain_h = nn.Parameter(torch.empty(3 * hidden_size, **kind))
        with_bias_hn = bias and reset == "after"
        self.bias_hn = nn.Parameter(torch.empty(hidden_size, **kind)) if with_bias_hn else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.ones_(self.gain_x)
        nn.init.ones_(self.gain_h)

    def step(self, x: Tensor, h: Tensor) -> Any:
        gates = [2 * self.hidden_size, self.hidden_size]
        a_xg, a_xn = self.gain_x.split(gates)
        a_hg, a_hn = self.gain_h.split(gates)
        b_g, b_n = (None, None) if self.bias_ih is None else self.bias_ih.split(gates)
        x_g, x_n = linear(x, self.weight_ih).split(gates, dim=-1)
        x_g, x_n = self._norm(x_g, a_xg, b_g), self._norm(x_n, a_xn, b_n)
        if self.reset == "after":
            h_g, h_n = linear(h, self.weight_hh).split(gates, dim=-1)
            r, z = torch.sigmoid(x_g + self._norm(h_g, a_hg)).chunk(2, dim=-1)
            n = self.candidate(torch.tanh(x_n + r * self._norm(h_n, a_hn, self.bias_hn)))
        else:
            w_g, w_n = self.weight_hh.split(gates)
            r, z = torch.sigmoid(x_g + self._norm(linear(h, w_g), a_hg)).chunk(2, dim=-1)
            n = self.candidate(torch.tanh(x_n + self._norm(linear(r * h, w_n), a_hn)))
        h = (1 - z) * h + z * n
        return h

    def _norm(self, a: Tensor, gain: Tensor, bias: Tensor | None = None) -> Tensor:
        return layer_norm(a, gain.shape, gain, bias, self.eps)
