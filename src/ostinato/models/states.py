"""What a recurrent stack carries from one call to the next: a tensor, or tuples of them, however nested."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from ostinato.layers.states import map_network

State = Tensor | tuple[Any, ...] | None
"""Tensors (L, B, H), one for each state of the cell; nested by layer where layers differ in width; None for zeros."""


def map_state(function: Callable[[Tensor], Tensor], state: State) -> State:
    """``function`` of every tensor of ``state``, in the same nesting."""
    return None if state is None else map_network(function, state)


def detached(state: State) -> State:
    """``state`` without the graph that computed it: where truncated backpropagation cuts."""
    return map_state(Tensor.detach, state)
