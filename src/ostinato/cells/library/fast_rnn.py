"""FastRNN and FastGRNN: a weighted residual connection over time, with two numbers or a gate for its weights."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ostinato.cells import checks
from ostinato.cells.activations import Activation
from ostinato.cells.activations import activation as activation_named
from ostinato.cells.cell import Cell
from ostinato.cells.registry import known


class FastCell(Cell):
    """What both share: W and U, whole or each a product of two thin matrices, and two numbers behind a sigmoid."""

    biases: ClassVar[int]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        device: Any,
        dtype: Any,
        activation: Activation,
        ranks: tuple[int | None, int | None],
        scalars: dict[str, Any],
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.bias = checks.flag("bias", bias)
        self.activation, self._f = activation, activation_named("activation", activation)
        self.input_rank = checks.thin("input_rank", ranks[0], min(input_size, hidden_size), checks.SMALLER)
        self.recurrent_rank = checks.thin("recurrent_rank", ranks[1], hidden_size, "hidden_size =")
        self._scalars = {name: checks.number(f"{name}_init", value) for name, value in scalars.items()}

        def parameter(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(shape, device=device, dtype=dtype))

        for name, width, rank in (("ih", input_size, self.input_rank), ("hh", hidden_size, self.recurrent_rank)):
            if rank is None:
                self.register_parameter(f"weight_{name}", parameter(hidden_size, width))
            else:
                self.register_parameter(f"weight_{name}_u", parameter(hidden_size, rank))
                self.register_parameter(f"weight_{name}_v", parameter(rank, width))
        self.bias_ih = parameter(self.biases * hidden_size) if bias else None
        for name in self._scalars:
            self.register_parameter(name, parameter(1))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        super().reset_parameters()
        for name, value in self.named_parameters(recurse=False):
            if name in self._scalars:
                nn.init.constant_(value, self._scalars[name])
            elif name.endswith("_u") and not value.is_meta:
                # So that the product of the two is spread as a whole matrix is.
                bound = math.sqrt(3 / value.shape[1])
                nn.init.uniform_(value, -bound, bound)

    def product(self, name: str, rank: int | None, value: Tensor) -> Tensor:
        """W x or U h."""
        if rank is None:
            return linear(value, getattr(self, f"weight_{name}"))
        return linear(linear(value, getattr(self, f"weight_{name}_v")), getattr(self, f"weight_{name}_u"))


@known("fast-rnn", "FastRNN", 2018)
class FastRNNCell(FastCell):
    r"""The simple recurrent cell with a weighted residual connection over time.

    .. math::
        \tilde h_t &= f(W_{ih} x_t + W_{hh} h_{t-1} + b) \\
        h_t &= \alpha \tilde h_t + \beta h_{t-1}, \qquad 0 \le \alpha, \beta \le 1

    α and β are two numbers that are trained, each the sigmoid of its parameter. With a rank,
    :math:`W_{ih} = W^1 (W^2)^\top` and :math:`W_{hh} = U^1 (U^2)^\top`. The paper needs a small α and β near 1 - α for
    stable gradients, and its authors' code begins the parameters at -3 and 3, as here; torchrecurrent has the two the
    other way round, so that its cell begins by forgetting. The paper also trains the matrices sparse, by hard
    thresholding, which is a matter of training and no part of the cell.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_ih``.
        activation: f, a name or a function.
        input_rank: K of :math:`W_{ih}`, smaller than I and H; a whole matrix if None.
        recurrent_rank: K of :math:`W_{hh}`, smaller than H; a whole matrix if None.
        alpha_init: where α's parameter begins.
        beta_init: where β's parameter begins.

    Parameters:
        weight_ih (H, I), weight_hh (H, H), bias_ih (H), alpha (1), beta (1). With a rank K, weight_ih is the product
        of weight_ih_u (H, K) and weight_ih_v (K, I), weight_hh that of weight_hh_u (H, K) and
        weight_hh_v (K, H).

    Paper:
        A. Kusupati, M. Singh, K. Bhatia, A. Kumar, P. Jain, M. Varma, FastGRNN: a fast, accurate, stable and tiny
        kilobyte sized gated recurrent neural network, NeurIPS 2018, arXiv:1901.02358.

    Example:
        >>> ostinato.cells.FastRNNCell(4, 5, recurrent_rank=2)(torch.randn(2, 4), torch.zeros(2, 5)).shape
        torch.Size([2, 5])
    """

    biases = 1

    alpha: nn.Parameter
    beta: nn.Parameter

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        activation: Activation = "tanh",
        input_rank: int | None = None,
        recurrent_rank: int | None = None,
        alpha_init: float = -3.0,
        beta_init: float = 3.0,
    ) -> None:
        scalars = {"alpha": alpha_init, "beta": beta_init}
        ranks = (input_rank, recurrent_rank)
        super().__init__(input_size, hidden_size, bias, device, dtype, activation, ranks, scalars)
        self.alpha_init, self.beta_init = alpha_init, beta_init

    def step(self, x: Tensor, h: Tensor) -> Any:
        alpha, beta = torch.sigmoid(self.alpha), torch.sigmoid(self.beta)
        from_x = self.product("ih", self.input_rank, x)
        if self.bias_ih is not None:
            from_x = from_x + self.bias_ih
        n = self.candidate(self._f(from_x + self.product("hh", self.recurrent_rank, h)))
        h = alpha * n + beta * h
        return h


@known("fast-grnn", "FastGRNN", 2018)
class FastGRNNCell(FastCell):
    r"""The cell with one gate whose gate and candidate share their matrices, and differ in a bias.

    .. math::
        z_t &= \sigma(W_{ih} x_t + W_{hh} h_{t-1} + b_z) \\
        \tilde h_t &= \tanh(W_{ih} x_t + W_{hh} h_{t-1} + b_h) \\
        h_t &= (\zeta (1 - z_t) + \nu) \odot \tilde h_t + z_t \odot h_{t-1}, \qquad 0 \le \zeta, \nu \le 1

    One product with x and one with h serve both, so the cell has a simple cell's parameters, H + 2 more. ζ and ν are
    two numbers that are trained, each the sigmoid of its parameter. z = 1 keeps h, and lets ν of the candidate in.
    With a rank, :math:`W_{ih} = W^1 (W^2)^\top` and :math:`W_{hh} = U^1 (U^2)^\top`. The authors' code begins the
    parameters of ζ and ν at 1 and -4, as here, torchrecurrent at 3 and -3. torchrecurrent's ``nonlinearity``, tanh
    unless said otherwise, is the gate's in the place of σ; with sigmoid there its function is the paper's.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_ih``; without it the gate and the candidate differ by their functions alone.
        activation: of the candidate, a name or a function.
        input_rank: K of :math:`W_{ih}`, smaller than I and H; a whole matrix if None.
        recurrent_rank: K of :math:`W_{hh}`, smaller than H; a whole matrix if None.
        zeta_init: where ζ's parameter begins.
        nu_init: where ν's parameter begins.

    Parameters:
        weight_ih (H, I), weight_hh (H, H), bias_ih (2·H) with :math:`b_z` and :math:`b_h`, zeta (1), nu (1). With a
        rank K, weight_ih is the product of weight_ih_u (H, K) and weight_ih_v (K, I), weight_hh that of
        weight_hh_u (H, K) and weight_hh_v (K, H).

    Paper:
        A. Kusupati, M. Singh, K. Bhatia, A. Kumar, P. Jain, M. Varma, FastGRNN: a fast, accurate, stable and tiny
        kilobyte sized gated recurrent neural network, NeurIPS 2018, arXiv:1901.02358.

    Example:
        >>> ostinato.cells.FastGRNNCell(4, 5, input_rank=3)(torch.randn(2, 4), torch.zeros(2, 5)).shape
        torch.Size([2, 5])
    """

    biases = 2

    zeta: nn.Parameter
    nu: nn.Parameter

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        activation: Activation = "tanh",
        input_rank: int | None = None,
        recurrent_rank: int | None = None,
        zeta_init: float = 1.0,
        nu_init: float = -4.0,
    ) -> None:
        scalars = {"zeta": zeta_init, "nu": nu_init}
        ranks = (input_rank, recurrent_rank)
        super().__init__(input_size, hidden_size, bias, device, dtype, activation, ranks, scalars)
        self.zeta_init, self.nu_init = zeta_init, nu_init

    def step(self, x: Tensor, h: Tensor) -> Any:
        zeta, nu = torch.sigmoid(self.zeta), torch.sigmoid(self.nu)
        both = self.product("ih", self.input_rank, x) + self.product("hh", self.recurrent_rank, h)
        b_z, b_n = (0.0, 0.0) if self.bias_ih is None else self.bias_ih.chunk(2)
        z = torch.sigmoid(both + b_z)
        n = self.candidate(self._f(both + b_n))
        h = (zeta * (1 - z) + nu) * n + z * h
        return h
