"""What the pipeline makes of a step: four graphs, and how their values travel through time.

::

    prepare   tensors of the cell -> params                             once a call, ordinary torch operations
    hoist     x, streams, constants, params -> streams and constants    all steps at once, ordinary torch operations
    forward   states, streams, constants, params -> new states          the loop: a kernel
    sink      what the loop put out, x, streams, params -> output       all steps at once, ordinary torch operations
    backward  gradients, what was saved -> gradients                    the loop, from the last step to the first

The loop means, for full sequences (``ostinato.compiler.reference`` runs exactly this)::

    for t in range(T):
        values = forward(states, streams[t], constants, params)
        output[t], states, saved[t] = values["output"], values["new.*"], values["saved.*"]
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ostinato.compiler.graph import Graph, from_json, to_json


@dataclass(frozen=True)
class WeightGradient:
    """The gradient of one ``linear``'s weight: the sum over steps and rows of ``grad`` ⊗ ``value``, (N, K).

    Attributes:
        param: the weight's name among the forward graph's inputs.
        grad: an output of the backward graph, the gradient of the product, (N,) or (h, N).
        value: what the weight was multiplied with, (K,) or (h, K): a name in ``where``.
        where: ``"state"`` (the state before the step), ``"stream"``, ``"constant"``, ``"saved"``, ``"trajectory"``
            (a new state of the step), or ``"backward"`` (an output of the backward graph).
    """

    param: str
    grad: str
    value: str
    where: str


@dataclass(frozen=True)
class SumGradient:
    """The gradient of a param that is broadcast to the rows: the sum over steps and rows of an output of the backward
    graph, which has the param's own shape."""

    param: str
    grad: str


@dataclass(frozen=True)
class Backward:
    """The backward of the loop.

    ``graph`` reads, by name and kind: ``grad.output`` and ``grad.STATE`` ("grad": the gradients of what this step put
    out and of its new states), the state before the step under its own name ("state"), ``new.STATE`` ("output": the
    new states), ``saved.N`` ("saved"), and streams, constants and params under their own names.
    Its outputs: ``grad.STATE`` for every state (the gradient of the state before the step), ``grad.STREAM``,
    ``grad.CONSTANT`` (of one step: the kernel adds them up), and what ``weights`` and ``sums`` name.
    """

    graph: Graph
    weights: tuple[WeightGradient, ...]
    sums: tuple[SumGradient, ...]
    trajectories: tuple[str, ...]
    """The states whose value after every step must be kept (read as ``STATE``, ``new.STATE``, or by ``weights``)."""


@dataclass(frozen=True)
class Program:
    """A step, ready for any engine that runs loops.

    ``prepare`` has inputs of kind "tensor" (named by their path in the cell: ``"weight_hh"``, ``"ln.weight"``) and
    outputs ``p0, p1, …``. ``hoist`` reads ``x`` (kind "x"), streams and constants by the names of the step's keywords,
    and params; its outputs ``s0, …`` vary by step and ``k0, …`` by sequence only. ``forward`` reads states by name,
    streams (``s0``, or ``x`` and keywords that needed no hoisting), constants and params, and puts out ``output``,
    ``new.STATE`` for every state, and ``saved.N``. ``backward`` is None where no gradient is wanted. ``sink`` is None
    where the loop's output is the layer's; else it reads the loop's as ``output`` and puts out the layer's.

    Attributes:
        states: the names of the states, in order.
        constant_outputs: which outputs of ``hoist`` vary by sequence only.
    """

    states: tuple[str, ...]
    prepare: Graph
    hoist: Graph
    forward: Graph
    backward: Backward | None
    constant_outputs: tuple[str, ...] = ()
    sink: Graph | None = None

    @property
    def output_width(self) -> int:
        """The width of what a layer puts out."""
        return (self.forward if self.sink is None else self.sink).outputs["output"].width

    @property
    def saved(self) -> tuple[str, ...]:
        """The outputs of the forward graph that the backward reads."""
        return tuple(name for name in self.forward.outputs if name.startswith("saved."))


def dumps(program: Program) -> str:
    """The program as text: what an exported program carries, and what a kernel is kept under."""
    backward = program.backward
    return json.dumps(
        {
            "states": program.states,
            "prepare": to_json(program.prepare),
            "hoist": to_json(program.hoist),
            "forward": to_json(program.forward),
            "constant_outputs": program.constant_outputs,
            "sink": None if program.sink is None else to_json(program.sink),
            "backward": None
            if backward is None
            else {
                "graph": to_json(backward.graph),
                "weights": [[w.param, w.grad, w.value, w.where] for w in backward.weights],
                "sums": [[s.param, s.grad] for s in backward.sums],
                "trajectories": backward.trajectories,
            },
        },
        separators=(",", ":"),
    )


def loads(text: str) -> Program:
    """The program :func:`dumps` wrote."""
    data: dict[str, Any] = json.loads(text)
    backward = data["backward"]
    return Program(
        tuple(data["states"]),
        from_json(data["prepare"]),
        from_json(data["hoist"]),
        from_json(data["forward"]),
        None
        if backward is None
        else Backward(
            from_json(backward["graph"]),
            tuple(WeightGradient(*w) for w in backward["weights"]),
            tuple(SumGradient(*s) for s in backward["sums"]),
            tuple(backward["trajectories"]),
        ),
        tuple(data["constant_outputs"]),
        None if data["sink"] is None else from_json(data["sink"]),
    )


Values = Mapping[str, Tensor]


@dataclass(frozen=True)
class Loop:
    """One direction's loop over time, as a kernel is asked to run it.

    Attributes:
        streams: by name, (N, ·): the rows of step t after those of step t - 1.
        constants: by name, (B, ·), and ``states``, the initial ones: rows sorted by length, longest first.
        params: by name.
        steps, rows: T and B. N = T·B without ``batch_sizes``, else their sum.
        batch_sizes: (T,) int64 on the CPU, how many rows are active at each step, never growing; None: all of them.
        reverse: from the last step to the first.
    """

    streams: Values
    constants: Values
    states: Values
    params: Values
    steps: int
    rows: int
    batch_sizes: Tensor | None
    reverse: bool


@dataclass(frozen=True)
class Ran:
    """What a loop put out.

    Attributes:
        output: (N, ·).
        finals: by state, (B, ·): each row's after its own last step; the initial one for a row of no steps.
        saved: by name, (N, ·), and ``trajectories``, by state, (N, ·): every new state. Empty if nothing was to be
            saved. A trajectory may be the output itself.
    """

    output: Tensor
    finals: dict[str, Tensor]
    saved: dict[str, Tensor]
    trajectories: dict[str, Tensor]


@dataclass(frozen=True)
class Gradients:
    """The gradients of what a loop read; a name is there only if it was wanted."""

    streams: dict[str, Tensor]
    constants: dict[str, Tensor]
    states: dict[str, Tensor]
    params: dict[str, Tensor]
