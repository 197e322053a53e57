"""What a trace depends on, so that a kernel of another step is never run.

A guard knows every value besides tensors that a step could read: code, globals, attributes, flags; and the shapes,
dtypes and devices of the cell's tensors. :attr:`Guard.holds` says whether all of it is still the same. It is called at
every forward pass, so it is one straight function, written as text and compiled when the guard is made.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import CodeType
from typing import Any

import torch
from torch import Tensor, nn

from ostinato.cells.cell import Cell
from ostinato.compiler.lines import line_of
from ostinato.compiler.reached import MISSING, Reach, submodules
from ostinato.compiler.refusal import Refused
from ostinato.compiler.watched import Naming, Picture, freeze, text
from ostinato.version import __version__

INTERNAL = frozenset(vars(nn.Module())) - {"training"} | {"_frozen"}
"""What torch keeps in every module."""

UNCHANGING = (property, classmethod, staticmethod)
"""What is the same as long as it is the same object; the functions in it are watched by themselves."""

STATE = "return what must be kept as a state, or look at values with ostinato.record"

PLAIN = frozenset((bool, int, float, complex, str, bytes, type(None), torch.dtype))
"""Values that cannot be changed, whoever holds them."""

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
"""Functions that torch calls with a module."""

ON_ALL = tuple(vars(nn.modules.module)[f"_global{name}"] for name in HOOKS)
"""Those it calls with every module."""

VERSIONS = f"ostinato {__version__}, torch {torch.__version__}, python {sys.version_info[:2]}"


@dataclass(frozen=True, slots=True)
class Guard:
    """The state of a program that a trace holds for.

    Attributes:
        key: a hash of it all, the same in every process: what a kernel is kept under on disk.
        holds: ``holds(cell)``, whether another bound cell (or this one, later) is the same to a step.
        tensors: ``tensors(cell)``, the cell's tensors by path, as :func:`tensors_of` has them.
        content: what the key is a hash of, ``what=value`` each.
        codes: of the functions that the step can reach.
    """

    key: str
    holds: Callable[[Cell], bool]
    tensors: Callable[[Cell], dict[str, Tensor]]
    content: frozenset[str]
    codes: tuple[CodeType, ...]

    @classmethod
    def of(cls, cell: Cell) -> Guard:
        """The guard of a bound cell.

        Raises:
            Refused: the step reads something that could change without showing it.
        """
        modules = list(submodules(cell))
        reach = Reach(cell, [m for _, m in modules])
        check = _Check(reach.naming)
        check.default_dtype()
        for path, module in modules:
            if isinstance(module, torch.jit.ScriptModule):
                raise Refused(f"self.{path[:-1]} is TorchScript, which nothing can watch; use the Python module")
            _module(check, reach, path, module)
        if len(modules) > 1:
            check.hooks_on_all()
        reach.walk()
        for read in reach.reads.values():
            check.read(read.label, read.holder, read.name, read.item, read.value, read.picture)
        for kind in reach.classes:
            check.count(f"{check.constant(kind)}.__dict__", vars(kind))
        for outer in reach.modules:
            check.count(check.constant(vars(outer)), vars(outer))
        codes = tuple(function.__code__ for function in reach.codes.values())
        return cls(check.key(), check.function(), check.tensors(), frozenset(check.content), codes)

    def change(self, cell: Cell) -> Refused | None:
        """After the cell's step has run: the refusal, if the step itself has changed what it reads."""
        if self.holds(cell):
            return None
        try:
            labels = changed(self.content, Guard.of(cell).content)
        except Refused as refused:
            return refused
        if not labels:
            return None
        lines = (line_of(code, labels[0].rpartition(".")[2]) for code in self.codes)
        return Refused(f"the step changes {labels[0]}, which it reads; {STATE}", next((n for n in lines if n), ""))


def changed(before: frozenset[str], now: frozenset[str]) -> list[str]:
    """What is not the same in the contents of two guards."""
    return sorted({line.partition("=")[0] for line in now ^ before})


def tensors_of(cell: nn.Module) -> dict[str, Tensor]:
    """A cell's tensors by their path in it: parameters, buffers and plain attributes, of its submodules too."""
    found: dict[str, Tensor] = {}
    for path, module in submodules(cell):
        own = vars(module)
        for part in (own, own["_parameters"], own["_buffers"]):
            found.update((path + name, value) for name, value in part.items() if isinstance(value, Tensor))
    return found


def _module(check: _Check, reach: Reach, path: str, module: nn.Module) -> None:
    """One module's class, attributes and tensors."""
    own, at = vars(module), check.module(path, module)
    if path:
        check.hooks(f"self.{path}", f"d{at}", own, reach)
    for name, value in own.items():
        if name in INTERNAL:
            continue
        if isinstance(value, Tensor):
            check.tensor(path + name, f"d{at}[{name!r}]", value)
        else:
            check.attribute(f"self.{path}{name}", f"d{at}[{name!r}]", value, reach)
            if isinstance(value, str):
                reach.texts.add(value)
    for kind, short in (("_parameters", "p"), ("_buffers", "b")):
        for name, value in own[kind].items():
            check.tensor(path + name, f"{short}{at}[{name!r}]", value)


class _Check:
    """Writes the function: a line for each thing that must be the same, and what it must be as a constant."""

    def __init__(self, naming: Naming) -> None:
        self.naming = naming
        self.lines: list[str] = []
        self.constants: dict[str, Any] = {"same": same, "freeze": _picture}
        self.names: dict[int, str] = {}
        self.content: list[str] = []
        self.paths: dict[str, str] = {}
        self.where: dict[str, int] = {}
        self.places: list[str] = []
        self.first: dict[int, str] = {}

    def constant(self, value: Any) -> str:
        name = self.names.get(id(value))
        if name is None:
            name = self.names[id(value)] = f"k{len(self.names)}"
            self.constants[name] = value
        return name

    def module(self, path: str, module: nn.Module) -> int:
        """The variables that a module's attributes and tensors are read from."""
        at = self.where[path] = len(self.where)
        if path:
            outer, _, name = path[:-1].rpartition(".")
            owner = self.where[f"{outer}." if outer else ""]
            self.lines.append(f"c{at} = m{owner}[{name!r}]")
            self.places.append(self.lines[-1])
        own = vars(module)
        reads = f"d{at} = c{at}.__dict__; p{at} = d{at}['_parameters']; b{at} = d{at}['_buffers']; "
        self.lines.append(f"{reads}m{at} = d{at}['_modules']")
        self.places.append(self.lines[-1])
        counts = f"len(p{at}) != {len(own['_parameters'])} or len(b{at}) != {len(own['_buffers'])}"
        self.unless(f"type(c{at}) is not {self.constant(type(module))} or len(d{at}) != {len(own)} or {counts}")
        self.unless(f"len(m{at}) != {len(module._modules)}")
        self.lines += [f"if m{at}[{n!r}] is not None: return False" for n, m in module._modules.items() if m is None]
        self.content.append(f"{path}: {self.naming(type(module))} {list(module._modules)}")
        return at

    def default_dtype(self) -> None:
        """The dtype of ``torch.tensor(0.1)`` within the step."""
        dtype = torch.get_default_dtype()
        self.content.append(f"default dtype {dtype}")
        self.unless(f"{self.constant(torch.get_default_dtype)}() is not {self.constant(dtype)}")

    def unless(self, condition: str) -> None:
        self.lines.append(f"if {condition}: return False")

    def tensor(self, path: str, place: str, value: Tensor | None) -> None:
        self.content.append(f"{path}: {None if value is None else (tuple(value.shape), value.dtype, value.device)}")
        if value is None:
            self.unless(f"{place} is not None")
            return
        self.paths[path] = place
        shape, dtype, device = (self.constant(v) for v in (value.shape, value.dtype, value.device))
        self.lines.append(f"t = {place}")
        self.unless(f"t.shape != {shape} or t.dtype is not {dtype} or t.device != {device}")
        if id(value) in self.first:
            # One tensor under two paths is one input of the graph.
            self.unless(f"t is not {self.first[id(value)]}")
            self.content.append(f"{path} is {self.first[id(value)]}")
        self.first.setdefault(id(value), place)

    def hooks(self, label: str, place: str, own: Mapping[str, Any], reach: Reach) -> None:
        """The functions that are called with a submodule; what they are kept under differs by process."""
        for name in HOOKS:
            if own[name]:
                values = f"list({place}[{name!r}].values())"
                self.attribute(f"{label}{name}", values, list(own[name].values()), reach)
        none = [f"{place}[{name!r}]" for name in HOOKS if not own[name]]
        if none:
            self.unless(" or ".join(none))

    def hooks_on_all(self) -> None:
        """Functions that are called with every module: a step that calls one is then the loop's."""
        places = " or ".join(map(self.constant, ON_ALL))
        self.content.append(f"hooks on all modules {any(ON_ALL)}")
        self.unless(f"not ({places})" if any(ON_ALL) else places)

    def count(self, place: str, own: Mapping[str, Any]) -> None:
        """How many names a class or a module has: one more may be one that was looked for in vain."""
        self.unless(f"len({place}) != {len(own)}")

    def attribute(self, label: str, place: str, value: Any, reach: Reach) -> None:
        try:
            picture = freeze(value, reach.found)
        except Refused as why:
            raise Refused(f"{label}: {why.why}") from None
        self.same(label, place, value, picture)

    def read(self, label: str, holder: Any, name: str, item: bool, value: Any, picture: Picture) -> None:
        """Something outside the cell."""
        owner = self.constant(holder)
        if value is MISSING:
            self.unless(f"{name!r} in {owner}")
            return
        if isinstance(holder, type) and item:
            place = f"{owner}.__dict__[{name!r}]"
        else:
            place = f"{owner}[{name!r}]" if item else f"{owner}.{name}"
        self.same(label, place, value, picture)

    def same(self, label: str, place: str, value: Any, picture: Picture) -> None:
        """``place`` still holds what it held."""
        self.content.append(f"{label}={text(picture, self.naming)}")
        if not isinstance(picture, tuple) or isinstance(value, UNCHANGING) or picture[0] == "is":
            self.unless(f"{place} is not {self.constant(value)}")
        elif value is None or isinstance(value, bool):
            self.unless(f"{place} is not {value}")
        elif picture[0] == "=":
            kept = self.constant(value)
            self.lines.append(f"v = {place}")
            self.unless(f"v is not {kept} and not same(v, {kept})")
        elif type(value) is tuple and not value:
            self.unless(f"{place} != ()")
        elif _never_changes(value):
            self.lines.append(f"v = {place}")
            self.unless(f"v is not {self.constant(value)} and freeze(v) != {self.constant(picture)}")
        else:
            self.unless(f"freeze({place}) != {self.constant(picture)}")

    def key(self) -> str:
        return hashlib.sha256("\n".join([VERSIONS, *sorted(self.content)]).encode()).hexdigest()

    def function(self) -> Callable[[Cell], bool]:
        body = "\n        ".join([*self.lines, "return True"])
        source = f"def holds(c0):\n    try:\n        {body}\n    except Exception:\n        return False\n"
        return self._compiled(source, "holds")

    def tensors(self) -> Callable[[Cell], dict[str, Tensor]]:
        items = ", ".join(f"{path!r}: {place}" for path, place in self.paths.items())
        body = "\n    ".join([*self.places, f"return {{{items}}}"])
        return self._compiled(f"def tensors(c0):\n    {body}\n", "tensors")

    def _compiled(self, source: str, name: str) -> Any:
        space = dict(self.constants)
        exec(compile(source, f"<guard {name}>", "exec"), space)
        return space[name]


def _never_changes(value: Any) -> bool:
    """Whether the same object is for ever the same value: a tuple of numbers, strings and such."""
    return type(value) in PLAIN or (type(value) is tuple and all(map(_never_changes, value)))


def same(value: Any, kept: Any) -> bool:
    """Whether two plain values are one: 1, 1.0 and True are three, and so are 0.0 and -0.0."""
    return type(value) is type(kept) and (repr(value) == repr(kept) if isinstance(kept, float) else value == kept)


def _picture(value: Any) -> Picture:
    """A picture to compare with the one that was taken; nothing equals what cannot be watched any more."""
    try:
        return freeze(value, _ignore)
    except Refused:
        return None


def _ignore(value: Any) -> None:
    """Functions and classes in a value are known by then, or the picture differs."""
