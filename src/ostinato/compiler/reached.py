"""What a step reads of the program around it: the functions it can reach, their globals, the attributes of classes.

Nothing is run: names are read from the functions' code, and looked up where Python would look. Where a name could mean
several things, all of them are watched; so a guard may fail too often, and never too seldom. Code of torch, of the
standard library and of installed packages is told by its version.
"""

from __future__ import annotations

import builtins
import dis
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from types import CodeType, FunctionType, ModuleType
from typing import Any

from torch import Tensor, nn

from ostinato.cells.cell import Cell
from ostinato.compiler.refusal import Refused
from ostinato.compiler.watched import BUFFER, Naming, Picture, freeze, is_library

MISSING = object()
ANYTHING = frozenset(("globals", "eval", "exec", "__import__"))
"""Builtins that read what no name in the code tells."""

OUTSIDE = {
    "os": ("environ", "environb", "getenv", "getenvb"),
    "sys": ("modules", "argv"),
    "importlib": ("import_module",),
    "random": (),
    "time": (),
    "torch": (
        "are_deterministic_algorithms_enabled",
        "get_num_threads",
        "get_rng_state",
        "initial_seed",
        "is_inference_mode_enabled",
    ),
}
"""What a program's surroundings are read by: names of a module, or all of them."""

Put = Callable[[str, dict[str, Any], str, Any], None]

_UNREAD = (
    "init new init_subclass repr str setattr delattr del setstate getstate reduce reduce_ex deepcopy copy "
    "class_getitem format sizeof dir hash"
)
UNREAD = frozenset(f"__{name}__" for name in _UNREAD.split())
"""Methods of a cell's class that its step never reaches."""

SILENT = frozenset(("CACHE", "EXTENDED_ARG", "NOP", "PRECALL", "PUSH_NULL", "RESUME"))


@dataclass
class Names:
    """What a function's code names: chains such as ``("torch", "tanh")`` from a global on, attributes, imports."""

    chains: set[tuple[str, ...]] = field(default_factory=set)
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
        chain: tuple[str, ...] = ()
        for instruction in dis.get_instructions(current):
            op, name = instruction.opname, instruction.argval
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
            elif op not in SILENT:
                chain = ()
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
        self.attributes: set[str] = {"step", "forward"}
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
        """A function or a class that was read."""
        if isinstance(value, FunctionType):
            if id(value) not in self.codes and self.own(value.__globals__.get("__name__")):
                self.codes[id(value)] = value
                self.functions.append(value)
        elif isinstance(value, type) and value not in self.classes:
            self._class(value, of_module=issubclass(value, nn.Module))

    def walk(self) -> None:
        """Follow everything until nothing new is found."""
        known = -1
        while known != len(self.reads) + len(self.classes) + len(self.attributes) + self.dynamic:
            known = len(self.reads) + len(self.classes) + len(self.attributes) + self.dynamic
            while self.functions:
                self._function(self.functions.pop())
            for kind in list(self.classes):
                self._attributes(kind)

    def _class(self, kind: type, of_module: bool) -> None:
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
        label = self.naming(function)
        self._read(f"{label}()", function, "__code__", function.__code__, False)
        for name in ("__defaults__", "__kwdefaults__"):
            self._read(f"{label}{name}", function, name, getattr(function, name), False)
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            try:
                value = cell.cell_contents
            except ValueError:
                continue
            if name != "__class__":
                self._read(f"{label}.{name}", cell, "cell_contents", value, False)
        names = names_of(function.__code__)
        self.attributes |= names.attributes
        space = function.__globals__
        for chain in sorted(names.chains):
            self._chain(space, chain)
        for name in names.imports:
            self._modules_names(name, names.attributes)

    def _chain(self, space: dict[str, Any], chain: tuple[str, ...]) -> None:
        """``module.helper`` from a global on, as far as modules and classes go."""
        first, *rest = chain
        label = f"{self.naming(space)}.{first}"
        if first not in space:
            if hasattr(builtins, first) and not rest:
                if first in ANYTHING:
                    raise Refused(f"{first}() reads what cannot be watched; name it where the step reads it")
                self.dynamic |= first in ("getattr", "vars")
                self._read(label, space, first, MISSING, True)
            return
        value = space[first]
        self._read(label, space, first, value, True)
        for name in rest:
            if not isinstance(value, ModuleType):
                return
            _refuse_outside(value.__name__, {name})
            inner = vars(value)
            if name not in inner:
                return
            module, value = value.__name__, inner[name]
            if self.own(module):
                self._read(f"{module}.{name}", inner, name, value, True)

    def _modules_names(self, module: str, attributes: set[str]) -> None:
        """A module imported within a function: whatever the function names of it."""
        _refuse_outside(module, attributes)
        found = sys.modules.get(module)
        if found is not None and self.own(module):
            for name in attributes & vars(found).keys():
                self._read(f"{module}.{name}", vars(found), name, vars(found)[name], True)

    def _read(self, label: str, holder: Any, name: str, value: Any, item: bool) -> None:
        key = (id(holder), name)
        if key in self.reads:
            return
        read = self.reads[key] = Read(label, holder, name, item, value)
        if value is MISSING:
            return
        if isinstance(value, CodeType):
            read.picture = value
            return
        if isinstance(value, Tensor):
            raise Refused(f"{label} is a tensor outside the cell; {BUFFER}")
        try:
            read.picture = freeze(value, self.found)
        except Refused as why:
            raise Refused(f"{label}: {why.why}") from None


def _refuse_outside(module: str, names: Iterable[str]) -> None:
    outside = OUTSIDE.get(module)
    if outside is not None and (name := next((n for n in names if n in outside or not outside), None)) is not None:
        raise Refused(f"{module}.{name} reads what cannot be watched; make it an attribute of the cell")


def submodules(cell: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The cell and what is in it, with the path each is read under."""
    stack = [("", cell)]
    while stack:
        path, module = stack.pop()
        yield path, module
        stack.extend((f"{path}{name}.", m) for name, m in reversed(module._modules.items()) if m is not None)
