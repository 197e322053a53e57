"""The simple recurrent unit: gates that see of the state no more than its own element."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ostinato.cells import checks
from ostinato.cells.activations import Activation
from ostinato.cells.activations import activation as activation_named
from ostinato.cells.cell import Cell
from ostinato.cells.registry import known


@known("sru", "Simple recurrent unit", 2017)
class SRUCell(Cell):
    r"""The simple recurrent unit: a light recurrence, and a highway past it.

    .. math::
        f_t &= \sigma(W_f x_t + v_f \odot c_{t-1} + b_f) \\
        c_t &= f_t \odot c_{t-1} + (1 - f_t) \odot (W x_t) \\
        r_t &= \sigma(W_r x_t + v_r \odot c_{t-1} + b_r) \\
        h_t &= r_t \odot g(c_t) + (1 - r_t) \odot \alpha\, x_t

    The output h is no part of the state c. Where I is not H the highway has a matrix of its own,
    :math:`\alpha\, W_x x_t`, as in the authors' implementation. ``peephole=False`` leaves out both v, as the
    paper's first version did: then c is linear in its own past. That version's g is tanh; the later one has none.
    The paper's :math:`\alpha` keeps the variance of a stack's layers: :math:`\sqrt{1 + 2 e^{b}}` for a highway
    bias b. The rows of the weight are c, f, r and, where I is not H, x.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_ih`` (b_f, b_r).
        device, dtype: of the parameters.
        activation: g, a name or a function.
        peephole: with v_f and v_r.
        highway: with r and the way past the recurrence; without, h = g(c).
        highway_bias: what b_r begins with; below zero, more of x passes at first.
        rescale: with α as above; 1 otherwise.

    Parameters:
        weight_ih (3·H, I), or (4·H, I) where I is not H, or (2·H, I) without the highway; bias_ih (2·H) or (H);
        peephole_f (H), peephole_r (H).

    To begin with the weights are drawn from U(-√(3/I), √(3/I)) and b_f is zero, as the paper has it. v is drawn from
    U(-√1.5, √1.5), and the gates' rows are then shrunk by √0.5, so that both sides of a gate share its variance, as
    in the authors' implementation.

    Paper:
        T. Lei, Y. Zhang, S. I. Wang, H. Dai, Y. Artzi, Simple recurrent units for highly parallelizable recurrence,
        EMNLP 2018, arXiv:1709.02755.

    Example:
        >>> output, c_n = ostinato.Recurrent("sru", 4, 5, num_layers=2)(torch.randn(7, 2, 4))
        >>> output.shape, c_n.shape
        (torch.Size([7, 2, 5]), torch.Size([2, 2, 5]))
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
        activation: Activation = "identity",
        peephole: bool = True,
        highway: bool = True,
        highway_bias: float = 0.0,
        rescale: bool = True,
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.bias, self.peephole = checks.flag("bias", bias), checks.flag("peephole", peephole)
        self.highway, self.rescale = checks.flag("highway", highway), checks.flag("rescale", rescale)
        self.highway_bias = checks.number("highway_bias", highway_bias)
        self.activation, self._g = activation, activation_named("activation", activation)
        self._alpha = math.sqrt(1 + 2 * math.exp(self.highway_bias)) if rescale else 1.0
        kind = {"device": device, "dtype": dtype}
        self._parts = 2 + highway + (highway and input_size != hidden_size)
        self.weight_ih = nn.Parameter(torch.empty(self._parts * hidden_size, input_size, **kind))
        self.bias_ih = nn.Parameter(torch.empty((1 + highway) * hidden_size, **kind)) if bias else None
        self.peephole_f = nn.Parameter(torch.empty(hidden_size, **kind)) if peephole else None
        self.peephole_r = nn.Parameter(torch.empty(hidden_size, **kind)) if peephole and highway else None
        self.reset_parameters()

    @property
    def output_size(self) -> int:
        return self.hidden_size

    def reset_parameters(self) -> None:
        if self.weight_ih.is_meta:
            return
        size, gates = self.hidden_size, 1 + self.highway
        nn.init.uniform_(self.weight_ih, -math.sqrt(3 / self.input_size), math.sqrt(3 / self.input_size))
        with torch.no_grad():
            if self.peephole:
                self.weight_ih[size : (1 + gates) * size] *= math.sqrt(0.5)
            if self.bias_ih is not None:
                self.bias_ih[:size] = 0.0
                self.bias_ih[size:] = self.highway_bias
        for v in (self.peephole_f, self.peephole_r):
            if v is not None:
                nn.init.uniform_(v, -math.sqrt(1.5), math.sqrt(1.5))

    def step(self, x: Tensor, c: Tensor) -> Any:
        new, f, *rest = linear(x, self.weight_ih).chunk(self._parts, dim=-1)
        b_f, *b_r = (None,) * 2 if self.bias_ih is None else self.bias_ih.chunk(1 + self.highway)
        new = self.candidate(new)
        f = _gate(f, self.peephole_f, c, b_f)
        r = _gate(rest[0], self.peephole_r, c, b_r[0]) if self.highway else None
        c = f * c + (1 - f) * new
        h = self._g(c)
        if r is not None:
            past = self._alpha * (rest[1] if len(rest) == 2 else x)
            h = r * h + (1 - r) * past
        return h, c


def _gate(of_x: Tensor, v: Tensor | None, c: Tensor, b: Tensor | None) -> Tensor:
    of_x = of_x if v is None else of_x + v * c
    return torch.sigmoid(of_x if b is None else of_x + b)
