"""Which engine runs a call, and why: a rule, never a measurement."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from ostinato.cells import checks
from ostinato.errors import EngineError

ENGINES = ("auto", "loop", "aten")

_override: ContextVar[str | None] = ContextVar("ostinato_engine", default=None)


@dataclass(frozen=True)
class Choice:
    """The engine that runs, and why in a few words."""

    engine: str
    why: str


LOOP_ASKED, ATEN_ASKED = Choice("loop", "asked for"), Choice("aten", "asked for")
ATEN_BY_RULE = Choice("aten", "torch has a fused kernel for this cell")


def check(name: str) -> str:
    """``name`` if it is an engine's, else InvalidValue with the nearest."""
    return checks.one_of("engine", name, ENGINES)


@contextmanager
def engine(name: str) -> Iterator[None]:
    """Every layer called inside the block runs on this engine, whatever its own ``engine=`` says.

    Args:
        name: ``"auto"``, ``"loop"`` or ``"aten"``.

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


def choose(asked_for: str, against_aten: str | None) -> Choice:
    """The rule. ``against_aten``: why torch's fused kernels cannot run this call, None if they can.

    Raises:
        EngineError: ``"aten"`` was asked for by name and cannot run this.
    """
    if asked_for == "loop":
        return LOOP_ASKED
    if against_aten is None:
        return ATEN_ASKED if asked_for == "aten" else ATEN_BY_RULE
    if asked_for == "aten":
        raise EngineError(f"engine 'aten' cannot run this: {against_aten}; engine='auto' takes one that can ('loop')")
    return Choice("loop", against_aten)
