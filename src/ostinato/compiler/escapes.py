"""What a step does with its tensors that torch's dispatcher never sees: it asks for sizes, or goes around values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ostinato.compiler.lines import locate
from ostinato.compiler.refusal import Refused
from ostinato.compiler.rows import SIZED, Rows, holds_rows, plain
from ostinato.compiler.traced import Value

VALUES = "takes values out of their tensor"
MEMORY = "looks at memory rather than at values"
HISTORY = "looks at how a tensor was computed"
WATCHES = "watches a gradient; ostinato.functional.clip_gradient bounds one"
LEARNS = "changes what wants a gradient"

_METHODS = {
    "tolist numpy __array__ __dlpack__ apply_ map_ __repr__ __format__ __reduce_ex__": VALUES,
    "data_ptr storage untyped_storage _typed_storage storage_offset stride is_contiguous is_set_to is_shared": MEMORY,
    "register_hook register_post_accumulate_grad_hook retain_grad": WATCHES,
    "requires_grad_": LEARNS,
    "backward": "computes a gradient within the step",
    "is_inference _is_view": HISTORY,
}
_READ = {
    "nbytes": MEMORY,
    "requires_grad": "asks whether a tensor wants a gradient",
    "grad grad_dtype _grad": "reads a gradient within the step",
    "grad_fn _grad_fn is_leaf output_nr retains_grad _base _version": HISTORY,
    "_backward_hooks _post_accumulate_grad_hooks": WATCHES,
}
_WRITTEN = {
    "requires_grad": LEARNS,
    "grad _grad": "changes a gradient within the step",
    "_backward_hooks": WATCHES,
    "data": "puts other numbers into a tensor",
}


def _property(name: str, access: str) -> Any:
    return getattr(getattr(Tensor, name), access)


class Escapes(TorchFunctionMode):
    """Refuses what takes values, memory or the batch size out of tensors without making an operation.

    Args:
        known: what a tensor holds, None for one that nothing is known of.
        rows: the batch size this trace runs at.
    """

    def __init__(self, known: Callable[[Tensor], Value | None], rows: int) -> None:
        super().__init__()
        self.known, self.rows = known, rows
        self.raised: Exception | None = None
        self.where = ""

    def refuse(self, why: str) -> Refused:
        """What to raise where the step is; it holds even if the step catches it."""
        refused = Refused(why, locate()[0])
        self.raised = self.raised or refused
        return refused

    def settle(self) -> None:
        """After the step: what it caught depends on more than its graph shows."""
        if isinstance(self.raised, Refused):
            raise self.raised
        if self.raised is not None:
            why = f"the step catches {type(self.raised).__name__}: {self.raised}"
            raise Refused(why, self.where) from self.raised

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        own = WATCHED.get(func)
        if own is not None:
            return own(self, *args, **(kwargs or {}))
        if torch._C._functorch.peek_interpreter_stack() is not None:
            raise self.refuse("torch.func's transforms within a step have no native form")
        if holds_rows(args) or (kwargs and holds_rows(kwargs)):
            args, kwargs = self._with_numbers(func, args, kwargs or {})
        try:
            return func(*args, **kwargs) if kwargs else func(*args)
        except Exception as error:
            if self.raised is None:
                self.raised, self.where = error, locate()[0]
            raise

    def _with_numbers(self, func: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """The arguments as torch takes them, for a function that only makes a shape of the batch size."""
        if func is Tensor.__getitem__ and _is_all(args[1], self.sizes(args[0])[0]):
            return (args[0], (slice(None), *args[1][1:]) if isinstance(args[1], tuple) else slice(None)), kwargs
        if func not in SIZED:
            raise self.refuse(f"{_name(func)}: the step depends on the batch size")
        return plain(args, self.rows), {name: plain(value, self.rows) for name, value in kwargs.items()}

    # Sizes

    def sizes(self, tensor: Tensor) -> Any:
        """A tensor's shape, in which the number of rows is a form."""
        value = self.known(tensor)
        if value is None or value.row is None:
            return tensor.shape
        sizes: list[Any] = list(tensor.shape)
        sizes[value.row] = Rows(self.refuse, sizes[value.row] // self.rows)
        return torch.Size(sizes)

    def size(self, tensor: Tensor, dim: int | None = None) -> Any:
        return self.sizes(tensor) if dim is None else self.sizes(tensor)[dim]

    def numel(self, tensor: Tensor) -> Any:
        count: Any = 1
        for size in self.sizes(tensor):
            count = count * size
        return count

    def length(self, tensor: Tensor) -> Any:
        if type(self.sizes(tensor)[0]) is Rows:
            raise self.refuse(
                "len: the step depends on the batch size: it takes it as a plain number; write x.shape[0]"
            )
        return tensor.shape[0]


def _is_all(index: Any, rows: Any) -> bool:
    """Whether an index takes the whole batch: ``x[:B]``."""
    first, *rest = index if isinstance(index, tuple) else (index,)
    if type(first) is not slice or type(first.stop) is not Rows or type(rows) is not Rows or holds_rows(tuple(rest)):
        return False
    whole = first.stop.factor == rows.factor and first.stop.offset == rows.offset
    return whole and first.start in (None, 0) and first.step in (None, 1)


def _name(func: Any) -> str:
    """A function's name; a property's."""
    name = getattr(func, "__name__", str(func))
    return getattr(func.__self__, "__name__", name) if name in ("__get__", "__set__") else name


def _escape(func: Any, why: str) -> Callable[..., Any]:
    def refuse(watch: Escapes, *args: Any, **kwargs: Any) -> Any:
        raise watch.refuse(f"Tensor.{_name(func)}: the step {why}")

    return refuse


ESCAPES: dict[Any, str] = {
    **{getattr(Tensor, name): why for names, why in _METHODS.items() for name in names.split()},
    **{_property(name, "__get__"): why for names, why in _READ.items() for name in names.split()},
    **{_property(name, "__set__"): why for names, why in _WRITTEN.items() for name in names.split()},
}
"""What a step can do with a tensor that makes no operation."""

WATCHED: dict[Any, Callable[..., Any]] = {
    **{func: _escape(func, why) for func, why in ESCAPES.items()},
    _property("shape", "__get__"): Escapes.sizes,
    Tensor.size: Escapes.size,
    Tensor.__len__: Escapes.length,
    **dict.fromkeys((Tensor.numel, Tensor.nelement, torch.numel), Escapes.numel),
}
"""What a watched step does in the place of torch's function: it is refused, or gets sizes."""
