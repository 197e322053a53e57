"""Where in the user's code a step is."""

from __future__ import annotations

import contextlib
import copy
import dis
import functools
import linecache
import os
import sys
from types import CodeType

import torch

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LIBRARIES = (
    os.path.dirname(os.path.abspath(torch.__file__)) + os.sep,
    *(os.path.join(PACKAGE, own) + os.sep for own in ("compiler", "layers")),
    *(own.__code__.co_filename for own in (contextlib.contextmanager, copy.copy, functools.wraps)),
)
"""Where a line is not the user's."""

TRACE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "trace.py")
"""What runs the step: no frame above it is of interest."""

APPLY = torch.autograd.Function.apply.__func__.__code__  # type: ignore[attr-defined]


def locate() -> tuple[str, str]:
    """The user's line that is being run, and the name of the autograd.Function it runs in, if it does."""
    source, function = "", ""
    frame = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename != TRACE:
        code = frame.f_code
        if code is APPLY:
            function = getattr(frame.f_locals.get("cls"), "__name__", "?")
        if not source and not code.co_filename.startswith(LIBRARIES):
            source = _line(code.co_filename, frame.f_lineno)
        frame = frame.f_back  # type: ignore[assignment]
    return source, function


def line_of(code: CodeType, name: str) -> str:
    """The first line of a function on which its code has a name."""
    line = code.co_firstlineno
    for instruction in dis.get_instructions(code):
        if instruction.positions is not None and instruction.positions.lineno is not None:
            line = instruction.positions.lineno
        if instruction.argval == name and isinstance(instruction.argval, str):
            return _line(code.co_filename, line)
    inner = (line_of(c, name) for c in code.co_consts if isinstance(c, CodeType))
    return next((found for found in inner if found), "")


def caller_level() -> int:
    """The stack level of the first caller outside this package and torch: a warning names the user's own line."""
    frame, level = sys._getframe(), 0
    while frame is not None and frame.f_globals.get("__name__", "").startswith(OURS):
        frame, level = frame.f_back, level + 1  # type: ignore[assignment]
    return level


OURS = ("ostinato.", "torch.")
"""Between a user's line and ours stand torch's own call of a module, and its autograd."""


def _line(file: str, line: int) -> str:
    text = linecache.getline(file, line).strip()
    text = text if len(text) <= 60 else text[:59] + "…"
    return f"{os.path.basename(file)}:{line}: {text}".rstrip(": ")
