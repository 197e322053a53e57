"""Plain Python values as something that can be compared later, and hashed: what a step may read besides tensors.

:func:`freeze` takes a picture of a value: two pictures are equal exactly if a step that reads nothing but the value
does the same. :func:`text` writes a picture down, the same in every process.
"""

from __future__ import annotations

import enum
import hashlib
import logging
import operator
import re
import sys
import sysconfig
from collections.abc import Callable
from functools import _lru_cache_wrapper, lru_cache, partial
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    GetSetDescriptorType,
    MappingProxyType,
    MemberDescriptorType,
    MethodDescriptorType,
    MethodType,
    MethodWrapperType,
    ModuleType,
    SimpleNamespace,
    WrapperDescriptorType,
)
from typing import Any

import torch
from torch import Tensor, nn

from ostinato.compiler.refusal import Refused

Picture = Any
Found = Callable[[Any], None]

ATOMS = (
    type(None),
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    range,
    slice,
    type(...),
    re.Pattern,
    torch.dtype,
    torch.device,
    torch.layout,
    torch.memory_format,
)
"""Compared by type and value, written as ``repr`` says."""

NAMED = (
    BuiltinFunctionType,
    MethodDescriptorType,
    WrapperDescriptorType,
    MethodWrapperType,
    GetSetDescriptorType,
    MemberDescriptorType,
    ModuleType,
    logging.Logger,
)
"""Themselves, written by name."""

BOUND = (BuiltinFunctionType, MethodWrapperType)
"""What may be a method of some object: ``table.get``."""

FOUND = (BuiltinFunctionType, ModuleType)
"""Those of them that may read a program's surroundings, or hold what is read."""

OF_A_MEMBER = frozenset(("_value_", "_name_", "_sort_order_", "__objclass__", "_hashable_values_"))
"""What every member of an enumeration has."""

BRANCHES = ("prim::If", "prim::Loop", "aten::size", "aten::len", "aten::numel")
"""What TorchScript can make depend on the batch size."""

PLAIN = (int, float, complex, str, bytes)
"""What a user's class may be a kind of, and be compared by."""

BUFFER = "register it as a buffer of the cell"
SITES = tuple({sysconfig.get_path(name) for name in ("purelib", "platlib")})


def freeze(value: Any, found: Found, seen: dict[int, int] | None = None) -> Picture:
    """A picture of a value; ``found`` is told of every function, class and module in it.

    Raises:
        Refused: a tensor, a module, or something that can change without showing it.
    """
    kind = type(value)
    if kind in ATOMS:
        return ("=", kind, repr(value) if kind in (float, complex) else value)
    if isinstance(value, enum.Enum):
        found(kind)
        own = {n: v for n, v in vars(value).items() if n not in OF_A_MEMBER} if hasattr(value, "__dict__") else {}
        same = ("=", kind, value)
        return (
            ("object", same, *(part for n, v in own.items() for part in (n, freeze(v, found, seen)))) if own else same
        )
    if isinstance(value, BOUND) and not isinstance(value.__self__, ModuleType | type | None):
        return ("method", value.__name__, *freeze((value.__self__,), found, seen))
    if isinstance(value, NAMED) or _generic(value):
        if isinstance(value, FOUND):
            found(value)
        return ("is", value)
    if isinstance(value, type):
        found(value)
        return ("is", value)
    seen = {} if seen is None else seen
    if id(value) in seen:
        return ("again", seen[id(value)])
    seen[id(value)] = len(seen)

    def each(values: Any) -> tuple[Picture, ...]:
        return tuple(freeze(v, found, seen) for v in values)

    if isinstance(value, FunctionType):
        found(value)
        return ("is", value)
    if isinstance(value, MethodType):
        found(value.__func__)
        return ("method", value.__func__, *each([value.__self__]))
    if isinstance(value, list | tuple):
        return ("list", kind, *each(value), *_more(value, found, seen))
    if isinstance(value, dict | MappingProxyType):
        return ("dict", kind, *each(value), *each(value.values()), *_more(value, found, seen))
    if isinstance(value, set | frozenset):
        return ("set", kind, frozenset(each(value)))
    if isinstance(value, partial):
        return ("partial", *each([value.func, value.args, value.keywords]))
    if isinstance(value, operator.itemgetter | operator.attrgetter):
        return ("partial", *each(value.__reduce__()[1]))
    if isinstance(value, _lru_cache_wrapper):
        return ("partial", *each([value.__wrapped__]))
    if isinstance(value, classmethod | staticmethod):
        return ("method", *each([value.__func__]))
    if isinstance(value, property):
        return ("property", *each([value.fget]))
    return _object(value, found, seen)


def _object(value: Any, found: Found, seen: dict[int, int]) -> Picture:
    """Something else: an object of torch's or of a class whose attributes say all."""
    kind = type(value)
    name = f"{kind.__module__}.{kind.__qualname__}"
    if isinstance(value, Tensor):
        raise Refused(f"a tensor of shape {tuple(value.shape)} that is not the cell's own; {BUFFER}")
    if isinstance(value, nn.Module):
        raise Refused(f"the module {kind.__name__} is not the cell's own; assign it to an attribute in __init__")
    if isinstance(value, torch.Generator):
        raise Refused("a generator of random numbers; take what is random as a keyword-only parameter of step")
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.generic | numpy.ufunc | numpy.dtype):
        return ("=", kind, repr(value))
    if is_library(kind.__module__):
        if kind.__module__.partition(".")[0] in ("torch", "dataclasses") and not hasattr(value, "__len__"):
            return _of_torch(value, found, seen)
        raise Refused(f"an object of type {name} can change without showing it; {BUFFER}, or use plain numbers")
    found(kind)
    base = next((b for b in PLAIN if isinstance(value, b)), None)
    if base is None and any(map(_holds, kind.__mro__)):
        raise Refused(f"an object of type {name} can change without showing it; {BUFFER}, or use plain numbers")
    own: dict[str, Any] = {} if base is None else {base.__name__: base.__repr__(value)}
    slots = [n for c in kind.__mro__ for n in _names(getattr(c, "__slots__", ())) if hasattr(value, n)]
    if not hasattr(value, "__dict__") and not slots and not own:
        raise Refused(f"an object of type {name} can change without showing it; {BUFFER}, or use plain numbers")
    own |= {n: getattr(value, n) for n in slots if not n.startswith("__")} | dict(getattr(value, "__dict__", {}))
    return ("object", kind, *(part for n, v in own.items() for part in (n, freeze(v, found, seen))))


def _of_torch(value: Any, found: Found, seen: dict[int, int]) -> Picture:
    """An object of torch's, and what it has as attributes: by itself, where that cannot be watched."""
    if isinstance(value, torch.jit.ScriptFunction) and any(op in str(value.inlined_graph) for op in BRANCHES):
        raise Refused("TorchScript that asks for sizes or branches, which nothing can watch; use the Python function")
    own = getattr(value, "__dict__", {})
    if not own or type(value).__module__ in ("torch._ops", "dataclasses"):
        return ("is", value)
    parts: list[Picture] = []
    for name, one in own.items():
        try:
            parts += [name, freeze(one, found, seen)]
        except Refused:
            parts += [name, ("is", Itself(one))]
    return ("object", Itself(value), *parts)


def _holds(kind: type) -> bool:
    """Whether a class of a library, not written in Python, keeps something that no attribute shows: an array."""
    own = vars(kind).get("__new__")
    return (
        kind not in (object, SimpleNamespace) and isinstance(own, BuiltinFunctionType) and is_library(kind.__module__)
    )


class Itself:
    """An object in a picture that nothing but itself is equal to."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Itself) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)


def _names(slots: Any) -> tuple[str, ...]:
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _more(value: Any, found: Found, seen: dict[int, int]) -> tuple[Picture, ...]:
    """What an object of a subclass of ``list`` or ``dict`` has besides its items."""
    if is_library(type(value).__module__):
        return ()
    found(type(value))
    return tuple(freeze(v, found, seen) for v in vars(value).values()) if hasattr(value, "__dict__") else ()


def _generic(value: Any) -> bool:
    """``list[int]``, ``Tensor | None``: types, written as such."""
    return type(value).__module__ in ("types", "typing") and hasattr(value, "__origin__")


@lru_cache(maxsize=4096)
def is_library(module: str | None) -> bool:
    """Whether a module's code is told by its version: torch, the standard library, what is installed."""
    if module is None:
        return False  # made by exec in a namespace without a name
    root = module.partition(".")[0]
    if root in sys.stdlib_module_names or root in ("torch", "ostinato"):
        return root != "__main__"
    file = getattr(sys.modules.get(root), "__file__", None)
    return file is not None and file.startswith(SITES)


class Naming:
    """A name for each function, class and namespace, those of the same name told apart by the order they came in.

    Two functions that one ``def`` made, or two lambdas, have one name. Which of them is read where decides what a step
    does, so two steps that read them the other way round must not look alike.
    """

    def __init__(self) -> None:
        self.known: dict[str, list[Any]] = {}

    def __call__(self, value: Any) -> str:
        name = str(value.get("__name__")) if isinstance(value, dict) else _name(value)
        same = self.known.setdefault(name, [])
        number = next((n for n, one in enumerate(same) if one is value), len(same))
        if number == len(same):
            same.append(value)
        return f"{name}#{number}" if number else name


def text(picture: Picture, naming: Callable[[Any], str] | None = None) -> str:
    """A picture as text, the same in every process."""
    naming = naming or _name
    if isinstance(picture, tuple):
        if picture[:1] == ("=",):
            return f"{naming(picture[1])}:{picture[2]!r}"
        if picture[:1] == ("set",):
            return f"set({','.join(sorted(text(p, naming) for p in picture[2]))})"
        return f"({','.join(text(p, naming) for p in picture)})"
    if isinstance(picture, CodeType):
        return code_text(picture)
    if isinstance(picture, str | int):
        return repr(picture)
    return naming(picture)


def _name(value: Any) -> str:
    if isinstance(value, Itself):
        kind = type(value.value)
        return f"{kind.__module__}.{kind.__qualname__}"
    if isinstance(value, ModuleType):
        return value.__name__
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    return f"{getattr(value, '__module__', '')}.{name}" if name else re.sub(r"0x[0-9a-f]+", "", repr(value))


def code_text(code: CodeType) -> str:
    """What a function's code does: its instructions, names and constants, with neither file nor lines."""
    digest = hashlib.sha256(code.co_code)
    digest.update(getattr(code, "co_exceptiontable", b""))
    for names in (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars):
        digest.update(repr(names).encode())
    digest.update(repr((code.co_argcount, code.co_kwonlyargcount, code.co_flags)).encode())
    for const in code.co_consts:
        digest.update(text(freeze(const, _nothing) if not isinstance(const, CodeType) else const).encode())
    return digest.hexdigest()[:32]


def _nothing(value: Any) -> None:
    """Constants hold no functions."""
