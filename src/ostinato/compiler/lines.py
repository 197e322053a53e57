"""Where in the user's code a step is, and what it does there that torch's dispatcher never sees."""

from __future__ import annotations

import linecache
import os
import sys
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from ostinato.compiler.refusal import Refused

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LIBRARIES = (
    os.path.dirname(os.path.abspath(torch.__file__)) + os.sep,
    *(os.path.join(PACKAGE, own) + os.sep for own in ("compiler", "layers")),
)
"""Where a line is not the user's."""

TRACE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "trace.py")
"""What runs the step: no frame above it is of interest."""

APPLY = torch.autograd.Function.apply.__func__.__code__  # type: ignore[attr-defined]


def _property(name: str, access: str = "__get__") -> Any:
    return getattr(getattr(torch.Tensor, name), access)


ESCAPES = {
    torch.Tensor.tolist: "takes values out of their tensor",
    torch.Tensor.numpy: "takes values out of their tensor",
    torch.Tensor.__array__: "takes values out of their tensor",
    torch.Tensor.data_ptr: "looks at memory rather than at values",
    torch.Tensor.register_hook: "watches a gradient; ostinato.functional.clip_gradient bounds one",
    torch.Tensor.requires_grad_: "changes what wants a gradient",
    torch.Tensor.backward: "computes a gradient within the step",
    _property("requires_grad"): "asks whether a tensor wants a gradient",
    _property("requires_grad", "__set__"): "changes what wants a gradient",
    _property("grad"): "reads a gradient within the step",
}
"""What a step can do with a tensor that makes no operation."""


def locate() -> tuple[str, str]:
    """The user's line that is being run, and the name of the autograd.Function it runs in, if it does."""
    source, function = "", ""
    frame = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename != TRACE:
        code = frame.f_code
        if code is APPLY:
            function = getattr(frame.f_locals.get("cls"), "__name__", "?")
        if not source and not code.co_filename.startswith(LIBRARIES):
            text = linecache.getline(code.co_filename, frame.f_lineno).strip()
            text = text if len(text) <= 60 else text[:59] + "…"
            source = f"{os.path.basename(code.co_filename)}:{frame.f_lineno}: {text}".rstrip(": ")
        frame = frame.f_back  # type: ignore[assignment]
    return source, function


class Escapes(TorchFunctionMode):
    """Refuses what takes values, or memory, out of tensors without making an operation."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        why = ESCAPES.get(func)
        if why is not None:
            raise Refused(f"Tensor.{getattr(func, '__name__', 'property')}: the step {why}", locate()[0])
        return func(*args, **(kwargs or {}))
