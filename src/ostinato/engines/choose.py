"""Which engine runs a call, and why: a rule, never a measurement."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from ostinato.cells import checks
from ostinato.engines import aten, native
from ostinato.errors import EngineError

ENGINES = ("auto", "loop", "aten", "native")

_override: ContextVar[str | None] = ContextVar("ostinato_engine", default=None)


@dataclass(frozen=True)
class Choice:
    """The engine that runs, and why in a few words."""

    engine: str
    why: str


ASKED = {name: Choice(name, "asked for") for name in ENGINES[1:]}
BY_RULE = {
    "aten": Choice("aten", "torch has a fused kernel for this cell"),
    "native": Choice("native", "the cell's step is compiled"),
}
NOT_TORCHS = "is not one of torch's own cells, or has options that those have not"
OWN = Choice("native", "the cell's step is compiled; short and small calls run in torch's fused kernel")
KEEPS_ALL = "torch's fused kernels keep every step for the backward, and recompute='chunks' asks not to"


class Work(NamedTuple):
    """The size of a call: its steps (T; N for packed rows), the rows of all steps (N), and the weights a step reads."""

    steps: int
    rows: int
    weights: int


STEPS = 16
"""Calls of fewer steps cost more to hand over than to run."""

TRAINED = {"lstm": 500_000}
"""Multiply-adds of a call from which training is faster compiled, where torch's own kernel has a fused backward: with a
tenth of them too if shapes repeat, but not if every call has another one."""


def native_is_faster(operator: str, work: Work, grad: bool) -> bool:
    """The rule for torch's own cells, from ``benchmarks/native.py``: by a call's size, never by a measurement."""
    if work.steps < STEPS:
        return False
    return not grad or work.rows * work.weights >= TRAINED.get(operator, 0)


def check(name: str) -> str:
    """``name`` if it is an engine's, else InvalidValue with the nearest."""
    return checks.one_of("engine", name, ENGINES)


@contextmanager
def engine(name: str) -> Iterator[None]:
    """Every layer called inside the block runs on this engine, whatever its own ``engine=`` says.

    A layer inside ``torch.compile`` or ``torch.export`` keeps to its own, as what is compiled outlives the block.

    Args:
        name: ``"auto"``, ``"loop"``, ``"aten"`` or ``"native"``.

    Raises:
        InvalidValue: the name is none of these.
        EngineError: from a layer's call, if the engine cannot run it.

    Example:
        >>> rnn, x = ostinato.LSTM(4, 5), torch.randn(3, 2, 4)
        >>> with ostinato.engine("loop"):
        ...     reference, _ = rnn(x)
        >>> torch.allclose(rnn(x)[0], reference, atol=1e-6)
        True
    """
    token = _override.set(check(name))
    try:
        yield
    finally:
        _override.reset(token)


def asked(own: str) -> str:
    """The engine asked for: that of the block around the call if there is one, else the layer's own."""
    return _override.get() or own


def choose(
    asked_for: str,
    operator: str | None,
    cell: str,
    input: Tensor,
    recompute: bool = False,
    work: Work | None = None,
) -> Choice:
    """The rule, for what can be seen without looking into the step.

    Args:
        asked_for: what the user wrote.
        operator: torch's operator that computes this cell, None for any other cell.
        cell: the cell's name.
        input: the call's.
        recompute: whether the steps are to be run again in chunks; in a forward without gradients nothing comes of it.
        work: the call's size; None where none is known, as for ``explain``.

    Raises:
        EngineError: an engine was asked for by name and cannot run this.
    """
    if asked_for == "loop":
        return ASKED["loop"]
    recompute = recompute and torch.is_grad_enabled()
    if asked_for == "aten":
        against = f"{cell} {NOT_TORCHS}" if operator is None else aten.why_not(input)
        against = KEEPS_ALL if recompute and against is None else against
        return ASKED["aten"] if against is None else _impossible("aten", against)
    if asked_for == "native":
        against = native.why_not(input)
        return ASKED["native"] if against is None else _impossible("native", against)
    if operator is None or recompute:
        against = native.why_not(input)
        return BY_RULE["native"] if against is None else Choice("loop", against)
    chosen = BY_RULE["aten"]
    if work is None or native_is_faster(operator, work, torch.is_grad_enabled()):
        against = native.why_not(input)
        if against is None:
            return OWN
        chosen = _torchs(against)
    against = aten.why_not(input)
    return chosen if against is None else Choice("loop", against)


@cache
def _torchs(against: str) -> Choice:
    """Torch's kernel, where the compiled step would be faster."""
    return Choice("aten", f"{BY_RULE['aten'].why}; {against}")


def _impossible(name: str, why: str) -> Choice:
    raise impossible(name, why)


def impossible(name: str, why: str) -> EngineError:
    """The error for an engine asked for by name that cannot run a call."""
    return EngineError(f"engine {name!r} cannot run this: {why}; engine='auto' takes one that can")
