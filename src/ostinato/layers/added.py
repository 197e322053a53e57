"""A cell's step with something added around it: a class derived from the cell's own, made once for each kind.

Everything that was added is said in the class's qualified name, and its step is a function of that alone; so a guard
that knows the class knows the step, and code of this package need not be watched.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ostinato.cells import checks
from ostinato.cells.cell import Cell
from ostinato.compiler.clip import clip_gradient
from ostinato.errors import CellError
from ostinato.layers.additions import Acting
from ostinato.layers.products import StateMasks

Given = dict[tuple[str, str], Tensor]
"""What a step was given besides the cell's own keywords: (role, state) → the value."""


def added(base: type[Cell], acting: Acting, direction: int) -> type[Cell]:
    """The cell's class with everything that acts.

    Its step is equal to::

        states = where(restart, begin, states)                    # reset
        states = clip_gradient(states)                            # clip
        output, new = step(x, states)                             # with recurrent dropout's masks
        new = where(mask, states, new)                            # zoneout in training
        new = keep * states + (1 - keep) * new                    # zoneout in eval mode

    Args:
        base: the cell's own class.
        acting: what acts.
        direction: 0 or 1; each direction's step takes the keywords of both and reads its own.

    Raises:
        CellError: the cell's step has a keyword of one of the names itself.
    """
    kind: Any = base  # a class can be hashed, which the types of Module hide
    return _made(kind, acting, direction)


@lru_cache(maxsize=256)
def _made(base: Any, acting: Acting, direction: int) -> type[Cell]:
    keywords = acting.keywords()
    parameters = list(inspect.signature(base.step).parameters.values())
    for keyword in keywords:
        if any(p.name == keyword.name for p in parameters):
            raise CellError(
                f"{base.__name__}.step has a keyword {keyword.name!r} of its own, the name of what the layer adds "
                f"({acting.text}); rename it"
            )
    roles = {k.name: (k.role, k.state) if k.direction == direction else None for k in keywords}

    def step(self: Cell, x: Tensor, *states: Tensor, **given: Tensor) -> Any:
        own = {role: given.pop(name) for name, role in roles.items() if name in given and role is not None}
        rest = {name: value for name, value in given.items() if name not in roles}
        return _step(self, base, acting, x, states, own, rest)

    def candidate(self: Cell, value: Tensor) -> Tensor:
        value = base.candidate(self, value)
        dropped = self.__dict__.get("_candidate")
        return value if dropped is None else dropped.of(self, value)

    optional = [inspect.Parameter(k.name, inspect.Parameter.KEYWORD_ONLY, default=None) for k in keywords]
    step.__signature__ = inspect.Signature([*parameters, *optional])  # type: ignore[attr-defined]
    name = f"{base.__qualname__} with {tuple(acting)} of direction {direction}"
    space = {
        "__module__": base.__module__,
        "__qualname__": name,
        "__doc__": base.__doc__,
        "step": step,
        "candidate": candidate,
        "on_tape": {k.name: k.name.removesuffix("_reverse") for k in keywords if k.direction == direction},
    }
    made: type[Cell] = type(base)(base.__name__, (base,), space)
    return made


def _step(
    cell: Cell, base: type[Cell], acting: Acting, x: Tensor, old: tuple[Tensor, ...], own: Given, rest: dict[str, Any]
) -> Any:
    states = dict(zip(cell.state_names, old, strict=True))
    flags = own.get(("restart", ""))
    if flags is not None:
        _check(cell, "reset's flags", flags, (x.shape[0], 1))
        states = {n: _restarted(s, flags, own.get(("restart", n))) for n, s in states.items()}
    if acting.clip is not None:
        states = {n: clip_gradient(s, acting.clip) for n, s in states.items()}
    result = _run(cell, base, x, states, own, rest)
    if not acting.zoneout:
        return result
    output, made = cell.split(result)
    new = dict(zip(cell.state_names, made, strict=True))
    for name, keep in zip(acting.zoneout, acting.expected, strict=False):
        new[name] = keep * states[name] + (1 - keep) * new[name]
    for (role, name), mask in own.items():
        if role == "zoneout":
            _check(cell, f"zoneout's mask of {name}", mask, tuple(states[name].shape))
            new[name] = torch.where(mask, states[name], new[name])
    values = tuple(new.values())
    if cell.separate_output:
        return (output, *values)
    return values if len(values) > 1 else values[0]


def _restarted(state: Tensor, flags: Tensor, begin: Tensor | None) -> Tensor:
    return state.masked_fill(flags, 0) if begin is None else torch.where(flags, begin, state)


def _run(
    cell: Cell, base: type[Cell], x: Tensor, states: Mapping[str, Tensor], own: Given, rest: dict[str, Any]
) -> Any:
    """The cell's own step, with recurrent dropout."""
    if (mask := own.get(("candidate", ""))) is not None:
        view = cell._frozen_view()
        dropped = view.__dict__["_candidate"] = _Candidate(mask.detach())
        result = base.step(view, x, *states.values(), **rest)
        dropped.check(cell)
        return result
    masks = {name: value.detach() for (role, name), value in own.items() if role == "dropout"}
    if not masks:
        return base.step(cell, x, *states.values(), **rest)
    for name, mask in masks.items():
        _check(cell, f"recurrent dropout's mask of {name}", mask, tuple(states[name].shape))
    given = [s.view_as(s) for s in states.values()]  # two states may begin as one tensor
    with StateMasks(given, [masks[name] for name in states]) as products:
        result = base.step(cell, x, *given, **rest)
    if not products.used:
        raise CellError(
            f"{type(cell).__name__}.step multiplies none of its states with a matrix, so that recurrent dropout has no "
            "place to act; use recurrent_dropout_form='candidate' if the step calls self.candidate, or zoneout"
        )
    return result


class _Candidate:
    """A step's mask of its candidate, and whether it was asked for."""

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask
        self.used = False

    def of(self, cell: Cell, value: Tensor) -> Tensor:
        """The candidate, dropped out."""
        _check(cell, "recurrent dropout's mask of the candidate", self.mask, tuple(value.shape))
        self.used = True
        return value * self.mask

    def check(self, cell: Cell) -> None:
        if not self.used:
            raise CellError(
                f"{type(cell).__name__}.step passes nothing through self.candidate, so that recurrent dropout has no "
                "candidate to act on; write n = self.candidate(torch.tanh(…)) in the step where new content is "
                "made, or use recurrent_dropout_form='state'"
            )


def _check(cell: Cell, what: str, value: Tensor, expected: tuple[int, ...]) -> None:
    """A mask reaches the step in the shape of what it masks."""
    checks.shape(type(cell).__name__, what, value, expected, "the shape of what it acts on in the step")
