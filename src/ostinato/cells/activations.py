"""Activations by name, or as a function of one's own."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from ostinato.cells import checks
from ostinato.errors import InvalidType

Activation = str | Callable[[Tensor], Tensor]
"""A name out of :data:`ACTIVATIONS`, or a function of a tensor that treats its elements apart."""


def identity(x: Tensor) -> Tensor:
    return x


def hard_sigmoid(x: Tensor) -> Tensor:
    """torch's, of slope 1/6; torch's own derivative has a sixth in single precision, whatever the dtype."""
    return torch.clamp(x / 6 + 0.5, 0, 1)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "elu": functional.elu,
    "gelu": functional.gelu,
    "hard_sigmoid": hard_sigmoid,
    "hard_tanh": functional.hardtanh,
    "identity": identity,
    "leaky_relu": functional.leaky_relu,
    "relu": torch.relu,
    "selu": functional.selu,
    "sigmoid": torch.sigmoid,
    "silu": functional.silu,
    "sin": torch.sin,
    "softplus": functional.softplus,
    "softsign": functional.softsign,
    "tanh": torch.tanh,
}


def activation(option: str, value: Activation) -> Callable[[Tensor], Tensor]:
    """The function that an option names.

    Args:
        option: the option's name, for the message.
        value: a name, or a function, which is returned as it is.

    Raises:
        InvalidValue: an unknown name; the nearest is offered.
        InvalidType: neither a name nor a function.

    Example:
        >>> from ostinato.cells.activations import activation
        >>> activation("activation", "relu")(torch.tensor([-1.0, 2.0]))
        tensor([0., 2.])
    """
    if isinstance(value, str):
        return ACTIVATIONS[checks.one_of(option, value, ACTIVATIONS)]
    if not callable(value):
        raise InvalidType(
            f"{option} must be one of {', '.join(ACTIVATIONS)}, or a function of a tensor, got {value!r} of type "
            f"{type(value).__name__}"
        )
    return value
