"""Where in the user's code a step is."""

from __future__ import annotations

import linecache
import os
import sys

import torch

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LIBRARIES = (
    os.path.dirname(os.path.abspath(torch.__file__)) + os.sep,
    *(os.path.join(PACKAGE, own) + os.sep for own in ("compiler", "layers")),
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
            text = linecache.getline(code.co_filename, frame.f_lineno).strip()
            text = text if len(text) <= 60 else text[:59] + "…"
            source = f"{os.path.basename(code.co_filename)}:{frame.f_lineno}: {text}".rstrip(": ")
        frame = frame.f_back  # type: ignore[assignment]
    return source, function
