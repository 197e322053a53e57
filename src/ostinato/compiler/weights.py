"""The gradients of weights: large products over all steps, after the loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ostinato.compiler import gemm
from ostinato.compiler.cpu.outer import Repeated, Size
from ostinato.compiler.program import Loop, Ran, WeightGradient
from ostinato.compiler.reference import previous_parts

Pair = tuple[Tensor, Tensor]


def weight_gradient(weight: WeightGradient, loop: Loop, ran: Ran, made: Mapping[str, Tensor]) -> Tensor:
    """The sum over steps and rows of grad ⊗ value.

    Args:
        made: what the backward loop put out, (N, ·) each, by the names of the backward graph's outputs.

    Returns:
        (N, K) or (h, N, K), as the weight.
    """
    return over_parts(_operands(weight, loop, ran, made), loop.params[weight.param].shape)


def _operands(weight: WeightGradient, loop: Loop, ran: Ran, made: Mapping[str, Tensor]) -> list[Pair]:
    """(gradients of a product, what the weight was multiplied with), rows of all steps, in parts that need no copy."""
    name, grad = weight.value, made[weight.grad]
    if weight.where == "state":
        return [(grad[part.rows], part.values) for part in previous_parts(loop, ran.trajectories[name], name)]
    if weight.where == "constant":
        return [by_sequence(loop, grad, loop.constants[name])]
    held = {"stream": loop.streams, "saved": ran.saved, "trajectory": ran.trajectories, "backward": made}
    return [(grad, held[weight.where][name])]


def by_sequence(loop: Loop, grad: Tensor, constant: Tensor) -> Pair:
    """The same value at every step: with full sequences the steps' gradients are added up first."""
    if loop.batch_sizes is None:
        return grad.reshape(loop.steps, loop.rows, -1).sum(0), constant
    return grad, torch.cat([constant[:size] for size in loop.batch_sizes.tolist()])


def over_parts(pairs: Sequence[Pair], shape: Sequence[int]) -> Tensor:
    """The sum of the products of (gradients, values), (N, O) and (N, K) each → (O, K), or (h, O, K).

    The largest part comes first: what is added to it is the little that the other parts have.
    """
    total: Tensor | None = None
    for grad, value in sorted(pairs, key=_rows, reverse=True):
        if grad.shape[0] == 0:
            continue
        if len(shape) == 2:
            a, b = grad.reshape(-1, shape[0]), value.reshape(-1, shape[1])
            total = gemm.over_rows(a, b) if total is None else total.addmm_(a.t(), b)
        else:
            a = grad.reshape(grad.shape[0], shape[0], -1)
            b = value.reshape(value.shape[0], shape[0], -1)
            made = torch.einsum("bhn,bhk->hnk", a, b)
            total = made if total is None else total + made
    return pairs[0][0].new_zeros(shape) if total is None else total


def repeated(
    shape: Sequence[int], width: int, rows: int, strides: tuple[int, int], dtype: torch.dtype, adds: bool = False
) -> Repeated | None:
    """Our own function for what :func:`over_parts` makes of one part of a size; None where another makes it.

    Args:
        shape: the weight's.
        width: of a row of gradients. A matrix shared by several parts of a row has as many products a row.
        rows: of the part.
        strides: elements from one row of gradients to the next, and of values.
        adds: to what stands where it is written.
    """
    if len(shape) != 2 or width != shape[0]:
        return None
    columns, inner = shape
    return gemm.repeated(Size(rows, columns, inner, *strides, int(adds)), dtype)


def _rows(pair: Pair) -> int:
    return pair[0].shape[0]
