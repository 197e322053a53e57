"""What a trace knows of a tensor: the node, and where in the tensor the row axis lies.

A node has its rows in front and knows nothing of the batch size; a step may move that axis back (``permute``) or join
it with others (``view(B * heads, -1)``) and undo it later. :class:`Value` is a node and the place of its rows, and
:class:`Maker` builds nodes from values as torch broadcasts, views and permutes tensors.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from math import prod
from typing import Any

import torch

from ostinato.compiler.graph import Builder, Node, Shape
from ostinato.compiler.refusal import Refused

MIXES = "lets the rows of the batch depend on each other"


@dataclass(frozen=True, slots=True)
class Value:
    """One traced tensor.

    The node's axes are the tensor's in order: ``left`` of the row axis, what is joined with it (``before``, then
    ``after``), and ``right`` of it. Without rows, ``row`` is None and the node's shape is the tensor's.

    Attributes:
        dtype: the tensor's; None where the rule that made it leaves that to the tensor itself.
        fill: the number every element is, if that is known.
        numbers: a list of numbers that the step writes out, as ``torch.tensor([1, 0])``.
    """

    node: Node
    row: int | None = None
    dtype: torch.dtype | None = None
    before: Shape = ()
    after: Shape = ()
    fill: float | bool | None = None
    numbers: tuple[float, ...] | None = None

    @property
    def left(self) -> Shape:
        return self.node.shape[: self.row or 0]

    @property
    def right(self) -> Shape:
        return self.node.shape[(self.row or 0) + len(self.before) + len(self.after) :]

    @property
    def joined(self) -> int:
        """How many of the node's axes are joined with the row axis."""
        return len(self.before) + len(self.after)

    def sizes(self, rows: int) -> Shape:
        """The tensor's shape at a batch of so many rows."""
        if self.row is None:
            return self.node.shape
        return (*self.left, prod(self.before) * rows * prod(self.after), *self.right)

    @property
    def dim(self) -> int:
        return len(self.node.shape) + (0 if self.row is None else 1 - self.joined)

    def axis(self, dim: int) -> int:
        """The node's axis for an axis of the tensor that is not the row axis."""
        if self.row is None or dim < self.row:
            return dim
        return dim - 1 + self.joined


Operand = Value | float | int | bool


class Maker:
    """Builds the nodes of one trace.

    Attributes:
        rows: the batch size this trace runs at.
        dtype: the cell's; what every real value is computed in.
        source: the user's line of the operation in hand.
        out: the tensor (or the tuple of them) that the operation in hand really gave.
    """

    def __init__(self, rows: int, dtype: torch.dtype, device: torch.device) -> None:
        self.build = Builder()
        self.rows, self.dtype, self.device = rows, dtype, device
        self.source = ""
        self.name = ""
        self.out: Any = None

    def refuse(self, why: str) -> Refused:
        """What to raise about the operation in hand."""
        return Refused(f"{self.name} {why}", self.source)

    # Numbers and dtypes

    def number(self, value: float | bool) -> Value:
        if isinstance(value, complex):
            raise self.refuse("computes with complex numbers, which have no native form; carry two real states")
        return Value(self.build.const(value), fill=value)

    def value(self, operand: Operand) -> Value:
        return operand if isinstance(operand, Value) else self.number(operand)

    def real(self, operand: Operand) -> Value:
        """The operand as a real number of the cell's dtype: a bool is 0 or 1."""
        value = self.value(operand)
        if value.fill is not None:
            return self._refilled(value, float(value.fill), self.dtype)
        if value.row is None:
            return value if value.dtype == self.dtype else self.convert(value, self.dtype)
        if value.node.dtype == "bool":
            node = self.build.pointwise(
                "where", value.node, self.build.const(1.0), self.build.const(0.0), source=self.source
            )
            return replace(value, node=node, dtype=self.dtype)
        return replace(value, dtype=self.dtype)

    def truth(self, operand: Operand) -> Value:
        """The operand as a bool: whether it is not zero."""
        value = self.value(operand)
        if value.fill is not None:
            return self._refilled(value, bool(value.fill), torch.bool)
        if value.node.dtype == "bool":
            return value
        if value.row is None:
            return self.convert(value, torch.bool)
        node = self.build.pointwise("ne", value.node, self.build.const(0.0), dtype="bool", source=self.source)
        return replace(value, node=node, dtype=torch.bool)

    def _refilled(self, value: Value, fill: float | bool, dtype: torch.dtype) -> Value:
        if value.node.op == "const":
            return self.number(fill)
        if value.row is None:
            return value if value.dtype == dtype else self.full(value.node.shape, fill, dtype)
        node = self.build.broadcast(self.build.const(fill), value.node.shape, self.source)
        return replace(value, node=node, dtype=dtype, fill=fill)

    # Values without rows

    def aten(
        self,
        target: str,
        args: Sequence[Any],
        kwargs: dict[str, Any],
        shape: Iterable[int],
        dtype: torch.dtype | None,
        result: int | None = None,
    ) -> Value:
        """An operation of torch's own on values without rows, of which all is left to torch."""
        inputs: list[Node] = []
        packed = [self._pack(a, inputs) for a in args]
        keywords = {k: self._pack(v, inputs) for k, v in kwargs.items()}
        kind = "bool" if dtype is torch.bool else "real"
        node = self.build.make(
            "aten", inputs, tuple(shape), False, kind, self.source,
            target=target, args=packed, kwargs=keywords, result=result,
        )  # fmt: skip
        return Value(node, dtype=dtype)

    def _pack(self, value: Any, inputs: list[Node]) -> Any:
        """An argument as JSON has it; see ``interpret.unpack``."""
        if isinstance(value, Value):
            inputs.append(value.node)
            return {"%": len(inputs) - 1}
        if isinstance(value, list | tuple):
            return [self._pack(v, inputs) for v in value]
        if isinstance(value, torch.dtype | torch.layout | torch.memory_format):
            return {"torch": str(value).removeprefix("torch.")}
        if isinstance(value, torch.device):
            return {"device": str(value)}
        if value is None or isinstance(value, bool | int | float | str):
            return value
        raise self.refuse(f"is called with {type(value).__name__}, which a graph cannot hold")

    def convert(self, value: Value, dtype: torch.dtype) -> Value:
        return self.aten("aten._to_copy.default", (value,), {"dtype": dtype}, value.node.shape, dtype)

    def full(self, shape: Shape, fill: float | bool, dtype: torch.dtype) -> Value:
        """Every element the same, without rows."""
        kwargs = {"dtype": dtype, "device": self.device}
        return replace(self.aten("aten.full.default", (list(shape), fill), kwargs, shape, dtype), fill=fill)

    def literal(self, tensor: torch.Tensor) -> Value:
        """A tensor of a few numbers that the step writes out."""
        shape, flat = tuple(tensor.shape), tensor.flatten().tolist()
        if len(flat) == 1:
            return self.full(shape, flat[0], tensor.dtype)
        ones = [self.full((1,), number, tensor.dtype) for number in flat]
        joined = self.aten("aten.cat.default", (ones,), {}, (len(flat),), tensor.dtype)
        if len(shape) == 1:
            return replace(joined, numbers=tuple(flat))
        return self.aten("aten.view.default", (joined, list(shape)), {}, shape, tensor.dtype)

    def transposed(self, weight: Value) -> Value:
        """A matrix (or a stack of them) with its last two axes exchanged; a transposition of one is undone."""
        node, n = weight.node, len(weight.node.shape)
        if node.op == "aten" and len(node.inputs) == 1 and node["args"][:1] == [{"%": 0}] and not node["kwargs"]:
            swapped = [*range(n - 2), n - 1, n - 2]
            target, rest = node["target"], node["args"][1:]
            if (
                (target == "aten.t.default" and n == 2)
                or (target == "aten.permute.default" and [d % n for d in rest[0]] == swapped)
                or (target == "aten.transpose.int" and {d % n for d in rest} == {n - 2, n - 1})
            ):
                return Value(node.inputs[0], dtype=weight.dtype)
        shape = (*node.shape[:-2], node.shape[-1], node.shape[-2])
        return self.aten("aten.transpose.int", (weight, n - 2, n - 1), {}, shape, weight.dtype)

    # Values with rows

    def spread(self, value: Value, like: Value) -> Value:
        """A value at every place of another, as torch broadcasts."""
        plan = Plan(self, (value, like))
        return replace(plan.value(self.build.broadcast(plan.fit(value), plan.shape, self.source)), dtype=value.dtype)

    def filled(self, sizes: Sequence[int], fill: float | bool, dtype: torch.dtype | None = None) -> Value:
        """A new tensor of one number; one of as many rows as the batch has rows."""
        sizes, dtype = tuple(sizes), dtype or self.out.dtype
        fill = torch.tensor(fill, dtype=dtype).item()
        if self.rows not in sizes:
            return self.full(sizes, fill, dtype)
        row = sizes.index(self.rows)
        shape = sizes[:row] + sizes[row + 1 :]
        node = self.build.broadcast(self.build.const(fill), shape, self.source)
        return Value(node, row, dtype, fill=fill)

    def point(self, op: str, *operands: Operand, **attrs: Any) -> Value:
        """A pointwise operation on real numbers, with a real result."""
        return self._point(op, [self.real(o) for o in operands], self.dtype, attrs)

    def compare(self, op: str, *operands: Operand) -> Value:
        """A pointwise operation on real numbers, with a bool result."""
        return self._point(op, [self.real(o) for o in operands], torch.bool, {})

    def logic(self, op: str, *operands: Operand) -> Value:
        """A pointwise operation on bools."""
        return self._point(op, [self.truth(o) for o in operands], torch.bool, {})

    def where(self, condition: Operand, yes: Operand, no: Operand) -> Value:
        branches = [self.value(yes), self.value(no)]
        if all(b.fill is not None for b in branches) and self.out.dtype.is_floating_point:
            given = [torch.tensor(b.fill, dtype=torch.float64) for b in branches]
            if all(torch.equal(g, g.to(self.out.dtype).double()) for g in given):
                # 0 and 1, say: the same in every dtype.
                made = self._point("where", [self.truth(condition), *map(self.real, branches)], self.dtype, {})
                return replace(made, dtype=self.out.dtype)
        if all(self._is_bool(b) for b in branches):
            return self._point("where", [self.truth(condition), *map(self.truth, branches)], torch.bool, {})
        return self._point("where", [self.truth(condition), *map(self.real, branches)], self.dtype, {})

    def _is_bool(self, value: Value) -> bool:
        return isinstance(value.fill, bool) or (value.fill is None and value.node.dtype == "bool")

    def _point(self, op: str, values: list[Value], dtype: torch.dtype, attrs: dict[str, Any]) -> Value:
        if all(v.row is None for v in values):
            return self._parameters(op, values)
        plan = Plan(self, values)
        nodes = [plan.fit(v) for v in values]
        if all(n.op == "const" for n in nodes):
            nodes[0] = self.build.broadcast(nodes[0], plan.shape, self.source)
        # Numbers stand beside full values only; what is smaller than the result is broadcast to it.
        nodes = [n if n.op == "const" else self.build.broadcast(n, plan.shape, self.source) for n in nodes]
        kind = "bool" if dtype is torch.bool else "real"
        node = self.build.pointwise(op, *nodes, dtype=kind, source=self.source, **attrs)
        return replace(plan.value(node), dtype=dtype)

    def same(self, op: str, value: Value, **attrs: Any) -> Value:
        """An operation that leaves the value and its shape as they are: ``detach``, ``clip_gradient``."""
        node = value.node
        made = self.build.make(op, (node,), node.shape, True, node.dtype, self.source, **attrs)
        return replace(value, node=made, fill=None)

    def detached(self, value: Value) -> Value:
        """The value without its gradient."""
        if value.fill is not None or value.node.dtype == "bool" or value.node.op == "detach":
            return value
        if value.row is None:
            return self.aten("aten.detach.default", (value,), {}, value.node.shape, value.dtype)
        return self.same("detach", value)

    def _parameters(self, op: str, values: list[Value]) -> Value:
        """Arithmetic that a rule does on values without rows: ``alpha * bias``."""
        args = [v.fill if v.node.op == "const" else v for v in values]
        overload = "Scalar" if not isinstance(args[1], Value) else "Tensor"
        shape = _broadcast([v.node.shape for v in values])
        return self.aten(f"aten.{op}.{overload}", args, {}, shape, self.dtype)

    # Axes

    def dim(self, value: Value, dim: int) -> int:
        return dim % value.dim if value.dim else 0

    def feature(self, value: Value, dim: int, doing: str) -> int:
        """The node's axis for an axis of the tensor; refused if it is the row axis."""
        dim = self.dim(value, dim)
        if dim == value.row:
            raise self.refuse(f"{doing} the batch axis, so it {MIXES}; use the feature axis (dim=-1)")
        return value.axis(dim)

    def view(self, value: Value, sizes: Sequence[int]) -> Value:
        """The same elements in the same order under another shape: where the row axis goes follows from its stride."""
        assert value.row is not None
        sizes = infer(sizes, prod(value.sizes(self.rows)))
        inner = prod(value.after) * prod(value.right)
        stride = 1
        for d in range(len(sizes) - 1, -1, -1):
            size = sizes[d]
            if inner % stride == 0 and size and (stride * size) % (inner * self.rows) == 0:
                after, before = inner // stride, stride * size // (inner * self.rows)
                joined = tuple((n,) if n > 1 else () for n in (before, after))
                shape = (*sizes[:d], *joined[0], *joined[1], *sizes[d + 1 :])
                node = self.build.reshape(value.node, shape, self.source)
                return replace(value, node=node, row=d, before=joined[0], after=joined[1])
            stride *= size
        raise self.refuse("gives a shape in which the rows of the batch are torn apart")

    def permute(self, value: Value, dims: Sequence[int]) -> Value:
        assert value.row is not None
        order: list[int] = []
        for d in (self.dim(value, d) for d in dims):
            first = value.row if d == value.row else value.axis(d)
            order.extend(range(first, first + (value.joined if d == value.row else 1)))
        row = [self.dim(value, d) for d in dims].index(value.row)
        return replace(value, node=self.build.permute(value.node, tuple(order), self.source), row=row)

    def separate(self, value: Value, doing: str) -> Value:
        """The value, if no other axis is joined with its rows."""
        if value.joined:
            raise self.refuse(f"{doing} a view that joins the batch axis with another one")
        return value


class Plan:
    """The shape that values broadcast to, and where its row axis is."""

    def __init__(self, maker: Maker, values: Sequence[Value]) -> None:
        self.maker = maker
        with_rows = [v for v in values if v.row is not None]
        first = with_rows[0]
        self.before, self.after, count = first.before, first.after, len(first.right)
        parts: list[tuple[Shape, Shape]] = []
        for value in values:
            if value.row is None:
                parts.append(self._without_rows(value, count))
            elif (value.before, value.after, len(value.right)) != (self.before, self.after, count):
                raise maker.refuse(f"{MIXES}: it joins two values whose batch axes do not lie in one place")
            else:
                parts.append((value.left, value.right))
        self.left = _broadcast([left for left, _ in parts])
        self.right = _broadcast([right for _, right in parts])
        self.shape = (*self.left, *self.before, *self.after, *self.right)

    def _without_rows(self, value: Value, count: int) -> tuple[Shape, Shape]:
        shape = value.node.shape if value.node.op != "const" else ()
        if len(shape) <= count:
            return (), shape
        if shape[-count - 1] != 1:
            raise self.maker.refuse("joins the batch axis with one of a fixed size, so it depends on the batch size")
        return shape[: -count - 1], shape[len(shape) - count :]

    def fit(self, value: Value) -> Node:
        """The value's node, its axes aligned with the plan's at the right; a number stays one."""
        if value.fill is not None:
            return self.maker.build.const(value.fill)
        if value.row is not None:
            return value.node
        left, right = self._without_rows(value, len(self.right))
        shape = (*left, *(1,) * len(self.before + self.after), *right) if left else right
        return self.maker.build.reshape(value.node, shape, self.maker.source)

    def value(self, node: Node) -> Value:
        return Value(node, len(self.left), None, self.before, self.after)


def _broadcast(shapes: Iterable[Shape]) -> Shape:
    """What the shapes of one operation broadcast to. (``torch.broadcast_shapes`` imports sympy, 0.2 s.)"""
    sizes = [{*column} - {1} for column in zip_longest(*(s[::-1] for s in shapes), fillvalue=1)]
    assert all(len(size) <= 1 for size in sizes), "torch has run the operation"
    return tuple(next(iter(size), 1) for size in sizes)[::-1]


def infer(sizes: Sequence[int], count: int) -> Shape:
    """Sizes with the one that is -1 put in."""
    known = prod(s for s in sizes if s != -1)
    return tuple(count // known if s == -1 else s for s in sizes)
