"""Weights that a step takes apart by rows, as ``weight.chunk(2)`` does: one split each, whose gradient is one join.

Part by part, autograd would make a tensor of zeros as large as the whole weight for each, and add them up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ostinato.compiler.graph import Graph, Node


@dataclass(frozen=True)
class Split:
    """A tensor of the cell, and which params its rows are, from the first to the last."""

    tensor: str
    sizes: tuple[int, ...]
    names: tuple[str, ...]

    def run(self, tensor: Tensor) -> dict[str, Tensor]:
        return dict(zip(self.names, tensor.split(list(self.sizes)), strict=True))


def splits_of(prepare: Graph) -> list[Split]:
    """The tensors whose parts, as outputs of a graph on parameters, lie side by side and leave nothing out."""
    found: dict[str, dict[tuple[int, int], str]] = {}
    sizes: dict[str, int] = {}
    for name, node in prepare.outputs.items():
        rows = _rows(node)
        if rows is not None:
            source = node.inputs[0]
            sizes[source["name"]] = source.shape[0]
            found.setdefault(source["name"], {}).setdefault(rows, name)
    made = []
    for tensor, parts in found.items():
        ordered = sorted(parts)
        starts, ends = [start for start, _ in ordered], [end for _, end in ordered]
        if len(ordered) > 1 and starts == [0, *ends[:-1]] and ends[-1] == sizes[tensor]:
            widths = tuple(end - start for start, end in ordered)
            made.append(Split(tensor, widths, tuple(parts[rows] for rows in ordered)))
    return made


def _rows(node: Node) -> tuple[int, int] | None:
    """From which to before which row of a tensor of the cell a value is; None if it is anything else."""
    if node.op != "aten" or not node.inputs or node.inputs[0].op != "input" or node["kwargs"]:
        return None
    count, given = node.inputs[0].shape[0], list(node["args"][1:])
    if node["target"] == "aten.slice.Tensor":
        dim, start, end, step = given + [0, None, None, 1][len(given) :]
        if (dim, step) == (0, 1):
            first, last, _ = slice(start, end).indices(count)
            return first, last
    elif node["target"] in ("aten.split.Tensor", "aten.split_with_sizes.default"):
        size, dim = [*given, 0][:2]
        if dim == 0:
            widths = size if isinstance(size, Sequence) else [size] * node["result"]
            first = sum(widths[: node["result"]])
            return first, first + node.shape[0]
    return None
