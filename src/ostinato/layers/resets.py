"""Flags at which a row's state restarts in mid-sequence: checked, and laid out for each direction.

A flag at t stands for the boundary between t - 1 and t. Forward that is before step t; the second direction, which
comes to t before it comes to t - 1, crosses it before step t - 1: its flags are those of the step after, in each row's
own time, and the boundary at a row's start is none to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from ostinato.cells import checks
from ostinato.errors import InvalidShape, InvalidType, InvalidValue
from ostinato.layers.additions import Keyword
from ostinato.layers.batch import Batch, time_first
from ostinato.layers.states import Network
from ostinato.layers.streams import check_packed

if TYPE_CHECKING:
    from ostinato.engines.call import States
    from ostinato.layers.recurrent import Recurrent


@dataclass(frozen=True, eq=False)
class Reset:
    """A call's flags in the engines' form.

    Attributes:
        flags: of each direction, laid out as the input, (T, B, 1) or (N, 1).
        begins: [layer][direction] → the states a row restarts from, in the order of the call's; None: zeros.
    """

    flags: tuple[Tensor, ...]
    begins: list[tuple[States, ...]] | None
    names: tuple[str, ...]

    def of(self, keyword: Keyword, layer: int) -> Tensor:
        """What the step takes as this keyword."""
        if keyword.by_step:
            return self.flags[keyword.direction]
        assert self.begins is not None
        return self.begins[layer][keyword.direction][self.names.index(keyword.state)]


def take(layer: Recurrent, streams: Mapping[str, Any]) -> tuple[Any, Mapping[str, Any]]:
    """The flags out of a call's keywords, and the other keywords; none where the cell's step takes ``reset`` itself."""
    if "reset" not in streams or "reset" in layer._streams:
        return None, streams
    return streams["reset"], {name: value for name, value in streams.items() if name != "reset"}


def lay_out(
    layer: Recurrent, batch: Batch, given: Any, begin: Callable[[], Network], lengths: Tensor | None = None
) -> Reset | None:
    """What the engines need of a call's flags; None where there are none.

    Args:
        given: as the caller gave them: (T, B), (B, T) with batch_first, (T) unbatched, or a PackedSequence.
        begin: the states where a call without ``hx`` begins.
        lengths: (B,), where the input is padded and its lengths are a tensor.
    """
    if given is None:
        return None
    flags = _padded(type(layer).__name__, given, batch)
    if lengths is None and batch.ragged is not None:
        lengths = batch.ragged.lengths
    if lengths is not None:
        steps = torch.arange(flags.shape[0], device=flags.device).unsqueeze(1)
        flags = flags & (steps < lengths.to(flags.device))
    both = [flags] if not layer.bidirectional else [flags, torch.cat([flags[1:], torch.zeros_like(flags[:1])])]
    own = [f.unsqueeze(-1) if batch.ragged is None else batch.ragged.pack(f.unsqueeze(-1)) for f in both]
    begins = None if layer.initial_state == "zeros" else layer.state_shape.split(begin())
    return Reset(tuple(own), begins, layer.state_shape.names)


def _padded(owner: str, given: Any, batch: Batch) -> Tensor:
    """(T, B) of bool."""
    if isinstance(given, PackedSequence):
        data = check_packed(owner, "reset", given, batch)
        assert batch.ragged is not None
        flat = data.reshape(-1, 1) if data.numel() == data.shape[0] else data
        checks.shape(owner, "reset", flat, (data.shape[0], 1), "a flag a step")
        return batch.ragged.unpack(of_bools(owner, flat, batch.data)).squeeze(-1)
    checks.tensor(owner, "reset", given)
    flags = of_bools(owner, given, batch.data)
    if flags.dim() == 2 + batch.batched and flags.shape[-1] == 1:
        flags = flags.squeeze(-1)
    steps = batch.data.shape[0] if batch.ragged is None else batch.ragged.steps
    expected: tuple[int, ...] = (batch.rows, steps) if batch.batch_first else (steps, batch.rows)
    letters = "(B, T)" if batch.batch_first else "(T, B)"
    if not batch.batched:
        expected, letters = (steps,), "(T)"
    if flags.shape != expected:
        turned = "; transpose it: time and batch come in the order of the input" * (flags.shape == expected[::-1])
        raise InvalidShape(
            f"{owner}: reset must be {expected}, {letters}, a flag a step, got {tuple(given.shape)}{turned}"
        )
    return time_first(flags, batch.batched, batch.batch_first)


def of_bools(owner: str, given: Tensor, like: Tensor) -> Tensor:
    """Flags as bools: they are, or they are all 0 or 1."""
    checks.same_device(owner, "reset", given, like)
    if given.dtype == torch.bool:
        return given
    if torch.compiler.is_compiling():
        raise InvalidType(
            f"{owner}: reset must be bool where a program is traced, got {given.dtype}; give reset.bool()"
        )
    if given.is_complex() or not bool(((given == 0) | (given == 1)).all()):
        raise InvalidValue(
            f"{owner}: reset must be flags, bool (or all of them 0 or 1), got other numbers of {given.dtype}; "
            "compare them first, as in reset=(x > 0.5)"
        )
    return given == 1
