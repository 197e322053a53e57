"""What no state reads, moved behind the loop: products with new states are done for all steps at once.

A step whose recurrence multiplies no state with a matrix is elementwise work, a pass over memory; the one thing
that could slow it down is a product of its output, such as y = C h of a linear recurrent unit. No state reads y, so it
waits until every h is there. What only y reads, a product of x among it, goes with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ostinato.compiler.graph import Builder, Graph, Node, parts_of
from ostinato.compiler.rebuild import rebuild, trimmed, walk
from ostinato.compiler.split import Split

PASSED = "output"
"""The input of the sunk graph: what the loop puts out, (N, ·)."""


def has_recurrent_product(graph: Graph) -> bool:
    """Whether a new state reads a product of a state."""
    late = _late(graph)
    return any(n.op == "linear" and id(n) in late for n in walk(_new_states(graph)))


def sink(parts: Split) -> Split:
    """The parts with the products of the output after the loop, if those are all its products of a state."""
    step = parts.step
    late, needed = _late(step), {id(n) for n in walk(_new_states(step))}
    cone = list(walk([step.outputs["output"]]))
    if has_recurrent_product(step) or not any(n.op == "linear" and id(n) in late for n in cone):
        return parts
    sunk = _behind(cone, late, needed)
    passed = _passed(cone, sunk, parts)
    if any(n.dtype != "real" for n in passed):
        return parts

    build = Builder()
    flat = [build.reshape(n, (n.width,)) for n in rebuild(build, passed, {})]
    joined = build.cat(flat, 0)
    states = rebuild(build, _new_states(step), {})
    names = [name for name in step.outputs if name != "output"]
    loop = Graph(_inputs(build, step), {"output": joined, **dict(zip(names, states, strict=True))})

    given = build.input("output", PASSED, joined.shape, True)
    replaced, start = {}, 0
    for node in passed:
        replaced[id(node)] = build.reshape(build.slice(given, 0, start, start + node.width), node.shape)
        start += node.width
    inlined = [n for n in _hoisted(sunk, step, parts) if id(n) not in replaced]
    made = rebuild(build, [parts.hoist.outputs[n["name"]] for n in inlined], {})
    replaced |= {id(n): value for n, value in zip(inlined, made, strict=True)}
    (output,) = rebuild(build, [step.outputs["output"]], replaced)
    outside = _inputs(build, parts.hoist) | _inputs(build, step) | {PASSED: given}

    loop = trimmed(loop, ("state",))
    left = {n: v for n, v in parts.hoist.outputs.items() if n in loop.inputs}
    return replace(
        parts,
        step=loop,
        hoist=trimmed(Graph(parts.hoist.inputs, left), ()),
        constant_outputs=tuple(n for n in parts.constant_outputs if n in left),
        sink=trimmed(Graph(outside, {"output": output}), ()),
    )


def _new_states(step: Graph) -> list[Node]:
    return [node for name, node in step.outputs.items() if name != "output"]


def _late(step: Graph) -> set[int]:
    """The values that read a state."""
    late: set[int] = set()
    for node in step.nodes():
        own = node.op == "input" and node["kind"] == "state"
        if own or any(id(i) in late for i in node.inputs):
            late.add(id(node))
    return late


def _behind(cone: list[Node], late: set[int], needed: set[int]) -> dict[int, Node]:
    """What reads a product of a state, and what nothing else reads than such values; no state needs any of it."""
    sunk: dict[int, Node] = {}
    for node in cone:
        if (node.op == "linear" and id(node) in late) or any(id(i) in sunk for i in node.inputs):
            sunk[id(node)] = node
    for node in reversed(cone):
        readers = [n for n in cone if any(i is node for i in n.inputs)]
        only = bool(readers) and all(id(n) in sunk for n in readers)
        if only and id(node) not in needed and id(node) not in late and node.op != "input" and node.rows:
            sunk[id(node)] = node
    return sunk


def _passed(cone: list[Node], sunk: dict[int, Node], parts: Split) -> list[Node]:
    """The values of a step that the loop puts out for what is sunk."""
    read = {id(i) for n in sunk.values() for i in n.inputs}
    return [n for n in cone if id(n) in read and id(n) not in sunk and not _is_there(n, cone, sunk, parts)]


def _is_there(node: Node, cone: list[Node], sunk: dict[int, Node], parts: Split) -> bool:
    """Whether a value needs no loop: a param, x, a stream of the call's own, or one that was hoisted for this alone."""
    if not node.rows or (node.op == "broadcast" and not node.inputs[0].rows):
        return True
    if node.op != "input" or node["kind"] not in ("x", "stream"):
        return False
    if node["name"] not in parts.hoist.outputs:
        return True
    in_loop = walk(_new_states(parts.step))
    others = [n for n in cone if id(n) not in sunk and any(i is node for i in n.inputs)]
    own = walk([parts.hoist.outputs[node["name"]]])
    return not others and all(n is not node for n in in_loop) and all(n.op != "input" or _by_step(n) for n in own)


def _by_step(node: Node) -> bool:
    return node["kind"] in ("x", "stream", "param")


def _hoisted(sunk: dict[int, Node], step: Graph, parts: Split) -> Iterable[Node]:
    """The hoisted values that what is sunk reads."""
    read = {id(i): i for n in sunk.values() for i in n.inputs}
    return [n for n in step.inputs.values() if id(n) in read and n["name"] in parts.hoist.outputs]


def _inputs(build: Builder, graph: Graph) -> dict[str, Node]:
    return dict(zip(graph.inputs, rebuild(build, graph.inputs.values(), {}), strict=True))


def held_in_output(step: Graph) -> dict[str, tuple[int, int]]:
    """The states whose new values lie in the output: from where, and how wide."""
    output = step.outputs["output"]
    new = {name: node for name, node in step.outputs.items() if name.startswith("new.")}
    found = {name.removeprefix("new."): (0, node.width) for name, node in new.items() if node is output}
    for part, start in parts_of(output):
        for name, node in new.items():
            if node is part:
                found.setdefault(name.removeprefix("new."), (start, node.width))
    return found
