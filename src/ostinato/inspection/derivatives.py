"""What a check says of gradients: that they are the derivative, reach every parameter, and are numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ostinato.engines.call import LayerCall
from ostinato.inspection.report import Line
from ostinato.inspection.trial import Trial

MANY = 3000
"""Numbers a step reads, above which derivatives are compared along random directions only."""


def right(trial: Trial) -> Line:
    """The step's gradient, against differences of the step itself."""
    x, states, given = trial.step_inputs()
    real = {n: v for n, v in given.items() if v.is_floating_point()}
    named = {"x": x, **dict(zip(trial.cell.state_names, states, strict=True)), **real, **trial.parameters}
    count = len(trial.cell.state_names)

    def step(*values: Tensor) -> tuple[Tensor, ...]:
        keywords = given | dict(zip(real, values[1 + count :], strict=False))
        output, new = trial.step(values[0], values[1 : 1 + count], keywords)
        return (output, *new)

    if _equal(step, list(named.values()), set(range(len(named)))):
        return Line("gradients", True, f"equal to differences of the step, for {', '.join(named)}")
    wrong = [n for k, n in enumerate(named) if not _equal(step, list(named.values()), {k})]
    return Line(
        "gradients",
        False,
        f"not the derivative of what the step computes: {', '.join(wrong or named)}",
        "look at every torch.autograd.Function, .detach() and rounding in the step; float64 must stay float64 in it",
    )


def _equal(step: Any, values: list[Tensor], wanted: set[int]) -> bool:
    before = [v.requires_grad for v in values]
    for k, value in enumerate(values):
        value.requires_grad_(k in wanted)
    fast = sum(v.numel() for v in values) > MANY
    try:
        return bool(torch.autograd.gradcheck(step, values, raise_exception=False, fast_mode=fast))
    except ValueError:  # no output depends on any of them
        return True
    finally:
        for value, flag in zip(values, before, strict=True):
            value.requires_grad_(flag)


def reach(trial: Trial) -> Line:
    """Every parameter gets a gradient."""
    parameters = trial.parameters
    if not parameters:
        return Line("parameters", None, "none that learn")
    alive: set[str] = set()
    for _ in range(2):
        call = trial.call(4)
        found = gradients(trial.loop(call), list(parameters.values()), trial)
        alive |= {name for name, grad in zip(parameters, found, strict=True) if grad.count_nonzero()}
    dead = [name for name in parameters if name not in alive]
    if not dead:
        return Line("parameters", True, f"a gradient reaches {', '.join(parameters)}")
    return Line(
        "parameters",
        False,
        f"no gradient reaches {', '.join(dead)}",
        "the step does not read it, or loses it (.detach(), rounding, comparison); use it, or take it out",
    )


def finite(trial: Trial) -> Line:
    """From zero states, as a sequence begins, results and gradients are numbers."""
    call = trial.call(3, zeros=True)
    inputs = leaves(call)
    parameters = trial.parameters
    made = trial.loop(call)
    names = ["the output", *trial.cell.state_names]
    bad = [name for name, value in zip(names, made, strict=True) if not value.isfinite().all()]
    if bad:
        return Line("zero states", False, f"NaN or infinite: {', '.join(bad)}", ROUNDED)
    labels = [*inputs, *parameters]
    found = gradients(made, [*inputs.values(), *parameters.values()], trial)
    bad = [f"the gradient of {n}" for n, grad in zip(labels, found, strict=True) if not grad.isfinite().all()]
    if bad:
        return Line("zero states", False, f"NaN or infinite: {', '.join(bad)}", ROUNDED)
    return Line("zero states", True, "results and gradients are finite")


ROUNDED = "a root, a logarithm, a norm or a division at 0: add a small number inside it, or torch.clamp its argument"


def leaves(call: LayerCall) -> dict[str, Tensor]:
    """What a call reads besides parameters, made to want gradients."""
    named = {"x": call.input, **{n: v for n, v in call.streams.items() if v.is_floating_point()}}
    for d, (cell, states) in enumerate(zip(call.cells, call.states, strict=True)):
        named |= {name + "_reverse" * d: s for name, s in zip(cell.state_names, states, strict=True)}
    return {name: value.requires_grad_() for name, value in named.items()}


def gradients(made: Sequence[Tensor], wanted: Sequence[Tensor], trial: Trial, seed: int = 0) -> list[Tensor]:
    """Gradients of a random sum of all results; zeros where nothing flows."""
    draw = torch.Generator().manual_seed(seed)
    total = [(m * torch.randn(m.shape, generator=draw, dtype=m.dtype)).sum().real for m in made if m.requires_grad]
    if not total or not wanted:
        return [torch.zeros_like(w) for w in wanted]
    return list(torch.autograd.grad(sum(total), wanted, allow_unused=True, materialize_grads=True))  # type: ignore[arg-type]
