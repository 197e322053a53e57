"""The residual LSTM."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ostinato.cells import checks
from ostinato.cells.initialise import Init
from ostinato.cells.registry import known
from ostinato.cells.stacked import StackedCell


@known("res-lstm", "Residual LSTM", 2017)
class ResLSTMCell(StackedCell):
    r"""A peephole LSTM cell whose output gate also lets x through, so that deep stacks keep a path for gradients.

    .. math::
        i_t &= \sigma(W_{xi} x_t + W_{hi} h_{t-1} + w_{ci} \odot c_{t-1} + b_i) \\
        f_t &= \sigma(W_{xf} x_t + W_{hf} h_{t-1} + w_{cf} \odot c_{t-1} + b_f) \\
        c_t &= f_t \odot c_{t-1} + i_t \odot \tanh(W_{xc} x_t + W_{hc} h_{t-1} + b_c) \\
        o_t &= \sigma(W_{xo} x_t + W_{ho} h_{t-1} + w_{co} \odot c_t + b_o) \\
        m_t &= W_p \tanh(c_t) \\
        h_t &= o_t \odot (m_t + W_h x_t)

    :math:`W_h` falls away where x is as wide as h: then :math:`h_t = o_t \odot (m_t + x_t)`, as in the paper.
    ``project=True`` keeps it there too, as torchrecurrent does. The paper's :math:`W_p` may also narrow h; here it is
    square. The gates lie stacked in the weights as i, f, c, o.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_ih``.
        project: with ``weight_xh``; where I and H differ if None.
        recurrent_init: ``"uniform"`` is torch's; ``"orthogonal"`` draws each gate of ``weight_hh`` orthogonal.

    Parameters:
        weight_ih (4·H, I), weight_hh (4·H, H), bias_ih (4·H), peephole_i, peephole_f, peephole_o = :math:`w` (H) each;
        weight_p = :math:`W_p` (H, H), weight_xh = :math:`W_h` (H, I).

    Paper:
        J. Kim, M. El-Khamy, J. Lee, Residual LSTM: design of a deep recurrent architecture for distant speech
        recognition, Interspeech 2017, arXiv:1701.03360.

    Example:
        >>> h, c = ostinato.cells.ResLSTMCell(4, 5)(torch.randn(2, 4))
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
        project: bool | None = None,
        recurrent_init: Init = "uniform",
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype, recurrent_init)
        self.project = project
        projects = checks.projects("project", project, input_size, hidden_size)
        kind = {"device": device, "dtype": dtype}
        self.peephole_i = nn.Parameter(torch.empty(hidden_size, **kind))
        self.peephole_f = nn.Parameter(torch.empty(hidden_size, **kind))
        self.peephole_o = nn.Parameter(torch.empty(hidden_size, **kind))
        self.weight_p = nn.Parameter(torch.empty(hidden_size, hidden_size, **kind))
        self.weight_xh = nn.Parameter(torch.empty(hidden_size, input_size, **kind)) if projects else None
        self.reset_parameters()

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> Any:
        i, f, g, o = (linear(x, self.weight_ih, self.bias_ih) + linear(h, self.weight_hh)).chunk(4, dim=-1)
        i = torch.sigmoid(i + self.peephole_i * c)
        f = torch.sigmoid(f + self.peephole_f * c)
        g = self.candidate(torch.tanh(g))
        c = f * c + i * g
        o = torch.sigmoid(o + self.peephole_o * c)
        m = linear(torch.tanh(c), self.weight_p)
        h = o * (m + (x if self.weight_xh is None else linear(x, self.weight_xh)))
        return h, c
