"""The linear recurrent unit: a diagonal complex recurrence, stable by its parameters."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ostinato.cells import checks
from ostinato.cells.cell import Cell
from ostinato.cells.registry import known
from ostinato.errors import InvalidValue


@known("lru", "Linear recurrent unit", 2023)
class LRUCell(Cell):
    r"""The linear recurrent unit: complex numbers that turn and shrink, driven by x, and read by a matrix.

    .. math::
        \lambda &= \exp(-\exp(\nu) + i \exp(\theta)) \\
        h_t &= \lambda \odot h_{t-1} + \exp(\gamma) \odot (B x_t) \\
        y_t &= \mathrm{Re}(C h_t) + D x_t

    :math:`h` and :math:`B`, :math:`C` are complex, here as two real parts: the states ``re`` and ``im``. The modulus
    of :math:`\lambda` is below one whatever :math:`\nu` is. The output y is no state. The paper's network puts
    the unit between a norm and a gated layer with a skip past both; here is the unit alone. The paper's figure has D as
    a vector, one number a feature, its equation as a matrix; here it is a matrix, so that I and O may differ.

    Args:
        input_size: I.
        hidden_size: H, the number of complex states.
        device, dtype: of the parameters.
        output_size: O, the width of y; H if not given.
        r_min, r_max: to begin with, :math:`\lambda` is uniform on the ring between these radii.
        max_phase: and its angle is uniform between 0 and this.

    Parameters:
        nu (H), theta (H), gamma (H): logarithms, as above; weight_ih (2·H, I): the real part of B over the imaginary;
        weight_ho (2·O, H): C, the same; weight_io = D (O, I).

    To begin with :math:`\exp(\gamma) = \sqrt{1 - |\lambda|^2}`, which keeps the state's variance for white input; B is
    drawn from N(0, 1/(2·I)), C from N(0, 1/H), D from N(0, 1/I), real and imaginary parts each.

    Paper:
        A. Orvieto, S. L. Smith, A. Gu, A. Fernando, C. Gulcehre, R. Pascanu, S. De, Resurrecting recurrent neural
        networks for long sequences, ICML 2023, arXiv:2303.06349.

    Example:
        >>> y, (re, im) = ostinato.Recurrent("lru", 4, 5, output_size=3)(torch.randn(7, 2, 4))
        >>> y.shape, re.shape
        (torch.Size([7, 2, 3]), torch.Size([1, 2, 5]))
    """

    state_names = ("re", "im")
    separate_output = True

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        device: Any = None,
        dtype: Any = None,
        *,
        output_size: int | None = None,
        r_min: float = 0.0,
        r_max: float = 1.0,
        max_phase: float = 2 * math.pi,
    ) -> None:
        super().__init__(input_size, hidden_size)
        self._output_size = hidden_size if output_size is None else checks.size("output_size", output_size)
        self.r_min, self.r_max = checks.number("r_min", r_min, least=0), checks.number("r_max", r_max, above=0)
        if not self.r_min < self.r_max <= 1:
            raise InvalidValue(f"r_min and r_max must be 0 ≤ r_min < r_max ≤ 1, got {r_min} and {r_max}")
        self.max_phase = checks.number("max_phase", max_phase, above=0)
        kind = {"device": device, "dtype": dtype}
        self.nu = nn.Parameter(torch.empty(hidden_size, **kind))
        self.theta = nn.Parameter(torch.empty(hidden_size, **kind))
        self.gamma = nn.Parameter(torch.empty(hidden_size, **kind))
        self.weight_ih = nn.Parameter(torch.empty(2 * hidden_size, input_size, **kind))
        self.weight_ho = nn.Parameter(torch.empty(2 * self._output_size, hidden_size, **kind))
        self.weight_io = nn.Parameter(torch.empty(self._output_size, input_size, **kind))
        self.reset_parameters()

    @property
    def output_size(self) -> int:
        return self._output_size

    def reset_parameters(self) -> None:
        if self.nu.is_meta:
            return
        with torch.no_grad():
            # 1 - u is never zero, so that no logarithm of zero is taken where r_min is 0.
            area = self.r_min**2 + (1 - torch.rand_like(self.nu)) * (self.r_max**2 - self.r_min**2)
            # A radius of one has a logarithm of zero, and no ν; the largest radius is a little less.
            area = area.clamp(max=1 - torch.finfo(area.dtype).eps)
            self.nu.copy_((-0.5 * area.log()).log())
            self.theta.copy_((self.max_phase * (1 - torch.rand_like(self.theta))).log())
            self.gamma.copy_(0.5 * (1 - area).log())
        nn.init.normal_(self.weight_ih, 0, math.sqrt(0.5 / self.input_size))
        nn.init.normal_(self.weight_ho, 0, math.sqrt(1 / self.hidden_size))
        nn.init.normal_(self.weight_io, 0, math.sqrt(1 / self.input_size))

    def step(self, x: Tensor, re: Tensor, im: Tensor) -> Any:
        radius, angle = torch.exp(-torch.exp(self.nu)), torch.exp(self.theta)
        l_re, l_im = radius * torch.cos(angle), radius * torch.sin(angle)
        scale = torch.exp(self.gamma)
        b_re, b_im = linear(x, self.weight_ih).chunk(2, dim=-1)
        b_re, b_im = self.candidate(scale * b_re), self.candidate(scale * b_im)
        re, im = l_re * re - l_im * im + b_re, l_re * im + l_im * re + b_im
        c_re, c_im = self.weight_ho.chunk(2)
        y = linear(re, c_re) - linear(im, c_im) + linear(x, self.weight_io)
        return y, re, im
