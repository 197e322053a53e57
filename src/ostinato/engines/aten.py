"""torch's fused kernels (oneDNN, cuDNN, ATen's own) for torch's own three cells."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import _VF, Tensor

from ostinato.cells.cell import Cell
from ostinato.cells.library.elman import RNNCell
from ostinato.cells.library.gru import GRUCell
from ostinato.cells.library.lstm import LSTMCell
from ostinato.engines import tracing
from ostinato.engines.call import LayerCall, States
from ostinato.engines.twice import Twice

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


KNOWS: dict[str, tuple[Any, ...]] = {
    "activation": ("tanh",),
    "gate_activation": ("sigmoid",),
    "nonlinearity": ("tanh", "relu"),
    "recurrent_rank": (None,),
    "heads": (1,),
}
"""Options of our cells, and the values at which they are torch's own cells."""


def beyond(cell: Cell) -> dict[str, Any]:
    """The options in which one of torch's own cells is no more torch's."""
    if type(cell) not in (LSTMCell, GRUCell, RNNCell):
        return {}
    return {n: value for n, known in KNOWS.items() if (value := vars(cell).get(n, known[0])) not in known}


def operator(cell: Cell) -> str | None:
    """The name of torch's operator that computes this very cell, or None. A subclass may change the step: None."""
    if beyond(cell):
        return None
    if type(cell) is LSTMCell:
        return "lstm"
    if type(cell) is GRUCell:
        return "gru"
    if type(cell) is RNNCell:
        return f"rnn_{cell.nonlinearity}"
    return None


def why_not(input: Tensor) -> str | None:
    """Why torch's operators cannot run this input now, or None if they can."""
    if input.dtype not in DTYPES:
        return f"torch's fused kernels do not take {input.dtype}"
    if tracing.transformed():
        return "torch's fused kernels have no rule for torch.func's transforms"
    if torch.autograd.forward_ad._current_level >= 0:
        return "torch's fused kernels have no forward-mode derivative"
    return None


def names(cell: Cell) -> tuple[str, ...]:
    """The parameters in the order torch's operators take them."""
    order = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
    return tuple(name for name in order if getattr(cell, name, None) is not None)


def autocast_is_on(device: str) -> bool:
    """Whether autocast acts on this type of device now."""
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)


def autocast_dtypes(cell: Cell, states: States, packed: bool) -> tuple[torch.dtype, ...]:
    """The dtypes in which states begin under autocast: torch.nn's for torch's own cells, else the states' own.

    On the CPU oneDNN's LSTM and the simple network run in the lower precision; the GRU, and the LSTM on packed rows,
    keep their states in float32, and so does c of an LSTM with a projection. cuDNN runs all of them in the lower one.
    """
    own, name = tuple(s.dtype for s in states), operator(cell)
    if name is None or torch.float64 in own:
        return own
    low = torch.get_autocast_dtype(states[0].device.type)
    if states[0].is_cuda or name.startswith("rnn"):
        return (low,) * len(own)
    if name == "lstm" and getattr(cell, "weight_hr", None) is not None:
        return low, own[1]
    return (low,) * len(own) if name == "lstm" and not packed else own


def run(call: LayerCall) -> tuple[Tensor, tuple[States, ...]]:
    """Run one layer; the same result as the loop's, to rounding."""
    first = call.cells[0]
    name = operator(first)
    assert name is not None, "the choice of an engine never sends another cell here"
    directions = len(call.cells)
    sizes = call.batch_sizes
    active = None if sizes is None else int(sizes[0])
    initial = [torch.stack([s[k][:active] for s in call.states]) for k in range(len(first.state_names))]
    weights = [getattr(cell, n) for cell in call.cells for n in names(cell)]
    output, final = run_stack(name, call.input, initial, weights, first.bias_ih is not None, 1, directions == 2, sizes)
    finals = []
    for d in range(directions):
        states = tuple(f[d] for f in final)
        if active is not None and active < call.states[d][0].shape[0]:
            idle = (s[active:] for s in call.states[d])
            states = tuple(torch.cat(pair) for pair in zip(states, idle, strict=True))
        finals.append(states)
    return output, tuple(finals)


def run_stack(
    name: str,
    input: Tensor,
    states: Sequence[Tensor],
    weights: list[Tensor],
    bias: bool,
    layers: int,
    bidirectional: bool,
    batch_sizes: Tensor | None = None,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """A whole stack without dropout in one call: states (D·L, B, ·), weights in torch's order."""
    run = _twice if input.is_cuda and torch.is_grad_enabled() else _run_stack
    if torch.compiler.is_compiling():
        # AOTAutograd cannot trace torch's LSTM for training: the graph breaks here, as it does for torch.nn's.
        # Not as a decorator: that would import the whole of torch._dynamo, most of a second, with this package.
        run = torch.compiler.disable(run)
    return run(name, input, states, weights, bias, layers, bidirectional, batch_sizes)


def _twice(
    name: str, input: Tensor, states: Sequence[Tensor], weights: list[Tensor], *options: Any
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """cuDNN has no second derivative; torch's other kernels have, so a backward that needs one goes through them."""

    def run(input: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        output, finals = _run_stack(name, input, rest[: len(states)], list(rest[len(states) :]), *options)
        return output, *finals

    def without_cudnn(*tensors: Tensor) -> tuple[Tensor, ...]:
        with torch.backends.cudnn.flags(enabled=False):
            return run(*tensors)

    tensors = (input, *states, *weights)
    results = run(*tensors)
    if any(t.requires_grad for t in tensors):
        results = Twice.apply(without_cudnn, len(results), *results, *tensors)
    return results[0], results[1:]


def _run_stack(
    name: str,
    input: Tensor,
    states: Sequence[Tensor],
    weights: list[Tensor],
    bias: bool,
    layers: int,
    bidirectional: bool,
    batch_sizes: Tensor | None,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    hx = tuple(states) if name == "lstm" else states[0]
    # Without dropout "train" only says whether a backward may follow, and in eval mode one may.
    options = (weights, bias, layers, 0.0, torch.is_grad_enabled(), bidirectional)
    arguments = (input, hx, *options, False) if batch_sizes is None else (input, batch_sizes, hx, *options)
    operation = getattr(_VF, name)
    if input.is_cuda:
        # cuDNN copies weights that do not lie in one block, and says so; parameters here are ordinary ones.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="RNN module weights are not part of single contiguous chunk")
            result = operation(*arguments)
    else:
        result = operation(*arguments)
    return result[0], result[1:]
