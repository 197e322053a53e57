"""Whether a user's step is the pure function the contract asks for: tried once, on copies, before its first run."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ostinato.cells.cell import Cell
from ostinato.engines import widths
from ostinato.engines.call import LayerCall, States
from ostinato.errors import CellError

Given = dict[str, Tensor]


def check(call: LayerCall) -> bool:
    """Try each direction's step on the first step's rows: twice, in reverse order, and the first row alone.

    Returns:
        Whether there was anything to try: not without rows or numbers, as under torch.compile, a tracer, torch.func's
        transforms and on the meta device.

    Raises:
        CellError: the step writes to an argument, gives two results for one input, keeps something in the cell, or
            lets one row of the batch depend on another.
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
        devices = [first.device] if first.is_cuda else []
        # Copies made outside inference mode have version counters, whatever mode the caller is in.
        with torch.inference_mode(False), torch.no_grad(), torch.random.fork_rng(devices):
            active = tuple(s[:rows] for s in states)
            try:
                _check_cell(cell, first, active, given)
            except CellError:
                raise
            except Exception as error:
                widths.blame(cell, first, active, given, error)
                named = zip(("x", *cell.state_names, *given), (first, *active, *given.values()), strict=True)
                shapes = ", ".join(f"{name} {tuple(value.shape)}" for name, value in named)
                error.add_note(f"This happened in {type(cell).__name__}.step, which was given {shapes}.")
                raise
    return True


def _without_numbers(value: Tensor) -> bool:
    return (
        torch.compiler.is_compiling()
        or value.is_meta
        or type(value) not in (Tensor, nn.Parameter)
        or torch._C._functorch.peek_interpreter_stack() is not None
        or torch._C._len_torch_dispatch_stack() > 0
    )


def _check_cell(cell: Cell, x: Tensor, states: States, given: Given) -> None:
    name = type(cell).__name__
    kept = _kept(cell)
    results = [_step_on_copies(cell, x, states, given) for _ in range(2)]
    for key, value in _kept(cell).items():
        if kept.get(key) != value:
            raise CellError(
                f"{name}.step must be pure, but it changes self.{key}; return what must be kept as a state, take what "
                "varies as a keyword-only parameter of step, or look at values with ostinato.record"
            )
    for one, two in zip(*results, strict=True):
        if one.shape != two.shape or not torch.equal(one.nan_to_num(), two.nan_to_num()):
            raise CellError(
                f"{name}.step gives two results for the same input, so it draws random numbers or keeps something "
                "between steps; what is random or varies by time is a keyword-only parameter of step"
            )
    turned = _step_on_copies(
        cell, x.flip(0), tuple(s.flip(0) for s in states), {n: v.flip(0) for n, v in given.items()}
    )
    alone = _step_on_copies(cell, x[:1], tuple(s[:1] for s in states), {n: v[:1] for n, v in given.items()})
    for whole, back, row in zip(results[0], turned, alone, strict=True):
        by_row = whole.dim() and whole.shape[0] == x.shape[0]
        if by_row and not (_close(whole[:1], row) and _close(whole.flip(0), back)):
            raise CellError(
                f"{name}.step lets the rows of a batch depend on each other: alone or in another order, a row gives "
                "another result; sum, normalise and compare over the feature axis (dim=-1) only"
            )


def _step_on_copies(cell: Cell, x: Tensor, states: States, given: Given) -> list[Tensor]:
    """What the step returns, output first; CellError if it writes to an argument."""
    labels = ["x", *cell.state_names, *given]
    arguments = [t.detach().clone() for t in (x, *states, *given.values())]
    keywords = dict(zip(given, arguments[1 + len(states) :], strict=True))
    before = [t._version for t in arguments]
    output, new = cell.split(cell.step(arguments[0], *arguments[1 : 1 + len(states)], **keywords))
    results = [output.clone(), *(s.clone() for s in new)]
    for label, argument, version in zip(labels, arguments, before, strict=True):
        if argument._version != version:
            raise CellError(
                f"{type(cell).__name__}.step must not write to its arguments, but it changes {label} in place; work on "
                f"a value of its own ({label} = {label}.clone())"
            )
    return results


def _close(whole: Tensor, row: Tensor) -> bool:
    """Equal but for the rounding of matrix products of different sizes."""
    if whole.shape != row.shape:
        return False
    if not (whole.is_floating_point() or whole.is_complex()):
        return torch.equal(whole, row)
    tolerance = torch.finfo(whole.dtype).eps ** 0.5
    return torch.allclose(whole, row, rtol=tolerance, atol=tolerance, equal_nan=True)


def _kept(cell: Cell) -> dict[str, Any]:
    """Everything a step could leave a trace in, by name: attributes, contents of containers, versions of tensors."""
    kept: dict[str, Any] = {}
    for path, module in cell.named_modules():
        if module._forward_pre_hooks:
            continue  # an older weight or spectral norm rewrites its own attribute before every call, as it should
        dot = f"{path}." if path else ""
        tensors = {**module._parameters, **module._buffers}
        attributes = {n: v for n, v in vars(module).items() if n not in _OWN}
        kept.update({dot + name: _trace(value) for name, value in (tensors | attributes).items()})
    return kept


_OWN = frozenset(vars(nn.Module()))


def _trace(value: Any) -> Any:
    if isinstance(value, Tensor):
        return id(value), None if value.is_inference() else value._version
    if isinstance(value, dict):
        return id(value), [(key, id(item)) for key, item in value.items()]
    if isinstance(value, list | tuple | set):
        return id(value), [id(item) for item in value]
    return id(value)
