"""Elman's simple recurrent network, with and without an output of its own at every step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ostinato.cells import activations, checks
from ostinato.cells.activations import Activation
from ostinato.cells.cell import Cell
from ostinato.cells.initialise import Init, uniform_
from ostinato.cells.registry import known
from ostinato.cells.stacked import StackedCell

OUTPUTS = {"none": lambda y: y, "softmax": lambda y: torch.softmax(y, dim=-1), "sigmoid": torch.sigmoid}


@known("rnn", "Simple recurrent network", 1990)
class RNNCell(StackedCell):
    r"""The simple recurrent cell, under torch.nn.RNNCell's signature.

    .. math::
        h_t = f(W_{ih} x_t + b_{ih} + W_{hh} h_{t-1} + b_{hh}), \qquad f = \tanh \text{ unless given}

    The same weights serve every time step.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_ih`` and ``bias_hh``.
        nonlinearity: f, a name (``ostinato.cells.activations``) or a function; torch.nn has ``"tanh"`` and ``"relu"``.
        recurrent_init: ``"uniform"`` is torch's; ``"orthogonal"`` draws ``weight_hh`` orthogonal (Saxe et al. 2014).
        recurrent_rank: r, for a recurrent weight of low rank, :math:`W_{hh} = U V`.
        heads: n, for a block-diagonal recurrent weight: n groups of units, each with its own part of h alone.

    Parameters:
        weight_ih (H, I), weight_hh (H, H), bias_ih (H), bias_hh (H). With a rank weight_hh_u, U of H × r, and
        weight_hh_v, V of r × H, stand for weight_hh; with heads it has n × H/n × H/n.

    Paper:
        J. L. Elman, Finding structure in time, Cognitive Science 14, 1990.

    Example:
        >>> cell = ostinato.RNNCell(10, 20)
        >>> h = torch.zeros(3, 20)
        >>> for x in torch.randn(6, 3, 10):
        ...     h = cell(x, h)
        >>> h.shape
        torch.Size([3, 20])
    """

    gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: Activation = "tanh",
        device: Any = None,
        dtype: Any = None,
        *,
        recurrent_init: Init = "uniform",
        recurrent_rank: int | None = None,
        heads: int = 1,
    ) -> None:
        super().__init__(
            input_size, hidden_size, bias, device, dtype, recurrent_init, recurrent_rank=recurrent_rank, heads=heads
        )
        self.nonlinearity = nonlinearity
        self._squash = activations.activation("nonlinearity", nonlinearity)
        self.reset_parameters()

    def step(self, x: Tensor, h: Tensor) -> Any:
        h = self._squash(linear(x, self.weight_ih, self.bias_ih) + self.from_state(h))
        return h


@known("elman", "Simple recurrent network with an output of its own", 1990)
class ElmanCell(RNNCell):
    r"""The simple recurrent cell with an output of its own at every step.

    .. math::
        h_t &= f(W_{ih} x_t + b_{ih} + W_{hh} h_{t-1} + b_{hh}) \\
        y_t &= g(V h_t + b_y), \qquad g = \text{none, softmax or sigmoid}

    In a stack, :math:`V` stands on the last layer only: layer k + 1 reads :math:`h`. Two directions join their
    :math:`y` to 2·O, and :math:`y` is no part of the state.

    Args:
        input_size, hidden_size, bias, nonlinearity, recurrent_init: as for :class:`RNNCell`.
        output_size: O, the width of y; H if not given.
        output_nonlinearity: g, ``"none"``, ``"softmax"`` (over the features) or ``"sigmoid"``.
        output_bias: with ``bias_ho`` (:math:`b_y`).

    Parameters:
        those of :class:`RNNCell`, weight_ho = V (O, H), bias_ho (O).

    Paper:
        J. L. Elman, Finding structure in time, Cognitive Science 14, 1990.

    Example:
        >>> y, h = ostinato.ElmanCell(4, 5, output_size=3, output_nonlinearity="softmax")(torch.randn(2, 4))
        >>> y.shape, h.shape
        (torch.Size([2, 3]), torch.Size([2, 5]))
    """

    separate_output = True

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: Activation = "tanh",
        device: Any = None,
        dtype: Any = None,
        *,
        output_size: int | None = None,
        output_nonlinearity: str = "none",
        output_bias: bool = True,
        recurrent_init: Init = "uniform",
    ) -> None:
        super().__init__(input_size, hidden_size, bias, nonlinearity, device, dtype, recurrent_init=recurrent_init)
        self._output_size = hidden_size if output_size is None else checks.size("output_size", output_size)
        self.output_nonlinearity = checks.one_of("output_nonlinearity", output_nonlinearity, OUTPUTS)
        kind = {"device": device, "dtype": dtype}
        self.weight_ho = nn.Parameter(torch.empty(self._output_size, hidden_size, **kind))
        self.output_bias = checks.flag("output_bias", output_bias)
        self.bias_ho = nn.Parameter(torch.empty(self._output_size, **kind)) if output_bias else None
        uniform_((p for p in (self.weight_ho, self.bias_ho) if p is not None), hidden_size)

    @property
    def output_size(self) -> int:
        return self._output_size

    @classmethod
    def at_layer(cls, layer: int, num_layers: int, options: Mapping[str, Any]) -> tuple[type[Cell], Mapping[str, Any]]:
        if layer == num_layers - 1:
            return cls, options
        return RNNCell, {name: value for name, value in options.items() if not name.startswith("output_")}

    def step(self, x: Tensor, h: Tensor) -> Any:
        h = super().step(x, h)
        y = OUTPUTS[self.output_nonlinearity](linear(h, self.weight_ho, self.bias_ho))
        return y, h
