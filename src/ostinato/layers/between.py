"""What lies between the layers of a stack: dropout, by element or by sequence, and connections past a layer."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, linear

from ostinato.cells import checks
from ostinato.cells.initialise import uniform_
from ostinato.compiler.lines import caller_level
from ostinato.errors import CellError, InvalidShape, InvalidValue
from ostinato.layers.batch import Batch

if TYPE_CHECKING:
    from ostinato.layers.recurrent import Recurrent

FORMS = ("element", "sequence")
CONNECTIONS = ("residual", "highway")

GATE_BIAS = -1.0
"""A highway's gate begins mostly closed, so that a deep stack begins near the identity (Srivastava et al. 2015)."""

Join = Callable[[Tensor, Tensor], Tensor]
"""A layer's input and its output → what the next layer reads."""


class WithConnections(nn.Module):
    """A layer's options between the layers of its stack."""

    def _connect(
        self, form: Any, connection: Any, widths: Sequence[int], device: Any, dtype: torch.dtype | None
    ) -> None:
        """Check the options, and register what a highway learns.

        Args:
            widths: what layer 0 reads, and what each layer puts out.
        """
        self.dropout_form = form
        self._connection: str | None = None if connection is None else _known(connection)
        if self._connection is None:
            return
        if len(widths) == 2:
            warnings.warn(
                f"a connection passes a layer above another, so connection={connection!r} does nothing with "
                "num_layers=1",
                stacklevel=caller_level(),
            )
        for k, (into, out) in enumerate(pairwise(widths[1:]), 1):
            if into != out:
                raise InvalidShape(
                    f"connection={connection!r} needs layers that put out the width they read; layer {k} reads {into} "
                    f"and puts out {out}; use one hidden_size for all layers, or connection=None"
                )
            if self._connection == "highway":
                own = {f"highway_weight_l{k}": (out, out), f"highway_bias_l{k}": (out,)}
                for name, shape in own.items():
                    if name in self._parameters:
                        raise CellError(
                            f"the cell's parameter {name.removesuffix(f'_l{k}')} has a gate's name; rename it"
                        )
                    self.register_parameter(name, nn.Parameter(torch.empty(shape, device=device, dtype=dtype)))
                self._draw_gate(k)

    def _draw_gate(self, k: int) -> None:
        """U(-1/√w, 1/√w) for the gate's weight (w, w) of layer k, and :data:`GATE_BIAS`."""
        weight, bias = (self._parameters.get(f"highway_{name}_l{k}") for name in ("weight", "bias"))
        if weight is None or bias is None:
            raise InvalidValue(
                f"reset_parameters cannot draw the highway's gate of layer {k} anew: remove the parametrization or "
                "pruning first"
            )
        uniform_([weight], weight.shape[0])
        if not bias.is_meta:
            nn.init.constant_(bias, GATE_BIAS)

    @property
    def dropout_form(self) -> str:
        """What dropout between layers draws for: each ``"element"``, or each ``"sequence"`` (one mask a row)."""
        return self._dropout_form

    @dropout_form.setter
    def dropout_form(self, value: str) -> None:
        self._dropout_form = checks.one_of("dropout_form", value, FORMS)

    @property
    def connection(self) -> str | None:
        """How a layer's input passes it by: None, ``"residual"`` or ``"highway"``; chosen when the layer is made."""
        return self._connection


def drop(layer: Recurrent, k: int, data: Tensor, batch: Batch) -> Tensor:
    """What layer k reads of what the layers below put out, (T, B, ·) or packed rows (N, ·).

    A sequence's mask is drawn for the caller's rows, so that a seed gives a row the same one however it is packed.
    """
    if k == 0 or not layer.training or layer.dropout == 0:
        return data
    if layer.dropout_form == "element":
        return dropout(data, layer.dropout)
    return data * _laid_out(sequence_mask(data, batch.rows, layer.dropout), batch)


def sequence_mask(like: Tensor, rows: int, part: float) -> Tensor:
    """(B, ·) zeros with probability ``part``, else 1 / (1 - part): for all steps of each of B sequences."""
    return dropout(torch.ones(rows, like.shape[-1], dtype=like.dtype, device=like.device), part)


def _laid_out(mask: Tensor, batch: Batch) -> Tensor:
    return mask if batch.ragged is None else batch.ragged.at_steps(batch.ragged.sort(mask))


def join(layer: Recurrent, k: int, read: Tensor, made: Tensor) -> Tensor:
    """What layer k and the connection past it put out together.

    Args:
        read: what the layers below put out, before dropout: noise is kept off the way past (He et al.,
            arXiv:1603.05027, found that dropout there hinders).
        made: what layer k put out.
    """
    past = join_of(layer, k)
    return made if past is None else past(read, made)


def join_of(layer: Recurrent, k: int, copies: bool = False) -> Join | None:
    """The connection past layer k on the layer's values as they are now; None for none."""
    if k == 0 or layer.connection is None:
        return None
    if layer.connection == "residual":
        return torch.add
    weight, bias = getattr(layer, f"highway_weight_l{k}"), getattr(layer, f"highway_bias_l{k}")
    if copies:
        weight, bias = weight.detach().clone(), bias.detach().clone()

    def highway(read: Tensor, made: Tensor) -> Tensor:
        t = torch.sigmoid(linear(read, weight, bias))
        return t * made + (1 - t) * read

    return highway


def joins(layer: Recurrent) -> list[Join | None]:
    """The connections past all layers, on copies of the values: what a stream keeps until its weights change."""
    return [join_of(layer, k, copies=True) for k in range(layer.num_layers)]


def _known(connection: Any) -> str:
    if connection not in CONNECTIONS:
        near = checks.nearest(connection, CONNECTIONS)
        raise InvalidValue(f"connection must be None, 'residual' or 'highway', got {connection!r}{near}")
    return str(connection)
