"""Masks on the states where they enter a product with weights, and nowhere else, for a step that knows nothing of it.

The step runs while a mode sees every function of torch's that it calls. What is made of a state alone, element by
element (``r * h``, ``tanh(h)``), a part of it, or it joined with others, has the state's mask, in the same shape. Where
such a value is multiplied with a matrix that holds no state, it is multiplied with its mask first. What new content is
added to (``f * c + i * g``) is a new state, and a product's result is new: they have no mask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PRODUCTS: dict[str, int | None] = {
    **dict.fromkeys(_words("matmul __matmul__ __rmatmul__ mm mv bmm einsum tensordot inner dot vdot"), None),
    **dict.fromkeys(_words("multi_dot chain_matmul scaled_dot_product_attention multi_head_attention_forward"), None),
    **dict.fromkeys(_words("addmm addmv addbmm baddbmm addmm_ addmv_ addbmm_ baddbmm_"), 0),
    **dict.fromkeys(_words("linear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d"), 2),
    "bilinear": 3,
}
"""The products by name, and the place of the argument that is added to the result."""

ADDED = {0: ("input", "self"), 2: ("bias",), 3: ("bias",)}
"""That argument's name."""

JOINS = _words("cat concat concatenate stack hstack vstack dstack column_stack")
"""Functions that put several tensors into one: what is no state has a mask of ones there."""

SHAPES = JOINS | _words(
    "T mT H mH t view view_as reshape reshape_as ravel flatten unflatten transpose swapaxes swapdims permute movedim "
    "chunk split split_with_sizes tensor_split hsplit unbind __getitem__ narrow select diagonal squeeze unsqueeze "
    "expand expand_as broadcast_to flip roll index_select gather take_along_dim tile repeat repeat_interleave"
)
"""Functions that move elements and compute nothing: a mask goes the same way."""

SUMS = _words(
    "add __add__ __radd__ __iadd__ add_ sub __sub__ __rsub__ __isub__ sub_ subtract rsub lerp lerp_ where addcmul "
    "addcmul_ addcdiv addcdiv_ maximum minimum fmax fmin logaddexp hypot"
)
"""Functions that join content with content: of a state and something else they make something new."""

NEW = _words("zeros_like ones_like empty_like full_like new_zeros new_ones new_empty new_full new_tensor")
"""Functions that take of a tensor no more than its kind."""


class StateMasks(TorchFunctionMode):
    """The block in which a step runs.

    Args:
        states: the states that the step is given, no tensor twice.
        masks: for each of them its mask, of its shape.

    Attributes:
        used: whether a state has entered a product.
    """

    def __init__(self, states: Iterable[Tensor], masks: Iterable[Tensor]) -> None:
        super().__init__()
        # Each tensor is kept, so that its id stays its own.
        self._known = {id(s): (s, mask) for s, mask in zip(states, masks, strict=True)}
        self.used = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = _name(func)
        if name in PRODUCTS:
            return self._product(func, PRODUCTS[name], args, kwargs)
        given = list(tensors(args, kwargs))
        masks = [mask for t in given if (mask := self._mask(t)) is not None]
        result = func(*args, **kwargs)
        if not masks or name in NEW:
            return result
        if name in SUMS and any(t.dim() and t.is_floating_point() and self._mask(t) is None for t in given):
            self._forget(result)
        elif name in SHAPES:
            self._moved(func, name in JOINS, args, kwargs, result)
        else:
            for made in tensors(result):
                self._note(made, masks)
        return result

    def _mask(self, value: Tensor) -> Tensor | None:
        found = self._known.get(id(value))
        return None if found is None else found[1]

    def _forget(self, result: Any) -> None:
        """What was written in place may have been a state's, and is no more."""
        for made in tensors(result):
            self._known.pop(id(made), None)

    def _note(self, value: Tensor, masks: Iterable[Tensor]) -> None:
        """``value`` was computed element by element from what has these masks."""
        if not value.is_floating_point():
            return
        shape, joint = value.shape, None
        for mask in {id(mask): mask for mask in masks if _fits(mask.shape, shape)}.values():
            own = mask if mask.shape == shape else mask.expand(shape)
            joint = own if joint is None else joint * own
        if joint is not None:
            self._known[id(value)] = (value, joint)

    def _moved(self, func: Any, joins: bool, args: Any, kwargs: Any, result: Any) -> None:
        def other(value: Tensor) -> Tensor:
            mask = self._mask(value)
            if mask is not None:
                return mask
            return torch.ones_like(value) if joins else value

        moved = func(*_each(other, args), **_each(other, kwargs))
        for made, mask in zip(tensors(result), tensors(moved), strict=True):
            self._known[id(made)] = (made, mask)

    def _product(self, func: Any, added: int | None, args: Any, kwargs: Any) -> Any:
        names = () if added is None else ADDED[added]
        apart: list[Any] = [] if added is None else [*args[added : added + 1], *(kwargs.get(name) for name in names)]
        operands = [t for t in tensors(args, kwargs) if not any(t is one for one in apart)]
        if all(self._mask(t) is not None for t in operands):
            return func(*args, **kwargs)

        def masked(value: Tensor) -> Tensor:
            mask = self._mask(value)
            if mask is None or any(value is one for one in apart):
                return value
            self.used = True
            return value * mask

        result = func(*_each(masked, args), **_each(masked, kwargs))
        self._forget(result)
        return result


def _name(func: Any) -> str:
    """The function's name; of an attribute such as ``T`` that of the attribute."""
    name = getattr(func, "__name__", "")
    return getattr(func.__self__, "__name__", "") if name == "__get__" else name


def _fits(mask: torch.Size, shape: torch.Size) -> bool:
    """Whether a mask broadcasts to a shape."""
    return len(mask) <= len(shape) and all(m in (s, 1) for m, s in zip(mask[::-1], shape[::-1], strict=False))


def _each(function: Callable[[Tensor], Any], given: Any) -> Any:
    """Arguments with every tensor replaced."""
    if isinstance(given, Tensor):
        return function(given)
    if isinstance(given, list | tuple):
        return type(given)(_each(function, g) for g in given)
    if isinstance(given, dict):
        return {key: _each(function, g) for key, g in given.items()}
    return given


def tensors(*given: Any) -> Iterator[Tensor]:
    """Every tensor among arguments or results."""
    for value in given:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from tensors(*value)
        elif isinstance(value, dict):
            yield from tensors(*value.values())
