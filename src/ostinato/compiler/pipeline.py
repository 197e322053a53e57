"""START HERE: a cell's step becomes a program for native loops, pass by pass.

::

    trace      the step, run once on stand-ins -> one graph          trace.py
    verify     is it a legal graph                                    verify.py
    centre     the mean a layer norm takes from products, taken from their weights     centre.py
    thin       products of few columns, written out as elementwise work     thin.py
    split      parameters only | all steps at once | the loop        split.py
    sink       products that no state reads, after the loop          sink.py
    derive     the backward of the loop's step, in the same graph    gradient.py, vjp.py
    expand     composite operations written out                      expand.py
    save       what the forward keeps; two graphs from one           save.py, cut.py
    simplify   the form the emitters read                            simplify.py, canonical.py
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from ostinato.cells.cell import Cell
from ostinato.compiler.centre import centre
from ostinato.compiler.expand import expand
from ostinato.compiler.gradient import derive
from ostinato.compiler.graph import Graph, Node
from ostinato.compiler.program import Backward, Program
from ostinato.compiler.refusal import Refused
from ostinato.compiler.save import save
from ostinato.compiler.simplify import simplify, simplify_backward
from ostinato.compiler.sink import sink
from ostinato.compiler.split import TIME, best_hoist, split
from ostinato.compiler.thin import thin
from ostinato.compiler.trace import Widths, trace
from ostinato.compiler.verify import verify

Made = TypeVar("Made")

LONGEST = 600
"""Operations of a step that is compiled. 200 of ``z = z + 0.01 * torch.sin(z)`` are as many, and take 12 s with their
backward; 300 take 25 s. The longest step of the library's has 59."""

PRODUCT = 4
"""As many operations a product counts for: 50 of ``z = torch.tanh(z @ w)`` take 6 s."""


@dataclass(frozen=True)
class Built:
    """A program, and the seconds each pass took."""

    program: Program
    times: dict[str, float]


def build(
    cell: Cell, x_size: int, streams: Widths, constants: Widths, wants_grad: bool, hoist: int | None = None
) -> Built:
    """The program of a cell's step.

    Args:
        cell: bound to its tensors (they may be stand-ins: no number in them is read).
        x_size: the width of x.
        streams, constants: the width and dtype of each keyword of the step that this call gives.
        wants_grad: whether a backward is needed.
        hoist: what is done outside the loop, for all steps at once (see ``split``); None: what is best.

    Raises:
        Refused: the step, or its derivative, has no native form.
    """
    clock = _Clock()
    graph = clock("trace", lambda: trace(cell, x_size, streams, constants))
    clock("verify", lambda: verify(graph))
    graph = clock("centre", lambda: centre(graph))
    graph = clock("thin", lambda: thin(graph))
    return compile_graph(graph, wants_grad, clock, best_hoist(graph) if hoist is None else hoist)


def compile_graph(graph: Graph, wants_grad: bool, clock: _Clock | None = None, hoist: int = TIME) -> Built:
    """Every pass after the trace."""
    clock = clock or _Clock()
    parts = clock("split", lambda: split(graph, hoist))
    _bound(parts.step)
    if hoist == TIME:
        parts = clock("sink", lambda: sink(parts))
    states = tuple(parts.step.inputs_of("state"))
    program = Program(states, parts.prepare, parts.hoist, parts.step, None, parts.constant_outputs, parts.sink)
    if not wants_grad:
        forward = clock("expand", lambda: expand(program.forward))
        forward = clock("simplify", lambda: simplify(forward))
        return Built(replace(program, forward=forward), clock.times)
    derived = clock("derive", lambda: derive(program.forward))
    derived = clock("expand", lambda: replace(derived, graph=expand(derived.graph)))
    forward, backward = clock("save", lambda: save(derived))
    forward, backward = clock("simplify", lambda: _simplified(forward, backward))
    return Built(replace(program, forward=forward, backward=backward), clock.times)


def _bound(step: Graph) -> None:
    """Refuse a step whose code would take longer to make than it can be worth."""
    count = 0
    past: Node | None = None
    for node in step.nodes():
        count += (PRODUCT if node.op == "linear" else 1) if node.inputs else 0
        past = node if past is None and count > LONGEST else past
    if past is not None:
        why = f"the step is {count:,} operations long (a product counts as {PRODUCT}), of which at most {LONGEST} are"
        raise Refused(
            f"{why} compiled; repeat less of it within a step, or give the repetitions to time steps", past.source
        )


def _simplified(forward: Graph, backward: Backward) -> tuple[Graph, Backward]:
    """Both steps; what the backward one reads is given to the loop, though the forward one may read it no more."""
    given, forward, backward = forward.inputs, simplify(forward), simplify_backward(backward)
    read = {*backward.graph.inputs, *(s.param for s in backward.sums)}
    read |= {name for w in backward.weights for name in (w.param, w.value)}
    inputs = {n: forward.inputs.get(n, node) for n, node in given.items() if n in forward.inputs or n in read}
    return Graph(inputs, forward.outputs), backward


class _Clock:
    """Runs a pass and notes how long it took."""

    def __init__(self) -> None:
        self.times: dict[str, float] = {}

    def __call__(self, name: str, work: Callable[[], Made]) -> Made:
        start = time.perf_counter()
        made = work()
        self.times[name] = time.perf_counter() - start
        return made
