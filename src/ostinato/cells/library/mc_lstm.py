"""The mass-conserving LSTM: what comes in is stored, moved about and put out, and none of it is lost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ostinato.cells import checks
from ostinato.cells.cell import Cell
from ostinato.cells.registry import known
from ostinato.errors import InvalidValue

REDISTRIBUTIONS = ("fixed", "time-varying")


@known("mc-lstm", "Mass-conserving LSTM", 2021)
class MCLSTMCell(Cell):
    r"""An LSTM cell whose states and outputs add up to what came in.

    .. math::
        \hat c_t &= c_{t-1} / \lVert c_{t-1} \rVert_1 \\
        i_t &= \mathrm{softmax}(W_i a_t + U_i \hat c_t + b_i) \\
        o_t &= \sigma(W_o a_t + U_o \hat c_t + b_o) \\
        R_t &= \mathrm{softmax}(B_r) \\
        \text{time-varying:}\quad R_t &= \mathrm{softmax}(W_r a_t + U_r \hat c_t + B_r) \\
        m_t &= R_t c_{t-1} + i_t x_t \\
        c_t &= (1 - o_t) \odot m_t \\
        h_t &= o_t \odot m_t

    Of the cell's input the first M features are mass, :math:`x_t`, and the others, :math:`a_t`, work the gates alone.
    :math:`i_t` (H, M) and :math:`R_t` (H, H) have columns that add up to 1, so :math:`\sum h_t + \sum c_t =
    \sum c_{t-1} + \sum x_t`. :math:`\hat c` is zero where c is. In a stack, all that a layer puts out is mass, so above
    the first layer M is the whole width. The cell has no candidate that could be dropped out: mass would be lost.

    h is the output and no part of the state, c. As in the authors' code, :math:`b_o` begins at -3, so that little
    leaves, and :math:`B_r` as the identity, so that mass tends to stay; the rest is drawn as everywhere here. The paper
    also norms R with a rectifier. torchrecurrent's ``MCLSTM`` is another cell,
    :class:`ostinato.cells.MemoryControllerLSTMCell`.

    Args:
        input_size: I = M + A.
        hidden_size: H.
        bias: with ``bias_ch``.
        mass_size: M, how many of the input's first features are mass; None for all of them.
        redistribution: ``"fixed"`` or ``"time-varying"``; the second brings (A + H)·H² weights.

    Parameters:
        weight_ah (M·H + H, A) or (H² + M·H + H, A), weight_ch (M·H + H, H) or (H² + M·H + H, H),
        bias_ch (M·H + H) or (H² + M·H + H), redistribution_matrix = :math:`B_r` (H, H). The rows are those of o, of i,
        and of R where it varies.

    Paper:
        P.-J. Hoedt, F. Kratzert, D. Klotz, C. Halmich, M. Holzleitner, G. Nearing, S. Hochreiter, G. Klambauer,
        MC-LSTM: mass-conserving LSTM, ICML 2021, arXiv:2101.05186.

    Example:
        >>> x, c = torch.rand(2, 4), torch.rand(2, 5)
        >>> h, c_1 = ostinato.cells.MCLSTMCell(4, 5, mass_size=2)(x, c)
        >>> torch.allclose(h.sum() + c_1.sum(), c.sum() + x[:, :2].sum())
        True
    """

    state_names = ("c",)
    separate_output = True

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        mass_size: int | None = 1,
        redistribution: str = "fixed",
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.bias = checks.flag("bias", bias)
        self.mass_size = mass_size
        self._mass = input_size if mass_size is None else checks.size("mass_size", mass_size)
        if self._mass > input_size:
            raise InvalidValue(f"mass_size must be at most input_size = {input_size}, got {mass_size}")
        self.redistribution = checks.one_of("redistribution", redistribution, REDISTRIBUTIONS)
        kind = {"device": device, "dtype": dtype}
        rows = (self._mass + 1) * hidden_size + (redistribution == "time-varying") * hidden_size**2
        others = input_size - self._mass
        self.weight_ah = nn.Parameter(torch.empty(rows, others, **kind)) if others else None
        self.weight_ch = nn.Parameter(torch.empty(rows, hidden_size, **kind))
        self.bias_ch = nn.Parameter(torch.empty(rows, **kind)) if bias else None
        self.redistribution_matrix = nn.Parameter(torch.empty(hidden_size, hidden_size, **kind))
        self.reset_parameters()

    @property
    def output_size(self) -> int:
        return self.hidden_size

    @classmethod
    def at_layer(cls, layer: int, num_layers: int, options: Mapping[str, Any]) -> tuple[type[Cell], Mapping[str, Any]]:
        return cls, options if layer == 0 else {**options, "mass_size": None}

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.eye_(self.redistribution_matrix)
        if self.bias_ch is not None:
            nn.init.constant_(self.bias_ch.detach()[: self.hidden_size], -3.0)

    def step(self, x: Tensor, c: Tensor) -> Any:
        mass, others = x[..., : self._mass], x[..., self._mass :]
        total = c.abs().sum(-1, keepdim=True)
        share = c / torch.where(total == 0, 1.0, total)
        gates = linear(share, self.weight_ch, self.bias_ch)
        gates = gates if self.weight_ah is None else gates + linear(others, self.weight_ah)
        upto = (self._mass + 1) * self.hidden_size
        o = torch.sigmoid(gates[..., : self.hidden_size])
        i = torch.softmax(gates[..., self.hidden_size : upto].unflatten(-1, (self.hidden_size, self._mass)), dim=-2)
        came = (i * mass.unsqueeze(-2)).sum(-1)
        if self.redistribution == "fixed":
            kept = linear(c, torch.softmax(self.redistribution_matrix, dim=0))
        else:
            r = self.redistribution_matrix + gates[..., upto:].unflatten(-1, (self.hidden_size, self.hidden_size))
            kept = (torch.softmax(r, dim=-2) * c.unsqueeze(-2)).sum(-1)
        m = kept + came
        c = (1 - o) * m
        h = o * m
        return h, c
