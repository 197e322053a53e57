"""The simple network and the GRU whose transition is another one for every input."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ostinato.cells import checks
from ostinato.cells.initialise import Init, recurrent_
from ostinato.cells.registry import known
from ostinato.cells.stacked import StackedCell


@known("multiplicative-rnn", "Multiplicative RNN", 2011)
class MultiplicativeRNNCell(StackedCell):
    r"""The simple recurrent cell that reads m, the product of a part of x and a part of h, in the place of h.

    .. math::
        m_t &= \mathrm{diag}(W_{mx} x_t)\, W_{mh} h_{t-1} \\
        h_t &= \tanh(W_{hm} m_t + W_{hx} x_t + b)

    So the matrix from one state to the next, :math:`W_{hm}\, \mathrm{diag}(W_{mx} x_t)\, W_{mh}`, is another one for
    every x, of a rank of at most F, the number of factors in m. The paper calls m f; the name here is that of the
    multiplicative LSTM, whose authors write both. ``weight_hh`` reads m, not h. The paper has no bias
    (``bias=False``), and its output, :math:`W_{oh} h_t + b_o`, is a linear layer after the cell. torchrecurrent has
    no such cell.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_ih``.
        factors: F, the width of m; H if None.
        recurrent_init: ``"uniform"`` is torch's; ``"orthogonal"`` draws ``weight_mh`` and ``weight_hh`` orthogonal.

    Parameters:
        weight_ih = :math:`W_{hx}` (H, I), weight_hh = :math:`W_{hm}` (H, F), bias_ih (H),
        weight_mx (F, I), weight_mh (F, H).

    Paper:
        I. Sutskever, J. Martens, G. E. Hinton, Generating text with recurrent neural networks, ICML 2011.

    Example:
        >>> ostinato.cells.MultiplicativeRNNCell(4, 5, factors=8)(torch.randn(2, 4), torch.zeros(2, 5)).shape
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
        factors: int | None = None,
        recurrent_init: Init = "uniform",
    ) -> None:
        width = checks.size("hidden_size", hidden_size) if factors is None else checks.size("factors", factors)
        super().__init__(input_size, hidden_size, bias, device, dtype, recurrent_init, width)
        self.factors = factors
        self.weight_mx = nn.Parameter(torch.empty(width, input_size, device=device, dtype=dtype))
        self.weight_mh = nn.Parameter(torch.empty(width, hidden_size, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        super().reset_parameters()
        recurrent_(self.weight_mh, 1, self.recurrent_init)

    def step(self, x: Tensor, h: Tensor) -> Any:
        m = linear(x, self.weight_mx) * linear(h, self.weight_mh)
        h = torch.tanh(linear(x, self.weight_ih, self.bias_ih) + linear(m, self.weight_hh))
        return h


@known("multiplicative-gru", "Multiplicative GRU", 2019)
class MultiplicativeGRUCell(StackedCell):
    r"""The GRU cell whose matrices read m, the product of a part of x and a part of h, in the place of h.

    .. math::
        m_t &= (W_{mx} x_t) \odot (W_{mh} h_{t-1}) \\
        r_t &= \sigma(W_{ir} x_t + W_{mr} m_t + b_r) \\
        z_t &= \sigma(W_{iz} x_t + W_{mz} m_t + b_z) \\
        n_t &= \tanh(W_{in} x_t + W_{mn} (r_t \odot m_t) + b_n) \\
        h_t &= (1 - z_t) \odot n_t + z_t \odot h_{t-1}

    It is Cho et al.'s GRU, with the reset before the product, under the construction of the multiplicative LSTM: one m
    for all gates, and z = 1 keeps h. m has as many units as h, and ``weight_hh`` reads m. Implementations differ in
    what is reset: with ``candidate_reads="h"`` it is :math:`r_t \odot h_{t-1}` and the gates alone read m. The
    gates lie stacked in the weights as r, z, n. torchrecurrent has no such cell.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_ih``.
        candidate_reads: ``"m"``, or ``"h"`` for the state itself.
        recurrent_init: ``"uniform"`` is torch's; ``"orthogonal"`` draws ``weight_mh`` and each gate of ``weight_hh``
            orthogonal.

    Parameters:
        weight_ih (3·H, I), weight_hh (3·H, H), bias_ih (3·H), weight_mx (H, I), weight_mh (H, H).

    Papers:
        D. Maupomé, M.-J. Meurs, Multiplicative models for recurrent language modeling, CICLing 2019,
        arXiv:1907.00455; the construction: B. Krause, L. Lu, I. Murray, S. Renals, Multiplicative LSTM for sequence
        modelling, arXiv:1609.07959, 2016.

    Example:
        >>> ostinato.cells.MultiplicativeGRUCell(4, 5)(torch.randn(2, 4), torch.zeros(2, 5)).shape
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
        candidate_reads: str = "m",
        recurrent_init: Init = "uniform",
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype, recurrent_init)
        self.candidate_reads = checks.one_of("candidate_reads", candidate_reads, ("m", "h"))
        self.weight_mx = nn.Parameter(torch.empty(hidden_size, input_size, device=device, dtype=dtype))
        self.weight_mh = nn.Parameter(torch.empty(hidden_size, hidden_size, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        super().reset_parameters()
        recurrent_(self.weight_mh, 1, self.recurrent_init)

    def step(self, x: Tensor, h: Tensor) -> Any:
        w_rz, w_n = self.weight_hh.split([2 * self.hidden_size, self.hidden_size])
        m = linear(x, self.weight_mx) * linear(h, self.weight_mh)
        x_r, x_z, x_n = linear(x, self.weight_ih, self.bias_ih).chunk(3, dim=-1)
        m_r, m_z = linear(m, w_rz).chunk(2, dim=-1)
        r, z = torch.sigmoid(x_r + m_r), torch.sigmoid(x_z + m_z)
        n = self.candidate(torch.tanh(x_n + linear(r * (m if self.candidate_reads == "m" else h), w_n)))
        h = (1 - z) * n + z * h
        return h
