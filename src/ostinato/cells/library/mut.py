"""The three mutants: what an evolutionary search found beside the GRU."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ostinato.cells import checks
from ostinato.cells.cell import Cell
from ostinato.cells.initialise import Init, recurrent_
from ostinato.cells.registry import known


class MutantCell(Cell):
    """What the three have in common: gates z and r, a reset before the product, one bias each."""

    input_gates: ClassVar[int]
    recurrent_gates: ClassVar[int]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        recurrent_init: Init = "uniform",
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.bias = checks.flag("bias", bias)
        self.recurrent_init = recurrent_init
        kind = {"device": device, "dtype": dtype}
        self.weight_ih = nn.Parameter(torch.empty(self.input_gates * hidden_size, input_size, **kind))
        self.weight_hh = nn.Parameter(torch.empty(self.recurrent_gates * hidden_size, hidden_size, **kind))
        self.bias_hh = nn.Parameter(torch.empty(3 * hidden_size, **kind)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        super().reset_parameters()
        recurrent_(self.weight_hh, self.recurrent_gates, self.recurrent_init)

    def recurrent(self) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """``weight_hh`` and ``bias_hh``, each as what belongs to the gates and what to the candidate."""
        w, b, split = self.weight_hh, self.bias_hh, (self.recurrent_gates - 1) * self.hidden_size
        b_gates, b_h = (None, None) if b is None else (b[: 2 * self.hidden_size], b[2 * self.hidden_size :])
        return w[:split], w[split:], b_gates, b_h


class ProjectingMutantCell(MutantCell):
    """A mutant in which x stands where a vector of width H is needed: as it is, or through a matrix."""

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
        super().__init__(input_size, hidden_size, bias, device, dtype, recurrent_init=recurrent_init)
        self.project = project
        projects = checks.projects("project", project, input_size, hidden_size)
        kind = {"device": device, "dtype": dtype}
        self.weight_xh = nn.Parameter(torch.empty(hidden_size, input_size, **kind)) if projects else None
        self.reset_parameters()

    def as_wide(self, x: Tensor) -> Tensor:
        """x with the width of the state."""
        return x if self.weight_xh is None else linear(x, self.weight_xh)


@known("mut1", "Mutant 1 of the search for architectures", 2015)
class MUT1Cell(ProjectingMutantCell):
    r"""The first mutant: the update gate reads x alone, and x enters the candidate without weights.

    .. math::
        z &= \sigma(W_{xz} x_t + b_z) \\
        r &= \sigma(W_{xr} x_t + W_{hr} h_t + b_r) \\
        h_{t+1} &= \tanh(W_{hh} (r \odot h_t) + \tanh(x_t) + b_h) \odot z + h_t \odot (1 - z)

    :math:`\tanh(x_t)` needs I = H. Where the widths differ, or with ``project=True``, x passes through a matrix first:
    :math:`\tanh(W_{xh} x_t)`, which the paper does not have. torchrecurrent always does that, with a bias inside.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_hh``.
        project: with ``weight_xh``; where I and H differ if None.
        recurrent_init: ``"uniform"`` is torch's; ``"orthogonal"`` draws each block of ``weight_hh`` orthogonal.

    Parameters:
        weight_ih (2·H, I) of z, r; weight_hh (2·H, H) of r, h; bias_hh (3·H) of z, r, h;
        weight_xh = :math:`W_{xh}` (H, I).

    Paper:
        R. Jozefowicz, W. Zaremba, I. Sutskever, An empirical exploration of recurrent network architectures, ICML 2015.

    Example:
        >>> ostinato.cells.MUT1Cell(5, 5)(torch.randn(2, 5)).shape
        torch.Size([2, 5])
    """

    input_gates = 2
    recurrent_gates = 2

    def step(self, x: Tensor, h: Tensor) -> Any:
        w_r, w_h, b_zr, b_h = self.recurrent()
        x_z, x_r = linear(x, self.weight_ih, b_zr).chunk(2, dim=-1)
        z = torch.sigmoid(x_z)
        r = torch.sigmoid(x_r + linear(h, w_r))
        n = self.candidate(torch.tanh(linear(r * h, w_h, b_h) + torch.tanh(self.as_wide(x))))
        h = n * z + h * (1 - z)
        return h


@known("mut2", "Mutant 2 of the search for architectures", 2015)
class MUT2Cell(ProjectingMutantCell):
    r"""The second mutant: x enters the reset gate without weights.

    .. math::
        z &= \sigma(W_{xz} x_t + W_{hz} h_t + b_z) \\
        r &= \sigma(x_t + W_{hr} h_t + b_r) \\
        h_{t+1} &= \tanh(W_{hh} (r \odot h_t) + W_{xh} x_t + b_h) \odot z + h_t \odot (1 - z)

    :math:`x_t` in r needs I = H. Where the widths differ, or with ``project=True``, it passes through a matrix
    :math:`W_{xr}`, which the paper does not have. torchrecurrent always has it, and is then Cho's GRU with z and 1 - z
    exchanged.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_hh``.
        project: with ``weight_xh``; where I and H differ if None.
        recurrent_init: ``"uniform"`` is torch's; ``"orthogonal"`` draws each block of ``weight_hh`` orthogonal.

    Parameters:
        weight_ih (2·H, I) of z, h; weight_hh (3·H, H) of z, r, h; bias_hh (3·H) of z, r, h;
        weight_xh = :math:`W_{xr}` (H, I).

    Paper:
        R. Jozefowicz, W. Zaremba, I. Sutskever, An empirical exploration of recurrent network architectures, ICML 2015.

    Example:
        >>> ostinato.cells.MUT2Cell(5, 5)(torch.randn(2, 5)).shape
        torch.Size([2, 5])
    """

    input_gates = 2
    recurrent_gates = 3

    def step(self, x: Tensor, h: Tensor) -> Any:
        w_zr, w_h, b_zr, b_h = self.recurrent()
        x_z, x_n = linear(x, self.weight_ih).chunk(2, dim=-1)
        h_z, h_r = linear(h, w_zr, b_zr).chunk(2, dim=-1)
        z = torch.sigmoid(x_z + h_z)
        r = torch.sigmoid(self.as_wide(x) + h_r)
        n = self.candidate(torch.tanh(linear(r * h, w_h, b_h) + x_n))
        h = n * z + h * (1 - z)
        return h


@known("mut3", "Mutant 3 of the search for architectures", 2015)
class MUT3Cell(MutantCell):
    r"""The third mutant: the update gate reads the state through a tanh.

    .. math::
        z &= \sigma(W_{xz} x_t + W_{hz} \tanh(h_t) + b_z) \\
        r &= \sigma(W_{xr} x_t + W_{hr} h_t + b_r) \\
        h_{t+1} &= \tanh(W_{hh} (r \odot h_t) + W_{xh} x_t + b_h) \odot z + h_t \odot (1 - z)

    torchrecurrent has the same equations with two biases, which add up to this one.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_hh``.
        recurrent_init: ``"uniform"`` is torch's; ``"orthogonal"`` draws each block of ``weight_hh`` orthogonal.

    Parameters:
        weight_ih (3·H, I), weight_hh (3·H, H), bias_hh (3·H), each of z, r, h.

    Paper:
        R. Jozefowicz, W. Zaremba, I. Sutskever, An empirical exploration of recurrent network architectures, ICML 2015.

    Example:
        >>> ostinato.cells.MUT3Cell(4, 5)(torch.randn(2, 4)).shape
        torch.Size([2, 5])
    """

    input_gates = 3
    recurrent_gates = 3

    def step(self, x: Tensor, h: Tensor) -> Any:
        w_z, w_r, w_h = self.weight_hh.chunk(3)
        x_z, x_r, x_n = linear(x, self.weight_ih, self.bias_hh).chunk(3, dim=-1)
        z = torch.sigmoid(x_z + linear(torch.tanh(h), w_z))
        r = torch.sigmoid(x_r + linear(h, w_r))
        n = self.candidate(torch.tanh(linear(r * h, w_h) + x_n))
        h = n * z + h * (1 - z)
        return h
