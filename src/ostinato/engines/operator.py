"""A layer as an operator of torch's: what torch.compile and torch.export see, opaque and with its program in a string.

``ostinato::layer`` runs a layer, and ``ostinato::layer_backward`` gives its gradients. Both are functional. All they
need travels in their arguments, so an exported program runs in any process that has imported ostinato. In eager mode
:mod:`ostinato.engines.function` does the same with less overhead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ostinato.compiler.graph import Node
from ostinato.engines import again, passes
from ostinato.engines.compiled import Plan, loads
from ostinato.engines.hoist import Geometry
from ostinato.engines.ragged import Ragged, check_lengths
from ostinato.errors import EngineError

_library = torch.library.Library("ostinato", "DEF")
_library.define(
    "layer(Tensor x, Tensor[] streams, Tensor[] constants, Tensor[] states, Tensor[] tensors, Tensor? lengths, "
    "str program) -> Tensor[]",
    tags=(torch.Tag.pt2_compliant_tag,),
)
_library.define(
    "layer_backward(Tensor?[] grads, Tensor x, Tensor[] streams, Tensor[] constants, Tensor[] states, "
    "Tensor[] tensors, Tensor? lengths, Tensor[] kept, bool[] wanted, str program) -> Tensor[]",
    tags=(torch.Tag.pt2_compliant_tag,),
)


def run(
    x: Tensor,
    streams: Sequence[Tensor],
    constants: Sequence[Tensor],
    states: Sequence[Tensor],
    tensors: Sequence[Tensor],
    lengths: Tensor | None,
    program: str,
    count: int,
) -> tuple[Tensor, list[Tensor]]:
    """Call the operator.

    Args:
        x: (T, B, I); past ``lengths`` anything.
        streams, constants: (T, B, ·) and (B, ·), in the program's order.
        states: (B, ·), of the first direction, then of the second.
        tensors: the cells' own, as the program's ``prepare`` reads them, of the first direction, then of the second.
        lengths: (B,) int64 between 0 and T; None: all rows are full.
        program: :attr:`Plan.text`.
        count: how many states there are.

    Returns:
        (T, B, D·w), zero past a row's length, and the final states in the order of ``states``.
    """
    made = torch.ops.ostinato.layer(x, list(streams), list(constants), list(states), list(tensors), lengths, program)
    return made[0], made[1 : 1 + count]


class _Given:
    """The operator's arguments in the form the passes take: padding gone, params prepared."""

    def __init__(
        self,
        plan: Plan,
        x: Tensor,
        streams: Sequence[Tensor],
        constants: Sequence[Tensor],
        states: Sequence[Tensor],
        tensors: Sequence[Tensor],
        lengths: Tensor | None,
    ) -> None:
        self.plan, self.tensors = plan, list(tensors)
        steps, rows = x.shape[0], x.shape[1]
        self.ragged: Ragged | None = None
        if lengths is not None:
            self.ragged = Ragged.from_lengths(check_lengths(lengths, steps, rows, True), steps, x.device)
        self.steps, self.rows = steps, rows
        self.cells: list[list[Tensor]] = []
        rest = iter(tensors)
        for compiled in plan.directions:
            self.cells.append([next(rest) for _ in compiled.tensors])
        params = [c.prepare(own) for c, own in zip(plan.directions, self.cells, strict=True)]
        pack, order = self.pack, self.sort
        self.flat = [pack(x), *map(pack, streams), *map(order, constants)]
        taken = iter(map(order, states))
        for compiled, own in zip(plan.directions, params, strict=True):
            self.flat += [next(taken) for _ in compiled.program.states]
            self.flat += own
        sizes = None if self.ragged is None else self.ragged.batch_sizes
        self.geometry = Geometry.of(self.flat[0], rows, sizes)

    def pack(self, value: Tensor) -> Tensor:
        return value if self.ragged is None else self.ragged.pack(value)

    def sort(self, value: Tensor) -> Tensor:
        return value if self.ragged is None else self.ragged.sort(value)

    def unpack(self, value: Tensor) -> Tensor:
        """(N, ·) → (T, B, ·), zero in the padding."""
        if self.ragged is None:
            return value.reshape(self.steps, self.rows, *value.shape[1:])
        return self.ragged.unpack(value)

    def unsort(self, value: Tensor) -> Tensor:
        return value if self.ragged is None else self.ragged.unsort(value)

    def full(self, value: Tensor) -> Tensor:
        """A kept (N, ·) with room for the padding behind it, so that its size does not depend on the lengths."""
        short = self.steps * self.rows - value.shape[0]
        return value if short == 0 else torch.cat([value, value.new_zeros(short, *value.shape[1:])])


def _layer(
    x: Tensor,
    streams: Sequence[Tensor],
    constants: Sequence[Tensor],
    states: Sequence[Tensor],
    tensors: Sequence[Tensor],
    lengths: Tensor | None,
    program: str,
) -> list[Tensor]:
    plan = loads(program)
    given = _Given(plan, x, streams, constants, states, tensors, lengths)
    kinds = _kept(plan, x.dtype)
    if given.geometry.count == 0:
        output, finals = again.run(plan, given.geometry, given.flat)
        if given.ragged is not None:
            output = given.unpack(output)
        kept = [x.new_zeros(_size(x, by_step), *node.shape, dtype=dtype) for node, by_step, dtype in kinds]
        return [output, *(given.unsort(f).clone() for final in finals for f in final), *kept]
    done = passes.forward(plan, given.geometry, given.flat, bool(kinds))
    kept = []
    for value, (node, by_step, dtype) in zip(done.kept, kinds, strict=True):
        value = value.reshape(-1, *node.shape).to(dtype)
        kept.append((given.full(value) if by_step else value).contiguous())
    finals = [[given.unsort(f) for f in final] for final in done.finals]
    return _apart([given.unpack(done.output).contiguous(), *(f for final in finals for f in final), *kept], given.flat)


def _apart(values: list[Tensor], inputs: list[Tensor]) -> list[Tensor]:
    """The values, none of which shares its memory with another or with an input."""
    seen = {t.untyped_storage().data_ptr() for t in inputs}
    apart = []
    for value in values:
        if (place := value.untyped_storage().data_ptr()) in seen and value.numel():
            value = value.clone()
            place = value.untyped_storage().data_ptr()
        seen.add(place)
        apart.append(value)
    return apart


def _layer_backward(
    grads: Sequence[Tensor | None],
    x: Tensor,
    streams: Sequence[Tensor],
    constants: Sequence[Tensor],
    states: Sequence[Tensor],
    tensors: Sequence[Tensor],
    lengths: Tensor | None,
    kept: Sequence[Tensor],
    wanted: Sequence[bool],
    program: str,
) -> list[Tensor]:
    plan = loads(program)
    given = _Given(plan, x, streams, constants, states, tensors, lengths)
    asked = [t for t, flag in zip((x, *streams, *constants, *states, *tensors), wanted, strict=True) if flag]
    if given.geometry.count == 0:
        return _of_nothing(given, grads, states, wanted, asked)
    outside = 1 + len(streams) + len(constants)
    by_state, by_tensor = list(wanted[outside : outside + len(states)]), list(wanted[outside + len(states) :])
    flags = list(wanted[:outside])
    for compiled in plan.directions:
        flags += [by_state.pop(0) for _ in compiled.program.states]
        own = dict(zip(compiled.tensors, [by_tensor.pop(0) for _ in compiled.tensors], strict=True))
        flags += [
            own[passed] if passed is not None else any(own[n] for n in compiled.computed_from[param])
            for param, passed in zip(compiled.params, compiled.passed, strict=True)
        ]
    count = given.geometry.count
    saved = [
        value[:count] if by_step else value for value, (_, by_step, _) in zip(kept, _kept(plan, x.dtype), strict=False)
    ]
    output = None
    if plan.reads_output:
        output = _rows(given, kept[-1])
    grad = None if grads[0] is None else _rows(given, grads[0])
    finals, place = [], 1
    for compiled in plan.directions:
        own_grads = grads[place : place + len(compiled.program.states)]
        finals.append([None if g is None else given.sort(g).contiguous() for g in own_grads])
        place += len(compiled.program.states)
    found = passes.backward(plan, given.geometry, given.flat, output, saved, grad, finals, flags)
    return _apart(_in_order(given, found, wanted, outside, len(states)), given.flat)


def _rows(given: _Given, value: Tensor) -> Tensor:
    """(T, B, ·) as contiguous (N, ·)."""
    return given.geometry.flat(given.pack(value))


def _in_order(
    given: _Given, found: list[Tensor | None], wanted: Sequence[bool], outside: int, states: int
) -> list[Tensor]:
    """Gradients of the operator's arguments out of those of what the passes read."""
    plan = given.plan
    grads: list[Tensor | None] = []
    for n in range(outside):
        grad = found[n]
        by_step = n <= len(plan.streams)
        grads.append(
            grad if grad is None or given.ragged is None else (given.unpack if by_step else given.unsort)(grad)
        )
    params: list[Tensor | None] = []
    for compiled, own, (start, middle, end) in zip(plan.directions, given.cells, plan.places, strict=True):
        grads += [None if g is None else given.unsort(g) for g in found[start:middle]]
        flags = wanted[outside + states + len(params) :][: len(own)]
        params += _through_prepare(compiled, own, found[middle:end], flags)
    grads += params
    return [g for g, flag in zip(grads, wanted, strict=True) if flag and g is not None]


def _through_prepare(
    compiled: Any, tensors: list[Tensor], grads: Sequence[Tensor | None], flags: Sequence[bool]
) -> list[Tensor | None]:
    """From the params' gradients to those of the cell's tensors."""
    with _autograd():
        leaves = [t.detach().requires_grad_(flag) for t, flag in zip(tensors, flags, strict=True)]
        pairs = [
            (p, g) for p, g in zip(compiled.prepare(leaves), grads, strict=True) if g is not None and p.requires_grad
        ]
        asked = [leaf for leaf in leaves if leaf.requires_grad]
        found = iter(
            torch.autograd.grad(
                [p for p, _ in pairs], asked, [g for _, g in pairs], materialize_grads=True, allow_unused=True
            )
            if pairs
            else [torch.zeros_like(leaf) for leaf in asked]
        )
    return [next(found) if flag else None for flag in flags]


def _of_nothing(
    given: _Given, grads: Sequence[Tensor | None], states: Sequence[Tensor], wanted: Sequence[bool], asked: list[Tensor]
) -> list[Tensor]:
    """Without a step the final states are the initial ones, and nothing else has a gradient."""
    found = iter(asked)
    first = 1 + len(given.plan.streams) + len(given.plan.constants)
    made = []
    for n, flag in enumerate(wanted):
        if flag:
            like = next(found)
            own = grads[1 + n - first] if first <= n < first + len(states) else None
            made.append(torch.zeros_like(like) if own is None else own.clone())
    return made


class _autograd:  # noqa: N801 - reads as a statement: with _autograd()
    """Autograd inside an operator's own code, where torch has switched it off."""

    def __enter__(self) -> None:
        excluded = torch._C._dispatch_tls_local_exclude_set()
        for key in ("AutogradFunctionality", "AutogradCPU", "AutogradCUDA", "AutogradOther"):
            excluded = excluded.remove(getattr(torch._C.DispatchKey, key))
        self.keys = torch._C._ForceDispatchKeyGuard(torch._C._dispatch_tls_local_include_set(), excluded)
        self.keys.__enter__()
        self.grad = torch.enable_grad()
        self.grad.__enter__()

    def __exit__(self, *error: Any) -> None:
        self.grad.__exit__(*error)
        self.keys.__exit__(*error)


def _kept(plan: Plan, dtype: torch.dtype) -> list[tuple[Node, bool, torch.dtype]]:
    """What a forward keeps for its backward: its shape, whether it is a value a step, and its dtype."""
    kinds = []
    for compiled in plan.directions:
        made = compiled.program
        if made.backward is None:
            continue
        outputs, inner = made.forward.outputs, made.hoist.outputs
        nodes = [(outputs[n], True) for n in made.saved]
        nodes += [(outputs[f"new.{s}"], True) for s in compiled.kept_states]
        nodes += [(inner[n], True) for n in compiled.kept_streams if n in inner]
        nodes += [(inner[n], False) for n in compiled.kept_constants if n in inner]
        kinds += [(node, by_step, torch.bool if node.dtype == "bool" else dtype) for node, by_step in nodes]
    return kinds


def _size(x: Tensor, by_step: bool) -> Any:
    return x.shape[0] * x.shape[1] if by_step else x.shape[1]


def _fake_layer(
    x: Tensor,
    streams: Sequence[Tensor],
    constants: Sequence[Tensor],
    states: Sequence[Tensor],
    tensors: Sequence[Tensor],
    lengths: Tensor | None,
    program: str,
) -> list[Tensor]:
    plan = loads(program)
    width = sum(c.program.forward.outputs["output"].width for c in plan.directions)
    return [
        x.new_empty(x.shape[0], x.shape[1], width),
        *(s.new_empty(s.shape) for s in states),
        *(x.new_empty(_size(x, by_step), *node.shape, dtype=dtype) for node, by_step, dtype in _kept(plan, x.dtype)),
    ]


def _fake_layer_backward(
    grads: Sequence[Tensor | None],
    x: Tensor,
    streams: Sequence[Tensor],
    constants: Sequence[Tensor],
    states: Sequence[Tensor],
    tensors: Sequence[Tensor],
    lengths: Tensor | None,
    kept: Sequence[Tensor],
    wanted: Sequence[bool],
    program: str,
) -> list[Tensor]:
    given = (x, *streams, *constants, *states, *tensors)
    return [t.new_empty(t.shape) for t, flag in zip(given, wanted, strict=True) if flag]


def _setup(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    x, streams, constants, states, tensors, lengths, program = inputs
    plan = loads(program)
    ctx.program, ctx.lengths_given = program, lengths is not None
    ctx.counts = [len(part) for part in (streams, constants, states, tensors)]
    given = [x, *streams, *constants, *states, *tensors]
    ctx.wanted = [t.requires_grad for t in given]
    kept = list(output[1 + len(states) :])
    if plan.reads_output:
        kept.append(output[0])
    ctx.outputs, ctx.states = len(output), len(states)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*given, *([lengths] if lengths is not None else []), *kept)


def _backward(ctx: Any, grads: list[Tensor | None]) -> tuple[Any, ...]:
    saved, place = list(ctx.saved_tensors), 1
    parts = []
    for count in ctx.counts:
        parts.append(saved[place : place + count])
        place += count
    lengths = saved[place] if ctx.lengths_given else None
    kept = saved[place + ctx.lengths_given :]
    flowing = grads[: 1 + ctx.states]
    found = iter(torch.ops.ostinato.layer_backward(flowing, saved[0], *parts, lengths, kept, ctx.wanted, ctx.program))
    flat = [next(found) if flag else None for flag in ctx.wanted]
    place, lists = 1, []
    for count in ctx.counts:
        lists.append(flat[place : place + count])
        place += count
    return (flat[0], *lists, None, None)


def _no_second(ctx: Any, grads: list[Tensor | None]) -> tuple[Any, ...]:
    raise EngineError(
        "the operator inside torch.compile and torch.export has no second derivative (double backward); call the layer "
        "outside of them, where a backward with create_graph=True is run step by step"
    )


_library.impl("layer", _layer, "CompositeExplicitAutograd")
_library.impl("layer_backward", _layer_backward, "CompositeExplicitAutograd")
torch.library.register_fake("ostinato::layer", _fake_layer, lib=_library)
torch.library.register_fake("ostinato::layer_backward", _fake_layer_backward, lib=_library)
torch.library.register_autograd("ostinato::layer", _backward, setup_context=_setup, lib=_library)
torch.library.register_autograd("ostinato::layer_backward", _no_second, setup_context=lambda **_: None, lib=_library)
