"""The gated recurrent unit of 2014, with the reset before the product."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn.functional import linear

from ostinato.cells.library.gru import GRUCell
from ostinato.cells.registry import known


@known("cho-gru", "Gated recurrent unit, reset before the product", 2014)
class ChoGRUCell(GRUCell):
    r"""The GRU cell whose reset gate acts on the state before the product, as first published.

    .. math::
        r_t &= \sigma(W_{ir} x_t + b_{ir} + W_{hr} h_{t-1} + b_{hr}) \\
        z_t &= \sigma(W_{iz} x_t + b_{iz} + W_{hz} h_{t-1} + b_{hz}) \\
        n_t &= \tanh(W_{in} x_t + b_{in} + W_{hn} (r_t \odot h_{t-1}) + b_{hn}) \\
        h_t &= (1 - z_t) \odot n_t + z_t \odot h_{t-1}

    It shares every parameter shape with :class:`ostinato.GRUCell`, so weights move between the two without an
    error, and the function changes: the candidate differs unless r = 1. The paper has no biases (``bias=False``).
    Chung et al. (arXiv:1412.3555) swap the roles of z and 1 - z; Keras calls this form ``reset_after=False``.

    Args, parameters:
        those of :class:`ostinato.GRUCell`.

    Paper:
        K. Cho et al., Learning phrase representations using RNN encoder-decoder for statistical machine
        translation, EMNLP 2014, arXiv:1406.1078.

    Example:
        >>> output, h_n = ostinato.ChoGRU(4, 5, bidirectional=True)(torch.randn(7, 2, 4))
        >>> output.shape, h_n.shape
        (torch.Size([7, 2, 10]), torch.Size([2, 2, 5]))
    """

    def step(self, x: Tensor, h: Tensor) -> Any:
        x_r, x_z, x_n = linear(x, self.weight_ih, self.bias_ih).chunk(3, dim=-1)
        h_r, h_z = self.from_state(h, stop=2).chunk(2, dim=-1)
        r = self._squash_gate(x_r + h_r)
        z = self._squash_gate(x_z + h_z)
        n = self.candidate(self._squash(x_n + self.from_state(r * h, first=2)))
        h = (1 - z) * n + z * h
        return h
