"""What a call gives by keyword: a value a step (a stream) or a value a sequence (a constant)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from ostinato.cells import checks
from ostinato.errors import InvalidShape, InvalidType
from ostinato.layers.batch import Batch, time_first

Streams = tuple[dict[str, Tensor], dict[str, Tensor]]
"""(streams laid out as the input, constants with rows in the order of the states)."""


def sort_streams(owner: str, batch: Batch, known: Mapping[str, bool], given: Mapping[str, Any]) -> Streams:
    """Tell streams from constants by their rank, and lay both out as the engines read them.

    Args:
        owner: the cell's name, for messages.
        batch: the call's input.
        known: the keywords the steps name, and whether each is needed.
        given: what the caller gave.
    """
    checks.stream_names(owner, known, given)
    streams, constants = {}, {}
    for name, value in given.items():
        _check_kind(owner, name, value, batch.data)
        if isinstance(value, PackedSequence):
            streams[name] = check_packed(owner, name, value, batch)
        elif value.dim() == 2 + batch.batched:
            stream = _padded(owner, name, value, batch)
            streams[name] = stream if batch.ragged is None else batch.ragged.pack(stream)
        elif value.dim() == 1 + batch.batched:
            rows = value if batch.batched else value.unsqueeze(0)
            checks.shape(owner, name, rows, (batch.rows, value.shape[-1]), "(B, ·), a value a sequence")
            constants[name] = rows if batch.ragged is None else batch.ragged.sort(rows)
        else:
            forms = "(T, B, ·) or (B, ·)" if batch.batched else "(T, ·) or (·)"
            raise InvalidShape(
                f"{owner}: {name} must be {forms}, a value a step or a value a sequence, got {tuple(value.shape)}"
            )
    return streams, constants


def _check_kind(owner: str, name: str, value: Any, data: Tensor) -> None:
    """Flags and counts may have a dtype of their own; real numbers have the input's."""
    tensor = value.data if isinstance(value, PackedSequence) else value
    checks.tensor(owner, name, tensor)
    if tensor.is_floating_point() or tensor.is_complex():
        checks.same_kind(owner, name, tensor, data)
    checks.same_device(owner, name, tensor, data)


def _padded(owner: str, name: str, value: Tensor, batch: Batch) -> Tensor:
    steps = batch.data.shape[0] if batch.ragged is None else batch.ragged.steps
    expected: tuple[int, ...] = (batch.rows, steps) if batch.batch_first else (steps, batch.rows)
    letters = "B, T" if batch.batch_first else "T, B"
    if not batch.batched:
        expected, letters = (steps,), "T"
    checks.shape(owner, name, value, (*expected, value.shape[-1]), f"({letters}, ·), a value a step as the input")
    return time_first(value, batch.batched, batch.batch_first)


def check_packed(owner: str, name: str, value: PackedSequence, batch: Batch) -> Tensor:
    """The values of what was packed as the input was."""
    ragged = batch.ragged
    if not batch.packed or ragged is None:
        raise InvalidType(f"{owner}: {name} is a PackedSequence, and the input is not; pad it like the input")
    same_order = value.sorted_indices is ragged.order or (
        value.sorted_indices is not None
        and ragged.order is not None
        and torch.equal(value.sorted_indices, ragged.order)
    )
    if not torch.equal(value.batch_sizes, ragged.batch_sizes) or not same_order:
        raise InvalidShape(f"{owner}: {name} must be packed with the input's own lengths and order")
    return value.data
