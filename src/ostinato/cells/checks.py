"""What must hold of arguments, said once: the rule, the value that came, the way out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor

from ostinato.errors import InvalidShape, InvalidType, InvalidValue


def size(name: str, value: Any) -> int:
    """A width or a count: a whole number greater than zero."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidType(f"{name} must be a whole number (int), got {value!r} of type {type(value).__name__}")
    if value <= 0:
        raise InvalidValue(f"{name} must be greater than zero, got {value}")
    return value


SMALLER = "input_size and hidden_size, of which the smaller is"
"""What the rank of a matrix between x and h is smaller than."""


def thin(name: str, value: Any, width: int, of: str) -> int | None:
    """The rank of a product of two thin matrices: smaller than ``width``, which is ``of``; None for a whole matrix."""
    if value is not None and size(name, value) >= width:
        raise InvalidValue(f"{name} must be smaller than {of} {width}, got {value}; {name}=None has a whole matrix")
    return None if value is None else int(value)


def flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise InvalidType(f"{name} must be True or False, got {value!r} of type {type(value).__name__}")
    return value


def probability(name: str, value: Any) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= 1:
        raise InvalidValue(
            f"{name} must be a number in [0, 1], the probability that an element is zeroed, got {value!r}"
        )
    return float(value)


def number(name: str, value: Any, *, least: float | None = None, above: float | None = None) -> float:
    """A finite number, at least ``least`` or greater than ``above`` where these are given."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidType(f"{name} must be a number, got {value!r} of type {type(value).__name__}")
    if not math.isfinite(value) or (least is not None and value < least) or (above is not None and value <= above):
        rule = "finite" if least is above is None else f"at least {least}" if above is None else f"greater than {above}"
        raise InvalidValue(f"{name} must be {rule}, got {value}")
    return float(value)


def first_bias(name: str, value: Any, bias: bool) -> float | None:
    """What a gate's bias begins with, or None for the usual draw."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidType(f"{name} must be a number or None, got {value!r}")
    if not bias:
        raise InvalidValue(f"{name} = {value} needs bias=True: without biases there is none to set")
    return number(name, value)


def projects(name: str, value: Any, input_size: int, hidden_size: int) -> bool:
    """Whether x passes through a matrix where the state's width is needed: as asked, or as I and H ask (None)."""
    if value is None:
        return input_size != hidden_size
    if flag(name, value) or input_size == hidden_size:
        return bool(value)
    raise InvalidValue(
        f"{name} = False needs input_size = hidden_size, got {input_size} and {hidden_size}; "
        f"{name}=None projects where the widths differ"
    )


def one_of(name: str, value: Any, allowed: Iterable[str]) -> str:
    """A name out of a few; the nearest is offered."""
    allowed = tuple(allowed)
    if value in allowed:
        return str(value)
    raise InvalidValue(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}{nearest(value, allowed)}")


def nearest(value: Any, known: Iterable[str]) -> str:
    """The end of a message: the known name that is nearest to a misspelt one, or nothing."""
    near = get_close_matches(str(value), list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def tensor(owner: str, name: str, value: Any) -> None:
    if not isinstance(value, Tensor):
        raise InvalidType(f"{owner}: {name} must be a tensor, got {type(value).__name__}")


def rank(owner: str, name: str, value: Tensor, allowed: tuple[int, ...]) -> None:
    if value.dim() not in allowed:
        ranks = " or ".join(f"{n}-D" for n in allowed)
        raise InvalidValue(f"{owner}: {name} must be {ranks}, got {value.dim()}-D of shape {tuple(value.shape)}")


def width(owner: str, name: str, value: Tensor, expected: int, rule: str) -> None:
    if value.shape[-1] != expected:
        raise InvalidShape(
            f"{owner}: the last dimension of {name} must be {rule} = {expected}, got {value.shape[-1]} "
            f"in shape {tuple(value.shape)}"
        )


def shape(owner: str, name: str, value: Tensor, expected: tuple[int, ...], meaning: str) -> None:
    if value.shape != expected:
        raise InvalidShape(f"{owner}: {name} must be {expected}, {meaning}, got {tuple(value.shape)}")


def numeric(parameters: Iterable[Tensor]) -> Tensor | None:
    """The first parameter that holds real or complex numbers: the one an input must match."""
    return next((p for p in parameters if p.is_floating_point() or p.is_complex()), None)


def same_kind(owner: str, name: str, value: Tensor, model: Tensor | None) -> None:
    """The dtype and the device of ``value`` are those of ``model`` (the parameters); autocast may mix dtypes."""
    if model is None:
        return
    if value.dtype != model.dtype and not torch._C._is_any_autocast_enabled():
        other = f", or the module with .to({value.dtype})" if value.is_floating_point() or value.is_complex() else ""
        raise InvalidValue(
            f"{owner}: {name} has dtype {value.dtype} where {model.dtype} is needed; convert it with "
            f".to({model.dtype}){other}"
        )
    same_device(owner, name, value, model)


def same_device(owner: str, name: str, value: Tensor, model: Tensor) -> None:
    if value.device != model.device:
        raise InvalidShape(
            f"{owner}: {name} is on {value.device} where {model.device} is needed; move it with "
            f".to({str(model.device)!r})"
        )


def state_tuple(owner: str, name: str, value: Any, state_names: tuple[str, ...]) -> tuple[Any, ...]:
    """The states of one call as a tuple, one entry a state name."""
    if len(state_names) == 1:
        return (value,)
    if not isinstance(value, (tuple, list)) or len(value) != len(state_names):
        got = f"{len(value)} values" if isinstance(value, (tuple, list)) else type(value).__name__
        raise InvalidType(f"{owner}: {name} must be a tuple ({', '.join(state_names)}), got {got}")
    return tuple(value)


def stream_names(owner: str, known: Mapping[str, bool], given: Iterable[str]) -> None:
    """Every keyword is one that ``step`` names (``known``: name → needed), and none that it needs is missing."""
    given = tuple(given)
    for name in given:
        if name not in known:
            raise InvalidType(
                f"{owner}.step has no keyword-only parameter {name!r} (it has: {', '.join(known) or 'none'})"
                f"{nearest(name, known)}"
            )
    missing = [name for name, needed in known.items() if needed and name not in given]
    if missing:
        raise InvalidType(
            f"{owner}.step needs the keyword {missing[0]!r}: give {missing[0]}=… with the call, "
            "a value a step or a value a sequence"
        )
