"""An identity that clips the gradient, element by element, on its way back through time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ostinato.errors import InvalidType, InvalidValue

LIBRARY = torch.library.Library("ostinato", "FRAGMENT")
LIBRARY.define("clip_gradient(Tensor x, float limit) -> Tensor")


def clip_gradient(x: Tensor, limit: float) -> Tensor:
    """``x`` itself; its gradient is clamped to [-limit, limit], element by element.

    Called on a state within a step, it bounds what flows back through time without touching what flows forward
    (Graves, arXiv:1308.0850, clips the derivatives of an LSTM's gates like this).

    Args:
        x: any real tensor.
        limit: the largest size of a gradient's element, greater than zero.

    Raises:
        InvalidType, InvalidValue: a limit that is not a number greater than zero.

    Example:
        >>> from ostinato.functional import clip_gradient
        >>> x = torch.ones(2, requires_grad=True)
        >>> (clip_gradient(x, 0.5) * torch.tensor([3.0, 0.25])).sum().backward()
        >>> x.grad
        tensor([0.5000, 0.2500])
    """
    if isinstance(limit, bool) or not isinstance(limit, int | float):
        raise InvalidType(f"limit must be a number, got {limit!r} of type {type(limit).__name__}")
    if not limit > 0:
        raise InvalidValue(f"limit must be greater than zero, got {limit}")
    transformed = torch._C._are_functorch_transforms_active()
    result: Tensor = (_Transformed.apply if transformed else torch.ops.ostinato.clip_gradient)(x, float(limit))
    return result


def _setup(ctx: Any, inputs: tuple[Tensor, float], output: Tensor) -> None:
    ctx.limit = inputs[1]


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
    return grad.clamp(-ctx.limit, ctx.limit), None


class _Transformed(torch.autograd.Function):
    """The same under torch.func's transforms, which look into no operation that was registered from Python."""

    generate_vmap_rule = True
    setup_context = staticmethod(_setup)
    backward = staticmethod(_backward)

    @staticmethod
    def forward(x: Tensor, limit: float) -> Tensor:
        return x.clone()


LIBRARY.impl("clip_gradient", lambda x, limit: x.clone(), "CompositeExplicitAutograd")
torch.library.register_autograd("ostinato::clip_gradient", _backward, setup_context=_setup, lib=LIBRARY)
