"""RNN, GRU and LSTM under torch.nn's signatures, names and state dicts; and the other cells' layers by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from ostinato.cells.activations import Activation
from ostinato.cells.initialise import Init
from ostinato.cells.library.cho_gru import ChoGRUCell
from ostinato.cells.library.elman import ElmanCell, RNNCell
from ostinato.cells.library.gru import GRUCell
from ostinato.cells.library.lstm import LSTMCell
from ostinato.errors import InvalidValue
from ostinato.layers.recurrent import Recurrent


class _TorchLayer(Recurrent):
    """What programs written for torch.nn's layers look for besides the call."""

    proj_size = 0

    def flatten_parameters(self) -> None:
        """Nothing: parameters here are ordinary ones, and no flattened copy is kept."""

    @property
    def all_weights(self) -> list[list[Tensor]]:
        """The parameters of each (layer, direction), in order."""
        return [
            [getattr(self, name + slot.suffix) for name in slot.parameters] for layer in self._slots for slot in layer
        ]


class RNN(_TorchLayer):
    """:class:`ostinato.RNNCell` over time, under torch.nn.RNN's signature and state dict.

    Args, shapes, raises:
        those of :class:`ostinato.Recurrent`, in torch.nn's order; ``nonlinearity`` and ``recurrent_init`` are the
        cell's. ``options`` are the others of both.

    Example:
        >>> output, h_n = ostinato.RNN(10, 20, num_layers=2)(torch.randn(5, 3, 10))
        >>> output.shape, h_n.shape
        (torch.Size([5, 3, 20]), torch.Size([2, 3, 20]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int | Sequence[int],
        num_layers: int = 1,
        nonlinearity: Activation = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        engine: str = "auto",
        recompute: str = "none",
        initial_state: str | nn.Module = "zeros",
        recurrent_init: Init = "uniform",
        **options: Any,
    ) -> None:
        _refuse_projection(type(self).__name__, options)
        super().__init__(
            RNNCell,
            input_size,
            hidden_size,
            num_layers,
            bias=bias,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            device=device,
            dtype=dtype,
            engine=engine,
            recompute=recompute,
            initial_state=initial_state,
            **_given(nonlinearity=(nonlinearity, "tanh"), recurrent_init=(recurrent_init, "uniform")),
            **options,
        )
        self.nonlinearity = nonlinearity

    @property
    def mode(self) -> str:
        """torch.nn's name for the kind of network."""
        name = self.nonlinearity if isinstance(self.nonlinearity, str) else self.nonlinearity.__name__
        return f"RNN_{name.upper()}"


class GRU(_TorchLayer):
    """:class:`ostinato.GRUCell` over time, under torch.nn.GRU's signature and state dict.

    Args, shapes, raises:
        those of :class:`ostinato.Recurrent`, in torch.nn's order; ``recurrent_init`` is the cell's.
        ``options`` are the others of both.

    Example:
        >>> output, h_n = ostinato.GRU(10, 20, bidirectional=True)(torch.randn(5, 3, 10))
        >>> output.shape, h_n.shape
        (torch.Size([5, 3, 40]), torch.Size([2, 3, 20]))
    """

    cell: type[GRUCell] = GRUCell

    def __init__(
        self,
        input_size: int,
        hidden_size: int | Sequence[int],
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        engine: str = "auto",
        recompute: str = "none",
        initial_state: str | nn.Module = "zeros",
        recurrent_init: Init = "uniform",
        **options: Any,
    ) -> None:
        _refuse_projection(type(self).__name__, options)
        super().__init__(
            self.cell,
            input_size,
            hidden_size,
            num_layers,
            bias=bias,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            device=device,
            dtype=dtype,
            engine=engine,
            recompute=recompute,
            initial_state=initial_state,
            **_given(recurrent_init=(recurrent_init, "uniform")),
            **options,
        )

    @property
    def mode(self) -> str:
        """torch.nn's name for the kind of network."""
        return type(self).__name__


class ChoGRU(GRU):
    """:class:`ostinato.ChoGRUCell` over time: :class:`GRU` with the reset before the product.

    Example:
        >>> output, h_n = ostinato.ChoGRU(10, 20)(torch.randn(5, 3, 10))
        >>> output.shape, h_n.shape
        (torch.Size([5, 3, 20]), torch.Size([1, 3, 20]))
    """

    cell = ChoGRUCell


class LSTM(_TorchLayer):
    """:class:`ostinato.LSTMCell` over time, under torch.nn.LSTM's signature and state dict.

    Args, shapes, raises:
        those of :class:`ostinato.Recurrent`, in torch.nn's order; ``proj_size``, ``forget_bias`` and
        ``recurrent_init`` are the cell's. ``options`` are the others of both.

    Example:
        >>> rnn = ostinato.LSTM(4, 5, proj_size=3, batch_first=True)
        >>> output, (h_n, c_n) = rnn(torch.randn(2, 3, 4))
        >>> output.shape, h_n.shape, c_n.shape
        (torch.Size([2, 3, 3]), torch.Size([1, 2, 3]), torch.Size([1, 2, 5]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int | Sequence[int],
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
        *,
        engine: str = "auto",
        recompute: str = "none",
        initial_state: str | nn.Module = "zeros",
        forget_bias: float | None = None,
        recurrent_init: Init = "uniform",
        **options: Any,
    ) -> None:
        super().__init__(
            LSTMCell,
            input_size,
            hidden_size,
            num_layers,
            bias=bias,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            device=device,
            dtype=dtype,
            engine=engine,
            recompute=recompute,
            initial_state=initial_state,
            **_given(
                proj_size=(proj_size, 0),
                forget_bias=(forget_bias, None),
                recurrent_init=(recurrent_init, "uniform"),
            ),
            **options,
        )
        self.proj_size = proj_size

    @property
    def mode(self) -> str:
        """torch.nn's name for the kind of network."""
        return "LSTM"


class Elman(Recurrent):
    """:class:`ostinato.ElmanCell` over time: a simple recurrent network with an output y at every step.

    Args, shapes, raises:
        those of :class:`ostinato.Recurrent`; ``output_size``, ``output_nonlinearity``, ``output_bias``,
        ``nonlinearity`` and ``recurrent_init`` are the cell's. The output is y, (T, B, D·O).

    Example:
        >>> y, h_n = ostinato.Elman(4, 5, num_layers=2, output_size=3)(torch.randn(7, 2, 4))
        >>> y.shape, h_n.shape
        (torch.Size([7, 2, 3]), torch.Size([2, 2, 5]))
    """

    def __init__(self, input_size: int, hidden_size: int | Sequence[int], num_layers: int = 1, **options: Any) -> None:
        super().__init__(ElmanCell, input_size, hidden_size, num_layers, **options)


def _refuse_projection(name: str, options: Mapping[str, Any]) -> None:
    """A program that asks for one catches torch.nn's exception."""
    if "proj_size" in options:
        raise InvalidValue(
            f"{name} has no projection, which only LSTM has: proj_size must not be given, got {options['proj_size']!r}"
        )


def _given(**options: tuple[Any, Any]) -> dict[str, Any]:
    """The cell options that differ from their default, so that a layer's text shows what was chosen."""
    return {name: value for name, (value, default) in options.items() if value != default}
