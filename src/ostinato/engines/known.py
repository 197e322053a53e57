"""What has been compiled in this process, for which cell, and whether it still is that cell's step."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch._C import _len_torch_function_stack
from torch._C._dynamo.eval_frame import set_eval_frame
from torch.overrides import _pop_mode, _push_mode
from torch.utils._python_dispatch import _disable_current_modes

from ostinato.cells.cell import Cell
from ostinato.compiler import pipeline
from ostinato.compiler.guard import Guard, changed, tensors_of
from ostinato.compiler.refusal import Refused, is_exhaustion
from ostinato.compiler.trace import Widths
from ostinato.engines import kernels
from ostinato.engines.compiled import Compiled
from ostinato.engines.stand_ins import with_numbers

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

Holds = Callable[[Cell], bool]
"""Whether a bound cell is still the one that was compiled: a guard's ``holds``."""

_by_cell: WeakKeyDictionary[Cell, dict[Signature, list[tuple[Holds, Result]]]] = WeakKeyDictionary()
_by_text: dict[tuple[object, Signature], Result] = {}
_lock = threading.RLock()

if hasattr(os, "register_at_fork"):  # In a child nobody would finish what another thread is compiling.
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)

KEPT = 8
"""How many versions of one cell are remembered: it may go back and forth between modes."""

MOST = 16
"""How many versions of one cell are compiled: each takes longer than many calls of the loop."""

TEXTS = 512
"""How many programs are kept for cells like theirs."""


@dataclass(slots=True)
class _Seen:
    """How often a cell was compiled, and what its last guard knew."""

    count: int = 0
    content: frozenset[str] = frozenset()


_seen: WeakKeyDictionary[Cell, dict[Signature, _Seen]] = WeakKeyDictionary()


@contextmanager
def undisturbed() -> Iterator[None]:
    """Whatever mode the caller is in (an export's tracer, a counter of operations) is none of the compiler's.

    Nor are the caller's hooks on saved tensors: a checkpoint would count what a trial saves, and run again within it.
    Nor does dynamo look at its frames, as under torch.compiler.disable, which would import the whole of torch._dynamo.
    """
    modes: list[Any] = []
    hooks: list[Any] = []
    autograd: Any = torch._C._autograd  # its stub knows of no empty stack
    frames = set_eval_frame(None)
    try:
        with _disable_current_modes():
            while _len_torch_function_stack():
                modes.append(_pop_mode())
            while (pair := autograd._top_saved_tensors_default_hooks(True)) is not None:
                autograd._pop_saved_tensors_default_hooks()
                hooks.append(pair)
            yield
    finally:
        while hooks:
            autograd._push_saved_tensors_default_hooks(*hooks.pop())
        while modes:
            _push_mode(modes.pop())
        set_eval_frame(frames)


def find(template: Cell, cell: Cell, signature: Signature) -> Compiled:
    """The program of a bound cell, compiled when it is first asked for.

    Args:
        template: the lasting cell behind it, whose class and attributes it has.

    Raises:
        Refused: the step has no native form.
    """
    result = _holding(template, cell, signature)[1]
    if isinstance(result, Refused):
        raise _plain(result)
    return result


def holds(template: Cell, cell: Cell, signature: Signature) -> Holds:
    """The guard of what :func:`find` finds."""
    return _holding(template, cell, signature)[0]


def _holding(template: Cell, cell: Cell, signature: Signature) -> tuple[Holds, Result]:
    versions = _by_cell.get(template, {}).get(signature, ())
    return next((version for version in versions if version[0](cell)), None) or _make(template, cell, signature)


def _make(template: Cell, cell: Cell, signature: Signature) -> tuple[Holds, Result]:
    with _lock, undisturbed():
        versions = _by_cell.setdefault(template, {}).setdefault(signature, [])
        try:
            guard = Guard.of(cell)
        except Refused as refused:
            versions.append((_always, _plain(refused)))
            return versions[-1]
        key = (guard.key, signature)
        result = _by_text.get(key)
        if result is None:
            seen = _seen.setdefault(template, {}).setdefault(signature, _Seen())
            if seen.count == MOST:
                versions.append((_always, _restless(seen.content, guard.content)))
                return versions[-1]
            while len(_by_text) >= TEXTS:
                del _by_text[next(iter(_by_text))]
            result = _build(cell, signature)
            seen.count, seen.content = seen.count + 1, guard.content
            impure = guard.change(cell)
            if impure is not None:
                versions.append((_always, _plain(impure)))
                return versions[-1]
            _by_text[key] = result
        versions[KEPT - 1 :] = []
        versions.insert(0, (guard.holds, result))
        return versions[0]


def _restless(before: frozenset[str], now: frozenset[str]) -> Refused:
    labels = ", ".join(changed(before, now)[:3]) or "what the step reads"
    return Refused(
        f"{labels} had {MOST} values so far, and each has to be compiled; "
        "register what changes as a buffer, whose numbers are read at every call"
    )


def _plain(refused: Refused) -> Refused:
    """The refusal without the frames it came through, which hold a call's tensors."""
    return Refused(refused.why, refused.source)


def _always(cell: Cell) -> bool:
    """Holds for a step that cannot be watched: that the loop runs it is never wrong."""
    return True


def _build(cell: Cell, signature: Signature) -> Result:
    for name, tensor in tensors_of(cell).items():
        if tensor.is_floating_point() and tensor.dtype != signature.dtype:
            return Refused(f"self.{name} is {tensor.dtype} and the input {signature.dtype}")
    streams, constants = ({n: (w, d) for n, w, d in part} for part in (signature.streams, signature.constants))
    try:
        return compiled(with_numbers(cell), signature.input_size, streams, constants, signature.wants_grad)
    except Refused as refused:
        return _plain(refused)


def compiled(
    cell: Cell, x_size: int, streams: Widths, constants: Widths, wants_grad: bool, hoist: int | None = None
) -> Compiled:
    """What ``pipeline.build`` builds; whatever is wrong with the compiler, plain PyTorch can run the step.

    Raises:
        Refused: the step has no native form, or the compiler fails.
    """
    if taken := kernels.TAKEN.intersection((*cell.state_names, *streams, *constants)):
        raise Refused(f"{min(taken)!r} is a name that kernels have for themselves; rename the state or the keyword")
    try:
        built = pipeline.build(cell, x_size, streams, constants, wants_grad, hoist)
    except Refused:
        raise
    except Exception as error:
        if is_exhaustion(error):
            raise
        raise Refused(f"the step cannot be compiled: {type(error).__name__}: {error}") from error
    return Compiled(built.program, built.times)
