"""One elementwise operation as a function that tests can call on tensors."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from ostinato.compiler.cpu import jit, targets
from ostinato.compiler.cpu.pointwise import POINTWISE
from ostinato.compiler.cpu.targets import Target
from ostinato.compiler.cpu.text import Code, Vector

ELEMENTS = {"float": torch.float32, "double": torch.float64}
COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne")


def here() -> list[Target]:
    """Every family this machine can run."""
    return [targets.named(name, targets.triple()) for name in targets.possible()]


@contextmanager
def on(family: str, *functions: Any) -> Iterator[None]:
    """Run as on a processor of this family, with cached ``functions`` made anew; skip the test where none can."""
    if family not in targets.possible():
        pytest.skip(f"this processor has no {family}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(targets.VARIABLE, family)
        for function in functions:
            function.cache_clear()
        try:
            yield
        finally:
            for function in functions:
                function.cache_clear()


def module(op: str, target: Target, element: str, lanes: int | None, inputs: int) -> str:
    """``f(x…, y, n)``: the operation on arrays of n elements; a mask comes out as 1 and 0, and goes in as x ≠ 0."""
    code, vector = Code(), target.vector(element, lanes)
    pointers = ", ".join(f"ptr %x{n}" for n in range(inputs))
    code.lines.append(f"define void @f({pointers}, ptr %y, i64 %n) {{\nentry:")
    with code.loop("0", "%n", vector.lanes) as i:
        values = []
        for n in range(inputs):
            at = code.let(f"getelementptr {element}, ptr %x{n}, i64 {i}")
            values.append(code.let(f"load {vector.type}, ptr {at}, align 4"))
        result = _apply(code, vector, op, values)
        at = code.let(f"getelementptr {element}, ptr %y, i64 {i}")
        code.do(f"store {vector.type} {result}, ptr {at}, align 4")
    code.do("ret void")
    code.lines.append("}")
    return code.text()


def _apply(code: Code, vector: Vector, op: str, values: list[str]) -> str:
    def mask(value: str) -> str:
        return POINTWISE["ne"](code, vector, [value, vector.number(0.0)])

    if op in ("and", "or", "not"):
        values = [mask(v) for v in values]
    if op == "where":
        values = [mask(values[0]), *values[1:]]
    result = POINTWISE[op](code, vector, values)
    if op in (*COMPARISONS, "and", "or", "not"):
        result = POINTWISE["where"](code, vector, [result, vector.number(1.0), vector.number(0.0)])
    return result


@cache
def kernel(op: str, target: Target, element: str, lanes: int | None = None, inputs: int = 1) -> Callable[..., Tensor]:
    """The operation, compiled; every input has as many elements as the others."""
    loaded = jit.load(jit.compile(module(op, target, element, lanes, inputs), target), ["f"])
    function = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * (inputs + 1), ctypes.c_int64)(loaded["f"])

    def run(*values: Tensor) -> Tensor:
        count = values[0].numel()
        full = -(-count // 64) * 64  # whatever vectors the text has
        padded = [
            torch.cat([v.to(ELEMENTS[element]), v.new_ones(full - count, dtype=ELEMENTS[element])]) for v in values
        ]
        out = torch.empty_like(padded[0])
        assert loaded.addresses
        function(*(v.data_ptr() for v in (*padded, out)), full)
        return out[:count]

    return run
