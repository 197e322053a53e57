"""A network's call: which engine runs it, at once or layer by layer, and what each layer's call is made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import dropout as drop

from ostinato.cells import binding
from ostinato.cells.cell import Cell
from ostinato.compiler.refusal import Refused
from ostinato.engines import aten, choose, known, loop, native, purity
from ostinato.engines.call import LayerCall, States, Step
from ostinato.layers import compiling
from ostinato.layers.batch import Batch
from ostinato.layers.states import Network
from ostinato.layers.streams import Streams

if TYPE_CHECKING:
    from ostinato.layers.recurrent import Recurrent

Watch = Callable[[str, Cell], Step]
"""Given a cell's place (``l0``, ``l0_reverse``, …) and the bound cell: the function to call instead of its step."""


def run(net: Recurrent, batch: Batch, network: Network, given: Streams, watch: Watch | None) -> tuple[Tensor, Network]:
    """The output and the final states of a call.

    Args:
        batch: the input as the engines see it.
        network: the initial states.
        given: the streams and the constants.
        watch: makes a function to take the place of each step; the loop runs it.
    """
    engine = "loop" if watch is not None or batch.data.shape[0] == 0 else net.choose(batch.data).engine
    if engine == "native" and torch.compiler.is_compiling() and not batch.packed:
        engine = "loop"  # the operator was tried, and there is no program for it: dynamo may trace the steps
    if engine == "aten" and _fits_one_call(net, batch):
        return aten.run_stack(
            net._operator or "",
            batch.data,
            network,
            _weights(net),
            net.bias,
            net.num_layers,
            net.bidirectional,
            batch.batch_sizes,
        )
    return _layer_by_layer(net, engine, batch, network, given, watch)


def _weights(net: Recurrent) -> list[Tensor]:
    """The effective parameters in torch's order, each read once; where all are plain, without detours."""
    if net._weight_drops and net.training:
        cells = [binding.bind(slot, net) for slot in net.slots]
        return [cell._parameters[name] for cell, slot in zip(cells, net.slots, strict=True) for name in slot.parameters]
    own: dict[str, Any] = net._parameters
    try:
        return [own[name] for name in net._weight_names]
    except KeyError:
        return [getattr(net, name) for name in net._weight_names]


def _fits_one_call(net: Recurrent, batch: Batch) -> bool:
    dropping = net.dropout > 0 and net.training and net.num_layers > 1
    return not dropping and not net._shape.per_layer and not batch.has_idle_rows


def _layer_by_layer(
    net: Recurrent,
    engine: str,
    batch: Batch,
    network: Network,
    given: Streams,
    watch: Watch | None,
) -> tuple[Tensor, Network]:
    data, finals, tried = batch.data, [], True
    for k, initial in enumerate(net._shape.split(network)):
        if k and net.dropout > 0 and net.training:
            data = drop(data, net.dropout)
        call = _layer_call(net, k, data, initial, given, batch, watch)
        if net.training not in net._pure_in:
            tried &= purity.check(call)
        data, final = _run_layer(net, engine, call)
        finals.append(final)
    if tried:
        net._pure_in.add(net.training)
    return data, net._shape.join(finals)


def _run_layer(net: Recurrent, engine: str, call: LayerCall) -> tuple[Tensor, tuple[States, ...]]:
    if engine == "aten":
        return aten.run(call)
    if engine == "native":
        run = torch.compiler.disable(_run_native) if torch.compiler.is_compiling() else _run_native
        return run(net, call)
    return loop.run(call)


def _run_native(net: Recurrent, call: LayerCall) -> tuple[Tensor, tuple[States, ...]]:
    """The compiled step; the loop if there is none, unless native was asked for by name."""
    if not call.input.numel():
        return loop.run(call)
    try:
        plan = native.plan(call)
    except Refused as refused:
        if choose.asked(net._engine) == "native":
            raise choose.impossible("native", f"{net.cell_type.__name__}.step: {refused}") from refused
        compiling.say_why(net, str(refused))
        return loop.run(call)
    return native.run(call, plan)


def _layer_call(
    net: Recurrent,
    k: int,
    data: Tensor,
    initial: tuple[States, ...],
    given: Streams,
    batch: Batch,
    watch: Watch | None,
) -> LayerCall:
    slots = net._slots[k]
    cells = tuple([binding.bind(slot, net) for slot in slots])
    if watch is None:
        steps = tuple([cell.step for cell in cells])
    else:
        steps = tuple([watch(slot.name, cell) for slot, cell in zip(slots, cells, strict=True)])
    templates = tuple([slot.template for slot in slots])
    chunks = net._recompute == "chunks" and watch is None
    if not net._streams:
        return LayerCall(cells, steps, data, initial, {}, {}, batch.batch_sizes, templates, chunks)
    own = [{name: value for name, value in part.items() if name in net._streams_of[k]} for part in given]
    net.last_streams = known.kinds(given[0]), known.kinds(given[1])
    return LayerCall(cells, steps, data, initial, own[0], own[1], batch.batch_sizes, templates, chunks)
