"""One traced step, cut in three: parameters only, all time steps at once, and the loop.

What reads no row is prepared once a call. A product that no state reaches is hoisted: done for all steps at once, where
it is one large operation. What is left is the loop; elementwise work on x or a stream stays in it, where it costs no
memory, and so do a reduction and a normalisation, which read a row that is near. Only a loop without products, one
pass over memory, leaves them to what comes before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ostinato.compiler.graph import Builder, Graph, Node
from ostinato.compiler.interpret import NORMALISING, REDUCTIONS, VIEWS
from ostinato.compiler.rebuild import rebuild, trimmed, walk

PARAMS, SEQUENCE, TIME, STATE = range(4)
LEVEL = {"tensor": PARAMS, "param": PARAMS, "constant": SEQUENCE, "x": TIME, "stream": TIME, "state": STATE}
"""What a value varies with: the highest of what it reads."""

HEAVY = frozenset(("linear", *REDUCTIONS, *NORMALISING))
READS = frozenset(("broadcast", *VIEWS))
"""Another look at a value: done where it is read."""
AFFINE = frozenset(("add", "sub", "mul"))
"""Hoisted with a product when the other side is made of parameters: a bias, a gain."""


@dataclass(frozen=True)
class Split:
    """The three graphs, as :class:`ostinato.compiler.program.Program` names their inputs and outputs."""

    prepare: Graph
    hoist: Graph
    step: Graph
    constant_outputs: tuple[str, ...]
    sink: Graph | None = None
    """What is done after the loop, for all steps at once (see ``sink.py``)."""


def split(graph: Graph, hoist: int = TIME) -> Split:
    """Cut a traced step.

    Args:
        hoist: what is done outside the loop: ``TIME``, all that no state reaches; ``SEQUENCE``, what varies by
            sequence only; ``PARAMS``, nothing that reads a row.
    """
    build = Builder()
    nodes = graph.nodes()
    level = _levels(nodes)
    hoisted = [n for n in _hoisted(graph, nodes, level) if level[id(n)] <= hoist]
    params = [n for n in nodes if not n.rows and n.op != "const" and _read_by_rows(n, nodes, graph)]
    loop = list(walk(graph.outputs.values(), {id(n) for n in (*params, *hoisted)}))
    read = {id(i) for n in loop for i in n.inputs} | {id(n) for n in graph.outputs.values()}
    constants = [n for n in hoisted if id(n) in read and level[id(n)] == SEQUENCE]
    streams = [n for n in hoisted if id(n) in read and level[id(n)] != SEQUENCE]

    taken = set(graph.inputs)
    own = {id(n): build.input(n["kind"], name, n.shape, n.rows, n.dtype) for name, n in graph.inputs.items()}
    cut_params = _Cut(build, "param", _fresh("p", len(params), taken), params)
    cut_streams = _Cut(build, "stream", _fresh("s", len(streams), taken), streams)
    cut_constants = _Cut(build, "constant", _fresh("k", len(constants), taken), constants)

    def inputs(*kinds: str) -> dict[str, Node]:
        return {name: own[id(node)] for name, node in graph.inputs_of(*kinds).items()}

    prepared = cut_params.outputs(build, own)
    for_all_steps = [cut.outputs(build, own | cut_params.replace) for cut in (cut_streams, cut_constants)]
    cuts = cut_params.replace | cut_streams.replace | cut_constants.replace
    stepped = rebuild(build, graph.outputs.values(), own | cuts)

    given = inputs("x", "stream", "constant")
    read_by_step = inputs("state") | given | cut_streams.inputs | cut_constants.inputs | cut_params.inputs
    return Split(
        trimmed(Graph(inputs("tensor"), prepared), ()),
        trimmed(Graph(given | cut_params.inputs, for_all_steps[0] | for_all_steps[1]), ()),
        trimmed(Graph(read_by_step, dict(zip(graph.outputs, stepped, strict=True))), ("state",)),
        tuple(cut_constants.inputs),
    )


class _Cut:
    """Values that one graph puts out and a later one reads.

    Attributes:
        inputs: by name, what the later graph reads.
        replace: the same by the id of the value it stands for.
    """

    def __init__(self, build: Builder, kind: str, names: list[str], values: Sequence[Node]) -> None:
        self.values = values
        made = [build.input(kind, name, v.shape, v.rows, v.dtype) for name, v in zip(names, values, strict=True)]
        self.inputs = dict(zip(names, made, strict=True))
        self.replace = {id(v): node for v, node in zip(values, made, strict=True)}

    def outputs(self, build: Builder, replace: dict[int, Node]) -> dict[str, Node]:
        """The values by name, made of what the earlier graph reads."""
        return dict(zip(self.inputs, rebuild(build, self.values, replace), strict=True))


def best_hoist(graph: Graph) -> int:
    """``SEQUENCE`` where the weights of all products stay in a core's own cache together: then the loop multiplies x
    as fast as one large product would, and needs no memory for the result. ``TIME`` elsewhere, and where no state is
    multiplied: without products a loop is one pass over memory."""
    nodes = graph.nodes()
    level = _levels(nodes)
    if not _multiplies_a_state(graph, level):
        return TIME
    weights = {id(n.inputs[1]): n.inputs[1].width for n in nodes if n.op == "linear" and level[id(n)] >= TIME}
    return SEQUENCE if sum(weights.values()) <= NEAR else TIME


NEAR = 560_000
"""Weights that are near: 2.2 MB in float32, a little more than the second cache of a current core."""


def _multiplies_a_state(graph: Graph, level: dict[int, int]) -> bool:
    recurrent = walk(node for name, node in graph.outputs.items() if name != "output")
    return any(n.op == "linear" and level[id(n)] == STATE for n in recurrent)


def _levels(nodes: Sequence[Node]) -> dict[int, int]:
    level: dict[int, int] = {}
    for node in nodes:
        own = LEVEL[node["kind"]] if node.op == "input" else PARAMS
        level[id(node)] = max([own, *(level[id(i)] for i in node.inputs)])
    return level


def _hoisted(graph: Graph, nodes: Sequence[Node], level: dict[int, int]) -> list[Node]:
    """The values that are computed outside the loop and may be read in it, in order."""
    heavy = frozenset(("linear",)) if _multiplies_a_state(graph, level) else HEAVY
    readers = [id(i) for n in nodes for i in n.inputs] + [id(n) for n in graph.outputs.values()]
    found: dict[int, Node] = {}
    products: set[int] = set()
    for node in nodes:
        if node.op == "input" or not node.rows:
            continue
        if level[id(node)] == SEQUENCE:
            if node.op not in READS:
                found[id(node)] = node
        elif level[id(node)] == TIME and (node.op in heavy or _is_affine(node, level, products, readers)):
            products.add(id(node))
            found[id(node)] = node
    return list(found.values())


def _is_affine(node: Node, level: dict[int, int], products: set[int], readers: list[int]) -> bool:
    if node.op not in AFFINE:
        return False
    product = [i for i in node.inputs if id(i) in products and readers.count(id(i)) == 1]
    return len(product) == 1 and all(level[id(i)] == PARAMS for i in node.inputs if i is not product[0])


def _read_by_rows(node: Node, nodes: Sequence[Node], graph: Graph) -> bool:
    return any(n.rows and any(i is node for i in n.inputs) for n in nodes)


def _fresh(letter: str, count: int, taken: set[str]) -> list[str]:
    """``count`` names ``p0, p1, …`` that no input has."""
    names: list[str] = []
    number = 0
    while len(names) < count:
        if f"{letter}{number}" not in taken:
            names.append(f"{letter}{number}")
        number += 1
    return names
