"""The compiled loop: a cell's own step, traced once and run as one kernel over all steps."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ostinato.cells.cell import Cell
from ostinato.compiler.guard import tensors_of
from ostinato.compiler.refusal import Refused, is_exhaustion
from ostinato.engines import kernels, known, passes, tracing, trial
from ostinato.engines.call import LayerCall, States
from ostinato.engines.compiled import Compiled, Plan, plan_of
from ostinato.engines.function import RunLayer, in_memory, shaped
from ostinato.engines.geometry import Geometry
from ostinato.engines.rerun import RunChunks

DTYPES = (torch.float32, torch.float64)
TRANSFORMED = "kernels have no rule for torch.func's transforms"
PLAIN = (Tensor, nn.Parameter)


def why_not(input: Tensor) -> str | None:
    """Why no kernel can run this input now, whatever the cell; None if one can."""
    if input.device.type != "cpu":
        return f"kernels are made for the CPU, and the input is on {input.device}"
    if input.dtype not in DTYPES:
        return f"kernels take float32 and float64, and the input is {input.dtype}"
    if type(input) not in PLAIN and not torch.compiler.is_compiling():
        return f"kernels take plain tensors, and the input is a {type(input).__name__}"
    return why_not_now() or kernels.why_not()


def why_not_now() -> str | None:
    """Why no kernel can run anything now: a transform, a trace or a mode that wants to see every operation."""
    if tracing.transformed():
        return TRANSFORMED
    if torch.autograd.forward_ad._current_level >= 0:
        return "kernels have no forward-mode derivative"
    if torch.is_autocast_enabled("cpu"):
        return "kernels run in one precision, and autocast mixes two"
    if torch.compiler.is_dynamo_compiling():
        return None  # dynamo makes no graph under what follows, and cannot ask for it
    if torch._C._len_torch_dispatch_stack():
        return "a mode watches every operation (a tracer, a counter), and cannot look into a kernel"
    if torch._C._get_tracing_state() is not None:
        return "torch.jit.trace and the older ONNX exporter cannot look into a kernel"
    return None


def plan(call: LayerCall) -> Plan:
    """The programs of a call's cells, compiled and tried when they are new.

    Raises:
        Refused: a step has no native form, or its native form failed its trial.
    """
    wants_grad = torch.is_grad_enabled() and _wants_grad(call)
    signature = known.Signature(
        call.input.shape[-1], call.input.dtype, known.kinds(call.streams), known.kinds(call.constants), wants_grad
    )
    learning = _learning(call) if wants_grad else frozenset()
    directions = tuple(
        ready(template, cell, signature, learning) for template, cell in zip(call.templates, call.cells, strict=True)
    )
    return plan_of(directions, tuple(call.streams), tuple(call.constants))


def ready(template: Cell, cell: Cell, signature: known.Signature, learning: frozenset[str] | None = None) -> Compiled:
    """One cell's program, tried against the loop.

    Args:
        learning: which of x, the streams and the constants have gradients; None: all may. The trial compiles what they
            ask for, which is what the call will run; what a trial with more of them has covered is not tried again.

    Raises:
        Refused: see :func:`plan`.
    """
    compiled = known.find(template, cell, signature)
    learning = _all(signature) if learning is None else learning
    if compiled.fault is None and not any(learning <= before for before in compiled.tried):
        with known.undisturbed():
            compiled.fault = _fault(compiled, cell, signature, learning)
        compiled.tried.append(learning)
    if compiled.fault is not None:
        raise Refused(f"the compiled step failed its trial against the loop: {compiled.fault}")
    return compiled


def _fault(compiled: Compiled, cell: Cell, signature: known.Signature, learning: frozenset[str]) -> str | None:
    try:
        return trial.fault(compiled, cell, signature, learning)
    except Exception as error:  # whatever is wrong with a kernel, the loop can run
        if is_exhaustion(error):
            raise
        return f"{type(error).__name__}: {error}"


def run(call: LayerCall, plan: Plan) -> tuple[Tensor, tuple[States, ...]]:
    """Run one layer; the same result as the loop's, to rounding."""
    tensors = [call.input, *call.streams.values(), *call.constants.values()]
    for compiled, cell, states in zip(plan.directions, call.cells, call.states, strict=True):
        tensors += states
        tensors += compiled.prepare(tensors_of_cell(cell, compiled))
    tensors = [in_memory(t) for t in tensors]
    geometry = Geometry.of(call.input, call.states[0][0].shape[0], call.batch_sizes)
    if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
        node = RunChunks if call.recompute and not plan.keeps_nothing else RunLayer
        output, *flat = node.apply(plan, geometry, *tensors)
        count = len(flat) // len(plan.directions)
        return output, tuple(tuple(flat[d * count : (d + 1) * count]) for d in range(len(plan.directions)))
    done = passes.forward(plan, geometry, tensors, False)
    return shaped(done.output, call.input), tuple(tuple(final) for final in done.finals)


def tensors_of_cell(cell: Cell, compiled: Compiled) -> list[Tensor]:
    """What a program reads of its cell."""
    if compiled.plain:
        own = cell.__dict__["_parameters"]
        try:
            return [own[name] for name in compiled.tensors]
        except KeyError:
            pass
    return tensors_at(cell, compiled.tensors)


def tensors_at(cell: Cell, paths: Iterable[str]) -> list[Tensor]:
    """The cell's tensors at these paths: parameters, buffers, plain attributes, those of submodules too."""
    found = []
    for path in paths:
        owner: nn.Module = cell
        *modules, name = path.split(".") if "." in path else (path,)
        for module in modules:
            owner = owner.__dict__["_modules"][module]
        own = owner.__dict__
        value = own["_parameters"].get(name)
        if value is None:
            value = own["_buffers"].get(name)
        found.append(own[name] if value is None else value)
    return found


def _all(signature: known.Signature) -> frozenset[str]:
    """x, the streams and the constants, where a program has a backward."""
    if not signature.wants_grad:
        return frozenset()
    return frozenset(("x", *(kind[0] for kind in (*signature.streams, *signature.constants))))


def _learning(call: LayerCall) -> frozenset[str]:
    """Which of x, the streams and the constants have gradients."""
    outer = (("x", call.input), *call.streams.items(), *call.constants.items())
    return frozenset(name for name, value in outer if value.requires_grad)


def _wants_grad(call: LayerCall) -> bool:
    if call.input.requires_grad or any(s.requires_grad for states in call.states for s in states):
        return True
    for cell in call.cells:
        own = cell.__dict__
        if any(p is not None and p.requires_grad for p in own["_parameters"].values()):
            return True
        if any(t.requires_grad for t in tensors_of(cell).values()):
            return True
    return any(v.requires_grad for part in (call.streams, call.constants) for v in part.values())
