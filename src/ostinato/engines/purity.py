"""Whether a user's step is the pure function the contract asks for: tried once, on copies, before its first run."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ostinato.cells.cell import Cell
from ostinato.engines.call import LayerCall
from ostinato.errors import CellError


def check(call: LayerCall) -> bool:
    """Run each direction's step twice on the first step's rows.

    Returns:
        Whether there was anything to try: not without rows or numbers, as under torch.compile, torch.func's transforms
        and on the meta device.

    Raises:
        CellError: the step writes to an argument, gives two results for one input, or keeps something in ``self``.
    """
    if _without_numbers(call.input) or call.input.shape[0] == 0:
        return False
    rows = call.input.shape[1] if call.batch_sizes is None else int(call.batch_sizes[0])
    if rows == 0:
        return False
    for cell, states in zip(call.cells, call.states, strict=True):
        first = call.input[0] if call.batch_sizes is None else call.input[:rows]
        streams = {n: v[0] if call.batch_sizes is None else v[:rows] for n, v in call.streams.items()}
        given = streams | {n: v[:rows] for n, v in call.constants.items()}
        _check_cell(cell, first, tuple(s[:rows] for s in states), given)
    return True


def _without_numbers(value: Tensor) -> bool:
    return (
        torch.compiler.is_compiling()
        or value.is_meta
        or type(value) not in (Tensor, torch.nn.Parameter)
        or torch._C._functorch.peek_interpreter_stack() is not None
    )


def _check_cell(cell: Cell, x: Tensor, states: tuple[Tensor, ...], given: dict[str, Tensor]) -> None:
    name = type(cell).__name__
    names = ["x", *cell.state_names, *given]
    arguments = [t.detach().clone() for t in (x, *states, *given.values())]
    keywords = dict(zip(given, arguments[1 + len(states) :], strict=True))
    kept = _containers(cell)
    devices = [x.device] if x.is_cuda else []
    with torch.no_grad(), torch.random.fork_rng(devices):
        results = []
        for _ in range(2):
            before = [t._version for t in arguments]
            output, new = cell.split(cell.step(arguments[0], *arguments[1 : 1 + len(states)], **keywords))
            results.append((output.clone(), *(s.clone() for s in new)))
            for argument, version, label in zip(arguments, before, names, strict=True):
                if argument._version != version:
                    raise CellError(
                        f"{name}.step must not write to its arguments, but it changes {label} in place; "
                        f"work on a value of its own ({label} = {label}.clone())"
                    )
    if _containers(cell) != kept:
        changed = [key for key, size in _containers(cell).items() if kept.get(key) != size]
        raise CellError(
            f"{name}.step must be pure, but it adds to self.{changed[0]}; return what must be kept as a state, or "
            "look at it with ostinato.record"
        )
    for one, two in zip(*results, strict=True):
        if one.shape != two.shape or not torch.allclose(one, two, rtol=0, atol=0, equal_nan=True):
            raise CellError(
                f"{name}.step gives two results for the same input, so it draws random numbers or keeps something "
                "between steps; what is random or varies by time is a keyword-only parameter of step"
            )


def _containers(cell: Cell) -> dict[str, Any]:
    return {
        name: len(value)
        for name, value in vars(cell).items()
        if isinstance(value, (list, dict, set)) and not name.startswith("_")
    }
