"""What is asked while torch.compile traces, and answered by Python itself: dynamo takes the answer as a constant."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch


def constant(function: Any) -> Any:
    """What torch.compiler.assume_constant_result does to a function, without importing torch._dynamo to do it."""
    function._dynamo_marked_constant = True
    return function


@constant
def transformed() -> bool:
    """Whether one of torch.func's transforms is at work. Dynamo guards them, and would not see from here that none is.

    While it traces a transform it is in it itself.
    """
    return torch._C._functorch.peek_interpreter_stack() is not None


def recorded() -> bool:
    """Whether a mode makes a graph of every operation, or tensors that hold no numbers."""
    if not torch._C._len_torch_dispatch_stack():
        return False
    keys = torch._C._TorchDispatchModeKey
    return any(torch._C._get_dispatch_mode(key) is not None for key in (keys.FAKE, keys.PROXY, keys.FUNCTIONAL))


@constant
def one_graph() -> bool:
    """Whether what dynamo traces now may have no break: fullgraph=True, or an export."""
    from torch._dynamo.symbolic_convert import InstructionTranslator

    now = InstructionTranslator.current_tx()
    return bool(getattr(now, "one_graph", False) or getattr(now, "error_on_graph_break", False))


_fixed: list[ExitStack] = []


@constant
def fix_numbers() -> None:
    """From here dynamo guards the value of every number it reads, until :func:`free_numbers` or the frame's end.

    It takes a number that has changed for one that varies, and a program was made from its value.
    """
    from torch._dynamo import config
    from torch._dynamo.symbolic_convert import InstructionTranslator

    held = ExitStack()
    held.enter_context(config.patch(specialize_float=True, specialize_int=True))
    _fixed.append(held)
    InstructionTranslator.current_tx().output.add_cleanup_hook(lambda: _end(held))


@constant
def free_numbers() -> None:
    """The end of :func:`fix_numbers`."""
    if _fixed:
        _end(_fixed[-1])


def _end(held: ExitStack) -> None:
    if held in _fixed:
        _fixed.remove(held)
        held.close()
