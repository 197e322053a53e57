"""What torch's elementwise operations are in a graph: one line an operation, by its name without the overload."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from ostinato.compiler.traced import Maker, Operand, Value

Rule = Callable[..., Any]


def same(op: str) -> Rule:
    """One or more real numbers to a real number, under our name."""
    return lambda m, *operands: m.point(op, *operands)


def compares(op: str) -> Rule:
    def rule(m: Maker, a: Operand, b: Operand) -> Value:
        if not (is_exact(m, a) or is_exact(m, b)) or wraps(a, b) or wraps(b, a):
            raise m.refuse(f"compares integers that {m.dtype} does not tell apart; compare them as .to(x.dtype)")
        return m.compare(op, a, b)

    return rule


def is_exact(m: Maker, operand: Operand) -> bool:
    """Whether to compare with this is the same in the cell's dtype: with what is real, or too small to be rounded."""
    if isinstance(operand, Value) and operand.fill is None:
        kind = operand.dtype or m.dtype
        return kind.is_floating_point or kind.itemsize < m.dtype.itemsize
    number = operand.fill if isinstance(operand, Value) else operand
    return isinstance(number, float) or abs(number or 0) * torch.finfo(m.dtype).eps < 2


def wraps(value: Operand, number: Operand) -> bool:
    """Whether torch brings a number into the range of the integers it is compared with."""
    kind = value.dtype if isinstance(value, Value) else None
    if kind in (None, torch.bool) or kind.is_floating_point or not isinstance(number, int):
        return False
    limits = torch.iinfo(kind)
    return not limits.min <= number <= limits.max


def logical(op: str) -> Rule:
    return lambda m, *operands: m.logic(op, *operands)


def bitwise(op: str) -> Rule:
    """The logical operation, of bools only."""

    def rule(m: Maker, *operands: Operand) -> Value:
        for operand in operands:
            kind = operand.dtype if isinstance(operand, Value) else type(operand)
            if kind not in (torch.bool, bool, None):
                raise m.refuse("works on the bits of integers, which has no native form")
        return xor(m, *operands) if op == "xor" else m.logic(op, *operands)

    return rule


def xor(m: Maker, a: Operand, b: Operand) -> Value:
    return m.logic("and", m.logic("or", a, b), m.logic("not", m.logic("and", a, b)))


def scaled(m: Maker, value: Operand, factor: float) -> Operand:
    return value if factor == 1 else m.point("mul", value, factor)


def add(m: Maker, a: Operand, b: Operand, *, alpha: float = 1) -> Value:
    return m.point("add", a, scaled(m, b, alpha))


def sub(m: Maker, a: Operand, b: Operand, *, alpha: float = 1) -> Value:
    return m.point("sub", a, scaled(m, b, alpha))


def rsub(m: Maker, a: Operand, b: Operand, alpha: float = 1) -> Value:
    return m.point("sub", b, scaled(m, a, alpha))


def mul(m: Maker, a: Operand, b: Operand) -> Value:
    return m.logic("and", a, b) if m.out.dtype is torch.bool else m.point("mul", a, b)


def div(m: Maker, a: Operand, b: Operand, *, rounding_mode: str | None = None) -> Value:
    if rounding_mode == "floor":
        return m.point("floor_divide", a, b)
    quotient = m.point("div", a, b)
    return quotient if rounding_mode is None else m.point(rounding_mode, quotient)


def addcmul(m: Maker, a: Value, b: Value, c: Value, *, value: float = 1) -> Value:
    return m.point("add", a, scaled(m, m.point("mul", b, c), value))


def addcdiv(m: Maker, a: Value, b: Value, c: Value, *, value: float = 1) -> Value:
    return m.point("add", a, scaled(m, m.point("div", b, c), value))


def lerp(m: Maker, a: Value, b: Value, weight: Operand) -> Value:
    return m.point("add", a, m.point("mul", weight, m.point("sub", b, a)))


def power(m: Maker, base: Operand, exponent: Operand) -> Value:
    known = None if isinstance(exponent, Value) else float(exponent)
    if isinstance(base, Value) and known in SMALL_POWERS:
        return SMALL_POWERS[known](m, base)
    return m.point("pow", base, exponent)


SMALL_POWERS: dict[float | None, Callable[[Maker, Value], Value]] = {
    0.5: lambda m, v: m.point("sqrt", v),
    1.0: lambda m, v: m.real(v),
    2.0: lambda m, v: m.point("mul", v, v),
    3.0: lambda m, v: m.point("mul", m.point("mul", v, v), v),
    -0.5: lambda m, v: m.point("rsqrt", v),
    -1.0: lambda m, v: m.point("reciprocal", v),
}


def clamp(m: Maker, v: Value, min: Operand | None = None, max: Operand | None = None) -> Value:
    if isinstance(min, Value) or isinstance(max, Value):
        like = next((limit for limit in (min, max) if isinstance(limit, Value) and limit.row is not None), None)
        v = v if v.row is not None or like is None else m.spread(v, like)
        bounded = v if min is None else bound(m, "lt", v, min)
        return bounded if max is None else bound(m, "gt", bounded, max)
    return m.point("clamp", v, **{name: float(x) for name, x in (("min", min), ("max", max)) if x is not None})


def bound(m: Maker, beyond: str, v: Value, limit: Operand) -> Value:
    """The limit where a value is beyond it, or the limit is not a number; where they are equal, the value."""
    over = m.compare(beyond, v, limit)
    if isinstance(limit, Value):
        over = m.logic("or", over, m.compare("ne", limit, limit))
    return m.where(over, limit, v)


def xlog(op: str, pole: float) -> Rule:
    """``x * log(y)``, zero where x is; the derivative by x is the logarithm there too, where y has one."""

    def rule(m: Maker, x: Operand, y: Operand) -> Value:
        x, y = m.real(x), m.real(y)
        x, y = x if x.row is not None else m.spread(x, y), y if y.row is not None else m.spread(y, x)
        outside = m.logic("or", m.compare("le", y, pole), m.compare("eq", y, math.inf))
        known = m.where(m.logic("and", m.compare("eq", x, 0.0), outside), 1.0 + pole, y)
        return m.point("mul", x, m.point(op, known))

    return rule


def entr(m: Maker, v: Value) -> Value:
    """``-x * log(x)``; at its ends, where the product has no derivative, what has torch's value and derivative."""
    v = m.real(v)
    zero, far = m.compare("eq", v, 0.0), m.compare("eq", v, math.inf)
    between = m.where(m.logic("or", zero, far), 1.0, v)
    inside = m.point("mul", m.point("neg", between), m.point("log", between))
    near = m.point("sqrt", m.where(zero, v, 1.0))
    beyond = m.point("neg", m.point("mul", v, v))
    return m.where(m.compare("lt", v, 0.0), -math.inf, m.where(zero, near, m.where(far, beyond, inside)))


def bent(squares: Callable[[float], float], lines: Callable[[float], float]) -> Rule:
    """A parabola up to a difference, from there a line; each is given zero in the place of what is the other's."""

    def rule(m: Maker, a: Value, b: Value, reduction: int = 0, limit: float = 1.0) -> Value:
        if reduction:
            raise m.refuse("joins the rows of the batch; reduction='none' does not")
        gap = m.point("sub", a, b)
        size = m.point("abs", gap)
        far = m.compare("gt", size, limit)
        near = m.where(far, 0.0, gap)
        parabola = m.point("mul", m.point("mul", near, near), squares(limit))
        line = m.point("mul", m.point("sub", m.where(far, size, limit / 2), limit / 2), lines(limit))
        return m.point("add", parabola, line)

    return rule


def softplus(m: Maker, v: Value, beta: float = 1, threshold: float = 20) -> Value:
    return m.point("softplus", v, beta=float(beta), threshold=float(threshold))


def elu(m: Maker, v: Value, alpha: float = 1, scale: float = 1, input_scale: float = 1) -> Value:
    return m.point("elu", v, alpha=float(alpha), scale=float(scale), input_scale=float(input_scale))


def leaky_relu(m: Maker, v: Value, negative_slope: float = 0.01) -> Value:
    return m.point("leaky_relu", v, negative_slope=float(negative_slope))


def hardtanh(m: Maker, v: Value, min_val: float = -1, max_val: float = 1) -> Value:
    return m.point("hardtanh", v, min_val=float(min_val), max_val=float(max_val))


def threshold(m: Maker, v: Value, threshold: float, value: float) -> Value:
    return m.where(m.compare("le", v, threshold), value, v)


def shrink(op: str) -> Rule:
    return lambda m, v, lambd=0.5: m.point(op, v, lambd=float(lambd))


def celu(m: Maker, v: Value, alpha: float = 1) -> Value:
    return m.point("celu", v, alpha=float(alpha))


def logit(m: Maker, v: Value, eps: float | None = None) -> Value:
    if eps is not None:
        raise m.refuse("with eps has no native form; clamp the value and take its logit without")
    return m.point("logit", v)


def rounded(m: Maker, v: Value, *, decimals: int = 0) -> Value:
    if decimals == 0:
        return m.point("round", v)
    times, back = ("mul", "div") if decimals > 0 else ("div", "mul")
    power = 10.0 ** abs(decimals)
    return m.point(back, m.point("round", m.point(times, v, power)), power)


def prelu(m: Maker, v: Value, slope: Value) -> Value:
    return m.where(m.compare("gt", v, 0.0), v, m.point("mul", slope, v))


def glu(m: Maker, v: Value, dim: int = -1) -> Value:
    axis = m.feature(v, dim, "halves")
    half = v.node.shape[axis] // 2
    parts = [replace(v, node=m.build.slice(v.node, axis, start, start + half, source=m.source)) for start in (0, half)]
    return m.point("mul", parts[0], m.point("sigmoid", parts[1]))


def masked_fill(m: Maker, v: Value, mask: Value, value: Operand) -> Value:
    return m.spread(m.where(mask, value, v), v)


def nan_to_num(
    m: Maker, v: Value, nan: float | None = None, posinf: float | None = None, neginf: float | None = None
) -> Value:
    limits = torch.finfo(m.dtype)
    high, low = (limits.max if posinf is None else posinf), (limits.min if neginf is None else neginf)
    known = m.where(m.compare("ne", v, v), nan or 0.0, v)
    return m.where(m.compare("eq", v, math.inf), high, m.where(m.compare("eq", v, -math.inf), low, known))


def to_copy(m: Maker, v: Value, *, dtype: torch.dtype | None = None, device: Any = None, **kwargs: Any) -> Value:
    """Another dtype, where a real number or a bool stays what it is."""
    if device is not None and torch.device(device).type != m.device.type:
        raise m.refuse(f"moves a value to {device} within the step")
    if dtype is None or dtype == v.dtype:
        return v
    if dtype is torch.bool:
        return m.truth(v)
    whole = v.fill is not None or v.node.dtype == "bool" or not (v.dtype or m.dtype).is_floating_point
    # What holds 0 and 1, or integers as they were given, is exact in any floating dtype.
    if dtype == m.dtype or (dtype.is_floating_point and dtype.itemsize >= 4 and whole):
        return replace(m.real(v), dtype=dtype)
    raise m.refuse(f"computes in {dtype}, and the cell in {m.dtype}")


UNARY = [
    "neg",
    "abs",
    "sign",
    "exp",
    "expm1",
    "log",
    "log1p",
    "sqrt",
    "rsqrt",
    "reciprocal",
    "sin",
    "cos",
    "tanh",
    "sigmoid",
    "relu",
    "erf",
    "floor",
    "ceil",
    "trunc",
    "atan",
    "cosh",
    "erfc",
    "exp2",
    "log2",
    "log10",
    "sinc",
    "sinh",
    "silu",
    "hardsigmoid",
    "hardswish",
    "mish",
]

POINTWISE_RULES: dict[str, Rule] = {
    **{name: same(name) for name in (*UNARY, "maximum", "minimum", "remainder", "fmod")},
    **{name: compares(name) for name in ("lt", "le", "gt", "ge", "eq", "ne")},
    **{f"logical_{name}": logical(name) for name in ("and", "or", "not")},
    **{f"bitwise_{name}": bitwise(name) for name in ("and", "or", "not", "xor")},
    **{f"__{name}__": bitwise(name) for name in ("and", "or", "xor")},
    "logical_xor": lambda m, a, b: xor(m, a, b),
    "add": add,
    "sub": sub,
    "rsub": rsub,
    "mul": mul,
    "div": div,
    "true_divide": div,
    "floor_divide": same("floor_divide"),
    "addcmul": addcmul,
    "addcdiv": addcdiv,
    "lerp": lerp,
    "pow": power,
    "square": SMALL_POWERS[2.0],
    "sgn": same("sign"),
    "frac": lambda m, v: m.point("sub", v, m.point("trunc", v)),
    "logit": logit,
    "round": rounded,
    "tan": lambda m, v: m.point("div", m.point("sin", v), m.point("cos", v)),
    "where": lambda m, condition, yes, no: m.where(condition, yes, no),
    "masked_fill": masked_fill,
    "clamp": clamp,
    "clamp_min": lambda m, v, low: clamp(m, v, low),
    "clamp_max": lambda m, v, high: clamp(m, v, None, high),
    "xlogy": xlog("log", 0.0),
    "special_xlog1py": xlog("log1p", -1.0),
    "special_entr": entr,
    "huber_loss": bent(lambda delta: 0.5, lambda delta: delta),
    "smooth_l1_loss": bent(lambda beta: 0.5 / beta, lambda beta: 1.0),
    "softplus": softplus,
    "gelu": lambda m, v, *, approximate="none": m.point("gelu", v, approximate=approximate),
    "elu": elu,
    "celu": celu,
    "leaky_relu": leaky_relu,
    "hardtanh": hardtanh,
    "log_sigmoid_forward": lambda m, v: (m.point("logsigmoid", v), None),
    "threshold": threshold,
    "hardshrink": shrink("hardshrink"),
    "softshrink": shrink("softshrink"),
    "_prelu_kernel": prelu,
    "glu": glu,
    "nan_to_num": nan_to_num,
    "isnan": lambda m, v: m.compare("ne", v, v),
    "isinf": lambda m, v: m.compare("eq", m.point("abs", v), math.inf),
    "isfinite": lambda m, v: m.compare("lt", m.point("abs", v), math.inf),
    "_to_copy": to_copy,
}
"""torch's name → the rule, called with the maker and the operation's arguments, tensors as values."""
