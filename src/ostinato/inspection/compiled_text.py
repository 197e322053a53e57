"""What a compiled step is, in words and numbers: its passes, its graphs, what it keeps and what it costs."""

from __future__ import annotations

import torch

from ostinato.compiler.affine import is_linear_recurrence
from ostinato.compiler.graph import Graph, Node
from ostinato.engines import kernels
from ostinato.engines.compiled import Compiled

FREE = frozenset(("input", "const", "broadcast", "slice", "cat", "reshape", "permute", "detach"))
"""Operations that compute nothing."""

LINEAR = "a linear recurrence: each state's element is linear in its own past, so a parallel scan gives the same states"


def describe(compiled: Compiled, dtype: torch.dtype, code: bool = False) -> str:
    """A compiled step as text.

    Args:
        compiled: one cell's.
        dtype: the layer's.
        code: also the machine code's text.
    """
    program = compiled.program
    loop, outside = flops(program.forward), f"{flops(program.hoist):,} before it"
    if program.sink is not None:
        outside += f", {flops(program.sink):,} after it"
    passes = ", ".join(f"{name} {1000 * seconds:.0f}" for name, seconds in compiled.times.items())
    parts = [
        f"passes, ms: {passes}",
        f"a step of one row: {loop:,} floating-point operations in the loop, {outside}, for all steps",
        f"kept of a step of one row for the backward: {kept_bytes(compiled, dtype):,} bytes",
    ]
    for title, graph in (("parameters only", program.prepare), ("before the loop", program.hoist)):
        if graph.outputs:
            parts.append(f"{title}:\n{_indented(str(graph))}")
    parts.append(f"the loop:\n{_indented(str(program.forward))}")
    if program.backward is not None:
        parts.append(f"the loop's backward:\n{_indented(str(program.backward.graph))}")
    if program.sink is not None:
        parts.append(f"after the loop:\n{_indented(str(program.sink))}")
    if is_linear_recurrence(program.forward):
        parts.append(LINEAR)
    kernel = compiled.kernel(dtype)
    for title, text in (
        ("tiles and threads", kernels.schedule(kernel)),
        ("code", kernels.code(kernel) if code else ""),
    ):
        if text:
            parts.append(f"{title}:\n{_indented(text)}")
    return "\n".join(parts)


def flops(graph: Graph) -> int:
    """Floating-point operations for one row: two for each number of a matrix product, one for each elementwise one."""
    return sum(_flops(node) for node in graph.nodes() if node.rows)


def _flops(node: Node) -> int:
    if node.op == "linear":
        return 2 * node.width * node.inputs[1].shape[-1]
    if node.op in FREE:
        return 0
    return max(node.width, *(i.width for i in node.inputs)) if node.inputs else 0


def kept_bytes(compiled: Compiled, dtype: torch.dtype) -> int:
    """What one step of one row keeps for the backward, besides the input and the output."""
    program = compiled.program
    if program.backward is None:
        return 0
    outputs, inner = program.forward.outputs, program.hoist.outputs
    nodes = [] if program.sink is None else [outputs["output"]]
    nodes += [outputs[name] for name in (*program.saved, *(f"new.{s}" for s in compiled.kept_states))]
    nodes += [inner[name] for name in compiled.kept_streams if name in inner]
    nodes += compiled.hoist.within
    return sum(node.width for node in nodes) * dtype.itemsize


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
