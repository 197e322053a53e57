"""What a step reads of the program around it: the functions it can reach, their globals, the attributes of classes.

Nothing is run: names are read from the functions' code, and looked up where Python would look. Where a name could mean
several things, all of them are watched; so a guard may fail too often, and never too seldom. Code of torch, of the
standard library and of installed packages is told by its version.
"""

from __future__ import annotations

import builtins
import dis
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from types import CodeType, FunctionType, ModuleType
from typing import Any

from torch import Tensor, nn

from ostinato.cells.cell import Cell
from ostinato.compiler.lines import line_of
from ostinato.compiler.outside import ANYTHING, FILES, NAMESPACES, REFLECTION, refuse_function, refuse_outside
from ostinato.compiler.refusal import Refused
from ostinato.compiler.watched import BUFFER, Itself, Naming, Picture, freeze, is_library

MISSING = object()
_UNREAD = (
    "init new init_subclass repr str setattr delattr del setstate getstate reduce reduce_ex deepcopy copy "
    "class_getitem format sizeof dir hash"
)
UNREAD = frozenset(f"__{name}__" for name in _UNREAD.split())
"""Methods of a cell's class that its step never reaches."""

SILENT = frozenset(("CACHE", "EXTENDED_ARG", "NOP", "PRECALL", "PUSH_NULL", "RESUME"))


@dataclass
class Names:
    """What a function's code names: chains such as ``("torch", "tanh")`` from a global on, attributes, imports.

    Attributes:
        values: chains of which the code takes no attribute.
        texts: strings that could be names.
    """

    chains: set[tuple[str, ...]] = field(default_factory=set)
    values: set[tuple[str, ...]] = field(default_factory=set)
    texts: set[str] = field(default_factory=set)
    attributes: set[str] = field(default_factory=set)
    imports: set[str] = field(default_factory=set)


@lru_cache(maxsize=1024)
def names_of(code: CodeType) -> Names:
    """Every name in the code of a function and of those within it."""
    names = Names()
    codes = [code]
    while codes:
        current = codes.pop()
        codes += [c for c in current.co_consts if isinstance(c, CodeType)]
        names.texts |= {c for c in current.co_consts if isinstance(c, str) and c.isidentifier()}
        chain: tuple[str, ...] = ()
        before: Any = None
        for instruction in dis.get_instructions(current):
            op, name = instruction.opname, instruction.argval
            if chain and op not in SILENT and op not in ("LOAD_ATTR", "LOAD_METHOD"):
                names.values.add(chain)
            if op in ("LOAD_GLOBAL", "LOAD_NAME"):
                chain = (name,)
                names.chains.add(chain)
            elif op in ("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR", "IMPORT_FROM"):
                names.attributes.add(name)
                chain = (*chain, name) if chain and op != "LOAD_SUPER_ATTR" else ()
                if chain:
                    names.chains.add(chain)
            elif op == "IMPORT_NAME":
                names.imports.add(name)
                chain = ()
            elif op == "MATCH_CLASS":
                # ``case Options(1.0, gain=g)``: the keywords are a constant, and the class says the other names.
                names.attributes |= {*before, *(("__match_args__",) if name else ())}
                chain = ()
            elif op not in SILENT:
                chain = ()
            before = before if op in SILENT else name
    return names


@dataclass
class Read:
    """One thing that is read: ``holder[name]``, ``holder.name``, and its picture then.

    Attributes:
        label: what it is called in a key and in a message.
        holder: the module's dictionary, the class or the function.
        item: read with brackets.
        value: what is there; ``MISSING`` if nothing is.
    """

    label: str
    holder: Any
    name: str
    item: bool
    value: Any
    picture: Picture = None


class Reach:
    """Walks from a cell's step to everything that is read."""

    def __init__(self, cell: nn.Module, modules: list[nn.Module]) -> None:
        self.reads: dict[tuple[int, str], Read] = {}
        self.naming = Naming()
        self.codes: dict[int, FunctionType] = {}
        self.functions: list[FunctionType] = []
        self.classes: dict[type, bool] = {}
        self.modules: list[ModuleType] = []
        self.attributes: set[str] = {"step", "forward"}
        self.texts: set[str] = set()
        self.dynamic = False
        self.roots = {type(m).__module__.partition(".")[0] for m in modules} - {"torch"}
        for module in modules:
            self._class(type(module), of_module=True)

    def own(self, module: str | None) -> bool:
        """Whether code of a module is walked: not what a layer adds to a cell, which the added class's name tells."""
        if (module or "").startswith("ostinato.layers."):
            return False
        return (module or "").partition(".")[0] in self.roots or not is_library(module)

    def found(self, value: Any) -> None:
        """A function, a class or a module that was read."""
        refuse_function(value)
        if isinstance(value, FunctionType):
            if id(value) not in self.codes and self._is_read(value):
                self.codes[id(value)] = value
                self.functions.append(value)
        elif isinstance(value, ModuleType):
            if self.own(value.__name__) and not any(value is one for one in self.modules):
                self.modules.append(value)
        elif isinstance(value, type) and value not in self.classes:
            self._class(value, of_module=issubclass(value, nn.Module))

    def _is_read(self, function: FunctionType) -> bool:
        """Whether a function is the user's, or a library's around one."""
        return self.own(function.__globals__.get("__name__")) or "__wrapped__" in function.__dict__

    def walk(self) -> None:
        """Follow everything until nothing new is found."""
        known = -1
        while known != (known := self._size()):
            while self.functions:
                self._function(self.functions.pop())
            if self.dynamic:
                self.attributes |= self.texts
            for kind in list(self.classes):
                self._attributes(kind)
            for module in list(self.modules):
                self._names(module)

    def _size(self) -> int:
        found = len(self.reads) + len(self.classes) + len(self.modules) + len(self.attributes)
        return found + self.dynamic

    def _names(self, module: ModuleType) -> None:
        """Those names of a module that some function names, or all: which module it takes them of is not known."""
        inner = vars(module)
        for name, value in list(inner.items()):
            if name in self.attributes:
                self._read(f"{module.__name__}.{name}", inner, name, value, True)
            elif self.dynamic and not name.startswith("__"):
                self._read(f"{module.__name__}.{name}", inner, name, value, True, is_value=False, or_itself=True)

    def _class(self, kind: type, of_module: bool) -> None:
        if type(kind) is not type:
            self._class(type(kind), of_module)
        for base in kind.__mro__:
            if base not in (Cell, nn.Module, object) and self.own(base.__module__) and base not in self.classes:
                self.classes[base] = of_module

    def _attributes(self, kind: type) -> None:
        """Those attributes of a class that some function names, and those Python reads without a name."""
        of_module = self.classes[kind]
        for name, value in list(vars(kind).items()):
            function = isinstance(value, FunctionType)
            special = name.startswith("__") and name.endswith("__")
            unread = of_module and name in UNREAD
            if unread or (special and not function):
                continue
            if special or self.dynamic or name in self.attributes:
                # Read from the class itself, and from the lowest class, where another could hide it.
                item = not isinstance(value, FunctionType | property) and hasattr(type(value), "__get__")
                self._read(f"{self.naming(kind)}.{name}", kind, name, value, item)
                for lower in [c for c in self.classes if c is not kind and issubclass(c, kind)]:
                    if getattr(lower, name, MISSING) is value:
                        self._read(f"{self.naming(lower)}.{name}", lower, name, value, False)

    def _function(self, function: FunctionType) -> None:
        label, own = self.naming(function), self.own(function.__globals__.get("__name__"))
        self._read(f"{label}()", function, "__code__", function.__code__, False)
        for name in ("__defaults__", "__kwdefaults__"):
            self._read(f"{label}{name}", function, name, getattr(function, name), False)
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            try:
                value = cell.cell_contents
            except ValueError:
                continue
            if name != "__class__":
                self._read(f"{label}.{name}", cell, "cell_contents", value, False, or_itself=not own)
        for name, value in list(function.__dict__.items()):
            self._read(f"{label}.{name}", function.__dict__, name, value, True, or_itself=True)
        if not own:
            return
        names = names_of(function.__code__)
        for name in sorted(NAMESPACES & names.attributes):
            why = f"{name} reads what cannot be watched; name it where the step reads it"
            raise Refused(why, line_of(function.__code__, name))
        self.attributes |= names.attributes
        self.texts |= names.texts
        self.dynamic |= not REFLECTION.isdisjoint(names.attributes)
        space = function.__globals__
        for chain in sorted(names.chains):
            with _on_line_of(function.__code__, chain[-1]):
                self._chain(space, chain, chain in names.values)
        for name in names.imports:
            with _on_line_of(function.__code__, name):
                self._modules_names(name, names.attributes)

    def _chain(self, space: dict[str, Any], chain: tuple[str, ...], is_value: bool) -> None:
        """``module.helper`` from a global on, as far as modules, classes and functions go."""
        first, *rest = chain
        label = f"{self.naming(space)}.{first}"
        self.dynamic |= first in REFLECTION
        if first not in space:
            if not rest and hasattr(builtins, first):
                if first in ANYTHING:
                    raise Refused(f"{first}() reads what cannot be watched; name it where the step reads it")
                if first in FILES:
                    raise Refused(
                        f"{first}() reads what cannot be watched; read it once, into an attribute of the cell"
                    )
            self._read(label, space, first, MISSING, True)
            return
        value = space[first]
        self._read(label, space, first, value, True, is_value and not rest)
        for n, name in enumerate(rest, 1):
            if isinstance(value, type):
                refuse_outside(value.__module__, {name})
            if isinstance(value, FunctionType) and not hasattr(FunctionType, name):
                self._read_or_missing(f"{self.naming(value)}.{name}", value.__dict__, name, True)
            if not isinstance(value, ModuleType):
                return
            refuse_outside(value.__name__, {name})
            module, inner = value.__name__, vars(value)
            if self.own(module):
                self._read_or_missing(f"{module}.{name}", inner, name, is_value and n == len(rest))
            if name not in inner:
                return
            value = inner[name]

    def _read_or_missing(self, label: str, inner: dict[str, Any], name: str, is_value: bool) -> None:
        if name not in inner and "__getattr__" in inner:
            self._read(f"{label} by __getattr__", inner, "__getattr__", inner["__getattr__"], True)
        self._read(label, inner, name, inner.get(name, MISSING), True, is_value)

    def _modules_names(self, module: str, attributes: set[str]) -> None:
        """A module imported within a function: whatever the function names of it."""
        refuse_outside(module, attributes)
        if module in sys.modules:
            self.found(sys.modules[module])

    def _read(
        self,
        label: str,
        holder: Any,
        name: str,
        value: Any,
        item: bool,
        is_value: bool = True,
        or_itself: bool = False,
    ) -> None:
        """Note what is read.

        Args:
            is_value: whether a module is more than what a name is taken of.
            or_itself: what cannot be watched is watched for being the same object.
        """
        if isinstance(value, ModuleType) and is_value:
            self.found(value)
        key = (id(holder), name)
        if key in self.reads:
            return
        read = self.reads[key] = Read(label, holder, name, item, value)
        if value is MISSING:
            return
        if isinstance(value, CodeType):
            read.picture = value
            return
        if isinstance(value, ModuleType):
            read.picture = ("is", value)
            return
        if isinstance(value, Tensor) and not or_itself:
            raise Refused(f"{label} is a tensor outside the cell; {BUFFER}")
        try:
            read.picture = freeze(value, self.found)
        except Refused as why:
            if not or_itself:
                raise Refused(f"{label}: {why.why}") from None
            read.picture = ("is", Itself(value), id(value))


@contextmanager
def _on_line_of(code: CodeType, name: str) -> Iterator[None]:
    """A refusal within says the line on which a function's code has a name, if it says none yet."""
    try:
        yield
    except Refused as why:
        raise Refused(why.why, why.source or line_of(code, name)) from None


def submodules(cell: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The cell and what is in it, with the path each is read under."""
    stack = [("", cell)]
    while stack:
        path, module = stack.pop()
        yield path, module
        stack.extend((f"{path}{name}.", m) for name, m in reversed(module._modules.items()) if m is not None)
