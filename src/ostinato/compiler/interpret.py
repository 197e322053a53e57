"""What a graph means, in plain PyTorch: every pass must keep it, and every kernel must agree with it."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ostinato.compiler.clip import clip_gradient
from ostinato.compiler.graph import Graph, Node
from ostinato.compiler.less_mean import less_mean

POINTWISE: dict[str, Callable[..., Tensor]] = {
    # one value
    "neg": torch.neg,
    "abs": torch.abs,
    "sign": torch.sign,
    "exp": torch.exp,
    "expm1": torch.expm1,
    "log": torch.log,
    "log1p": torch.log1p,
    "sqrt": torch.sqrt,
    "rsqrt": torch.rsqrt,
    "reciprocal": torch.reciprocal,
    "sin": torch.sin,
    "cos": torch.cos,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "erf": torch.erf,
    "floor": torch.floor,
    "ceil": torch.ceil,
    "round": torch.round,
    "trunc": torch.trunc,
    "not": torch.logical_not,
    # two
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "pow": torch.pow,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "remainder": torch.remainder,
    "fmod": torch.fmod,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "eq": operator.eq,
    "ne": operator.ne,
    "and": torch.logical_and,
    "or": torch.logical_or,
    # three
    "where": torch.where,
}
"""Operations the native back-end emits, element by element."""


def power(value: Tensor, exponent: float) -> Tensor:
    """A power of what is at least zero, without a gradient at zero: what a norm is made of."""
    zero = value == 0
    return torch.where(zero, 0.0, torch.where(zero, 1.0, value) ** exponent)


COMPOSITE: dict[str, Callable[..., Tensor]] = {
    "softplus": F.softplus,
    "silu": F.silu,
    "gelu": F.gelu,
    "elu": torch.ops.aten.elu,
    "leaky_relu": F.leaky_relu,
    "hardtanh": F.hardtanh,
    "hardsigmoid": F.hardsigmoid,
    "hardswish": F.hardswish,
    "mish": F.mish,
    "logsigmoid": F.logsigmoid,
    "clamp": torch.clamp,
    "hardshrink": F.hardshrink,
    "softshrink": F.softshrink,
    "celu": F.celu,
    "power": power,
    "atan": torch.atan,
    "cosh": torch.cosh,
    "erfc": torch.erfc,
    "exp2": torch.exp2,
    "floor_divide": partial(torch.div, rounding_mode="floor"),
    "log2": torch.log2,
    "log10": torch.log10,
    "logit": torch.logit,
    "sinc": torch.sinc,
    "sinh": torch.sinh,
}
"""Pointwise operations that are differentiated as torch does it, and then expanded (``expand.py``)."""


Multiply = Callable[[Tensor, Tensor], Tensor]
"""(N, K) values and a weight (O, K) → ``value @ weight.T``."""


def run(graph: Graph, values: Mapping[str, Tensor], multiply: Multiply | None = None) -> dict[str, Tensor]:
    """Evaluate a graph. Values with rows come as (rows, *shape), others as (*shape).

    Args:
        multiply: who makes the products that :func:`is_large` speaks of, if not torch.
    """
    rows = next((v.shape[0] for n, v in values.items() if graph.inputs[n].rows), 0)
    like = next((v for v in values.values() if v.is_floating_point()), torch.empty(0))
    done: dict[int, Any] = {id(node): values[name] for name, node in graph.inputs.items() if name in values}
    for node in graph.nodes():
        if id(node) not in done and node.op != "input":
            inputs = tuple(done[id(i)] for i in node.inputs)
            if multiply is not None and is_large(node):
                done[id(node)] = multiply(inputs[0], _rows_of(node, inputs[1]))
            else:
                done[id(node)] = evaluate(node, inputs, rows, like)
    return {name: _full(done[id(node)], node, rows, like) for name, node in graph.outputs.items()}


def is_large(node: Node) -> bool:
    """Whether a node multiplies rows of numbers by one weight."""
    if node.op != "linear":
        return False
    value, weight = node.inputs
    return value.rows and len(value.shape) == 1 and not weight.rows and len(weight.shape) == 2


def _full(value: Any, node: Node, rows: int, like: Tensor) -> Tensor:
    return value if isinstance(value, Tensor) else like.new_full((rows,), value)


def evaluate(node: Node, inputs: tuple[Any, ...], rows: int, like: Tensor) -> Any:
    """One operation on its inputs' values; a constant is a Python number."""
    op, lead = node.op, int(node.rows)
    if op == "const":
        return node["value"]
    if op in POINTWISE:
        return _pointwise(POINTWISE[op], op, inputs, like)
    if op in COMPOSITE:
        return _pointwise(partial(COMPOSITE[op], **dict(node.attrs)), op, inputs, like)
    if op == "broadcast":
        value = inputs[0]
        if not isinstance(value, Tensor):
            return torch.full((rows, *node.shape), value, dtype=_dtype(node, like), device=like.device)
        if node.inputs[0].rows:
            value = value.reshape(rows, *(1,) * (len(node.shape) - len(node.inputs[0].shape)), *node.inputs[0].shape)
        return value.expand(rows, *node.shape)
    if op in VIEWS:
        return VIEWS[op](node, inputs, lead, rows)
    if op in REDUCTIONS:
        axes = [a + lead for a in node["axes"]]
        return REDUCTIONS[op](inputs[0], axes)
    if op in PRODUCTS:
        return PRODUCTS[op](node, *inputs)
    if op == "detach":
        return inputs[0].detach()
    if op == "clip_gradient":
        return clip_gradient(inputs[0], node["limit"])
    if op == "less_mean":
        return less_mean(inputs[0])
    if op == "aten":
        return _aten(node, inputs)
    if op in NORMALISING:
        return NORMALISING[op](node, inputs[0])
    raise NotImplementedError(op)


TENSORS = frozenset(("maximum", "minimum", "where", "pow", "remainder", "fmod", "floor_divide", "and", "or"))
"""Operations that torch has no form of in which any value may be a number, or one that takes it in another dtype."""


def _pointwise(function: Callable[..., Tensor], op: str, inputs: tuple[Any, ...], like: Tensor) -> Tensor:
    if op in TENSORS or not any(isinstance(i, Tensor) for i in inputs):
        inputs = tuple(
            i
            if isinstance(i, Tensor)
            else torch.tensor(i, dtype=torch.bool if isinstance(i, bool) else like.dtype, device=like.device)
            for i in inputs
        )
    return function(*inputs)


def _dtype(node: Node, like: Tensor) -> torch.dtype:
    return torch.bool if node.dtype == "bool" else like.dtype


def _linear(node: Node, value: Tensor, weight: Tensor) -> Tensor:
    """``value @ weight.T``; ``start``, ``stop``: with these rows of the weight only."""
    weight = _rows_of(node, weight)
    if weight.dim() == 2:
        return F.linear(value, weight)
    return torch.einsum("bhk,hnk->bhn", value, weight)


def _rows_of(node: Node, weight: Tensor) -> Tensor:
    attrs = dict(node.attrs)
    return weight[..., attrs.get("start") : attrs.get("stop"), :] if attrs else weight


def _linear_t(node: Node, value: Tensor, weight: Tensor) -> Tensor:
    """``value @ weight``, what a gradient does; ``start``, ``stop``: with these columns of the weight only."""
    attrs = dict(node.attrs)
    weight = weight[..., attrs.get("start") : attrs.get("stop")]
    return value @ weight if weight.dim() == 2 else torch.einsum("bhn,hnk->bhk", value, weight)


PRODUCTS: dict[str, Callable[[Node, Tensor, Tensor], Tensor]] = {"linear": _linear, "linear_t": _linear_t}

VIEWS: dict[str, Callable[[Node, tuple[Any, ...], int, int], Tensor]] = {
    "slice": lambda node, v, lead, rows: v[0][
        (slice(None),) * (node["axis"] + lead) + (slice(node["start"], node["stop"], node["step"]),)
    ],
    "cat": lambda node, v, lead, rows: torch.cat(v, dim=node["axis"] + lead),
    "reshape": lambda node, v, lead, rows: v[0].reshape(*(v[0].shape[:1] if lead else ()), *node.shape),
    "permute": lambda node, v, lead, rows: v[0].permute(*((0,) if lead else ()), *(d + lead for d in node["dims"])),
}

REDUCTIONS: dict[str, Callable[[Tensor, list[int]], Tensor]] = {
    "sum": lambda v, axes: v.sum(axes, keepdim=True),
    "amax": lambda v, axes: v.amax(axes, keepdim=True),
    "amin": lambda v, axes: v.amin(axes, keepdim=True),
}

NORMALISING: dict[str, Callable[[Node, Tensor], Tensor]] = {
    "softmax": lambda node, v: torch.softmax(v, dim=-1),
    "log_softmax": lambda node, v: torch.log_softmax(v, dim=-1),
    "logsumexp": lambda node, v: torch.logsumexp(v, dim=-1, keepdim=True),
    "norm": lambda node, v: torch.linalg.vector_norm(v, dim=-1, keepdim=True),
    "largest": lambda node, v: v.max(dim=-1, keepdim=True).values,
    "smallest": lambda node, v: v.min(dim=-1, keepdim=True).values,
    "layer_norm": lambda node, v: F.layer_norm(v, node.shape[-1:], eps=node["eps"]),
    "rms_norm": lambda node, v: F.rms_norm(v, node.shape[-1:], eps=node["eps"]),
}
"""Over the last axis; differentiated as torch does it, and then expanded (``expand.py``). No weights of their own."""


def _aten(node: Node, inputs: tuple[Any, ...]) -> Any:
    """An operation of torch's own on parameters only, with its arguments as they were called.

    ``target`` is ``"aten.mul.Tensor"``; ``args`` and ``kwargs`` are JSON-like, a tensor in them is ``{"%": n}``, the
    n-th input; ``{"dtype": "float32"}`` and the like stand for torch's own constants; ``result`` picks one of several.
    """
    overload: Any = torch.ops
    for part in node["target"].split("."):
        overload = getattr(overload, part)
    args = unpack(node["args"], inputs)
    result = overload(*args, **unpack(node["kwargs"], inputs))
    return result if node["result"] is None else result[node["result"]]


def unpack(value: Any, inputs: tuple[Any, ...]) -> Any:
    """JSON-like arguments with tensors and torch's constants put back."""
    if isinstance(value, list | tuple):
        return [unpack(v, inputs) for v in value]
    if isinstance(value, dict):
        if "%" in value:
            return inputs[value["%"]]
        if "torch" in value:
            return getattr(torch, value["torch"])
        if isinstance(value.get("device"), str):
            return next((i.device for i in inputs if isinstance(i, Tensor)), torch.device(value["device"]))
        return {key: unpack(v, inputs) for key, v in value.items()}
    return value
