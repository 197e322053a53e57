"""The recurrent highway network: several highway layers in one time step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ostinato.cells import checks
from ostinato.cells.cell import Cell
from ostinato.cells.initialise import Init, recurrent_
from ostinato.cells.registry import known


@known("rhn", "Recurrent highway network", 2016)
class RHNCell(Cell):
    r"""The recurrent highway cell: a step goes through D highway layers, of which the first reads the input.

    .. math::
        h_\ell &= \tanh(W_H x_t \mathbb{1}_{\ell = 1} + R_{H_\ell} s_{\ell-1} + b_{H_\ell}) \\
        t_\ell &= \sigma(W_T x_t \mathbb{1}_{\ell = 1} + R_{T_\ell} s_{\ell-1} + b_{T_\ell}) \\
        c_\ell &= \sigma(W_C x_t \mathbb{1}_{\ell = 1} + R_{C_\ell} s_{\ell-1} + b_{C_\ell}) \\
        s_\ell &= h_\ell \odot t_\ell + s_{\ell-1} \odot c_\ell, \qquad \ell = 1, \dots, D

    :math:`s_0` is the state before the step and :math:`s_D` the one after it, which is the output. With coupled gates,
    as in the paper's experiments, :math:`c = 1 - t` and has no parameters. A step has D products in a row, each of
    which waits for the one before. The blocks lie stacked in the weights as h, t, c, and those of
    :math:`\ell = 1, \dots, D` below one another. A ``transform_bias`` below zero begins with a state that is carried
    on; the authors' code has -2 and -4. torchrecurrent 0.2.5 does not offer the cell: its module cannot be imported.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_ih``.
        depth: D, the highway layers of a step.
        coupled: :math:`c = 1 - t`.
        transform_bias: what every :math:`b_{T_\ell}` begins with; drawn as the rest if None.
        recurrent_init: ``"uniform"`` is torch's; ``"orthogonal"`` draws each block of ``weight_hh`` orthogonal.

    Parameters:
        weight_ih (G·H, I), weight_hh (D·G·H, H), bias_ih (D·G·H), with G = 2 blocks where they are coupled and 3
        where not.

    Paper:
        J. G. Zilly, R. K. Srivastava, J. Koutník, J. Schmidhuber, Recurrent highway networks, ICML 2017,
        arXiv:1607.03474.

    Example:
        >>> ostinato.cells.RHNCell(4, 5, depth=2, transform_bias=-2.0)(torch.randn(2, 4), torch.zeros(2, 5)).shape
        torch.Size([2, 5])
    """

    state_names = ("s",)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        depth: int = 3,
        coupled: bool = True,
        transform_bias: float | None = None,
        recurrent_init: Init = "uniform",
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.bias = checks.flag("bias", bias)
        self.depth = checks.size("depth", depth)
        self.coupled = checks.flag("coupled", coupled)
        self.transform_bias = checks.first_bias("transform_bias", transform_bias, bias)
        self.recurrent_init = recurrent_init
        kind = {"device": device, "dtype": dtype}
        rows = (2 if coupled else 3) * hidden_size
        self.weight_ih = nn.Parameter(torch.empty(rows, input_size, **kind))
        self.weight_hh = nn.Parameter(torch.empty(depth * rows, hidden_size, **kind))
        self.bias_ih = nn.Parameter(torch.empty(depth * rows, **kind)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        super().reset_parameters()
        recurrent_(self.weight_hh, len(self.weight_hh) // self.hidden_size, self.recurrent_init)
        if self.transform_bias is not None and self.bias_ih is not None:
            with torch.no_grad():
                self.bias_ih.view(self.depth, -1, self.hidden_size)[:, 1] = self.transform_bias

    def step(self, x: Tensor, s: Tensor) -> Any:
        matrices = self.weight_hh.chunk(self.depth)
        biases = [None] * self.depth if self.bias_ih is None else self.bias_ih.chunk(self.depth)
        from_x = linear(x, self.weight_ih, biases[0])
        for level in range(self.depth):
            from_s = linear(s, matrices[level], biases[level] if level else None)
            blocks = (from_s if level else from_x + from_s).chunk(2 if self.coupled else 3, dim=-1)
            h, t = self.candidate(torch.tanh(blocks[0])), torch.sigmoid(blocks[1])
            c = 1 - t if self.coupled else torch.sigmoid(blocks[2])
            s = h * t + s * c
        return s
