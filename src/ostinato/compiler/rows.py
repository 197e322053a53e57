"""The batch size as a traced step sees it: a number that may be handed on, and that nothing may be made to depend on.

A step is traced at a batch size or two and runs at any, so what it asks of that number would be believed for all of
them. What stands in its place is a form, ``factor * rows + offset``: torch takes it as a size, and it can be added and
multiplied; whatever would have to know the number itself is refused.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

import torch
from torch import Tensor

from ostinato.compiler.refusal import Refused
from ostinato.compiler.watched import is_library

Refuse = Callable[[str], Refused]

COMPARED = "the step depends on the batch size: it compares it"
TAKEN = "the step depends on the batch size: it takes it as a plain number"
COMPUTED = "the step depends on the batch size: it divides or rounds it"


class Rows(torch.SymInt):
    """``factor * rows + offset``, ``rows`` being one or more.

    Torch's functions take it where they take a size, as it is one of torch's own stand-ins for a number, and hand it to
    the mode that watches them.

    Args:
        refuse: makes the refusal, with the user's line.
    """

    def __init__(self, refuse: Refuse, factor: int = 1, offset: int = 0) -> None:
        self.refuse, self.factor, self.offset = refuse, factor, offset

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """A step that asks finds the number that it is at any other time."""
        return int

    def at(self, rows: int) -> int:
        """The number at a batch of so many rows."""
        return self.factor * rows + self.offset

    def _made(self, factor: int, offset: int) -> Any:
        return Rows(self.refuse, factor, offset) if factor else offset

    # Sums and multiples

    def _plus(self, other: Any, sign: int = 1) -> Any:
        if type(other) is Rows:
            return self._made(self.factor + sign * other.factor, self.offset + sign * other.offset)
        if isinstance(other, int):
            return self._made(self.factor, self.offset + sign * other)
        return self._given(other)

    def _given(self, other: Any) -> Any:
        """What torch does with the number is torch's to say; nothing else can compute with it."""
        if isinstance(other, Tensor):
            return NotImplemented
        raise self.refuse(COMPUTED)

    def __add__(self, other: Any) -> Any:
        return self._plus(other)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        return self._plus(other, -1)

    def __rsub__(self, other: Any) -> Any:
        return NotImplemented if isinstance(other, Tensor) else -self + other

    def __mul__(self, other: Any) -> Any:
        if not holds_rows((other,)) and isinstance(other, int):
            return self._made(self.factor * other, self.offset * other)
        return self._given(other)

    __rmul__ = __mul__

    def __neg__(self) -> Any:
        return self._made(-self.factor, -self.offset)

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Any:
        return self if self._sign(0) >= 0 else -self

    # Quotients that are the same, or a multiple, at every batch size

    def __divmod__(self, other: Any) -> Any:
        if type(other) is Rows:
            if not self.offset and not other.offset and self.factor % other.factor == 0:
                return self.factor // other.factor, 0
        elif isinstance(other, int) and other and self.factor % other == 0:
            return self._made(self.factor // other, self.offset // other), self.offset % other
        raise self.refuse(COMPUTED)

    def __floordiv__(self, other: Any) -> Any:
        return NotImplemented if isinstance(other, Tensor) else divmod(self, other)[0]

    def __mod__(self, other: Any) -> Any:
        return NotImplemented if isinstance(other, Tensor) else divmod(self, other)[1]

    def __truediv__(self, other: Any) -> Any:
        if type(other) is Rows and not self.offset and not other.offset:
            return self.factor / other.factor
        return self._given(other)

    # Comparisons that come out the same at every batch size

    def _sign(self, other: Any) -> int:
        """Of the difference to a number."""
        difference = self._plus(other, -1) if isinstance(other, int) else None
        if type(difference) is int:
            return (difference > 0) - (difference < 0)
        if difference is not None:
            first = difference.at(1)
            if first * difference.factor > 0:
                return 1 if first > 0 else -1
        raise self.refuse(COMPARED)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Tensor):
            return NotImplemented
        return isinstance(other, int | float) and self._sign(other) == 0

    def __ne__(self, other: object) -> bool:
        return NotImplemented if isinstance(other, Tensor) else not self == other

    def __lt__(self, other: Any) -> bool:
        return self._sign(other) < 0

    def __le__(self, other: Any) -> bool:
        return self._sign(other) <= 0

    def __gt__(self, other: Any) -> bool:
        return self._sign(other) > 0

    def __ge__(self, other: Any) -> bool:
        return self._sign(other) >= 0

    def __bool__(self) -> bool:
        return self._sign(0) != 0

    # What takes the number itself

    def __hash__(self) -> int:
        """A library's cache does without what it cannot look up; einops is one."""
        if is_library(sys._getframe(1).f_globals.get("__name__")):
            raise TypeError("unhashable: the batch size of a step that is traced")
        raise self.refuse(TAKEN)

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)  # torch looks for __torch_function__ in every argument
        raise self.refuse(TAKEN)


def _refusing(why: str, given: bool) -> Any:
    def method(self: Rows, *args: Any) -> Any:
        if given and args and isinstance(args[0], Tensor):
            return NotImplemented
        raise self.refuse(why)

    return method


_NUMBER = "index int float complex trunc floor ceil round format repr str reduce reduce_ex"
_BINARY = "rtruediv rfloordiv rmod rdivmod pow rpow lshift rlshift rshift rrshift and rand or ror xor rxor"
for _name in _NUMBER.split():
    setattr(Rows, f"__{_name}__", _refusing(TAKEN, False))
for _name in (*_BINARY.split(), "invert"):
    setattr(Rows, f"__{_name}__", _refusing(COMPUTED, True))

SIZED = frozenset(
    (
        *(torch.zeros, torch.ones, torch.full, torch.empty, torch.reshape, torch.broadcast_to, torch.unflatten),
        *(getattr(Tensor, f"new_{name}") for name in ("zeros", "ones", "full", "empty")),
        *(getattr(Tensor, name) for name in ("view", "reshape", "expand", "repeat", "broadcast_to", "unflatten")),
        Tensor.as_strided,
    )
)
"""Functions that take sizes; any other that is given the batch size computes with it."""


def plain(value: Any, rows: int) -> Any:
    """An argument with numbers in the place of their forms."""
    if type(value) is Rows:
        return value.at(rows)
    if isinstance(value, list | tuple):
        return [plain(v, rows) for v in value]
    return value


def holds_rows(values: Iterable[Any]) -> bool:
    """Whether there is a form of the batch size among arguments."""
    for value in values.values() if isinstance(values, dict) else values:
        kind = type(value)
        if kind is Rows or (kind in NESTS and holds_rows(value)):
            return True
        if kind is slice and holds_rows((value.start, value.stop, value.step)):
            return True
    return False


NESTS = frozenset((tuple, list, dict, torch.Size))
