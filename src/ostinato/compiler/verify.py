"""What a legal graph is: of every node, that its shape, rows, dtype and attributes fit its operation and its inputs.

Run by tests at both ends of every pass. ``RULES`` has one function an operation; each asserts, and what it asserts is
the operation's contract.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import torch

from ostinato.compiler.graph import KINDS, Graph, Node
from ostinato.compiler.interpret import COMPOSITE, NORMALISING, POINTWISE, REDUCTIONS

COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne")
LOGICAL = ("and", "or", "not")
OPERANDS = {
    "where": 3,
    **dict.fromkeys(("add", "sub", "mul", "div", "pow", "maximum", "minimum", "remainder", "fmod", "floor_divide"), 2),
    **dict.fromkeys((*COMPARISONS, "and", "or"), 2),
}
"""How many values a pointwise operation reads; one, where nothing is said."""

ATTRIBUTES = {
    "const": {"value"},
    "input": {"kind", "name"},
    "slice": {"axis", "start", "stop", "step"},
    "cat": {"axis"},
    "permute": {"dims"},
    "clip_gradient": {"limit"},
    "layer_norm": {"eps"},
    "rms_norm": {"eps"},
    "aten": {"target", "args", "kwargs", "result"},
    **{name: {"axes"} for name in REDUCTIONS},
    "softplus": {"beta", "threshold"},
    "gelu": {"approximate"},
    "elu": {"alpha", "scale", "input_scale"},
    "celu": {"alpha"},
    "power": {"exponent"},
    "hardshrink": {"lambd"},
    "softshrink": {"lambd"},
    "leaky_relu": {"negative_slope"},
    "hardtanh": {"min_val", "max_val"},
}
"""The attributes an operation must have; none, where nothing is said."""

OPTIONAL = {"linear": {"start", "stop"}, "linear_t": {"start", "stop"}, "clamp": {"min", "max"}}


class VerifyError(AssertionError):
    """A node that breaks the contract of its operation."""


def verify(graph: Graph) -> None:
    """Check every node of a graph.

    Raises:
        VerifyError: it shows the node and what does not hold.
    """
    for name, node in graph.inputs.items():
        if node.op != "input":
            raise VerifyError(f"the input {name} is {describe(node)}")
    known = {id(node) for node in graph.inputs.values()}
    for node in graph.nodes():
        if node.op == "input" and id(node) not in known:
            raise VerifyError(f"{describe(node)} is read, but is no input of the graph")
        check(node)


def check(node: Node) -> None:
    """Check one node against its inputs."""
    rule = RULES.get(node.op)
    if rule is None:
        raise VerifyError(f"{describe(node)}: no such operation")
    try:
        assert node.dtype in ("real", "bool"), "dtype is real or bool"
        assert all(isinstance(size, int) and size >= 0 for size in node.shape), "sizes are whole numbers"
        names, needed = {name for name, _ in node.attrs}, ATTRIBUTES.get(node.op, set())
        allowed = needed | OPTIONAL.get(node.op, set())
        assert needed <= names <= allowed, f"its attributes are {sorted(allowed)}"
        assert list(node.attrs) == sorted(node.attrs, key=lambda pair: pair[0]), "attributes are sorted"
        assert node.rows or node.op == "input" or not any(i.rows for i in node.inputs), "rows do not vanish"
        rule(node)
    except AssertionError as error:
        raise VerifyError(f"{describe(node)}: {error}") from None
    except (ValueError, IndexError, TypeError, RuntimeError) as error:
        raise VerifyError(f"{describe(node)}: its attributes or inputs do not fit it: {error}") from error


def describe(node: Node) -> str:
    """A node and what it reads, on one line."""

    def kind(n: Node) -> str:
        return f"{n.op} {n.dtype} ({'B; ' if n.rows else ''}{', '.join(map(str, n.shape))})"

    attrs = "".join(f" {name}={value!r}" for name, value in node.attrs)
    text = f"{kind(node)} <- [{', '.join(map(kind, node.inputs))}]{attrs}"
    return f"{text} # {node.source}" if node.source else text


def _one(node: Node) -> Node:
    assert len(node.inputs) == 1, "it reads one value"
    return node.inputs[0]


def _input(node: Node) -> None:
    assert not node.inputs, "an input reads nothing"
    assert node["kind"] in KINDS, f"an input is of kind {', '.join(KINDS)}"
    assert isinstance(node["name"], str), "an input has a name"
    assert node.rows != (node["kind"] in ("tensor", "param")), "tensors and params have no rows, all else has"


def _const(node: Node) -> None:
    assert not node.inputs, "a number reads nothing"
    assert node.shape == (), "a number has no axes"
    assert not node.rows, "a number has no rows"
    assert isinstance(node["value"], bool if node.dtype == "bool" else float), "its value has its dtype"


def _pointwise(node: Node) -> None:
    assert len(node.inputs) == OPERANDS.get(node.op, 1), f"it reads {OPERANDS.get(node.op, 1)} values"
    full = [i for i in node.inputs if i.op != "const"]
    assert all(i.shape == node.shape and i.rows == node.rows for i in full), "values have one shape, or are numbers"
    assert full or node.shape == (), "numbers alone give a number"
    result = "bool" if node.op in (*COMPARISONS, *LOGICAL) else "real"
    values = node.inputs
    if node.op == "where":
        assert node.inputs[0].dtype == "bool", "the condition is a bool"
        values, result = node.inputs[1:], node.dtype
    assert node.dtype == result, f"it gives {result}"
    expected = "bool" if node.op in LOGICAL else node.dtype if node.op == "where" else "real"
    assert all(i.dtype == expected for i in values), f"it reads {expected} values"


def _broadcast(node: Node) -> None:
    value = _one(node)
    assert node.rows, "what is broadcast has rows"
    assert node.dtype == value.dtype, "the dtype stays"
    aligned = node.shape[len(node.shape) - len(value.shape) :]
    assert len(value.shape) <= len(node.shape), "it gains axes at the left only"
    assert all(own in (1, size) for own, size in zip(value.shape, aligned, strict=True)), (
        "axes are aligned at the right"
    )


def _same_but_shape(node: Node) -> Node:
    value = _one(node)
    assert node.rows == value.rows, "rows stay"
    assert node.dtype == value.dtype, "the dtype stays"
    return value


def _same(node: Node) -> None:
    assert node.shape == _same_but_shape(node).shape, "the shape stays"
    assert node.rows, "it is for values with rows"


def _clip(node: Node) -> None:
    _same(node)
    assert node["limit"] > 0, "limit is greater than zero"


def _slice(node: Node) -> None:
    value, axis = _same_but_shape(node), node["axis"]
    start, stop, step = node["start"], node["stop"], node["step"]
    assert 0 <= axis < len(value.shape), "axis is one of the value's"
    assert 0 <= start <= stop <= value.shape[axis], "0 ≤ start ≤ stop ≤ size"
    assert step > 0, "step is greater than zero"
    length = len(range(start, stop, step))
    assert node.shape == (*value.shape[:axis], length, *value.shape[axis + 1 :]), "the shape follows from the bounds"


def _cat(node: Node) -> None:
    axis, first = node["axis"], node.inputs[0]
    assert 0 <= axis < len(first.shape), "axis is one of the values'"
    for value in node.inputs:
        assert (value.rows, value.dtype) == (node.rows, node.dtype), "rows and dtype are one"
        assert len(value.shape) == len(first.shape), "values have as many axes"
        assert all(a == b for d, (a, b) in enumerate(zip(value.shape, first.shape, strict=True)) if d != axis), (
            "other axes are equal"
        )
    total = sum(v.shape[axis] for v in node.inputs)
    assert node.shape == (*first.shape[:axis], total, *first.shape[axis + 1 :]), "sizes add up"


def _reshape(node: Node) -> None:
    assert prod(_same_but_shape(node).shape) == prod(node.shape), "the number of elements stays"


def _permute(node: Node) -> None:
    value, dims = _same_but_shape(node), node["dims"]
    assert sorted(dims) == list(range(len(value.shape))), "dims is an order of the axes"
    assert node.shape == tuple(value.shape[d] for d in dims), "the shape follows from dims"


def _real(node: Node) -> Node:
    value = _same_but_shape(node)
    assert value.dtype == "real", "it reads a real value"
    return value


def _reduction(node: Node) -> None:
    value, axes = _real(node), node["axes"]
    assert all(0 <= a < len(value.shape) for a in axes), "axes are the value's"
    assert list(axes) == sorted(set(axes)), "axes are sorted, each once"
    assert node.shape == tuple(1 if d in axes else s for d, s in enumerate(value.shape)), "axes stay with size 1"


def _normalising(node: Node) -> None:
    value = _real(node)
    assert value.rows, "it has rows"
    assert value.shape, "it has a last axis"
    size = 1 if node.op in ("logsumexp", "norm", "largest", "smallest") else value.shape[-1]
    assert node.shape == (*value.shape[:-1], size), "over the last axis"


def _product(node: Node) -> None:
    assert len(node.inputs) == 2, "it reads a value and a weight"
    value, weight = node.inputs
    assert value.rows, "the value has rows"
    assert node.rows, "the result has rows"
    assert not weight.rows, "the weight has no rows"
    assert {value.dtype, weight.dtype, node.dtype} == {"real"}, "all are real"
    attrs = dict(node.attrs)
    out, inner = (-2, -1) if node.op == "linear" else (-1, -2)
    start, stop = attrs.get("start"), attrs.get("stop")
    n = len(range(*slice(start, stop).indices(weight.shape[out])))
    assert weight.shape[inner] == value.shape[-1], "the summed axes are equal"
    assert len(weight.shape) in (2, 3), "the weight is a matrix, or a stack of them"
    if len(weight.shape) == 3:
        assert value.shape[:-1] == weight.shape[:1], "as many matrices as heads"
    assert node.shape == (*value.shape[:-1], n), "the shape follows from the weight"


def _aten(node: Node) -> None:
    assert not any(v.rows for v in (node, *node.inputs)), "torch's own operations are for values without rows"
    target = torch.ops
    for part in node["target"].split("."):
        assert hasattr(target, part), "target is an operation of torch's"
        target = getattr(target, part)
    read = set(_places([node["args"], node["kwargs"]]))
    assert read == set(range(len(node.inputs))), "every input is an argument, and the other way round"


def _parameter(node: Node) -> None:
    assert not any(v.rows for v in (node, *node.inputs)), "only parameters lose the mean of their rows"
    assert node.shape == node.inputs[0].shape, "the shape is the parameter's"


def _places(value: object) -> list[int]:
    if isinstance(value, list | tuple):
        return [n for v in value for n in _places(v)]
    if isinstance(value, dict):
        return [value["%"]] if "%" in value else [n for v in value.values() for n in _places(v)]
    return []


RULES: dict[str, Callable[[Node], None]] = {
    "input": _input,
    "const": _const,
    "broadcast": _broadcast,
    "slice": _slice,
    "cat": _cat,
    "reshape": _reshape,
    "permute": _permute,
    "linear": _product,
    "linear_t": _product,
    "detach": _same,
    "clip_gradient": _clip,
    "less_mean": _parameter,
    "aten": _aten,
    **dict.fromkeys((*POINTWISE, *COMPOSITE), _pointwise),
    **dict.fromkeys(REDUCTIONS, _reduction),
    **dict.fromkeys(NORMALISING, _normalising),
}
"""The operation's name → what must hold of it."""
