"""Watches a step run: every operation of torch's, in-place work undone, each with the user's line.

An operation that writes makes a new value; a view of what was written is computed anew from it the next time it is
read. So the graph has values only, as if the step had never written anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ostinato.compiler import aten_rules
from ostinato.compiler.escapes import Escapes
from ostinato.compiler.graph import Node
from ostinato.compiler.lines import locate
from ostinato.compiler.refusal import Refused
from ostinato.compiler.rules_shape import FEW
from ostinato.compiler.traced import Maker, Value
from ostinato.compiler.undo import PARTS, UNDO

DROPOUT = {"aten::_scaled_dot_product_flash_attention_for_cpu": 3, "aten::_scaled_dot_product_attention_math": 4}
"""Operations that are random only with a dropout, and which argument that is."""

UNUSED = ("pin_memory", "layout", "memory_format", "non_blocking")


@dataclass(slots=True)
class Storage:
    """What tensors that share memory hold now.

    Attributes:
        value: of the whole; None if nothing may read it.
        owner: whose it is, if the step may not write to it.
        detached: made where gradients were off.
    """

    value: Value | None
    owner: str = ""
    version: int = 0
    detached: bool = False


@dataclass(slots=True)
class Handle:
    """One tensor: a storage, or a view of another handle.

    Attributes:
        forward: the view's value from its parent's, and ``back``, the parent's value from its own and a new one of the
            view's; None where the step may not write through the view.
    """

    tensor: Tensor
    storage: Storage
    parent: Handle | None = None
    forward: Callable[[Value], Value] | None = None
    back: Callable[[Value, Value], Value] | None = None
    value: Value | None = None
    version: int = -1


@dataclass(frozen=True)
class Facts:
    """What the schema of an operation says."""

    name: str
    target: str
    random: bool
    views: bool
    writes: tuple[str, ...]
    functional: Any


@lru_cache(maxsize=1024)
def facts(func: Any) -> Facts:
    schema = func._schema
    writes = tuple(a.name for a in schema.arguments if a.alias_info is not None and a.alias_info.is_write)
    functional = None
    if writes == ("self",) and schema.name.endswith("_") and torch.Tag.inplace_view not in func.tags:
        packet = getattr(torch.ops.aten, schema.name.removeprefix("aten::")[:-1], None)
        functional = getattr(packet, func._overloadname, None)
    random = torch.Tag.nondeterministic_seeded in func.tags
    return Facts(schema.name, str(func), random, bool(func.is_view), writes, functional)


class Recorder(TorchDispatchMode):
    """Notes what a step does, as values of one maker."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: to keep dynamo out of the mode, torch would import all of it at the first operation."""
        return False

    def __init__(self, maker: Maker) -> None:
        super().__init__()
        self.maker = maker
        self.handles: dict[int, Handle] = {}

    @property
    def source(self) -> str:
        return self.maker.source

    @contextmanager
    def watching(self) -> Iterator[None]:
        """The block in which the step runs."""
        escapes = Escapes(self._known, self.maker.rows)
        try:
            with escapes, self:
                yield
        except Exception:
            if isinstance(escapes.raised, Refused):
                raise escapes.raised from None  # of which torch may make another, as on leaving a transform
            raise
        escapes.settle()

    def argument(self, tensor: Tensor, value: Value, owner: str) -> None:
        """A tensor that is there before the step."""
        self.handles[id(tensor)] = Handle(tensor, Storage(value, owner))

    def result(self, tensor: Tensor, name: str) -> Node:
        """The node of what the step returned."""
        m = self.maker
        m.name = name
        value = self.read(tensor)
        if value.row != 0 or value.joined or value.dtype != m.dtype:
            raise m.refuse(f"is returned as {tuple(tensor.shape)} {tensor.dtype}, not with a row for each of the batch")
        return value.node

    # Operations

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        known, m = facts(func), self.maker
        m.name = known.target.rsplit(".", 1)[0]
        m.source, function = locate()
        if function:
            raise Refused(f"the autograd.Function {function} has no native form", m.source)
        if known.name in aten_rules.NEVER:
            raise m.refuse(f": {aten_rules.NEVER[known.name]}")
        if known.random and not _without_dropout(known.name, args):
            raise m.refuse("draws random numbers; take them as a keyword-only parameter of step")
        if known.writes:
            return self._write(func, known, args, kwargs)
        if known.name == "aten::lift_fresh" and id(args[0]) not in self.handles:
            self._literal(args[0])
        handed = [self.read(a) for a in tensors(args, kwargs)]
        by_rule = self._by_rule(known, handed, args)
        if by_rule and known.name not in aten_rules.RULES:
            return self._decomposed(func, args, kwargs)
        out = func(*args, **kwargs)
        self._note(func, known, args, kwargs, out, by_rule)
        return out

    def _by_rule(self, known: Facts, handed: Sequence[Value], args: Any) -> bool:
        """Whether the operation has rows, or gives them."""
        if known.name in aten_rules.NEW or any(v.row is not None for v in handed):
            return True
        return known.name in aten_rules.MAY_WIDEN and self.maker.rows in args[1]

    def _decomposed(self, func: Any, args: Any, kwargs: Any) -> Any:
        """The operation as torch writes it with others."""
        m = self.maker
        rule = torch._decomp.decomposition_table.get(func)
        if rule is None and torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"):
            rule = func.decompose
        if rule is None:
            raise m.refuse("has no native form")
        name, source = m.name, m.source
        try:
            with self:
                return rule(*args, **kwargs)
        except Refused as why:
            raise Refused(f"{name} has no native form, for {why.why}", source) from why

    def _note(self, func: Any, known: Facts, args: Any, kwargs: Any, out: Any, by_rule: bool) -> None:
        """Give each tensor that came out its value."""
        m = self.maker
        outs = list(out) if isinstance(out, list | tuple) else [out]
        if not all(o is None or isinstance(o, Tensor) for o in outs):
            raise m.refuse(": the step branches on a value")
        if not func._schema.returns:
            return  # it only checks
        hidden = not torch.is_grad_enabled()
        first = args[0] if args and isinstance(args[0], Tensor) else None
        if known.name == "aten::detach" and self._untouched(args[0]):
            parent = self.handles[id(args[0])]
            self.handles[id(out)] = Handle(out, parent.storage, parent, _itself, lambda whole, new: new)
            return
        if known.views and first is not None:
            self._note_views(func, known, args, kwargs, outs, hidden)
            return
        values = self.apply(func, known, self._values(args), self._values(kwargs), outs, by_rule)
        for tensor, value in zip(outs, values, strict=True):
            if tensor is not None and id(tensor) not in self.handles:
                value = None if value is None else self._checked(value, tensor)
                if hidden and value is not None and tensor.is_floating_point():
                    value = m.detached(value)
                self.handles[id(tensor)] = Handle(tensor, Storage(value, detached=hidden))

    def _untouched(self, tensor: Tensor) -> bool:
        """A new tensor of one number, which torch may detach before it hands it to the step."""
        handle = self.handles[id(tensor)]
        storage = handle.storage
        new = handle.parent is None and not storage.owner and storage.version == 0
        return new and storage.value is not None and storage.value.fill is not None

    def _note_views(self, func: Any, known: Facts, args: Any, kwargs: Any, outs: list[Any], hidden: bool) -> None:
        parent = self.handles[id(args[0])]
        rest, more, m = self._values(args[1:]), self._values(kwargs), self.maker
        for n, tensor in enumerate(outs):
            if id(tensor) in self.handles:
                continue

            def forward(value: Value, n: int = n, tensor: Tensor = tensor) -> Value:
                by_rule = self._by_rule(known, [value], args)
                made = self.apply(func, known, [value, *rest], more, outs, by_rule)[n]
                assert made is not None
                made = self._checked(made, tensor)
                return m.detached(made) if hidden else made

            blocked = known.name == "aten::detach" or (hidden and not parent.storage.detached)
            back = None if blocked else self._back(known.name, args, outs, n)
            handle = Handle(tensor, parent.storage, parent, forward, back)
            self.handles[id(tensor)] = handle
            self._read(handle)

    def apply(
        self, func: Any, known: Facts, args: Sequence[Any], kwargs: dict[str, Any], outs: Sequence[Any], by_rule: bool
    ) -> list[Value | None]:
        """The operation on values: by its rule, or left to torch."""
        m = self.maker
        if not by_rule:
            several = len(outs) > 1 or func._schema.returns[0].type.kind() == "ListType"
            return [
                None if o is None else m.aten(known.target, args, kwargs, o.shape, o.dtype, n if several else None)
                for n, o in enumerate(outs)
            ]
        m.out = outs[0]
        made = aten_rules.RULES[known.name](m, *args, **{k: v for k, v in kwargs.items() if k not in UNUSED})
        return list(made) if isinstance(made, list | tuple) else [made]

    def _checked(self, value: Value, tensor: Tensor) -> Value:
        """The value, which must be what the tensor is."""
        if value.dtype is None:
            value = replace(value, dtype=tensor.dtype)
        if value.dtype != tensor.dtype:
            raise self.maker.refuse(f"computes in {tensor.dtype}, and the cell in {self.maker.dtype}")
        if value.sizes(self.maker.rows) != tuple(tensor.shape):
            raise self.maker.refuse(f"gives {tuple(tensor.shape)}, which depends on the batch size")
        return value

    def _literal(self, tensor: Tensor) -> None:
        """``torch.tensor(0.5)`` within a step: a number, or a few."""
        m = self.maker
        if not 1 <= tensor.numel() <= FEW or tensor.dtype.is_complex:
            kind = "complex numbers" if tensor.dtype.is_complex else f"{tensor.numel()} numbers"
            raise Refused(f"the step makes a tensor of {kind}; register it as a buffer of the cell", m.source)
        self.handles[id(tensor)] = Handle(tensor, Storage(m.literal(tensor)))

    # Values

    def _values(self, given: Any) -> Any:
        if isinstance(given, Tensor):
            return self.read(given)
        if isinstance(given, list | tuple):
            return [self._values(g) for g in given]
        if isinstance(given, dict):
            return {key: self._values(g) for key, g in given.items()}
        return given

    def read(self, tensor: Tensor) -> Value:
        """What a tensor holds now."""
        handle = self.handles.get(id(tensor))
        if handle is None:
            raise Refused(
                f"{self.maker.name} reads a tensor of shape {tuple(tensor.shape)} that is neither an argument of the "
                "step nor the cell's; register it as a buffer of the cell",
                self.maker.source,
            )
        return self._read(handle)

    def _known(self, tensor: Tensor) -> Value | None:
        """What a tensor holds whose size is asked for."""
        handle = self.handles.get(id(tensor))
        return None if handle is None else self._read(handle)

    def _read(self, handle: Handle) -> Value:
        if handle.parent is None:
            value = handle.storage.value
        elif handle.version == handle.storage.version:
            value = handle.value
        else:
            assert handle.forward is not None
            value = handle.value = handle.forward(self._read(handle.parent))
            handle.version = handle.storage.version
        if value is None:
            raise self.maker.refuse("reads what has no native form: indices, or statistics")
        return value

    # Writes

    def _write(self, func: Any, known: Facts, args: Any, kwargs: Any) -> Any:
        """An operation that writes, as one that makes a new value."""
        m = self.maker
        if known.functional is None:
            raise m.refuse("writes to its arguments in a way that has no native form")
        target = args[0]
        self.read(target)
        handle = self.handles[id(target)]
        if handle.storage.owner:
            raise m.refuse(f"writes to {handle.storage.owner}; work on a clone of it")
        if not torch.is_grad_enabled() and not handle.storage.detached:
            raise m.refuse("writes under torch.no_grad to a value that has a gradient")
        new = facts(known.functional)
        handed = [self.read(a) for a in tensors(args, kwargs)]
        by_rule = self._by_rule(new, handed, args)
        if by_rule and new.name not in aten_rules.RULES:
            with self:
                return target.copy_(known.functional(*args, **kwargs))
        values, more = self._values(args), self._values(kwargs)
        func(*args, **kwargs)
        made = self.apply(known.functional, new, values, more, [target], by_rule)[0]
        assert made is not None
        value = self._checked(made, target)
        self._put(handle, m.detached(value) if handle.storage.detached else value)
        return target

    def _put(self, handle: Handle, value: Value) -> None:
        while handle.parent is not None:
            if handle.back is None:
                raise self.maker.refuse("writes through a view that has no native form")
            value = handle.back(self._read(handle.parent), value)
            handle = handle.parent
        handle.storage.value = value
        handle.storage.version += 1

    def _back(self, name: str, args: Any, outs: list[Any], n: int) -> Callable[[Value, Value], Value] | None:
        """How a value written through a view gets into the whole: by the operations that say so, as values."""
        base, out = args[0], outs[n]
        undo = UNDO.get(name)
        if undo is None:
            return None
        overload, rest = undo(base, out, args, outs, n)
        known = facts(overload)
        into = name in PARTS

        def back(whole: Value, new: Value) -> Value:
            given = [whole, new, *rest] if into else [new, *rest]
            made = self.apply(overload, known, given, {}, [base], any(v.row is not None for v in (whole, new)))[0]
            assert made is not None
            return self._checked(made, base)

        return back


def _without_dropout(name: str, args: Sequence[Any]) -> bool:
    at = DROPOUT.get(name)
    return at is not None and (len(args) <= at or args[at] == 0)


def _itself(value: Value) -> Value:
    return value


def tensors(*given: Any) -> Iterator[Tensor]:
    """Every tensor among arguments."""
    for value in given:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from tensors(*value)
        elif isinstance(value, dict):
            yield from tensors(*value.values())
