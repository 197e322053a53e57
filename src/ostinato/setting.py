"""Settings as dataclasses: a field holds its default, rules and help once, for Python, YAML and flags alike."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal, Self, get_args, get_origin, get_type_hints

from ostinato.cells.checks import nearest
from ostinato.errors import InvalidType, InvalidValue


def setting(
    default: Any,
    help: str,
    group: str,
    *,
    at_least: float | None = None,
    above: float | None = None,
    below: float | None = None,
    resumable: bool = False,
) -> Any:
    """A dataclass field with its rules.

    Its type may be int, float, str, bool, a Literal of texts, ``tuple[str, ...]`` (a list of names), or one of these
    ``| None``.

    Args:
        default: its value when nobody says anything.
        help: one sentence or two: the help of the flag and of the documentation.
        group: under which heading the flag stands.
        at_least, above, below: bounds of a number.
        resumable: whether it may change when a run is resumed.
    """
    metadata = {"help": help, "group": group, "resumable": resumable}
    metadata |= {"at_least": at_least, "above": above, "below": below}
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SettingsBase:
    """What every dataclass of settings can do: check itself, and change by name.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True, kw_only=True)
    ... class Example(SettingsBase):
    ...     width: int = setting(8, "How wide.", "Model", at_least=1)
    ...     columns: tuple[str, ...] = setting((), "What is read.", "Data")
    >>> Example().replaced({"columns": ["time", "load"]})
    Example(width=8, columns=('time', 'load'))
    >>> Example(width=0)
    Traceback (most recent call last):
    ostinato.errors.InvalidValue: width must be at least 1, got 0

    Raises:
        InvalidValue, InvalidType: a value outside its rule.
    """

    def __post_init__(self) -> None:
        hints = hints_of(type(self))
        for one in dataclasses.fields(self):
            _check(one, hints[one.name], getattr(self, one.name))

    def replaced(self, changes: Mapping[str, Any]) -> Self:
        """These settings with some changed.

        Raises:
            InvalidValue: a name that is no setting (the message names the nearest), or a value outside its rule.
            InvalidType: a value of another type.
        """
        names = [one.name for one in dataclasses.fields(self)]
        for name in changes:
            if name not in names:
                raise InvalidValue(
                    f"{name!r} is no setting" + (nearest(name, names) or f"; there are {', '.join(names)}")
                )
        return dataclasses.replace(self, **{name: self.converted(name, value) for name, value in changes.items()})

    @classmethod
    def converted(cls, name: str, value: Any) -> Any:
        """``value`` in the type of the field ``name``, where YAML, JSON or a user wrote it in another."""
        hint = hints_of(cls)[name]
        if is_list(hint):
            return _names(value)
        if plain_type(hint) is not float or isinstance(value, bool):
            return value
        if isinstance(value, str):
            # YAML reads 1e-3 as a text: it wants 1.0e-3.
            try:
                return float(value)
            except ValueError:
                return value
        return float(value) if isinstance(value, int) else value


def hints_of(settings: Any) -> dict[str, Any]:
    """Name → type of the fields of a settings class."""
    return get_type_hints(settings)


def plain_type(hint: Any) -> Any:
    """A field's type without ``| None``.

    >>> plain_type(int | None)
    <class 'int'>
    """
    if get_origin(hint) in (Literal, tuple):
        return hint
    return next((one for one in get_args(hint) if one is not type(None)), hint)


def is_list(hint: Any) -> bool:
    """Whether a field of this type holds a list of names."""
    return get_origin(plain_type(hint)) is tuple


def _names(value: Any) -> Any:
    if isinstance(value, str):
        return tuple(part for part in map(str.strip, value.split(",")) if part)
    return tuple(value) if isinstance(value, list) else value


def _check(field: dataclasses.Field[Any], hint: Any, value: Any) -> None:
    name, kind = field.name, plain_type(hint)
    if value is None and type(None) in get_args(hint):
        return
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise InvalidValue(f"{name} must be one of {', '.join(get_args(kind))}, got {value!r}")
    elif is_list(kind):
        if not isinstance(value, tuple) or not all(isinstance(one, str) for one in value):
            raise InvalidType(f"{name} must be a list of names, got {value!r}")
    elif kind in (int, float):
        _check_number(field, kind, value)
    elif not isinstance(value, kind):
        raise InvalidType(f"{name} must be {'true or false' if kind is bool else 'a text'}, got {value!r}")


def _check_number(field: dataclasses.Field[Any], kind: type, value: Any) -> None:
    name, rule = field.name, field.metadata
    if isinstance(value, bool) or not isinstance(value, int if kind is int else (int, float)):
        raise InvalidType(f"{name} must be {'a whole number' if kind is int else 'a number'}, got {value!r}")
    if not math.isfinite(value):
        raise InvalidValue(f"{name} must be finite, got {value}")
    if rule["at_least"] is not None and value < rule["at_least"]:
        raise InvalidValue(f"{name} must be at least {rule['at_least']}, got {value}")
    if rule["above"] is not None and value <= rule["above"]:
        raise InvalidValue(f"{name} must be above {rule['above']}, got {value}")
    if rule["below"] is not None and value >= rule["below"]:
        raise InvalidValue(f"{name} must be below {rule['below']}, got {value}")
