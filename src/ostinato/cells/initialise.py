"""How parameters begin."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, nn

from ostinato.cells import checks

Init = Literal["uniform", "orthogonal"]


def uniform_(parameters: Iterable[Tensor], hidden_size: int) -> None:
    """Draw from U(-1/√H, 1/√H) in the order given, as torch.nn does: a seed gives torch's own numbers."""
    bound = 1.0 / math.sqrt(hidden_size)
    for parameter in parameters:
        # On the meta device there is nothing to draw, and no random operation for a transform to refuse.
        if not parameter.is_meta and (parameter.is_floating_point() or parameter.is_complex()):
            nn.init.uniform_(parameter, -bound, bound)


def recurrent_(weight_hh: Tensor, gates: int, init: Init) -> None:
    """Redraw a recurrent weight (G·H, P) gate by gate; ``"uniform"`` leaves it as it was drawn.

    Orthogonal: A. M. Saxe, J. L. McClelland, S. Ganguli, Exact solutions to the nonlinear dynamics of learning
    in deep linear neural networks, ICLR 2014.
    """
    if checks.one_of("recurrent_init", init, ("uniform", "orthogonal")) == "orthogonal" and not weight_hh.is_meta:
        with torch.no_grad():
            for gate in weight_hh.chunk(gates):
                nn.init.orthogonal_(gate)
