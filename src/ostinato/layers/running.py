"""A network's call: which engine runs it, at once or layer by layer, and what each layer's call is made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ostinato.cells import binding
from ostinato.cells.cell import Cell
from ostinato.compiler.refusal import Refused
from ostinato.engines import aten, choose, kernels, known, loop, native, purity, tracing, widths
from ostinato.engines.call import LayerCall, States, Step
from ostinato.layers import between, compiling, masks
from ostinato.layers.additions import Acting
from ostinato.layers.batch import Batch
from ostinato.layers.resets import Reset
from ostinato.layers.states import Network
from ostinato.layers.streams import Streams

if TYPE_CHECKING:
    from ostinato.layers.recurrent import Recurrent

Watch = Callable[[str, Cell], Step]
"""Given a cell's place (``l0``, ``l0_reverse``, …) and the bound cell: the function to call instead of its step."""


def run(
    net: Recurrent, batch: Batch, network: Network, given: Streams, watch: Watch | None, reset: Reset | None = None
) -> tuple[Tensor, Network]:
    """The output and the final states of a call.

    Args:
        batch: the input as the engines see it.
        network: the initial states.
        given: the streams and the constants.
        watch: makes a function to take the place of each step; the loop runs it.
        reset: the flags at which rows restart.
    """
    if torch.compiler.is_dynamo_compiling() and (reset is not None or net._additions.acts):
        # Dynamo cannot make the class of an added step, nor look into a mode: the graph breaks around the call.
        return torch.compiler.disable(_run)(net, batch, network, given, watch, reset)
    return _run(net, batch, network, given, watch, reset)


def _run(
    net: Recurrent, batch: Batch, network: Network, given: Streams, watch: Watch | None, reset: Reset | None
) -> tuple[Tensor, Network]:
    acting = net.acting(reset is not None)
    forced = watch is not None or batch.data.shape[0] == 0
    choice = choose.ASKED["loop"] if forced else net.choose(batch.data, acting)
    engine = choice.engine
    if engine == "loop" and not torch.compiler.is_compiling() and choice.why == kernels.why_not():
        compiling.say_why(net, choice.why)
    if engine == "native" and net._engine == "auto" and torch.compiler.is_compiling() and not batch.packed:
        engine = "loop"  # the operator was tried, and there is no program for it: dynamo may trace the steps
    if engine == "aten" and torch.compiler.is_dynamo_compiling() and tracing.one_graph():
        engine = "loop"  # torch's kernels would break the graph
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
    return _layer_by_layer(net, engine, batch, network, given, watch, acting, reset)


def _weights(net: Recurrent) -> list[Tensor]:
    """The effective parameters in torch's order, each read once; where all are plain, without detours."""
    if net._weight_drops and net.training:
        cells = [binding.bind(slot, net) for slot in net.slots]
        return [getattr(cell, name) for cell, slot in zip(cells, net.slots, strict=True) for name in slot.parameters]
    own: dict[str, Any] = net._parameters
    try:
        return [own[name] for name in net._weight_names]
    except KeyError:
        return [getattr(net, name) for name in net._weight_names]


def _fits_one_call(net: Recurrent, batch: Batch) -> bool:
    dropping = net.dropout > 0 and net.training and net.num_layers > 1
    return not dropping and net.connection is None and not net._shape.per_layer and not batch.has_idle_rows


def _layer_by_layer(
    net: Recurrent,
    engine: str,
    batch: Batch,
    network: Network,
    given: Streams,
    watch: Watch | None,
    acting: Acting | None,
    reset: Reset | None,
) -> tuple[Tensor, Network]:
    data, finals, tried = batch.data, [], True
    for k, initial in enumerate(net._shape.split(network)):
        read = between.drop(net, k, data, batch)
        call = _layer_call(net, k, read, initial, given, batch, watch, acting, reset)
        if net.training not in net._pure_in:
            tried &= purity.check(call)
        made, final = (_run_with_keywords if net._streams else _run_layer)(net, engine, call)
        data = between.join(net, k, data, made)
        finals.append(final)
    if tried:
        net._pure_in.add(net.training)
    return data, net._shape.join(finals)


def _run_with_keywords(net: Recurrent, engine: str, call: LayerCall) -> tuple[Tensor, tuple[States, ...]]:
    """A layer whose step fails for the width of a keyword says which."""
    if torch.compiler.is_compiling():
        return _run_layer(net, engine, call)
    try:
        return _run_layer(net, engine, call)
    except RuntimeError as error:
        _blame(call, error)
        raise


def _blame(call: LayerCall, error: Exception) -> None:
    """InvalidShape if a keyword's width is what a step failed for."""
    for cell, states in zip(call.cells, call.states, strict=True):
        widths.blame(cell, call.input, states, {**call.streams, **call.constants}, error)


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
        named = choose.asked(net._engine) == "native"
        if net._streams and (named or not net.said_why):
            _blame(call, refused)
        if named:
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
    acting: Acting | None,
    reset: Reset | None,
) -> LayerCall:
    slots, cells = net._slots[k], net.bind(k, acting)
    if watch is None:
        steps = tuple([cell.step for cell in cells])
    else:
        steps = tuple([watch(slot.name, cell) for slot, cell in zip(slots, cells, strict=True)])
    templates = tuple([slot.template for slot in slots])
    chunks = net._recompute == "chunks" and watch is None
    own: Streams = ({}, {})
    if net._streams:
        names = net._streams_of[k]
        own = tuple({n: v for n, v in part.items() if n in names} for part in given)  # type: ignore[assignment]
        net.last_streams = known.kinds(given[0]), known.kinds(given[1])
    if acting is not None:
        more = masks.give(net, k, acting.keywords(), batch, data, reset)
        own = own[0] | more[0], own[1] | more[1]
    return LayerCall(cells, steps, data, initial, own[0], own[1], batch.batch_sizes, templates, chunks)
