"""Pure functions: outputs and final states from inputs, initial states and weights, by the cells' own equations.

Weights lie as in torch.nn: ``w_ih`` (G·H, I), ``w_hh`` (G·H, H_out), biases (G·H), gates stacked i, f, g, o (LSTM) or
r, z, n (GRU). Inputs are (T, B, I), or (B, T, I) with ``batch_first``, or (T, I) without a batch; a missing initial
state is zeros. A bidirectional function takes the second direction's weights after the first's, and joins the outputs
at the same time step.

>>> x, h0 = torch.randn(3, 2, 4), torch.zeros(1, 2, 5)
>>> weights = [torch.randn(5, 4), torch.randn(5, 5), torch.randn(5), torch.randn(5)]
>>> output, h_n = ostinato.functional.rnn_forward(x, h0, *weights)
>>> output.shape, h_n.shape
(torch.Size([3, 2, 5]), torch.Size([1, 2, 5]))
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.func import functional_call

from ostinato.cells import checks
from ostinato.compiler.clip import clip_gradient
from ostinato.errors import InvalidShape, InvalidValue
from ostinato.layers.scan import linear_scan
from ostinato.layers.torch_nn import GRU, LSTM, RNN, ChoGRU

__all__ = [
    "bidirectional_gru_forward",
    "bidirectional_lstm_forward",
    "bidirectional_rnn_forward",
    "clip_gradient",
    "gru_forward",
    "linear_scan",
    "lstm_forward",
    "rnn_forward",
]

Weights = Sequence[Tensor | None]
"""(w_ih, w_hh, b_ih, b_hh), and w_hr for an LSTM with a projection."""

States = tuple[Tensor, Tensor]


def rnn_forward(
    input: Tensor,
    h0: Tensor | None,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
    nonlinearity: str = "tanh",
    batch_first: bool = False,
) -> tuple[Tensor, Tensor]:
    """The simple recurrent network, equations at :class:`ostinato.RNNCell`.

    Args:
        input: (T, B, I).
        h0: (1, B, H), or None for zeros.
        w_ih, w_hh, b_ih, b_hh: (H, I), (H, H), (H), (H).
        nonlinearity: ``"tanh"`` or ``"relu"``.
        batch_first: input and output are (B, T, ·).

    Returns:
        output (T, B, H) and h_n (1, B, H).

    Raises:
        InvalidShape, InvalidValue: sizes or dtypes that do not fit.
    """
    options = {"nonlinearity": nonlinearity, "batch_first": batch_first}
    return _run(RNN, 1, input, h0, [(w_ih, w_hh, b_ih, b_hh)], options)


def bidirectional_rnn_forward(
    input: Tensor,
    h0: Tensor | None,
    forward: Weights,
    reverse: Weights,
    nonlinearity: str = "tanh",
    batch_first: bool = False,
) -> tuple[Tensor, Tensor]:
    """Two simple recurrent networks, one from each end.

    Args:
        input: (T, B, I).
        h0: (2, B, H), or None for zeros.
        forward, reverse: each (w_ih, w_hh, b_ih, b_hh), as for :func:`rnn_forward`.

    Returns:
        output (T, B, 2·H) and h_n (2, B, H), the second run's final state being its state at t = 0.

    Example:
        >>> forward, reverse = ([torch.randn(5, 4), torch.randn(5, 5)] for _ in range(2))
        >>> output, h_n = ostinato.functional.bidirectional_rnn_forward(torch.randn(3, 2, 4), None, forward, reverse)
        >>> torch.equal(output[0, :, 5:], h_n[1])
        True
    """
    options = {"nonlinearity": nonlinearity, "batch_first": batch_first}
    return _run(RNN, 1, input, h0, [forward, reverse], options)


def lstm_forward(
    input: Tensor,
    states: States | None,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
    w_hr: Tensor | None = None,
    batch_first: bool = False,
) -> tuple[Tensor, States]:
    """The LSTM, with ``w_hr`` the LSTMP; equations at :class:`ostinato.LSTMCell`.

    Args:
        input: (T, B, I).
        states: (h0, c0), (1, B, P or H) and (1, B, H), or None for zeros.
        w_ih, w_hh, b_ih, b_hh: (4·H, I), (4·H, P or H), (4·H), (4·H).
        w_hr: (P, H).
        batch_first: input and output are (B, T, ·).

    Returns:
        output (T, B, P or H) and (h_n, c_n), shaped as ``states``.

    Raises:
        InvalidShape, InvalidValue: sizes or dtypes that do not fit.

    Example:
        >>> w_ih, w_hh, w_hr = torch.randn(20, 4), torch.randn(20, 3), torch.randn(3, 5)
        >>> output, (h_n, c_n) = ostinato.functional.lstm_forward(torch.randn(7, 2, 4), None, w_ih, w_hh, w_hr=w_hr)
        >>> output.shape, c_n.shape
        (torch.Size([7, 2, 3]), torch.Size([1, 2, 5]))
    """
    return _run(LSTM, 4, input, states, [(w_ih, w_hh, b_ih, b_hh, w_hr)], {"batch_first": batch_first})


def bidirectional_lstm_forward(
    input: Tensor, states: States | None, forward: Weights, reverse: Weights, batch_first: bool = False
) -> tuple[Tensor, States]:
    """Two LSTMs, one from each end; weights (w_ih, w_hh, b_ih, b_hh, w_hr) each, states (2, B, ·).

    Example:
        >>> forward, reverse = ([torch.randn(20, 4), torch.randn(20, 5)] for _ in range(2))
        >>> output, (h_n, c_n) = ostinato.functional.bidirectional_lstm_forward(
        ...     torch.randn(3, 2, 4), None, forward, reverse)
        >>> output.shape, c_n.shape
        (torch.Size([3, 2, 10]), torch.Size([2, 2, 5]))
    """
    return _run(LSTM, 4, input, states, [forward, reverse], {"batch_first": batch_first})


def gru_forward(
    input: Tensor,
    h0: Tensor | None,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
    reset_after: bool = True,
    batch_first: bool = False,
) -> tuple[Tensor, Tensor]:
    """The GRU, equations at :class:`ostinato.GRUCell` and, with ``reset_after=False``, :class:`ostinato.ChoGRUCell`.

    Args:
        input: (T, B, I).
        h0: (1, B, H), or None for zeros.
        w_ih, w_hh, b_ih, b_hh: (3·H, I), (3·H, H), (3·H), (3·H).
        batch_first: input and output are (B, T, ·).

    Returns:
        output (T, B, H) and h_n (1, B, H).

    Example:
        >>> output, h_n = ostinato.functional.gru_forward(
        ...     torch.randn(7, 2, 4), None, torch.randn(15, 4), torch.randn(15, 5))
        >>> torch.equal(output[-1], h_n[0])
        True
    """
    layer = GRU if reset_after else ChoGRU
    return _run(layer, 3, input, h0, [(w_ih, w_hh, b_ih, b_hh)], {"batch_first": batch_first})


def bidirectional_gru_forward(
    input: Tensor,
    h0: Tensor | None,
    forward: Weights,
    reverse: Weights,
    reset_after: bool = True,
    batch_first: bool = False,
) -> tuple[Tensor, Tensor]:
    """Two GRUs, one from each end; weights (w_ih, w_hh, b_ih, b_hh) each, h0 (2, B, H).

    Example:
        >>> forward, reverse = ([torch.randn(15, 4), torch.randn(15, 5)] for _ in range(2))
        >>> ostinato.functional.bidirectional_gru_forward(torch.randn(3, 2, 4), None, forward, reverse)[0].shape
        torch.Size([3, 2, 10])
    """
    layer = GRU if reset_after else ChoGRU
    return _run(layer, 3, input, h0, [forward, reverse], {"batch_first": batch_first})


NAMES = {"w_ih": "weight_ih", "w_hh": "weight_hh", "b_ih": "bias_ih", "b_hh": "bias_hh", "w_hr": "weight_hr"}
"""The arguments' names here, and the parameters they stand for."""


def _run(layer: Any, gates: int, input: Tensor, hx: Any, weights: Sequence[Weights], options: dict[str, Any]) -> Any:
    given = [{name: value for name, value in zip(NAMES, one, strict=False) if value is not None} for one in weights]
    hidden_size = _check_weights(gates, given)
    first = given[0]
    if "w_hr" in first:
        options["proj_size"] = first["w_hr"].shape[0]
    # The layer's own tensors are never read: on the meta device they take no memory and draw no random numbers.
    made = layer(
        first["w_ih"].shape[1],
        hidden_size,
        bias="b_ih" in first,
        bidirectional=len(weights) == 2,
        device="meta",
        **options,
    )
    values = {
        NAMES[name] + suffix: value
        for suffix, one in zip(("_l0", "_l0_reverse"), given, strict=False)
        for name, value in one.items()
    }
    return functional_call(made, values, (input, hx))


def _check_weights(gates: int, directions: list[dict[str, Tensor]]) -> int:
    """H, once every weight has the shape it implies; a bias given alone gets its missing half as zeros."""
    for weights in directions:
        for name, value in weights.items():
            checks.tensor("functional", name, value)
    first = directions[0]
    for name in ("w_ih", "w_hh"):
        if name not in first or first[name].dim() != 2:
            got = tuple(first[name].shape) if name in first else None
            raise InvalidShape(f"functional: {name} must be a matrix ({gates}·H, ·), got {got}")
    rows, inputs = first["w_ih"].shape
    if rows == 0 or rows % gates:
        raise InvalidShape(f"functional: w_ih must have {gates}·H rows, a multiple of {gates}, got {rows}")
    if "w_hr" in first and gates != 4:
        raise InvalidValue("functional: w_hr is an LSTM's projection; RNN and GRU have none")
    hidden = rows // gates
    outputs = first["w_hr"].shape[0] if "w_hr" in first else hidden
    matrices = {"w_ih": (rows, inputs), "w_hh": (rows, outputs), "w_hr": (outputs, hidden)}
    biased = any({"b_ih", "b_hh"} & weights.keys() for weights in directions)
    for weights in directions:
        for name in ("b_ih", "b_hh") if biased else ():
            weights.setdefault(name, first["w_ih"].new_zeros(rows))
        if weights.keys() != first.keys():
            raise InvalidShape(f"both directions need the same weights, got {sorted(first)} and {sorted(weights)}")
        for name, value in weights.items():
            checks.shape("functional", name, value, matrices.get(name, (rows,)), f"for H = {hidden} and {gates} gates")
            checks.same_kind("functional", name, value, first["w_ih"])
    return hidden
