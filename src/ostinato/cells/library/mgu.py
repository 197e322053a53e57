"""The minimal gated unit, and its three simplified forms."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ostinato.cells import checks
from ostinato.cells.cell import Cell
from ostinato.cells.initialise import Init, recurrent_
from ostinato.cells.registry import known
from ostinato.errors import InvalidValue

FORMS = ("mgu", "mgu1", "mgu2", "mgu3")
"""What the gate reads: x, h and a bias; h and a bias; h alone; a bias alone."""


@known("mgu", "Minimal gated unit", 2016)
class MGUCell(Cell):
    r"""The minimal gated unit: a GRU whose one gate both resets and updates.

    .. math::
        f_t &= \sigma(W_{if} x_t + W_{hf} h_{t-1} + b_f) \\
        n_t &= \tanh(W_{in} x_t + W_{hn} (f_t \odot h_{t-1}) + b_n) \\
        h_t &= (1 - f_t) \odot h_{t-1} + f_t \odot n_t

    The gates lie stacked in the weights as f, n; the paper calls the candidate :math:`\tilde h_t`. Though the paper
    calls f a forget gate, f = 0 is what keeps h. Heck and Salem leave parts of the gate out, which ``form`` names:
    "mgu1" :math:`f_t = \sigma(W_{hf} h_{t-1} + b_f)`, "mgu2" :math:`f_t = \sigma(W_{hf} h_{t-1})`, and "mgu3"
    :math:`f_t = \sigma(b_f)`, the same at every step. The matrices that a form does not read are left out of
    ``weight_ih`` and ``weight_hh``. torchrecurrent has "mgu", with a second bias of the recurrent product; its
    function is the same.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_ih``.
        form: ``"mgu"``, ``"mgu1"``, ``"mgu2"`` or ``"mgu3"``; the last needs the bias.
        recurrent_init: ``"uniform"`` is torch's; ``"orthogonal"`` draws each gate of ``weight_hh`` orthogonal.

    Parameters:
        weight_ih (2·H, I) or (H, I), weight_hh (2·H, H) or (H, H), bias_ih (2·H) or (H). Of the gate's H rows,
        "mgu1" has none in weight_ih, "mgu2" none in weight_ih and bias_ih, "mgu3" none in weight_ih and weight_hh.

    Papers:
        G.-B. Zhou, J. Wu, C.-L. Zhang, Z.-H. Zhou, Minimal gated unit for recurrent neural networks, International
        Journal of Automation and Computing 13, 2016, arXiv:1603.09420; the three forms: J. C. Heck, F. M. Salem,
        Simplified minimal gated unit variations for recurrent neural networks, MWSCAS 2017, arXiv:1701.03452.

    Example:
        >>> ostinato.cells.MGUCell(4, 5)(torch.randn(2, 4), torch.zeros(2, 5)).shape
        torch.Size([2, 5])
        >>> output, h_n = ostinato.Recurrent("mgu", 4, 5, form="mgu2")(torch.randn(7, 2, 4))
        >>> output.shape, h_n.shape
        (torch.Size([7, 2, 5]), torch.Size([1, 2, 5]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        form: str = "mgu",
        recurrent_init: Init = "uniform",
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.bias = checks.flag("bias", bias)
        self.form = checks.one_of("form", form, FORMS)
        self.recurrent_init = recurrent_init
        if form == "mgu3" and not bias:
            raise InvalidValue('form "mgu3" needs bias=True: its gate is made of a bias alone')
        kind = {"device": device, "dtype": dtype}
        of_x, of_h, of_bias = (1 + (form in with_gate) for with_gate in (("mgu",), FORMS[:3], ("mgu", "mgu1", "mgu3")))
        self.weight_ih = nn.Parameter(torch.empty(of_x * hidden_size, input_size, **kind))
        self.weight_hh = nn.Parameter(torch.empty(of_h * hidden_size, hidden_size, **kind))
        self.bias_ih = nn.Parameter(torch.empty(of_bias * hidden_size, **kind)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        super().reset_parameters()
        recurrent_(self.weight_hh, len(self.weight_hh) // self.hidden_size, self.recurrent_init)

    def step(self, x: Tensor, h: Tensor) -> Any:
        w_hf, w_hn = self.weight_hh[: -self.hidden_size], self.weight_hh[-self.hidden_size :]
        if self.form == "mgu":
            x_f, x_n = linear(x, self.weight_ih, self.bias_ih).chunk(2, dim=-1)
            f = torch.sigmoid(x_f + linear(h, w_hf))
        else:
            b_f, b_n = self._biases()
            x_n = linear(x, self.weight_ih, b_n)
            f = torch.sigmoid(linear(h, w_hf, b_f) if b_f is None or len(w_hf) else b_f.expand_as(h))
        n = self.candidate(torch.tanh(x_n + linear(f * h, w_hn)))
        h = (1 - f) * h + f * n
        return h

    def _biases(self) -> tuple[Tensor | None, Tensor | None]:
        """Of the gate and of the candidate, where the gate reads no x."""
        if self.bias_ih is None:
            return None, None
        b_f, b_n = self.bias_ih[: -self.hidden_size], self.bias_ih[-self.hidden_size :]
        return b_f if len(b_f) else None, b_n
