"""What the forward loop keeps for the backward: as little as possible, by a minimal cut.

The backward needs some forward values. Each is kept, or computed again from others that are. Keeping costs its width;
elementwise work is done again for nothing, products and reductions of the forward never. A state before the step is
the state after the step before, so keeping a state's trajectory gives both; the output is kept anyway. Of equally
cheap choices the latest values win: gates after their activation, not before.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from math import inf

from ostinato.compiler.cut import Flow
from ostinato.compiler.gradient import Derived
from ostinato.compiler.graph import Builder, Graph, Node
from ostinato.compiler.interpret import REDUCTIONS
from ostinato.compiler.program import Backward, WeightGradient
from ostinato.compiler.rebuild import rebuild, trimmed, walk
from ostinato.compiler.sink import held_in_output

HEAVY = frozenset(("linear", *REDUCTIONS))
STREAM = 1e-6
"""What an element of x costs beside one that is written: it is its caller's. One of a stream too, where those stay."""
UNDECIDED = 6
"""So many states are tried with and without their trajectory; more are all kept."""


def save(derived: Derived) -> tuple[Graph, Backward]:
    """The forward step with what it keeps as outputs ``saved.N``, and the backward step that reads it.

    A loop without products is a pass over memory, and what it reads is there already: it keeps its streams, whose
    activations cost less to compute again than to write.
    """
    needs = _Needs(derived)
    is_pass = not any(n.op == "linear" and n.rows for n in derived.graph.nodes())
    kept, saved = _choose(derived, needs, STREAM if is_pass else 1.0)
    build = Builder()
    step = derived.graph
    states = step.inputs_of("state")
    after = {s: step.outputs[f"new.{s}"] for s in states if s in kept}

    replace: dict[int, Node] = {}
    place: dict[int, tuple[str, str]] = {}
    for state, node in after.items():
        if node.op != "input":
            replace[id(node)] = build.input("output", f"new.{state}", node.shape, True)
            place[id(node)] = (state, "trajectory")
    names: dict[str, Node] = {}
    for node in saved:
        name = f"saved.{len(names)}"
        names[name] = node
        replace[id(node)] = build.input("saved", name, node.shape, True, node.dtype)
        place[id(node)] = (name, "saved")
    for node in step.inputs.values():
        if node["kind"] in WHERE:
            place[id(node)] = (node["name"], WHERE[node["kind"]])

    multiplied = {name: step.outputs[name] for name in derived.values}
    again = {name: node for name, node in multiplied.items() if id(node) not in place}
    weights = tuple(
        WeightGradient(p.param, p.grad, *place.get(id(multiplied[p.value]), (p.value, "backward")))
        for p in derived.products
    )
    wanted = {name: step.outputs[name] for name in derived.backward} | again
    made = dict(zip(wanted, rebuild(build, wanted.values(), replace), strict=True))
    inputs = {n["name"]: n for n in (*rebuild(build, step.inputs.values(), {}), *replace.values())}
    graph = trimmed(Graph(inputs, made), ("grad",))
    read = set(graph.inputs) | {w.value for w in weights if w.where in ("state", "trajectory")}
    trajectories = tuple(s for s in states if s in read or f"new.{s}" in read)
    outputs = {name: step.outputs[name] for name in derived.forward} | names
    forward = Graph({n: i for n, i in step.inputs.items() if i["kind"] != "grad"}, outputs)
    return trimmed(forward, ("state",)), Backward(graph, weights, derived.sums, trajectories)


WHERE = {"state": "state", "stream": "stream", "x": "stream", "constant": "constant"}
"""Where a weight's gradient finds a value that is an input of the step."""


@dataclass
class _Needs:
    """Which forward values the backward reads."""

    values: list[Node]
    forward: set[int]

    def __init__(self, derived: Derived) -> None:
        graph = derived.graph
        late: set[int] = set()
        found: dict[int, Node] = {}
        roots = [graph.outputs[name] for name in (*derived.backward, *derived.values)]
        for node in walk(roots):
            if (node.op == "input" and node["kind"] == "grad") or any(id(i) in late for i in node.inputs):
                late.add(id(node))
                found.update((id(i), i) for i in node.inputs if id(i) not in late)
        found.update((id(n), n) for n in roots if id(n) not in late)
        self.values = list(found.values())
        self.forward = {id(n) for n in walk(graph.outputs[name] for name in derived.forward)}


def _choose(derived: Derived, needs: _Needs, stream: float) -> tuple[frozenset[str], list[Node]]:
    """The states whose trajectory is kept, and the values that are saved."""
    graph = derived.graph
    states = graph.inputs_of("state")
    read = {id(n) for n in walk(needs.values)}
    free = frozenset(held_in_output(graph))
    must = free | {s for s, node in states.items() if any(node is v for v in needs.values)}
    may = [s for s in states if s not in must and {id(states[s]), id(graph.outputs[f"new.{s}"])} & read]
    best: tuple[float, frozenset[str], list[Node]] = (inf, frozenset(), [])
    for chosen in _subsets(may):
        kept = must | chosen
        cost, saved = _cut(derived, needs, kept, stream)
        cost += sum(states[s].width for s in kept - free)
        if cost < best[0]:
            best = cost, kept, saved
    assert best[0] < inf, "with every trajectory kept there is a cut"
    return best[1], best[2]


def _subsets(names: list[str]) -> Iterable[frozenset[str]]:
    """The largest first: of equal costs, a trajectory serves twice."""
    sizes = range(len(names), -1, -1) if len(names) <= UNDECIDED else (len(names),)
    for size in sizes:
        yield from map(frozenset, combinations(names, size))


def _cut(derived: Derived, needs: _Needs, kept: frozenset[str], stream: float) -> tuple[float, list[Node]]:
    graph = derived.graph
    given = {id(graph.outputs[f"new.{s}"]) for s in kept} | {id(graph.inputs[s]) for s in kept}
    flow = Flow()
    flow.edge("source", "sink", 0.0)
    nodes = [n for n in walk(needs.values, given) if n.rows]
    for node in nodes:
        keep = node.width if id(node) in needs.forward and node.dtype == "real" else inf
        if node.op == "input":
            if node["kind"] in ("x", "stream"):
                flow.edge("source", _in(node), inf)
                keep = (STREAM if node["kind"] == "x" else stream) * node.width
            elif node["kind"] == "state":
                flow.edge("source", _in(node), inf)
                keep = inf
        elif node.op in HEAVY and id(node) in needs.forward:
            flow.edge("source", _in(node), inf)
        else:
            for value in {id(i): i for i in node.inputs if i.rows and id(i) not in given}.values():
                flow.edge(_out(value), _in(node), inf)
        flow.edge(_in(node), _out(node), keep)
    for value in needs.values:
        if value.rows and id(value) not in given:
            flow.edge(_out(value), "sink", inf)
    cost, late = flow.cut("source", "sink")
    cut = [n for n in nodes if _in(n) not in late and _out(n) in late]
    return cost, [n for n in cut if n.op != "input"]


def _in(node: Node) -> tuple[int, str]:
    return id(node), "in"


def _out(node: Node) -> tuple[int, str]:
    return id(node), "out"
