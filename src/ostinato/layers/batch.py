"""One call's input, whatever form it came in, as what the engines take; and their results in the caller's form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from ostinato.cells import checks
from ostinato.engines.ragged import Ragged, check_lengths
from ostinato.errors import InvalidValue
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
        x = time_first(input, batched, layer.batch_first)
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
        padded = time_first(output, batched, layer.batch_first)
        if lengths is None:
            return padded, None, batched
        return padded, check_lengths(lengths, padded.shape[0], padded.shape[1], batched), batched


def time_first(value: Tensor, batched: bool, batch_first: bool) -> Tensor:
    """A caller's (T, B, ·), (B, T, ·) or (T, ·) as (T, B, ·)."""
    if not batched:
        return value.unsqueeze(1)
    return value.transpose(0, 1) if batch_first else value


def _check_data(owner: str, layer: Recurrent, data: Tensor, ranks: tuple[int, ...], weight: Tensor | None) -> None:
    checks.rank(owner, "input", data, ranks)
    checks.width(owner, "input", data, layer.input_size, "input_size")
    checks.same_kind(owner, "input", data, weight)
