"""Between layers: variational dropout, residual and highway connections, against stacks of torch.nn written out."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import dropout, linear
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import ostinato
from ostinato import errors
from tests.support.own_cells import PeepholeLSTMCell

T, B, I, H, L = 18, 3, 4, 6, 3
TORCH = {ostinato.LSTM: nn.LSTM, ostinato.GRU: nn.GRU, ostinato.RNN: nn.RNN}
ENGINES = ["auto", "loop", "native", "aten"]
LENGTHS = torch.tensor([7, 18, 2])


def flat(state):
    return state if isinstance(state, tuple) else (state,)


def one_layer(ours, k):
    """Layer k as a torch.nn module of its own, on the same tensors."""
    kind = TORCH[type(ours)]
    width = ours.input_size if k == 0 else ours.output_size
    made = kind(width, H, bidirectional=ours.bidirectional, dtype=torch.float64)
    own = {n: ours.get_parameter(n.replace("_l0", f"_l{k}")) for n, _ in made.named_parameters()}
    return lambda x, h: torch.func.functional_call(made, own, (x, h))


def written_out(ours, x, masks=None):
    """The stack layer by layer over whole sequences: its output and final states."""
    directions, finals = 2 if ours.bidirectional else 1, []
    for k in range(L):
        past = x
        if k and masks is not None:
            x = x * masks[k - 1]
        zero = torch.zeros(directions, x.shape[1], H, dtype=x.dtype)
        x, final = one_layer(ours, k)(x, (zero, zero) if isinstance(ours, ostinato.LSTM) else zero)
        if k and ours.connection == "residual":
            x = x + past
        elif k and ours.connection == "highway":
            t = torch.sigmoid(linear(past, getattr(ours, f"highway_weight_l{k}"), getattr(ours, f"highway_bias_l{k}")))
            x = t * x + (1 - t) * past
        finals.append(flat(final))
    return x, [torch.cat(states) for states in zip(*finals, strict=True)]


def close(one, two):
    torch.testing.assert_close(one, two, rtol=0, atol=1e-11)


def stack(kind, connection, engine="auto", **options):
    rnn = kind(I, H, L, connection=connection, engine=engine, dtype=torch.float64, **options)
    for name, parameter in rnn.named_parameters():
        if "highway" in name:
            nn.init.normal_(parameter)
    return rnn


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("connection", ["residual", "highway"])
@pytest.mark.parametrize("kind", TORCH)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_connections_are_those_of_the_stack_written_out(kind, connection, engine, bidirectional):
    rnn = stack(kind, connection, engine, bidirectional=bidirectional)
    x = torch.randn(T, B, I, dtype=torch.float64, requires_grad=True)
    output, state = rnn(x)
    expected, finals = written_out(rnn, x)
    close(output, expected)
    for one, two in zip(flat(state), finals, strict=True):
        close(one, two)
    wanted = [x, *rnn.parameters()]
    weight = torch.randn_like(output)
    found = torch.autograd.grad((output * weight).sum() + state[0].sum(), wanted)
    h = finals[0] if isinstance(state, tuple) else finals[0][0]
    by_hand = torch.autograd.grad((expected * weight).sum() + h.sum(), wanted)
    for one, two in zip(found, by_hand, strict=True):
        close(one, two)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("connection", [None, "residual", "highway"])
@pytest.mark.parametrize("form", ["full", "lengths", "packed"])
def test_a_sequence_has_one_mask_however_it_comes(connection, engine, form):
    rnn = stack(ostinato.LSTM, connection, engine, dropout=0.4, dropout_form="sequence")
    x = torch.randn(T, B, I, dtype=torch.float64)
    lengths = LENGTHS if form != "full" else torch.full((B,), T)
    torch.manual_seed(3)
    if form == "packed":
        packed, state = rnn(pack_padded_sequence(x, lengths, enforce_sorted=False))
        output, _ = pad_packed_sequence(packed, total_length=T)
    else:
        output, state = rnn(x, lengths=lengths if form == "lengths" else None)
    torch.manual_seed(3)
    masks = [dropout(torch.ones(B, H, dtype=torch.float64), 0.4) for _ in range(L - 1)]
    assert all(((m == 0) | (m == 1 / 0.6)).all() and (m == 0).any() for m in masks)
    for row, length in enumerate(lengths):
        own = [m[row] for m in masks]
        expected, finals = written_out(rnn, x[:length, row : row + 1], own)
        close(output[:length, row], expected[:, 0])
        assert not output[length:, row].any()
        for one, two in zip(state, finals, strict=True):
            close(one[:, row], two[:, 0])


@pytest.mark.parametrize("cell", ["lstm", "gru", "peephole-lstm"])
@pytest.mark.parametrize("connection", ["residual", "highway"])
def test_all_of_it_together_in_both_engines(cell, connection):
    made = []
    for engine in ("loop", "native"):
        torch.manual_seed(0)
        rnn = ostinato.Recurrent(
            cell,
            I,
            H,
            L,
            engine=engine,
            dtype=torch.float64,
            bidirectional=True,
            connection=connection,
            dropout=0.3,
            dropout_form="sequence",
            weight_dropout=0.4,
            zoneout=0.2,
            recurrent_dropout=0.25,
            initial_state="learned",
        )
        x, reset = torch.randn(T, B, I, dtype=torch.float64), torch.rand(T, B) < 0.2
        output, _ = rnn(x, lengths=[T, 0, 7], reset=reset)
        output.square().sum().backward()
        assert output.detach().any()
        made.append([output, *(p.grad for p in rnn.parameters())])
    for one, two in zip(*made, strict=True):
        close(one, two)


def test_in_eval_mode_nothing_is_dropped():
    rnn = ostinato.LSTM(I, H, 2, dropout=0.4, dropout_form="sequence").eval()
    plain = nn.LSTM(I, H, 2)
    plain.load_state_dict(rnn.state_dict())
    x = torch.randn(T, B, I)
    torch.testing.assert_close(rnn(x)[0], plain(x)[0])


@pytest.mark.parametrize("connection", ["residual", "highway"])
def test_padding_stays_zero_and_unread(connection):
    rnn = stack(ostinato.GRU, connection)
    x = torch.randn(T, B, I, dtype=torch.float64)
    clean = rnn(x, lengths=LENGTHS)[0]
    for row, length in enumerate(LENGTHS):
        x[length:, row] = float("nan")
    output, _ = rnn(x, lengths=LENGTHS)
    assert torch.equal(output, clean)
    assert all(not output[length:, row].any() for row, length in enumerate(LENGTHS))
    output.sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in rnn.parameters())


@pytest.mark.parametrize("engine", ["auto", "loop"])
@pytest.mark.parametrize("connection", ["residual", "highway"])
def test_a_stream_has_them_too(connection, engine):
    rnn = stack(ostinato.GRU, connection, engine).eval()
    x = torch.randn(T, B, I, dtype=torch.float64)
    expected, state = rnn(x)
    live = ostinato.stream(rnn, B)
    assert live.engine == ("loop" if engine == "loop" else "native")
    close(torch.stack([live.step(frame) for frame in x]), expected.detach())
    close(live.state, state.detach())
    if connection == "highway":
        live.reset()
        with torch.no_grad():
            rnn.highway_bias_l1.add_(2)
        close(torch.stack([live.step(frame) for frame in x]), rnn(x)[0].detach())


@pytest.mark.parametrize("connection", ["residual", "highway"])
def test_chunks_and_the_tape_have_them_too(connection):
    rnn = stack(ostinato.LSTM, connection).eval()
    x = torch.randn(T, B, I, dtype=torch.float64)
    expected, _ = written_out(rnn, x)
    close(torch.cat([output for output, _ in ostinato.chunks(rnn, x, 5)]), expected)
    tape = ostinato.record(rnn, x)
    close(tape.output, expected.detach())


@pytest.mark.parametrize(
    ("connection", "backend", "lengths"),
    [
        (None, "aot_eager", None),
        ("residual", "aot_eager", LENGTHS),
        ("highway", "aot_eager", None),
        ("highway", "aot_eager", LENGTHS),
        ("highway", "eager", LENGTHS),
    ],
)
def test_inside_torch_compile(connection, backend, lengths):
    rnn = ostinato.Recurrent(PeepholeLSTMCell, I, H, 2, connection=connection, dropout=0.3, dropout_form="sequence")
    x = torch.randn(T, B, I)
    torch.manual_seed(6)
    expected, _ = rnn(x, lengths=lengths)
    torch.compiler.reset()
    torch.manual_seed(6)
    output, _ = torch.compile(rnn, backend=backend, fullgraph=True)(x, lengths=lengths)
    torch.testing.assert_close(output, expected)
    found = torch.autograd.grad(output.square().sum(), list(rnn.parameters()))
    by_hand = torch.autograd.grad(expected.square().sum(), list(rnn.parameters()))
    for one, two in zip(found, by_hand, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("connection", ["residual", "highway"])
def test_a_call_repeated_without_gradients(connection):
    """The short way, taken from the third call of a shape on."""
    rnn = stack(ostinato.GRU, connection).eval()
    x = torch.randn(T, B, I, dtype=torch.float64)
    expected, _ = written_out(rnn, x)
    with torch.no_grad():
        for _ in range(5):
            close(rnn(x)[0], expected.detach())
        if connection == "highway":
            rnn.highway_bias_l2.add_(1)
            close(rnn(x)[0], written_out(rnn, x)[0])


def test_what_a_highway_learns():
    rnn = ostinato.GRU(I, H, L, connection="highway", bidirectional=True)
    plain = ostinato.GRU(I, H, L, bidirectional=True)
    own = {name: tuple(value.shape) for name, value in rnn.named_parameters() if "highway" in name}
    assert own == {f"highway_{n}_l{k}": s for k in (1, 2) for n, s in (("weight", (12, 12)), ("bias", (12,)))}
    assert torch.equal(rnn.highway_bias_l1, torch.full((12,), -1.0))
    torch.manual_seed(1)
    rnn.reset_parameters()
    torch.manual_seed(1)
    plain.reset_parameters()
    for name, value in plain.state_dict().items():
        assert torch.equal(rnn.state_dict()[name], value), "a seed gives the cells torch's own numbers"
    assert torch.equal(rnn.highway_bias_l2, torch.full((12,), -1.0))
    assert rnn.highway_weight_l2.abs().max() <= 12**-0.5
    twin = copy.deepcopy(rnn)
    assert twin.connection == "highway"
    twin.load_state_dict(rnn.state_dict())


def test_the_layer_says_so():
    rnn = ostinato.GRU(I, H, 2, connection="highway", dropout=0.1, dropout_form="sequence")
    assert "dropout_form='sequence', connection='highway'" in repr(rnn)
    assert "highway_weight" in str(ostinato.explain(rnn, detail=True))


def test_an_output_of_its_own_width():
    rnn = ostinato.Elman(I, H, 2, output_size=H, connection="residual")
    x = torch.randn(T, B, I)
    tape = ostinato.record(rnn, x)
    torch.testing.assert_close(rnn(x)[0], (tape["l1"]["y"] + tape["l0"]["h"]))
    with pytest.raises(errors.InvalidShape, match="layer 1 reads 6 and puts out 2"):
        ostinato.Elman(I, H, 2, output_size=2, connection="residual")


def test_layers_of_other_widths():
    with pytest.raises(errors.InvalidShape, match="layer 2 reads 6 and puts out 8; use one hidden_size"):
        ostinato.GRU(I, (6, 6, 8), connection="highway")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"connection": "residuals"},
            "connection must be None, 'residual' or 'highway', got 'residuals'; did you mean",
        ),
        ({"connection": 1}, "connection must be None, 'residual' or 'highway', got 1"),
        ({"dropout_form": "rows"}, "dropout_form must be one of 'element', 'sequence', got 'rows'"),
    ],
)
def test_what_is_no_option(options, message):
    with pytest.raises(errors.InvalidValue, match=message):
        ostinato.GRU(I, H, 2, **options)


def test_one_layer_has_nothing_to_connect():
    with pytest.warns(UserWarning, match="does nothing with num_layers=1") as caught:
        ostinato.GRU(I, H, connection="residual")
    assert caught[0].filename == __file__


def test_a_name_that_is_taken():
    class Gated(ostinato.Cell):
        def __init__(self, input_size, hidden_size):
            super().__init__(input_size, hidden_size)
            self.highway_bias = nn.Parameter(torch.zeros(hidden_size))

        def step(self, x, h):
            return h + self.highway_bias

    with pytest.raises(errors.CellError, match="the cell's parameter highway_bias has a gate's name; rename it"):
        ostinato.Recurrent(Gated, H, H, 2, connection="highway")


def test_torch_has_no_such_layer():
    for options in ({"connection": "residual"}, {"dropout_form": "sequence"}):
        with pytest.raises(errors.InvalidValue, match=rf"torch\.nn has no {next(iter(options))}"):
            ostinato.to_torch(ostinato.LSTM(I, H, 2, **options))
