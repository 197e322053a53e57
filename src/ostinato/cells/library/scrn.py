"""The structurally constrained recurrent network: a simple cell beside units that change slowly."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ostinato.cells import checks
from ostinato.cells.cell import Cell
from ostinato.cells.initialise import Init, recurrent_
from ostinato.cells.registry import known
from ostinato.errors import InvalidValue


@known("scrn", "Structurally constrained recurrent network", 2014)
class SCRNCell(Cell):
    r"""The structurally constrained cell: hidden units as in a simple cell, and context units that change slowly.

    .. math::
        s_t &= (1 - \alpha) B x_t + \alpha s_{t-1} \\
        h_t &= \sigma(P s_t + A x_t + R h_{t-1}) \\
        y_t &= f(U h_t + V s_t)

    The context s has a width of its own, C, and no matrix between its steps. f is the softmax of a language model,
    which belongs to its loss; U and V are the first layer after the cell. So the cell puts out h and s joined, H + C
    wide, and a linear head on that is [U V], as in faster-rnnlm's layer. With ``proj_size`` O the cell has U and V
    itself and puts out :math:`U h_t + V s_t`; in a stack the last layer alone has them. α is 0.95 in the paper;
    ``adaptive`` is its second form, where each context unit learns its own, the sigmoid of a parameter that begins
    there. The paper has no bias (``bias=False``). torchrecurrent feeds its output back in the place of h, passes it
    through tanh, gives the context H units, and learns one α, which it does not bound.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_ih``, within σ.
        context_size: C; two fifths of H if None, the paper's 40 for 100.
        alpha: α, what a context unit keeps of itself in one step, between 0 and 1; where it begins if ``adaptive``.
        adaptive: each context unit learns its own α.
        proj_size: O of U and V; None has neither.
        recurrent_init: ``"uniform"`` is torch's; ``"orthogonal"`` draws ``weight_hh`` orthogonal.

    Parameters:
        weight_ih = B above A (C+H, I), weight_hh = R (H, H), weight_sh = P (H, C), bias_ih (H),
        logit_alpha (C) if ``adaptive``, weight_ho = U (O, H), weight_so = V (O, C) with ``proj_size``.

    Paper:
        T. Mikolov, A. Joulin, S. Chopra, M. Mathieu, M. Ranzato, Learning longer memory in recurrent neural networks,
        ICLR 2015 workshop, arXiv:1412.7753.

    Example:
        >>> y, (h, s) = ostinato.cells.SCRNCell(4, 5)(torch.randn(2, 4))
        >>> y.shape, h.shape, s.shape
        (torch.Size([2, 7]), torch.Size([2, 5]), torch.Size([2, 2]))
        >>> y, (h, s) = ostinato.cells.SCRNCell(4, 5, context_size=3, proj_size=6)(torch.randn(2, 4))
        >>> y.shape, s.shape
        (torch.Size([2, 6]), torch.Size([2, 3]))
    """

    state_names = ("h", "s")
    separate_output = True

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        context_size: int | None = None,
        alpha: float = 0.95,
        adaptive: bool = False,
        proj_size: int | None = None,
        recurrent_init: Init = "uniform",
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.bias = checks.flag("bias", bias)
        usual = max(1, 2 * hidden_size // 5)
        self.context_size = usual if context_size is None else checks.size("context_size", context_size)
        self.adaptive = checks.flag("adaptive", adaptive)
        self.alpha = _share("alpha", alpha, adaptive)
        self.proj_size = None if proj_size is None else checks.size("proj_size", proj_size)
        self.recurrent_init = recurrent_init

        def parameter(wanted: bool, *shape: int) -> nn.Parameter | None:
            return nn.Parameter(torch.empty(shape, device=device, dtype=dtype)) if wanted else None

        context, out = self.context_size, proj_size or 0
        self.weight_ih = nn.Parameter(torch.empty(context + hidden_size, input_size, device=device, dtype=dtype))
        self.weight_hh = nn.Parameter(torch.empty(hidden_size, hidden_size, device=device, dtype=dtype))
        self.weight_sh = nn.Parameter(torch.empty(hidden_size, context, device=device, dtype=dtype))
        self.bias_ih = parameter(bias, hidden_size)
        self.logit_alpha = parameter(adaptive, context)
        self.weight_ho = parameter(out > 0, out, hidden_size)
        self.weight_so = parameter(out > 0, out, context)
        self.reset_parameters()

    @property
    def state_sizes(self) -> tuple[int, ...]:
        return (self.hidden_size, self.context_size)

    @property
    def candidate_size(self) -> int:
        return self.context_size

    @property
    def output_size(self) -> int:
        return self.proj_size or self.hidden_size + self.context_size

    @classmethod
    def at_layer(cls, layer: int, num_layers: int, options: Mapping[str, Any]) -> tuple[type[Cell], Mapping[str, Any]]:
        if layer == num_layers - 1:
            return cls, options
        return cls, {name: value for name, value in options.items() if name != "proj_size"}

    def reset_parameters(self) -> None:
        super().reset_parameters()
        recurrent_(self.weight_hh, 1, self.recurrent_init)
        if self.logit_alpha is not None:
            nn.init.constant_(self.logit_alpha, math.log(self.alpha / (1 - self.alpha)))

    def step(self, x: Tensor, h: Tensor, s: Tensor) -> Any:
        alpha = self.alpha if self.logit_alpha is None else torch.sigmoid(self.logit_alpha)
        x_s, x_h = linear(x, self.weight_ih).split([self.context_size, self.hidden_size], dim=-1)
        s = (1 - alpha) * self.candidate(x_s) + alpha * s
        h = torch.sigmoid(x_h + linear(s, self.weight_sh, self.bias_ih) + linear(h, self.weight_hh))
        if self.weight_ho is None or self.weight_so is None:
            y = torch.cat([h, s], dim=-1)
        else:
            y = linear(h, self.weight_ho) + linear(s, self.weight_so)
        return y, h, s


def _share(name: str, value: Any, inside: bool) -> float:
    """A number in [0, 1], or in (0, 1) where its logit is needed."""
    share = checks.number(name, value)
    if not (0 < share < 1 if inside else 0 <= share <= 1):
        raise InvalidValue(f"{name} must be between 0 and 1{', neither included,' if inside else ','} got {value}")
    return share
