"""The rectified simple cell that begins by copying its state."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ostinato.cells import checks
from ostinato.cells.registry import known
from ostinato.cells.stacked import StackedCell


@known("irnn", "Simple network of rectified units that begins at the identity", 2015)
class IRNNCell(StackedCell):
    r"""The simple recurrent cell of rectified units, whose recurrent weight begins as the identity.

    .. math::
        h_t = \mathrm{relu}(W_{ih} x_t + W_{hh} h_{t-1} + b), \qquad W_{hh} = \gamma I,\; b = 0 \text{ to begin with}

    Only where it begins sets it apart from :class:`ostinato.RNNCell` with ``nonlinearity="relu"``. :math:`W_{ih}` is
    drawn from a normal distribution of deviation 0.001, as in the paper. With :math:`\gamma = 1` a state stays until
    an input changes it; a small :math:`\gamma`, in the paper's experiment with speech 0.01, forgets where
    long memory is not wanted. torch and torchrecurrent have no such cell; it is often made of an RNN by hand.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_ih``.
        scale: :math:`\gamma`.
        input_std: the deviation that :math:`W_{ih}` is drawn with.

    Parameters:
        weight_ih (H, I), weight_hh (H, H), bias_ih (H).

    Paper:
        Q. V. Le, N. Jaitly, G. E. Hinton, A simple way to initialize recurrent networks of rectified linear units,
        arXiv:1504.00941, 2015.

    Example:
        >>> cell = ostinato.cells.IRNNCell(4, 3)
        >>> cell(torch.zeros(1, 4), torch.tensor([[1.0, 0.0, 2.0]]))
        tensor([[1., 0., 2.]], grad_fn=<ReluBackward0>)
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
        scale: float = 1.0,
        input_std: float = 0.001,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype, "uniform")
        self.scale = checks.number("scale", scale)
        self.input_std = checks.number("input_std", input_std, above=0)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        if self.weight_ih.is_meta:
            return
        nn.init.normal_(self.weight_ih, std=self.input_std)
        nn.init.eye_(self.weight_hh)
        with torch.no_grad():
            self.weight_hh.mul_(self.scale)
        if self.bias_ih is not None:
            nn.init.zeros_(self.bias_ih)

    def step(self, x: Tensor, h: Tensor) -> Any:
        h = torch.relu(linear(x, self.weight_ih, self.bias_ih) + linear(h, self.weight_hh))
        return h
