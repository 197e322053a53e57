"""Each elementwise operation of a graph as instructions on vectors: one table."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ostinato.compiler.cpu import angles, powers, rounding, vector_math
from ostinato.compiler.cpu.lanes import Lanes
from ostinato.compiler.cpu.text import Code, Vector

Emitter = Callable[[Code, Vector, Sequence[str]], str]


def _instruction(write: Callable[..., str]) -> Emitter:
    """An operation written with :class:`Lanes`."""
    return lambda code, vector, inputs: write(Lanes(code, vector), *inputs)


def _function(function: Callable[..., str]) -> Emitter:
    """One of the mathematical functions."""
    return lambda code, vector, inputs: function(code, vector, *inputs)


def _sign(m: Lanes, x: str) -> str:
    """-1, 0 or 1; NaN is 0, as in torch."""
    positive = m.select(m.compare("ogt", x, 0.0), 1.0, 0.0)
    return m.select(m.compare("olt", x, 0.0), -1.0, positive)


def _relu(m: Lanes, x: str) -> str:
    """NaN and -0 stay what they are, as in torch."""
    return m.higher(x, 0.0)


def _extreme(how: str) -> Callable[[Lanes, str, str], str]:
    """The larger or smaller of two; a NaN in either is the result."""

    def write(m: Lanes, a: str, b: str) -> str:
        chosen = m.select(m.compare(how, a, b), a, b)
        return m.select(m.compare("uno", a, a), a, chosen)

    return write


def _not(m: Lanes, a: str) -> str:
    ones = "true" if m.vector.lanes == 1 else "<" + ", ".join(["i1 true"] * m.vector.lanes) + ">"
    return m.differ(a, ones)


def _comparison(how: str) -> Emitter:
    return _instruction(lambda m, a, b: m.compare(how, a, b))


POINTWISE: dict[str, Emitter] = {
    # one value
    "neg": _instruction(Lanes.neg),
    "abs": _instruction(Lanes.abs),
    "sign": _instruction(_sign),
    "exp": _function(vector_math.exp),
    "expm1": _function(vector_math.expm1),
    "log": _function(vector_math.log),
    "log1p": _function(vector_math.log1p),
    "sqrt": _instruction(lambda m, x: m.call("sqrt", x)),
    "rsqrt": _instruction(lambda m, x: m.div(1.0, m.call("sqrt", x))),
    "reciprocal": _instruction(lambda m, x: m.div(1.0, x)),
    "sin": _function(angles.sin),
    "cos": _function(angles.cos),
    "tanh": _function(vector_math.tanh),
    "sigmoid": _function(vector_math.sigmoid),
    "relu": _instruction(_relu),
    "erf": _function(vector_math.erf),
    "floor": _function(rounding.floor),
    "ceil": _function(rounding.ceil),
    "round": _function(rounding.round),
    "trunc": _function(rounding.trunc),
    "not": _instruction(_not),
    # two
    "add": _instruction(Lanes.add),
    "sub": _instruction(Lanes.sub),
    "mul": _instruction(Lanes.mul),
    "div": _instruction(Lanes.div),
    "pow": _function(powers.pow),
    "remainder": _function(rounding.remainder),
    "fmod": _function(rounding.fmod),
    "maximum": _instruction(_extreme("ogt")),
    "minimum": _instruction(_extreme("olt")),
    "lt": _comparison("olt"),
    "le": _comparison("ole"),
    "gt": _comparison("ogt"),
    "ge": _comparison("oge"),
    "eq": _comparison("oeq"),
    "ne": _comparison("une"),
    "and": _instruction(Lanes.both),
    "or": _instruction(Lanes.either),
    # three
    "where": _instruction(Lanes.select),
}
"""Real values are vectors, bool values masks (``<16 x i1>``); every input has all lanes, constants too."""
