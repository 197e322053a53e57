"""The gated recurrent unit, with the reset after the product: torch's and cuDNN's."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn.functional import linear

from ostinato.cells import activations
from ostinato.cells.activations import Activation
from ostinato.cells.initialise import Init
from ostinato.cells.registry import known
from ostinato.cells.stacked import StackedCell


@known("gru", "Gated recurrent unit, reset after the product", 2014)
class GRUCell(StackedCell):
    r"""The GRU cell whose reset gate acts after the product, under torch.nn.GRUCell's signature.

    .. math::
        r_t &= \sigma(W_{ir} x_t + b_{ir} + W_{hr} h_{t-1} + b_{hr}) \\
        z_t &= \sigma(W_{iz} x_t + b_{iz} + W_{hz} h_{t-1} + b_{hz}) \\
        n_t &= \tanh(W_{in} x_t + b_{in} + r_t \odot (W_{hn} h_{t-1} + b_{hn})) \\
        h_t &= (1 - z_t) \odot n_t + z_t \odot h_{t-1}

    The gates lie stacked in the weights as r, z, n. Here z keeps: z = 1 leaves h as it was. Cho et al. write the same;
    Chung et al. (arXiv:1412.3555) swap z and 1 - z, so their z updates. Both apply r before the product in their
    published form, which is :class:`ostinato.ChoGRUCell`.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_ih`` and ``bias_hh``.
        activation: what stands where the equations have tanh: a name (``ostinato.cells.activations``) or a function.
        gate_activation: what stands where they have σ; Keras calls it ``recurrent_activation``.
        recurrent_init: ``"uniform"`` is torch's; ``"orthogonal"`` draws each gate of ``weight_hh`` orthogonal.
        recurrent_rank: r, for a recurrent weight of low rank, :math:`W_{hh} = U V`.
        heads: n, for a block-diagonal recurrent weight: n groups of units, each with its own part of h alone.

    Parameters:
        weight_ih (3·H, I), weight_hh (3·H, H), bias_ih (3·H), bias_hh (3·H). With a rank weight_hh_u, U of
        3·H × r, and weight_hh_v, V of r × H, stand for weight_hh; with heads it has n × 3·H/n × H/n, the gates stacked
        in each head.

    Papers:
        K. Cho et al., Learning phrase representations using RNN encoder-decoder for statistical machine
        translation, EMNLP 2014, arXiv:1406.1078; the reset after the product is that of its first arXiv version, as
        Keras's documentation of ``reset_after`` tells the two apart, and of cuDNN: J. Appleyard, T. Kočiský,
        P. Blunsom, Optimizing performance of recurrent neural networks on GPUs, arXiv:1604.01946, 2016.

    Example:
        >>> ostinato.GRUCell(4, 5)(torch.randn(2, 4), torch.zeros(2, 5)).shape
        torch.Size([2, 5])
    """

    gates = 3

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        activation: Activation = "tanh",
        gate_activation: Activation = "sigmoid",
        recurrent_init: Init = "uniform",
        recurrent_rank: int | None = None,
        heads: int = 1,
    ) -> None:
        super().__init__(
            input_size, hidden_size, bias, device, dtype, recurrent_init, recurrent_rank=recurrent_rank, heads=heads
        )
        self.activation, self.gate_activation = activation, gate_activation
        self._squash = activations.activation("activation", activation)
        self._squash_gate = activations.activation("gate_activation", gate_activation)
        self.reset_parameters()

    def step(self, x: Tensor, h: Tensor) -> Any:
        x_r, x_z, x_n = linear(x, self.weight_ih, self.bias_ih).chunk(3, dim=-1)
        h_r, h_z, h_n = self.from_state(h).chunk(3, dim=-1)
        r = self._squash_gate(x_r + h_r)
        z = self._squash_gate(x_z + h_z)
        n = self.candidate(self._squash(x_n + r * h_n))
        h = (1 - z) * n + z * h
        return h
