"""How many vectors an elementwise body works on at once.

An activation is a chain of some twenty instructions, each of which waits for the one before, and a cell's are one
behind the other. A processor looks ahead past a few hundred instructions, less where two of its threads share a core,
and that is one or two bodies. So a body takes several vectors at a time: their chains go side by side, as far as there
are registers for what lives at once.
"""

from __future__ import annotations

from collections.abc import Sequence

from ostinato.compiler.cpu.schedule import Schedule
from ostinato.compiler.cpu.targets import Target
from ostinato.compiler.graph import Node

IN_TILES, IN_PASSES = 4, 2
"""The most vectors at once: after products, whose sums lie near, and in a pass over a row, which loads all it reads."""

LEAST_REGISTERS = 32
WORKING = 3
"""Registers an activation needs for itself, besides its constants, which are an instruction's operands in memory."""

LONE = frozenset({"sin", "cos", "fmod", "remainder", "pow"})
"""Operations that may call a function for each lane, or are long: their text is not written for more lanes."""


def breadth(plan: Schedule, nodes: Sequence[Node], count: int, target: Target, most: int = IN_TILES) -> int:
    """A power of two that divides ``count``: so many vectors the operations ``nodes`` take at once, in this order."""
    if target.registers < LEAST_REGISTERS or any(node.op in LONE for node in nodes):
        return 1
    room = target.registers // (_alive(plan, nodes) + WORKING)
    at_once = most
    while at_once > 1 and (count % at_once or at_once > room):
        at_once //= 2
    return at_once


def _alive(plan: Schedule, nodes: Sequence[Node]) -> int:
    """The most values that wait at any time to be read by a later operation."""
    last: dict[int, int] = {}
    for n, node in enumerate(nodes):
        for i in range(len(node.inputs)):
            read = plan.reads.get((id(node), i))
            if read is not None:
                last[id(read.node)] = n
    made = {id(node) for node in nodes}
    alive, most = set[int](), 0
    for n, node in enumerate(nodes):
        alive.add(id(node))
        alive = {key for key in alive if key in made and last.get(key, n) > n}
        most = max(most, len(alive))
    return most
