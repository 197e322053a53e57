"""A layer's call under torch.compile and torch.export: one opaque operator a layer, for any T and B."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ostinato.cells.cell import Cell
from ostinato.engines import known, native, operator, tracing
from ostinato.engines.choose import impossible
from ostinato.engines.ragged import as_counts
from ostinato.errors import InvalidShape
from ostinato.layers import between, masks, resets
from ostinato.layers.additions import Keyword
from ostinato.layers.batch import Batch
from ostinato.layers.compiling import Text
from ostinato.layers.resets import Reset
from ostinato.layers.streams import Streams, sort_streams

if TYPE_CHECKING:
    from ostinato.layers.recurrent import Recurrent


def run(
    layer: Recurrent, input: Any, hx: Any, lengths: Any, condition: Any, streams: Mapping[str, Any]
) -> tuple[Any, Any] | None:
    """The layer's call as operators, traced by dynamo or by export; None if another engine must run it.

    T and B are never read, and lengths stay a tensor: they are checked when the operator runs.

    Raises:
        EngineError: engine="native" was asked for by name and cannot run this.
    """
    if layer.engine not in ("auto", "native") or not isinstance(input, Tensor):
        return None
    against = _why_not(input)
    if against is None:
        batch = Batch.of(layer, input, None, layer._raw_weight())
        counts = None if lengths is None else _lengths(layer, lengths, batch)
        given: Streams = ({}, {})
        flags, streams = resets.take(layer, streams)
        if streams or layer._streams:
            given = sort_streams(layer.cell_type.__name__, batch, layer._streams, streams)
        valid = batch if counts is None else _without_padding(batch, counts)
        network = layer._initial(valid, hx, condition)
        reset = resets.lay_out(
            layer, batch, flags, lambda: network if hx is None else layer._initial(valid, None, condition), counts
        )
        traced = torch.compiler.is_dynamo_compiling()
        if traced:
            tracing.fix_numbers()
        acts = (reset is not None, torch.is_grad_enabled(), layer.training, layer._additions.key)
        wants_grad = torch.is_grad_enabled() and _wants_grad(layer, batch.data, network, given)
        found = layer.programs(wants_grad, acts, _kinds(given[0]), _kinds(given[1]))
        done = None
        if isinstance(found, str):
            against = found
        else:
            done = _run(layer, batch, counts, network, given, found, layer.keywords(acts), reset)
        if traced:
            tracing.free_numbers()
        if against is None:
            return done
    if layer.engine == "native":
        raise impossible("native", against)
    return None


def _run(
    layer: Recurrent,
    batch: Batch,
    lengths: Tensor | None,
    network: Any,
    given: Streams,
    texts: tuple[Text, ...],
    keywords: tuple[Keyword, ...],
    reset: Reset | None,
) -> tuple[Any, Any]:
    data, finals = batch.data, []
    for k, initial in enumerate(layer.state_shape.split(network)):
        read = between.drop(layer, k, data, batch)
        text, paths = texts[k]
        cells = layer.bind(k)
        own = [{name: value for name, value in part.items() if name in layer._streams_of[k]} for part in given]
        if torch.compiler.is_dynamo_compiling():
            for cell, states in zip(cells, initial, strict=True):
                _guard(cell, read, states, own)
        more = masks.give(layer, k, keywords, batch, read, reset)
        own = [a | b for a, b in zip(own, more, strict=True)]
        tensors = [t for cell, of in zip(cells, paths, strict=True) for t in native.tensors_at(cell, of)]
        flat = [s for states in initial for s in states]
        output, made = operator.run(
            read, list(own[0].values()), list(own[1].values()), flat, tensors, lengths, text, len(flat)
        )
        data = between.join(layer, k, data, output)
        count = len(flat) // len(cells)
        finals.append(tuple(tuple(made[d * count : (d + 1) * count]) for d in range(len(cells))))
    return batch.public(data), layer.state_shape.public(batch.public_states(layer.state_shape.join(finals)))


def _kinds(values: Mapping[str, Tensor]) -> tuple[known.Kind, ...]:
    """As :func:`known.kinds`, with plain numbers for widths that may vary: dynamo fixes what is written out."""
    traced = torch.compiler.is_dynamo_compiling()
    return tuple((n, int(f"{width}" if traced else width), dtype) for n, width, dtype in known.kinds(values))


def _guard(cell: Cell, data: Tensor, states: tuple[Tensor, ...], given: list[dict[str, Tensor]]) -> None:
    """Let dynamo see the step once, on two rows, and drop the result: it then guards all the program was made from."""
    with torch.no_grad():
        rows = [value.new_zeros(2, value.shape[-1]) for value in (data, *states)]
        keywords = {n: v.new_zeros(2, v.shape[-1]) for part in given for n, v in part.items()}
        cell.step(rows[0], *rows[1:], **keywords)


def _why_not(input: Tensor) -> str | None:
    if input.device.type != "cpu" or input.dtype not in native.DTYPES:
        return f"kernels take float32 and float64 on the CPU, and the input is {input.dtype} on {input.device}"
    if torch.is_autocast_enabled("cpu"):
        return "kernels run in one precision, and autocast mixes two"
    if tracing.transformed():
        return native.TRANSFORMED
    return None


def _lengths(layer: Recurrent, lengths: Any, batch: Batch) -> Tensor:
    counts = as_counts(lengths)
    if counts.is_floating_point() or counts.dtype == torch.bool:
        counts = counts.to("cpu")
    if not batch.batched and counts.dim() == 0:
        counts = counts.reshape(1)
    if counts.dim() != 1:
        raise InvalidShape(f"lengths must be (B,), one for each sequence of the batch, got {tuple(counts.shape)}")
    return counts.detach().to("cpu", torch.int64)


def _without_padding(batch: Batch, lengths: Tensor) -> Batch:
    """The batch with zeros in the padding: what an initial state's module is called with."""
    steps = torch.arange(batch.data.shape[0], device=batch.data.device).unsqueeze(1)
    valid = (steps < lengths.to(batch.data.device)).unsqueeze(-1)
    zero = torch.zeros((), dtype=batch.data.dtype, device=batch.data.device)
    data = torch.where(valid, batch.data, zero)
    return Batch(data, None, batch.rows, batch.batched, batch.batch_first, packed=False)


def _wants_grad(layer: Recurrent, data: Tensor, network: Any, given: Streams) -> bool:
    tensors = [data, *layer.parameters(), *layer.buffers(), *given[0].values(), *given[1].values()]
    modules: list[nn.Module] = [slot.template for slot in layer.slots]
    modules += [module for child in layer.children() for module in child.modules()]
    tensors += [value for module in modules for value in module.__dict__.values() if isinstance(value, Tensor)]
    for state in network:
        tensors += [state] if isinstance(state, Tensor) else list(state)
    return any(t.requires_grad for t in tensors)
