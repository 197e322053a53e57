"""What is added to a cell from outside: zoneout, recurrent dropout, clipped gradients, resets; the options, checked.

What of it acts in one call follows from the layer's mode and from whether the call gives ``reset``: :class:`Acting`.
All that is random or given becomes a keyword of the added step (:meth:`Acting.keywords`), drawn or laid out by the
layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import nn

from ostinato.cells import checks
from ostinato.errors import InvalidType, InvalidValue

OPTIONS = ("zoneout", "recurrent_dropout", "recurrent_dropout_form", "clip_gradient")

FORMS = ("state", "candidate")
"""Where recurrent dropout acts: on the states that enter products, or on what passes through ``Cell.candidate``."""


class Keyword(NamedTuple):
    """One keyword that an added step has besides the cell's own.

    Attributes:
        name: as the step takes it, and as a tape shows it.
        role: ``"zoneout"``, ``"dropout"``, ``"candidate"`` or ``"restart"``.
        state: the state it belongs to; empty for the flags of a reset and for the candidate's mask.
        direction: of the cell that reads it.
        by_step: whether it is a value a step.
    """

    name: str
    role: str
    state: str
    direction: int
    by_step: bool


class Acting(NamedTuple):
    """What is added to a layer's steps in one call.

    Attributes:
        zoneout: the states it acts on.
        expected: for each of them the part that is kept, where a call takes the expected value; else masks are drawn.
        dropout: the form of recurrent dropout; empty for none.
        clip: the largest size of an element of a state's gradient; None for any.
        reset: whether the call gives flags.
        begins: whether a restarted state is given; else it is zero.
        states: the cell's state names.
        directions: D.
    """

    zoneout: tuple[str, ...]
    expected: tuple[float, ...]
    dropout: str
    clip: float | None
    reset: bool
    begins: bool
    states: tuple[str, ...]
    directions: int

    def keywords(self) -> tuple[Keyword, ...]:
        """What the steps of both directions take, in the order in which it is drawn."""
        return _keywords(self)

    @property
    def text(self) -> str:
        """What is added, in a few words."""
        parts = []
        if self.zoneout:
            parts.append("zoneout")
        if self.dropout:
            parts.append(f"recurrent dropout ({self.dropout})")
        if self.clip is not None:
            parts.append("clipped gradients")
        if self.reset:
            parts.append("resets")
        return ", ".join(parts)


@lru_cache(maxsize=256)
def _keywords(acting: Acting) -> tuple[Keyword, ...]:
    def both() -> Iterator[Keyword]:
        for direction in range(acting.directions):
            end = "_reverse" if direction else ""
            if not acting.expected:
                yield from (Keyword(f"zoneout_{s}{end}", "zoneout", s, direction, True) for s in acting.zoneout)
            if acting.dropout == "state":
                yield from (Keyword(f"dropout_{s}{end}", "dropout", s, direction, False) for s in acting.states)
            if acting.dropout == "candidate":
                yield Keyword(f"dropout_candidate{end}", "candidate", "", direction, True)
            if acting.reset:
                yield Keyword(f"restart{end}", "restart", "", direction, True)
            if acting.begins:
                yield from (Keyword(f"restart_{s}{end}", "restart", s, direction, False) for s in acting.states)

    return tuple(both())


@dataclass(frozen=True)
class Additions:
    """A layer's options, checked.

    Attributes:
        zoneout: as it was given.
        keeps: the probability of each state that it acts on, where it is above 0.
        recurrent_dropout, recurrent_dropout_form, clip_gradient: as they were given.
    """

    zoneout: float | Mapping[str, float] = 0.0
    keeps: tuple[tuple[str, float], ...] = ()
    recurrent_dropout: float = 0.0
    recurrent_dropout_form: str = "state"
    clip_gradient: float | None = None

    @classmethod
    def of(
        cls,
        cell: str,
        states: tuple[str, ...],
        zoneout: Any = 0.0,
        recurrent_dropout: Any = 0.0,
        recurrent_dropout_form: Any = "state",
        clip_gradient: Any = None,
    ) -> Additions:
        """From what a user gave, for a cell of this name and these states.

        Raises:
            InvalidType, InvalidValue: a value outside its rule, a state the cell does not have.
        """
        return cls(
            dict(zoneout) if isinstance(zoneout, Mapping) else zoneout,
            _keeps(cell, states, zoneout),
            checks.probability("recurrent_dropout", recurrent_dropout),
            checks.one_of("recurrent_dropout_form", recurrent_dropout_form, FORMS),
            _limit(clip_gradient),
        )

    @property
    def draws(self) -> bool:
        """Whether a call in training draws masks."""
        return bool(self.keeps) or self.recurrent_dropout > 0

    @property
    def acts(self) -> bool:
        """Whether anything is added in either mode."""
        return self.draws or self.clip_gradient is not None

    @property
    def key(self) -> tuple[Any, ...]:
        """All that says what acts."""
        return self.keeps, self.recurrent_dropout > 0, self.recurrent_dropout_form, self.clip_gradient

    def given(self) -> dict[str, Any]:
        """The options that differ from their default."""
        plain = Additions()
        return {name: own for name in OPTIONS if (own := getattr(self, name)) != getattr(plain, name)}

    def acting(
        self, states: tuple[str, ...], directions: int, training: bool, reset: bool, begins: bool, grads: bool | None
    ) -> Acting | None:
        """What is added in one call; None for nothing, so that the cell's own step runs."""
        dropout = self.recurrent_dropout_form if training and self.recurrent_dropout > 0 else ""
        grads = torch.is_grad_enabled() if grads is None else grads
        clip = self.clip_gradient if grads else None
        if not (self.keeps or dropout or clip is not None or reset):
            return None
        zoneout = tuple(name for name, _ in self.keeps)
        expected = () if training else tuple(part for _, part in self.keeps)
        return Acting(zoneout, expected, dropout, clip, reset, reset and begins, states, directions)

    def __str__(self) -> str:
        """What is added and when, a line."""
        parts = []
        if self.keeps:
            states = ", ".join(f"{name} {keep:g}" for name, keep in self.keeps)
            parts.append(f"zoneout ({states}; in eval mode its expected value)")
        if self.recurrent_dropout > 0:
            where = "the states, a mask a sequence" if self.recurrent_dropout_form == "state" else "the candidate"
            parts.append(f"recurrent dropout of {self.recurrent_dropout:g} on {where} (in training)")
        if self.clip_gradient is not None:
            parts.append(f"gradients of states clipped to ±{self.clip_gradient:g} at every step")
        return "; ".join(parts)


def _keeps(cell: str, states: tuple[str, ...], zoneout: Any) -> tuple[tuple[str, float], ...]:
    given = zoneout if isinstance(zoneout, Mapping) else dict.fromkeys(states, zoneout)
    for name, value in given.items():
        if name not in states:
            raise InvalidValue(
                f"zoneout: {cell} has no state {name!r}; it has: {', '.join(states)}{checks.nearest(name, states)}"
            )
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            own = f" for {name}" if isinstance(zoneout, Mapping) else ""
            raise InvalidValue(
                f"zoneout{own} must be a number in [0, 1], the probability that an element of a state keeps its old "
                f"value, or a dictionary of them by state; got {value!r}"
            )
    return tuple((name, float(given[name])) for name in states if given.get(name, 0) > 0)


def _limit(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidType(f"clip_gradient must be a number or None, got {value!r} of type {type(value).__name__}")
    if not value > 0:
        raise InvalidValue(
            f"clip_gradient must be greater than zero, the largest size of a gradient's element, got {value}"
        )
    return float(value)


class WithAdditions(nn.Module):
    """A layer's options of this kind as attributes, which may be assigned to between calls."""

    _additions: Additions
    _added_to: tuple[str, tuple[str, ...]]

    def _add(self, cell: str, states: tuple[str, ...], **options: Any) -> None:
        self._added_to = cell, states
        self._additions = Additions.of(cell, states, **options)

    def _set(self, **change: Any) -> None:
        own = {name: getattr(self._additions, name) for name in OPTIONS}
        cell, states = self._added_to
        self._additions = Additions.of(cell, states, **own | change)

    @property
    def zoneout(self) -> float | Mapping[str, float]:
        """The probability that an element of a state keeps its old value: one, or several by the states' names."""
        return self._additions.zoneout

    @zoneout.setter
    def zoneout(self, value: float | Mapping[str, float]) -> None:
        self._set(zoneout=value)

    @property
    def recurrent_dropout(self) -> float:
        """The probability of an element being dropped between one step and the next."""
        return self._additions.recurrent_dropout

    @recurrent_dropout.setter
    def recurrent_dropout(self, value: float) -> None:
        self._set(recurrent_dropout=value)

    @property
    def recurrent_dropout_form(self) -> str:
        """Where recurrent dropout acts: ``"state"`` or ``"candidate"``."""
        return self._additions.recurrent_dropout_form

    @recurrent_dropout_form.setter
    def recurrent_dropout_form(self, value: str) -> None:
        self._set(recurrent_dropout_form=value)

    @property
    def clip_gradient(self) -> float | None:
        """The largest size of an element of a state's gradient at any step; None: any."""
        return self._additions.clip_gradient

    @clip_gradient.setter
    def clip_gradient(self, value: float | None) -> None:
        self._set(clip_gradient=value)
