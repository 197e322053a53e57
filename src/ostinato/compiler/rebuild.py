"""Part of a graph made anew, with some of its values replaced: how a pass cuts a graph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ostinato.compiler.graph import Builder, Graph, Node, remake


def rebuild(build: Builder, roots: Iterable[Node], replace: Mapping[int, Node]) -> list[Node]:
    """The roots made anew in ``build``; ``replace`` (by id) gives what stands for a value: nothing below it is made."""
    new = dict(replace)
    roots = list(roots)
    for node in walk(roots, new):
        new[id(node)] = remake(build, node, tuple(new[id(i)] for i in node.inputs))
    return [new[id(root)] for root in roots]


def walk(roots: Iterable[Node], stop: Iterable[int] = ()) -> Iterator[Node]:
    """Every node the roots need, each after what it reads; not those in ``stop`` (by id), nor what only they need."""
    seen: set[int] = set(stop)
    for root in roots:
        stack = [(root, False)]
        while stack:
            node, done = stack.pop()
            if done:
                yield node
            elif id(node) not in seen:
                seen.add(id(node))
                stack.append((node, True))
                stack.extend((i, False) for i in reversed(node.inputs) if id(i) not in seen)


def reads(roots: Iterable[Node]) -> dict[str, Node]:
    """The inputs among what the roots need, by name."""
    return {node["name"]: node for node in walk(roots) if node.op == "input"}


def trimmed(graph: Graph, always: tuple[str, ...]) -> Graph:
    """The graph without the inputs that nothing reads, but for those of the kinds ``always``."""
    read = reads(graph.outputs.values())
    kept = {n: i for n, i in graph.inputs.items() if n in read or i["kind"] in always}
    return Graph(kept, graph.outputs)
