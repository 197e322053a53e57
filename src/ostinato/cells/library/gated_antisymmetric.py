"""The antisymmetric network with its gate, under a name of its own."""

from __future__ import annotations

from typing import Any

from ostinato.cells.activations import Activation
from ostinato.cells.library.antisymmetric import AntisymmetricRNNCell
from ostinato.cells.registry import known


@known("gated-antisymmetric-rnn", "Antisymmetric network with a gate", 2019)
class GatedAntisymmetricRNNCell(AntisymmetricRNNCell):
    r"""The antisymmetric network whose steps a gate makes shorter, unit by unit.

    .. math::
        A &= W_h - W_h^\top - \gamma I \\
        z_t &= \sigma(A h_{t-1} + V_z x_t + b_z) \\
        h_t &= h_{t-1} + \epsilon\, z_t \odot \tanh(A h_{t-1} + V_h x_t + b_h)

    It is :class:`ostinato.cells.AntisymmetricRNNCell` with ``gated=True``, which says what the two share. The rows of
    ``weight_ih`` are z, h. torchrecurrent has a second bias in the candidate and not in the gate, and other defaults.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with ``bias_ih``.
        epsilon: ε, the length of a step.
        gamma: γ, the damping.
        activation: in the place of tanh, a name or a function.

    Parameters:
        weight_ih (2·H, I), weight_hh = :math:`W_h` (H, H), bias_ih (2·H).

    Paper:
        B. Chang, M. Chen, E. Haber, E. H. Chi, AntisymmetricRNN: a dynamical system view on recurrent neural networks,
        ICLR 2019, arXiv:1902.09689.

    Example:
        >>> ostinato.cells.GatedAntisymmetricRNNCell(4, 5)(torch.randn(2, 4)).shape
        torch.Size([2, 5])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        epsilon: float = 0.01,
        gamma: float = 0.01,
        activation: Activation = "tanh",
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            bias,
            device,
            dtype,
            epsilon=epsilon,
            gamma=gamma,
            gated=True,
            activation=activation,
        )
