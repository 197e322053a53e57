"""What a layer gives its added steps: masks, drawn once a call in a fixed order, and the flags and states of resets.

Masks are drawn for the caller's rows and steps, padding included, before they are laid out as the engine reads them: a
seed gives the same ones in every engine, for padded and for packed input.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import dropout as drop

from ostinato.engines import known
from ostinato.layers.additions import Acting, Keyword
from ostinato.layers.batch import Batch
from ostinato.layers.resets import Reset
from ostinato.layers.streams import Streams

if TYPE_CHECKING:
    from ostinato.layers.recurrent import Recurrent


def give(
    layer: Recurrent, k: int, keywords: Iterable[Keyword], batch: Batch, data: Tensor, reset: Reset | None
) -> Streams:
    """The streams and the constants that layer k's steps take besides their own.

    Args:
        keywords: all that acts is told by.
        data: the layer's input, whose dtype and device masks have.
        reset: what the call's flags became.
    """
    streams: dict[str, Tensor] = {}
    constants: dict[str, Tensor] = {}
    for keyword in keywords:
        into = streams if keyword.by_step else constants
        if keyword.role == "restart":
            assert reset is not None
            into[keyword.name] = reset.of(keyword, k)
        else:
            into[keyword.name] = _laid_out(_draw(layer, k, keyword, batch, data), keyword, batch)
    return streams, constants


def kinds(layer: Recurrent, k: int, acting: Acting, like: torch.dtype) -> tuple[tuple[known.Kind, ...], ...]:
    """Name, width and dtype of each stream and each constant of :func:`give`, in its order."""
    found: tuple[list[known.Kind], list[known.Kind]] = ([], [])
    for keyword in acting.keywords():
        flags = keyword.role == "zoneout" or (keyword.role == "restart" and keyword.by_step)
        kind = (keyword.name, _width(layer, k, keyword), torch.bool if flags else like)
        found[0 if keyword.by_step else 1].append(kind)
    return tuple(found[0]), tuple(found[1])


def _width(layer: Recurrent, k: int, keyword: Keyword) -> int:
    if keyword.role == "candidate":
        return layer._slots[k][keyword.direction].template.candidate_size
    shape = layer.state_shape
    return shape.sizes[k][shape.names.index(keyword.state)] if keyword.state else 1


def _draw(layer: Recurrent, k: int, keyword: Keyword, batch: Batch, data: Tensor) -> Tensor:
    """A mask for the caller's rows: (T, B, ·), or (B, ·) for one a sequence."""
    steps = batch.data.shape[0] if batch.ragged is None else batch.ragged.steps
    size: tuple[int, ...] = (batch.rows, _width(layer, k, keyword))
    if keyword.by_step:
        size = (steps, *size)
    if keyword.role == "zoneout":
        return torch.rand(size, device=data.device) < dict(layer._additions.keeps)[keyword.state]
    return drop(torch.ones(size, dtype=data.dtype, device=data.device), layer.recurrent_dropout)


def _laid_out(mask: Tensor, keyword: Keyword, batch: Batch) -> Tensor:
    if batch.ragged is None:
        return mask
    return batch.ragged.pack(mask) if keyword.by_step else batch.ragged.sort(mask)
