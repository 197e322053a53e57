"""Every operation of torch's that has a native form, and those that never have one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ostinato.compiler.rules_fill import FILL_RULES, FILLS, WRITES
from ostinato.compiler.rules_pointwise import POINTWISE_RULES
from ostinato.compiler.rules_product import PRODUCT_RULES
from ostinato.compiler.rules_reduce import REDUCE_RULES
from ostinato.compiler.rules_shape import SHAPE_RULES, WIDENING
from ostinato.compiler.traced import Maker, Value


def detach(m: Maker, v: Value) -> Value:
    """The value without its gradient."""
    return m.detached(v)


def clip_gradient(m: Maker, v: Value, limit: float) -> Value:
    """The value; its gradient is clamped."""
    return m.same("clip_gradient", v, limit=float(limit))


RULES: dict[str, Callable[..., Any]] = {
    **{
        f"aten::{name}": rule
        for table in (POINTWISE_RULES, SHAPE_RULES, FILL_RULES, REDUCE_RULES, PRODUCT_RULES)
        for name, rule in table.items()
    },
    "aten::detach": detach,
    "ostinato::clip_gradient": clip_gradient,
}
"""The operation's name → its rule, called with the maker and the arguments, tensors as values."""

NEW = frozenset(f"aten::{name}" for name in (*FILLS, *WRITES))
"""Operations whose rule holds for values without rows, too."""

MAY_WIDEN = frozenset(f"aten::{name}" for name in WIDENING)
"""Operations whose rule holds for values without rows where the result has as many rows as the batch."""

NEVER = {
    "aten::_local_scalar_dense": "the step branches on a value, or takes it out of its tensor",
    "aten::equal": "the step branches on a value",
    "aten::nonzero": "gives a shape that depends on values",
    "aten::masked_select": "gives a shape that depends on values",
    "aten::unique": "gives a shape that depends on values",
    "aten::as_strided": "looks at memory rather than at values",
    "aten::set_": "looks at memory rather than at values",
    "aten::resize_": "looks at memory rather than at values",
}
"""Refused whatever they are called with."""
