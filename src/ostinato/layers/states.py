"""The states of a whole network: how they are shaped, where they begin, how they come apart and together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ostinato.cells import checks
from ostinato.engines.call import States
from ostinato.errors import CellError, InvalidShape, InvalidType, InvalidValue

Network = tuple[Any, ...]
"""One entry a state name: a tensor (D·L, B, ·), or, for widths given a layer, a tuple of L tensors (D, B, ·)."""


@dataclass(frozen=True)
class StateShape:
    """The shape of a network's states.

    Attributes:
        names: the cell's state names.
        sizes: the width of each state, a tuple a layer.
        directions: D.
        per_layer: whether the states are a tuple with a tensor a layer, as widths were given a layer.
    """

    names: tuple[str, ...]
    sizes: tuple[tuple[int, ...], ...]
    directions: int
    per_layer: bool

    @property
    def layers(self) -> int:
        return len(self.sizes)

    def public(self, network: Network) -> Any:
        """As users get it: the one state itself, or the tuple of all."""
        return network[0] if len(self.names) == 1 else network

    def zeros(self, rows: int, like: Tensor) -> Network:
        if self.per_layer:
            return tuple(
                tuple(like.new_zeros(self.directions, rows, sizes[n]) for sizes in self.sizes)
                for n in range(len(self.names))
            )
        count, sizes = self.layers * self.directions, self.sizes[0]
        first = like.new_zeros(count, rows, sizes[0])
        # States of one width may begin as one tensor, as nothing ever writes to it.
        return (first, *(first if size == sizes[0] else like.new_zeros(count, rows, size) for size in sizes[1:]))

    def check(self, owner: str, hx: Any, rows: int, batched: bool, like: Tensor) -> Network:
        """The caller's ``hx`` as a Network of batched states, or an error that gives the shape it must have."""
        states = checks.state_tuple(owner, "hx", hx, self.names)
        return tuple(self._check_one(owner, n, state, rows, batched, like) for n, state in enumerate(states))

    def _check_one(self, owner: str, n: int, state: Any, rows: int, batched: bool, like: Tensor) -> Any:
        name = f"{self.names[n]}_0"
        if not self.per_layer:
            count = self.layers * self.directions
            meaning = f"for {_count(self.layers, 'layer')} × {_count(self.directions, 'direction')}"
            return _check_tensor(owner, name, state, (count, rows, self.sizes[0][n]), batched, meaning, like)
        if not isinstance(state, (tuple, list)) or len(state) != self.layers:
            got = f"{len(state)} values" if isinstance(state, (tuple, list)) else type(state).__name__
            raise InvalidType(
                f"{owner}: {name} must be a tuple of {self.layers} tensors, one a layer, as the widths were given "
                f"a layer; got {got}"
            )
        return tuple(
            _check_tensor(
                owner,
                f"{name}[{k}]",
                value,
                (self.directions, rows, self.sizes[k][n]),
                batched,
                f"for {_count(self.directions, 'direction')}",
                like,
            )
            for k, value in enumerate(state)
        )

    def split(self, network: Network) -> list[tuple[States, ...]]:
        """[layer][direction] → the states of that one cell, (B, ·) each."""
        if self.per_layer:
            return [
                tuple(tuple(state[k][d] for state in network) for d in range(self.directions))
                for k in range(self.layers)
            ]
        return [
            tuple(tuple(state[k * self.directions + d] for state in network) for d in range(self.directions))
            for k in range(self.layers)
        ]

    def join(self, cells: Sequence[tuple[States, ...]]) -> Network:
        """The inverse of :meth:`split`."""
        if self.per_layer:
            return tuple(
                tuple(torch.stack([states[n] for states in layer]) for layer in cells) for n in range(len(self.names))
            )
        return tuple(torch.stack([states[n] for layer in cells for states in layer]) for n in range(len(self.names)))

    def named(self, hx: Any) -> dict[str, dict[str, Tensor]]:
        """``{"l0": {"h": …}, "l0_reverse": …}`` out of what a layer returned as its final state."""
        network = checks.state_tuple("named_states", "state", hx, self.names)
        for state in network:
            parts = len(state) if isinstance(state, (tuple, list)) or (isinstance(state, Tensor) and state.dim()) else 0
            if parts != (self.layers if self.per_layer else self.layers * self.directions):
                form = "a tensor a layer" if self.per_layer else f"({self.layers * self.directions}, …)"
                raise InvalidShape(
                    f"named_states: each state must be {form}, as the layer returns it; got {parts} parts"
                )
        return {
            suffix(k, d).removeprefix("_"): dict(zip(self.names, states, strict=True))
            for k, layer in enumerate(self.split(network))
            for d, states in enumerate(layer)
        }


def suffix(layer: int, direction: int) -> str:
    """``_l{k}`` or ``_l{k}_reverse``: what a cell's names end in."""
    return f"_l{layer}" + ("_reverse" if direction else "")


def map_network(function: Callable[[Tensor], Tensor], network: Any) -> Any:
    """Apply a function to every tensor, in the same nesting."""
    if isinstance(network, Tensor):
        return function(network)
    return tuple(map_network(function, part) for part in network)


def make_initial(
    layer: nn.Module, initial_state: Any, shape: StateShape, device: Any, dtype: torch.dtype | None
) -> None:
    """Prepare ``layer`` for its kind of initial state: parameters for "learned", the module itself, or nothing."""
    if isinstance(initial_state, nn.Module):
        return
    if not isinstance(initial_state, str):
        raise InvalidType(
            f"initial_state must be 'zeros', 'learned' or a torch.nn.Module, got {type(initial_state).__name__}"
        )
    if checks.one_of("initial_state", initial_state, ("zeros", "learned")) == "learned":
        for k, sizes in enumerate(shape.sizes):
            for d in range(shape.directions):
                for name, size in zip(shape.names, sizes, strict=True):
                    own = f"initial_{name}{suffix(k, d)}"
                    if own in layer._parameters:
                        raise CellError(f"the cell's parameter initial_{name} has the learned state's name; rename it")
                    layer.register_parameter(own, nn.Parameter(torch.zeros(size, device=device, dtype=dtype)))


def learned(layer: nn.Module, shape: StateShape, rows: int) -> Network:
    """The learned initial states, repeated for every row."""
    return shape.join(
        [
            tuple(
                tuple(getattr(layer, f"initial_{name}{suffix(k, d)}").expand(rows, -1) for name in shape.names)
                for d in range(shape.directions)
            )
            for k in range(shape.layers)
        ]
    )


def with_unused(network: Network, parameters: Iterable[Tensor]) -> Network:
    """The states plus a zero made of parameters that this call has no use for.

    Their gradient is zero then and not missing: with several processes, each waits for every parameter's gradient.
    """
    zero = sum(p.reshape(-1)[:0].sum() for p in parameters)

    def add(state: Any) -> Any:
        return state + zero if isinstance(state, Tensor) else (add(state[0]), *state[1:])

    return (add(network[0]), *network[1:])


def computed(owner: str, module: nn.Module, argument: Any, shape: StateShape, rows: int, like: Tensor) -> Network:
    """What an initial state's module makes of the input or of the condition, checked like a state given by hand."""
    result = module(argument)
    return shape.check(f"{owner}, the result of initial_state", result, rows, True, like)


def refuse_condition(owner: str, condition: Any) -> None:
    """A condition is for an initial state's module, and the layer has none."""
    if condition is not None:
        raise InvalidValue(
            f"{owner}: condition= is what an initial state's module is called with, and this layer has none; make it "
            "with initial_state=module"
        )


def _check_tensor(
    owner: str, name: str, value: Any, expected: tuple[int, int, int], batched: bool, meaning: str, like: Tensor
) -> Tensor:
    checks.tensor(owner, name, value)
    if not batched:
        checks.shape(owner, name, value, (expected[0], expected[2]), f"{meaning}, unbatched like the input")
    elif value.shape != expected:  # only then: a size that is written into a text is one that a traced program fixes
        checks.shape(owner, name, value, expected, f"{meaning} and batch {expected[1]}")
    checks.same_kind(owner, name, value, like)
    return value if batched else value.unsqueeze(1)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
