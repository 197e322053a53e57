"""The light gated recurrent unit."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, linear

from ostinato.cells import checks
from ostinato.cells.activations import Activation
from ostinato.cells.activations import activation as activation_named
from ostinato.cells.initialise import Init
from ostinato.cells.registry import known
from ostinato.cells.stacked import StackedCell


@known("li-gru", "Light gated recurrent unit", 2018)
class LiGRUCell(StackedCell):
    r"""The light GRU: no reset gate, a rectified candidate, and the products with x normalised.

    .. math::
        z_t &= \sigma(\mathrm{N}(W_{iz} x_t) + W_{hz} h_{t-1}) \\
        n_t &= \mathrm{relu}(\mathrm{N}(W_{in} x_t) + W_{hn} h_{t-1}) \\
        h_t &= z_t \odot h_{t-1} + (1 - z_t) \odot n_t

    The gates lie stacked in the weights as z, n; the paper calls the candidate :math:`\tilde h_t`. Its N is batch
    normalisation over all rows and steps of a batch, with a gain and a bias. A step sees the rows of one batch at one
    time, and in this library rows never mix, so that N is not on offer; ``norm="layer"`` normalises each row's
    :math:`W_{ih} x_t` over the two blocks together, with a gain, and ``norm="none"`` leaves it as it is, which is
    torchrecurrent's formula. The biases are N's. Nothing bounds a relu candidate: with ``norm="none"`` and the
    recurrent weights of a long sequence h can grow without end. The paper draws the recurrent weights orthogonal.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_ih``.
        activation: in the place of relu, a name or a function.
        norm: N, ``"none"`` or ``"layer"``.
        recurrent_init: ``"uniform"`` is torch's; ``"orthogonal"`` draws each gate of ``weight_hh`` orthogonal.

    Parameters:
        weight_ih (2·H, I), weight_hh (2·H, H), bias_ih (2·H), gain_x (2·H) of the norm, which begins at 1.

    Paper:
        M. Ravanelli, P. Brakel, M. Omologo, Y. Bengio, Light gated recurrent units for speech recognition, IEEE
        Transactions on Emerging Topics in Computational Intelligence 2, 2018, arXiv:1803.10225.

    Example:
        >>> ostinato.cells.LiGRUCell(4, 5, norm="layer")(torch.randn(2, 4), torch.zeros(2, 5)).shape
        torch.Size([2, 5])
    """

    gates = 2
    two_biases = False

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        activation: Activation = "relu",
        norm: str = "none",
        recurrent_init: Init = "uniform",
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype, recurrent_init)
        self.activation, self._f = activation, activation_named("activation", activation)
        self.norm = checks.one_of("norm", norm, ("none", "layer"))
        gain = torch.empty(2 * hidden_size, device=device, dtype=dtype)
        self.gain_x = nn.Parameter(gain) if norm == "layer" else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        super().reset_parameters()
        if self.gain_x is not None:
            nn.init.ones_(self.gain_x)

    def step(self, x: Tensor, h: Tensor) -> Any:
        if self.gain_x is None:
            from_x = linear(x, self.weight_ih, self.bias_ih)
        else:
            from_x = layer_norm(linear(x, self.weight_ih), self.gain_x.shape, self.gain_x, self.bias_ih)
        z, n = (from_x + linear(h, self.weight_hh)).chunk(2, dim=-1)
        z, n = torch.sigmoid(z), self.candidate(self._f(n))
        h = z * h + (1 - z) * n
        return h
