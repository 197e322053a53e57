"""Where in a schedule an operation is done, among the places where it can be: so that less lies in memory between."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ostinato.compiler.cpu.flat import Read, resolve
from ostinato.compiler.graph import Graph, Node, is_joined
from ostinato.compiler.interpret import REDUCTIONS

Reads = Mapping[tuple[int, int], Read]
"""How each operand is read: by the id of the operation, and its number."""

CHEAP = frozenset(("add", "sub", "mul", "neg"))
"""Done again rather than kept, where all operands lie in memory: a load is saved by a load."""


def computed(node: Node) -> Iterator[Node]:
    """The operations that compute a value: several if it is joined of parts, none if it is given."""
    if is_joined(node):
        for part in node.inputs:
            yield from computed(resolve(part).node)
    elif node.op not in ("input", "const"):
        yield node


def put_out(graph: Graph) -> set[int]:
    """The operations whose values a graph puts out."""
    return {id(source) for node in graph.outputs.values() for source in computed(resolve(node).node)}


def to_leave(
    body: Iterable[Node], products: Iterable[Node], waiting: Iterable[Node], reads: Reads, graph: Graph
) -> set[int]:
    """Of what could follow a stage's products at once, what the passes by rows after it do with fewer values in memory.

    That is what only sums over a row read, and operations that wait for such sums, if it is made of values that those
    operations read too, so that they lie in memory in any case.
    """
    late, readers = _late(waiting, reads)
    body = list(body)
    inside = {id(node) for node in (*body, *products)}
    kept = put_out(graph)

    def lies(operand: Node) -> bool:
        made = [source for source in computed(operand) if id(source) in inside]
        return all(any(id(r) in late and r.op not in REDUCTIONS for r in readers.get(id(s), ())) for s in made)

    left = {id(node) for node in body} - kept
    while True:
        wrong = set()
        for node in body:
            if id(node) in left:
                operands = [reads[id(node), n].node for n in range(len(node.inputs))]
                known = all(id(operand) in left or lies(operand) for operand in operands)
                if not known or not all(id(r) in late or id(r) in left for r in readers.get(id(node), ())):
                    wrong.add(id(node))
        if not wrong:
            return left
        left -= wrong


def _late(waiting: Iterable[Node], reads: Reads) -> tuple[set[int], dict[int, list[Node]]]:
    """The sums over a row and what waits for them; and of every operation who reads it."""
    late: set[int] = set()
    readers: dict[int, list[Node]] = {}
    for node in waiting:
        sources = [s for n in range(len(node.inputs)) for s in computed(reads[id(node), n].node)]
        if node.op in REDUCTIONS or any(id(source) in late for source in sources):
            late.add(id(node))
        for source in sources:
            readers.setdefault(id(source), []).append(node)
    return late, readers


@dataclass(frozen=True)
class Pass:
    """What is done at one position of a row after the other: operations, and who reads them there."""

    body: list[Node]
    readers: Sequence[Node]


def make_again(passes: Sequence[Pass], nodes: list[Node], reads: dict[tuple[int, int], Read], graph: Graph) -> None:
    """Do cheap operations on what lies in memory where they are read, instead of keeping them from one pass to another.

    Bodies, ``reads`` and ``nodes``, all operations, are changed: each pass gets operations of its own, and those that
    nobody reads any more go.
    """
    replaced: set[int] = set()
    for one in passes:
        own, clones = {id(node) for node in one.body}, dict[int, Node]()
        for node in one.readers:
            for n in range(len(node.inputs)):
                read = reads[id(node), n]
                if id(read.node) in own or read.splat or read.offset or not _is_cheap(read.node, reads):
                    continue
                clone = clones.setdefault(id(read.node), replace(read.node))
                reads.update({(id(clone), m): reads[id(read.node), m] for m in range(len(clone.inputs))})
                reads[id(node), n] = Read(clone)
        one.body[:0] = clones.values()
        nodes[:0] = clones.values()
        replaced |= set(clones)
    read_still = {id(s) for node in nodes for n in range(len(node.inputs)) for s in computed(reads[id(node), n].node)}
    gone = replaced - read_still - put_out(graph)
    nodes[:] = [node for node in nodes if id(node) not in gone]
    for one in passes:
        one.body[:] = [node for node in one.body if id(node) not in gone]


def _is_cheap(node: Node, reads: Reads) -> bool:
    return node.op in CHEAP and all(reads[id(node), n].node.op in ("input", "const") for n in range(len(node.inputs)))
