"""One call's input, whatever form it came in, as what the engines take; and their results in the caller's form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from ostinato.cells import checks
from ostinato.errors import InvalidShape, InvalidType, InvalidValue
from ostinato.layers.sequences import Ragged, check_lengths
from ostinato.layers.states import Network, map_network

if TYPE_CHECKING:
    from ostinato.layers.recurrent import Recurrent


class Batch:
    """One call's input in the engines' form.

    Attributes:
        data: (T, B, I), or packed (N, I) if rows differ in length.
        ragged: how packed rows lie; None if all rows are full.
        rows: B.
        batched: whether the caller's input had a row axis.
    """

    __slots__ = ("batch_first", "batched", "data", "packed", "ragged", "rows")

    def __init__(
        self, data: Tensor, ragged: Ragged | None, rows: int, batched: bool, batch_first: bool, packed: bool
    ) -> None:
        self.data = data
        self.ragged = ragged
        self.rows = rows
        self.batched = batched
        self.batch_first = batch_first
        self.packed = packed

    @classmethod
    def of(cls, layer: Recurrent, input: Any, lengths: Any, weight: Tensor | None) -> Batch:
        """Check the input and its lengths and bring them into the engines' form."""
        owner = type(layer).__name__
        if isinstance(input, PackedSequence):
            if lengths is not None:
                raise InvalidValue(f"{owner}: a PackedSequence knows its lengths; call it without lengths=")
            _check_data(owner, layer, input.data, (2,), weight)
            ragged = Ragged.from_packed(input)
            return cls(input.data, ragged, ragged.rows, True, layer.batch_first, packed=True)
        checks.tensor(owner, "input", input)
        _check_data(owner, layer, input, (2, 3), weight)
        batched = input.dim() == 3
        x = _time_first(input, batched, layer.batch_first)
        steps, rows = x.shape[0], x.shape[1]
        if lengths is None:
            return cls(x, None, rows, batched, layer.batch_first, packed=False)
        counts = check_lengths(lengths, steps, rows, batched)
        if bool((counts == steps).all()):
            return cls(x, None, rows, batched, layer.batch_first, packed=False)
        ragged = Ragged.from_lengths(counts, steps, x.device)
        return cls(ragged.pack(x), ragged, rows, batched, layer.batch_first, packed=False)

    @property
    def batch_sizes(self) -> Tensor | None:
        return None if self.ragged is None else self.ragged.batch_sizes

    @property
    def has_idle_rows(self) -> bool:
        """Whether a row has length zero."""
        if self.ragged is None:
            return False
        sizes = self.ragged.batch_sizes
        return self.rows > (int(sizes[0]) if len(sizes) else 0)

    def padded(self) -> Tensor:
        """The input as (T, B, I), zero in the padding."""
        return self.data if self.ragged is None else self.ragged.unpack(self.data)

    def condition(self, value: Any) -> Any:
        """A condition with a row axis, as the input has here."""
        return value.unsqueeze(0) if isinstance(value, Tensor) and not self.batched else value

    def sorted_states(self, network: Network) -> Network:
        ragged = self.ragged
        if ragged is None or ragged.order is None:
            return network
        return map_network(lambda state: ragged.sort(state, 1), network)

    def public(self, output: Tensor) -> Any:
        """The output in the form of the input."""
        if self.ragged is not None:
            if self.packed:
                return self.ragged.repack(output)
            output = self.ragged.unpack(output)
        if not self.batched:
            return output.squeeze(1)
        return output.transpose(0, 1) if self.batch_first else output

    def public_states(self, network: Network) -> Network:
        """The states with rows in the caller's order, without a row axis if the input had none."""
        ragged = self.ragged
        if ragged is not None and ragged.restore is not None:
            network = map_network(lambda state: ragged.unsort(state, 1), network)
        return network if self.batched else map_network(lambda state: state.squeeze(1), network)

    @staticmethod
    def output_of(layer: Recurrent, output: Any, lengths: Any) -> tuple[Tensor, Tensor | None, bool]:
        """A layer's output, padded or packed, as (T, B, ·), with its lengths, and whether it had a row axis."""
        if isinstance(output, PackedSequence):
            if lengths is not None:
                raise InvalidValue("packed output knows its own lengths; call last(output) without lengths")
            ragged = Ragged.from_packed(output)
            return ragged.unpack(output.data), ragged.lengths, True
        checks.tensor("last", "output", output)
        checks.rank("last", "output", output, (2, 3))
        checks.width("last", "output", output, layer.output_size, "the layer's output width")
        batched = output.dim() == 3
        padded = _time_first(output, batched, layer.batch_first)
        if lengths is None:
            return padded, None, batched
        return padded, check_lengths(lengths, padded.shape[0], padded.shape[1], batched), batched


def stream_rows(
    layer: Recurrent, batch: Batch, known: Mapping[str, bool], given: Mapping[str, Any]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What the caller gave by keyword, as (streams laid out as the input, constants in the order of the states)."""
    owner = layer.cell_type.__name__
    checks.stream_names(owner, known, given)
    streams, constants = {}, {}
    for name, value in given.items():
        if isinstance(value, PackedSequence):
            streams[name] = _packed_stream(owner, name, value, batch)
            continue
        checks.tensor(owner, name, value)
        if value.dim() == 2 + batch.batched:
            stream = _time_first(value, batch.batched, batch.batch_first)
            steps = batch.data.shape[0] if batch.ragged is None else batch.ragged.steps
            expected = (steps, batch.rows, value.shape[-1])
            checks.shape(owner, name, stream, expected, "(T, B, ·), a value a step as the input")
            streams[name] = stream if batch.ragged is None else batch.ragged.pack(stream)
        elif value.dim() == 1 + batch.batched:
            rows = value if batch.batched else value.unsqueeze(0)
            checks.shape(owner, name, rows, (batch.rows, value.shape[-1]), "(B, ·), a value a sequence")
            constants[name] = rows if batch.ragged is None else batch.ragged.sort(rows)
        else:
            forms = "(T, B, ·) or (B, ·)" if batch.batched else "(T, ·) or (·)"
            raise InvalidShape(
                f"{owner}: {name} must be {forms}, a value a step or a value a sequence, got {tuple(value.shape)}"
            )
    return streams, constants


def _packed_stream(owner: str, name: str, value: PackedSequence, batch: Batch) -> Tensor:
    ragged = batch.ragged
    if not batch.packed or ragged is None:
        raise InvalidType(f"{owner}: {name} is a PackedSequence, and the input is not; pad it like the input")
    same_order = value.sorted_indices is ragged.order or (
        value.sorted_indices is not None
        and ragged.order is not None
        and torch.equal(value.sorted_indices, ragged.order)
    )
    if not torch.equal(value.batch_sizes, ragged.batch_sizes) or not same_order:
        raise InvalidShape(f"{owner}: {name} must be packed with the input's own lengths and order")
    return value.data


def _time_first(value: Tensor, batched: bool, batch_first: bool) -> Tensor:
    if not batched:
        return value.unsqueeze(1)
    return value.transpose(0, 1) if batch_first else value


def _check_data(owner: str, layer: Recurrent, data: Tensor, ranks: tuple[int, ...], weight: Tensor | None) -> None:
    if data.dim() not in ranks:
        checks.rank(owner, "input", data, ranks)
    checks.width(owner, "input", data, layer.input_size, "input_size")
    checks.same_kind(owner, "input", data, weight)
