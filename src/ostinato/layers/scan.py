"""Linear recurrences for all steps at once: a parallel scan in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor

from ostinato.cells import checks
from ostinato.errors import InvalidShape, InvalidValue


def linear_scan(a: Tensor, b: Tensor, h_0: Tensor | None = None) -> Tensor:
    r"""All states of a recurrence that is linear in its own state, element by element.

    .. math::
        h_t = a_t \odot h_{t-1} + b_t

    Two neighbouring steps are one step of the same form, :math:`(a_2 a_1,\; a_2 b_1 + b_2)`: pairs are joined until
    one is left, and the states between follow on the way back, in 2·log₂ T rounds, each of which does half of the steps
    at once. Nothing is divided and no logarithm taken, so decays may be zero, negative or complex. It is made of
    ordinary operations: differentiable any number of times, on any device. What minGRU, minLSTM, QRNN, LRU and SRU
    (with ``peephole=False``) do step by step agrees with it to rounding. On a CPU the compiled loop is the faster
    of the two: it moves each number once.

    Args:
        a: (T, …), the decays, real or complex, or fewer axes from the right, as torch broadcasts: (H) for one decay a
            unit, the same at every step.
        b: (T, …), the inputs.
        h_0: (…), the state before the first step; zeros if not given.

    Returns:
        (T, …): every :math:`h_t`.

    Raises:
        InvalidShape: shapes that do not fit each other.
        InvalidValue: b has no time axis, or a tensor of whole numbers.

    Papers:
        G. E. Blelloch, Prefix sums and their applications, CMU-CS-90-190, 1990; E. Martin, C. Cundy, Parallelizing
        linear recurrent neural nets over sequence length, ICLR 2018, arXiv:1709.04057.

    Example:
        >>> a, b = torch.tensor([0.5, 0.5, 0.5]), torch.tensor([1.0, 1.0, 1.0])
        >>> ostinato.functional.linear_scan(a, b)
        tensor([1.0000, 1.5000, 1.7500])
    """
    for name, value in (("a", a), ("b", b), *((("h_0", h_0),) if h_0 is not None else ())):
        checks.tensor("linear_scan", name, value)
        if not (value.is_floating_point() or value.is_complex()):
            raise InvalidValue(f"linear_scan: {name} must hold real or complex numbers, got {value.dtype}")
    if b.dim() == 0:
        raise InvalidValue("linear_scan: b must be (T, …), with the steps along its first axis, got a single number")
    if a.dim() > b.dim() or any(n not in (1, m) for n, m in zip(a.shape[::-1], b.shape[::-1], strict=False)):
        raise InvalidShape(
            f"linear_scan: a must be {tuple(b.shape)} as b, or broadcast to it as {tuple(b.shape[1:])} does, got "
            f"{tuple(a.shape)}"
        )
    if h_0 is not None and h_0.shape != b.shape[1:]:
        raise InvalidShape(
            f"linear_scan: h_0 must be {tuple(b.shape[1:])}, b without its steps, got {tuple(h_0.shape)}"
        )
    if b.shape[0] == 0:
        return b
    a = a.expand(b.shape)
    if h_0 is not None:
        first = a[0] * h_0 + b[0]
        b = torch.cat([first.unsqueeze(0), b[1:].to(first.dtype)])
    return _scan(a, b)


def _scan(a: Tensor, b: Tensor) -> Tensor:
    """The states from a state of zeros, so that ``a[0]`` has no effect."""
    steps = b.shape[0]
    if steps == 1:
        return b
    even = steps - steps % 2
    a_1, a_2, b_1, b_2 = a[0:even:2], a[1:even:2], b[0:even:2], b[1:even:2]
    odd_states = _scan(a_2 * a_1, a_2 * b_1 + b_2)
    before = odd_states[: (steps - 1) // 2]
    even_states = a[2::2] * before + b[2::2]
    even_states = torch.cat([b[:1].to(even_states.dtype), even_states])
    joined = torch.stack([even_states[: even // 2], odd_states], dim=1).flatten(0, 1)
    return joined if even == steps else torch.cat([joined, even_states[-1:]])
