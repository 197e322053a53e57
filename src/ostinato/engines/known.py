"""What has been compiled in this process, for which cell, and whether it still is that cell's step."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from ostinato.cells.cell import Cell
from ostinato.compiler import pipeline
from ostinato.compiler.refusal import Refused
from ostinato.engines.compiled import Compiled
from ostinato.engines.standin import Guard, tensors_of

Kind = tuple[str, int, torch.dtype]
"""A stream's or a constant's name, width and dtype."""


class Signature(NamedTuple):
    """What a program depends on besides the cell."""

    input_size: int
    dtype: torch.dtype
    streams: tuple[Kind, ...]
    constants: tuple[Kind, ...]
    wants_grad: bool


def kinds(values: Mapping[str, Tensor]) -> tuple[Kind, ...]:
    """Name, width and dtype of each, in order."""
    return tuple((name, value.shape[-1], value.dtype) for name, value in values.items()) if values else ()


Result = Compiled | Refused

_by_cell: WeakKeyDictionary[Cell, dict[Signature, list[tuple[Guard, Result]]]] = WeakKeyDictionary()
_by_text: dict[tuple[object, Signature], Result] = {}
_lock = threading.RLock()
KEPT = 8
"""How many versions of one cell are remembered: it may go back and forth between modes."""


undisturbed = _disable_current_modes
"""Whatever mode the caller is in (fake tensors of an export, a counter of operations) is none of the compiler's."""


def find(template: Cell, cell: Cell, signature: Signature) -> Compiled:
    """The program of a bound cell, compiled when it is first asked for.

    Args:
        template: the lasting cell behind it, whose class and attributes it has.

    Raises:
        Refused: the step has no native form.
    """
    versions = _by_cell.get(template, {}).get(signature, ())
    result = next((made for guard, made in versions if guard.holds(cell)), None) or _make(template, cell, signature)
    if isinstance(result, Refused):
        raise result.with_traceback(None)
    return result


def _make(template: Cell, cell: Cell, signature: Signature) -> Result:
    with _lock, undisturbed():
        guard = Guard.of(cell)
        key = (guard.key, signature)
        result = _by_text.get(key)
        if result is None:
            result = _by_text[key] = _build(cell, signature)
        versions = _by_cell.setdefault(template, {}).setdefault(signature, [])
        versions[KEPT - 1 :] = []
        versions.insert(0, (guard, result))
    return result


def _build(cell: Cell, signature: Signature) -> Result:
    other = next((n for n, t in tensors_of(cell).items() if t.is_floating_point() and t.dtype != signature.dtype), None)
    if other is not None:
        return Refused(f"{other} is {tensors_of(cell)[other].dtype} and the input {signature.dtype}")
    try:
        built = pipeline.build(
            cell, signature.input_size, _sizes(signature.streams), _sizes(signature.constants), signature.wants_grad
        )
    except Refused as refused:
        return refused
    return Compiled(built.program, built.times)


def _sizes(values: tuple[Kind, ...]) -> dict[str, int]:
    return {name: width for name, width, _ in values}
