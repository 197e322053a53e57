"""A stream gives, frame by frame, what its layer gives on the whole sequence."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import threading

import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.functional import linear
from torch.utils.flop_counter import FlopCounterMode

import ostinato
from ostinato import errors
from tests.support.own_cells import OWN_CELLS, TimeGapCell

T, I, H = 6, 5, 7
CELLS = (ostinato.LSTMCell, ostinato.GRUCell, ostinato.RNNCell, ostinato.ElmanCell, ostinato.ChoGRUCell, *OWN_CELLS)


def layer(cell, **options):
    return ostinato.Recurrent(cell, I, H, **options).eval()


def frames(live, x, **streams):
    return torch.stack([live.step(f, **{n: v[t] for n, v in streams.items()}) for t, f in enumerate(x)])


def assert_same_state(got, want):
    for one, two in zip(*((v if isinstance(v, tuple) else (v,)) for v in (got, want)), strict=True):
        torch.testing.assert_close(one, two)


class Sorted(ostinato.Cell):
    """Sorting has no native form."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.weight = nn.Parameter(torch.empty(hidden_size, input_size))
        self.reset_parameters()

    def step(self, x, h):
        return torch.tanh(linear(x, self.weight) + h).sort(-1).values


@pytest.mark.parametrize("cell", [*CELLS, Sorted], ids=lambda c: c.__name__)
@pytest.mark.parametrize(("layers", "rows", "dtype"), [(1, 1, torch.float32), (2, 3, torch.float64)])
@pytest.mark.filterwarnings("ignore:Sorted runs step by step")
def test_frame_by_frame_it_is_the_layer(cell, layers, rows, dtype):
    rnn = layer(cell, num_layers=layers, dtype=dtype)
    x = torch.randn(T, rows, I, dtype=dtype)
    with torch.no_grad():  # so that both are one program
        output, state = rnn(x)
    live = ostinato.stream(rnn, rows)
    torch.testing.assert_close(frames(live, x), output)
    assert_same_state(live.state, state)
    assert live.engine == ("loop" if cell is Sorted else "native")
    assert ("sort" in live.why) == (cell is Sorted)


@pytest.mark.parametrize("engine", ["auto", "loop"])
def test_keywords(engine):
    rnn = layer(TimeGapCell, num_layers=2, engine=engine)
    x, gap, speaker = torch.randn(T, 2, I), torch.rand(T, 2, 1), torch.randn(2, H)
    live = ostinato.stream(rnn, 2)
    assert "gap" in live.why or engine == "loop"
    torch.testing.assert_close(frames(live, x, gap=gap), rnn(x, gap=gap)[0].detach())
    live = ostinato.stream(rnn, 2, speaker=speaker)
    torch.testing.assert_close(frames(live, x, gap=gap), rnn(x, gap=gap, speaker=speaker)[0].detach())
    live = ostinato.stream(rnn, 2, gap=gap[0])
    torch.testing.assert_close(frames(live, x), rnn(x, gap=gap[0])[0].detach())
    assert live.engine == ("loop" if engine == "loop" else "native")
    live.reset()
    mixed = [live.step(x[0]), live.step(x[1], speaker=speaker)]
    halves = rnn(x[:1], gap=gap[0])
    torch.testing.assert_close(mixed[0], halves[0][0].detach())
    torch.testing.assert_close(mixed[1], rnn(x[1:2], halves[1], gap=gap[0], speaker=speaker)[0][0].detach())


def test_flags_and_counts_keep_their_meaning():
    class Reset(ostinato.Cell):
        def __init__(self, input_size, hidden_size):
            super().__init__(input_size, hidden_size)
            self.weight = nn.Parameter(torch.randn(hidden_size, input_size))

        def step(self, x, h, *, new):
            return torch.where(new, torch.zeros_like(h), h) + linear(x, self.weight)

    rnn, x = layer(Reset), torch.randn(T, 2, I)
    new = torch.rand(T, 2, 1) < 0.4
    live = ostinato.stream(rnn, 2)
    torch.testing.assert_close(frames(live, x, new=new), rnn(x, new=new)[0].detach())
    assert live.engine == "native"


def test_widths_a_layer_and_batch_first():
    rnn = ostinato.Recurrent(ostinato.LSTMCell, I, [8, 3], batch_first=True).eval()
    x = torch.randn(2, T, I)
    output, state = rnn(x)
    live = ostinato.stream(rnn, 2)
    torch.testing.assert_close(frames(live, x.transpose(0, 1)).transpose(0, 1), output.detach())
    for got, want in zip(live.state, state, strict=True):
        assert_same_state(got, want)


def test_states_are_the_layers_own():
    rnn, x = layer(ostinato.LSTMCell, num_layers=2), torch.randn(T, 3, I)
    output, _ = rnn(x)
    _, state = rnn(x[:2])
    live = ostinato.stream(rnn, 3)
    live.state = state
    torch.testing.assert_close(frames(live, x[2:]), output[2:].detach())
    kept = live.state
    before = [s.clone() for s in kept]
    live.step(x[0])
    assert_same_state(kept, tuple(before))
    single = ostinato.stream(rnn)
    single.state = tuple(s[:, 0] for s in state)
    torch.testing.assert_close(frames(single, x[2:, 0]), output[2:, 0].detach())


def test_reset_of_all_and_of_one_row():
    rnn, x = layer(ostinato.GRUCell, initial_state="learned"), torch.randn(T, 3, I)
    nn.init.normal_(rnn.initial_h_l0)
    output = rnn(x)[0].detach()
    live = ostinato.stream(rnn, 3)
    for odd in (1, 2):
        torch.testing.assert_close(frames(live, x[:odd]), output[:odd])
        live.reset()
    torch.testing.assert_close(frames(live, x[:3]), output[:3])
    live.reset(1)
    got = live.step(torch.stack([x[3, 0], x[0, 1], x[3, 2]]))
    torch.testing.assert_close(got, torch.stack([output[3, 0], output[0, 1], output[3, 2]]))


def test_an_initial_state_that_is_computed():
    rnn = layer(ostinato.GRUCell, initial_state=nn.Sequential(nn.Linear(2, H), nn.Unflatten(0, (1, -1))))
    x, condition = torch.randn(T, 3, I), torch.randn(3, 2)
    live = ostinato.stream(rnn, 3, condition=condition)
    torch.testing.assert_close(frames(live, x), rnn(x, condition=condition)[0].detach())
    with pytest.raises(errors.InvalidValue, match="condition="):
        ostinato.stream(rnn, 3)
    with pytest.raises(errors.InvalidValue, match="condition="):
        ostinato.stream(layer(ostinato.GRUCell), 3, condition=condition)


@pytest.mark.parametrize("fused", [False, True])
def test_changed_weights_are_seen(fused: bool):
    rnn, x = layer(ostinato.LSTMCell), torch.randn(T, 1, I)
    live = ostinato.stream(rnn)
    frames(live, x[:3])
    optimizer = torch.optim.SGD(rnn.parameters(), 0.5, fused=fused)
    rnn(x)[0].sum().backward()
    optimizer.step()
    live.reset()
    torch.testing.assert_close(frames(live, x), rnn(x)[0].detach())
    rnn.load_state_dict(layer(ostinato.LSTMCell).state_dict())
    live.reset()
    torch.testing.assert_close(frames(live, x), rnn(x)[0].detach())


def test_what_leaves_no_trace_needs_a_refresh():
    rnn, x = layer(ostinato.LSTMCell), torch.randn(T, 1, I)
    live = ostinato.stream(rnn)
    before = frames(live, x)
    for parameter in rnn.parameters():
        parameter.data.mul_(2)
    live.reset()
    assert torch.equal(frames(live, x), before), "all of the weights or none"
    live.refresh()
    live.reset()
    torch.testing.assert_close(frames(live, x), rnn(x)[0].detach())
    state = live.state
    rnn.double()
    live.refresh()
    assert_same_state(live.state, tuple(s.double() for s in state))
    torch.testing.assert_close(live.step(x[0].double()), rnn(x[:1].double(), tuple(s.double() for s in state))[0][0])


def test_frames_carry_no_gradient_and_keep_their_numbers():
    live = ostinato.stream(layer(ostinato.LSTMCell))
    x = torch.randn(2, 1, I, requires_grad=True)
    first = live.step(x[0])
    kept = first.clone()
    live.step(x[1])
    assert torch.equal(first, kept)
    assert not first.requires_grad
    assert not live.state[0].requires_grad


def test_inference_mode_outside_and_in():
    rnn, x = layer(ostinato.LSTMCell), torch.randn(T, 1, I)
    want = rnn(x)[0].detach()
    with torch.inference_mode():
        live = ostinato.stream(rnn)
        got = [live.step(f) for f in x[:3]]
    got += [live.step(f) for f in x[3:]]
    torch.testing.assert_close(torch.stack([g.clone() for g in got]), want)
    live.reset()


def test_input_in_any_memory_order_and_without_its_row():
    rnn = layer(ostinato.LSTMCell)
    x = torch.randn(I, 3).t()
    wide = ostinato.stream(rnn, 3)
    torch.testing.assert_close(wide.step(x), rnn(x[None])[0][0].detach())
    single = ostinato.stream(rnn)
    assert single.step(x[0]).shape == (H,)
    single.reset()
    torch.testing.assert_close(single.step(x[0]), rnn(x[:1])[0][0].detach())
    single.step(nn.Parameter(x[:1]))


def test_views_with_the_other_sign():
    x, gap = torch.randn(3, I), torch.rand(3, 1)
    live, plain = (ostinato.stream(layer(TimeGapCell), 3) for _ in range(2))
    plain.layer.load_state_dict(live.layer.state_dict())
    assert torch.equal(live.step(torch._neg_view(x), gap=torch._neg_view(-gap)), plain.step(-x, gap=gap))


@pytest.mark.parametrize("engine", ["native", "loop"])
def test_a_frame_is_neither_traced_nor_transformed(engine):
    live, x = ostinato.stream(layer(ostinato.GRUCell, engine=engine), 2), torch.randn(2, I)
    for trace in (make_fx, torch.func.vmap, lambda step: lambda x: torch.jit.trace(step, x)):
        with pytest.raises(errors.EngineError, match="call the layer"):
            trace(lambda x: live.step(x))(x)
    with FakeTensorMode() as mode, pytest.raises(errors.EngineError, match="call the layer"):
        live.step(x)
    with pytest.raises(errors.InvalidType, match="FakeTensor"):
        live.step(mode.from_tensor(x))
    assert not live.state.any()
    with FlopCounterMode(display=False):
        live.step(x)


def test_other_dtypes_run_in_plain_pytorch():
    rnn = layer(ostinato.LSTMCell, dtype=torch.bfloat16, engine="loop")
    x = torch.randn(T, 1, I, dtype=torch.bfloat16)
    live = ostinato.stream(rnn)
    assert live.engine == "loop"
    assert live.why == "asked for"
    assert torch.equal(frames(live, x), rnn(x)[0].detach())
    rnn.engine = "auto"
    assert "bfloat16" in ostinato.stream(rnn).why


@pytest.mark.parametrize(
    ("make", "error", "rule"),
    [
        (lambda: ostinato.stream(nn.LSTM(I, H)), errors.InvalidType, "recurrent layer of ours"),
        (
            lambda: ostinato.stream(layer(ostinato.GRUCell, bidirectional=True)),
            errors.InvalidValue,
            "bidirectional=False",
        ),
        (
            lambda: ostinato.stream(layer(ostinato.GRUCell, num_layers=2, dropout=0.5).train()),
            errors.InvalidValue,
            r"layer\.eval\(\)",
        ),
        (lambda: ostinato.stream(layer(ostinato.GRUCell), 0), errors.InvalidValue, "batch_size"),
        (lambda: ostinato.stream(layer(ostinato.GRUCell), spaeker=torch.zeros(1, H)), errors.InvalidType, "spaeker"),
        (lambda: ostinato.stream(layer(Sorted, engine="native")), errors.EngineError, "sort"),
        (lambda: ostinato.stream(layer(ostinato.GRUCell)).step([1.0]), errors.InvalidType, "tensor"),
        (lambda: ostinato.stream(layer(ostinato.GRUCell)).step(torch.zeros(1, 1, I)), errors.InvalidValue, "2-D"),
        (
            lambda: ostinato.stream(layer(ostinato.GRUCell)).step(torch.zeros(1, I + 1)),
            errors.InvalidShape,
            "input_size",
        ),
        (lambda: ostinato.stream(layer(ostinato.GRUCell)).step(torch.zeros(2, I)), errors.InvalidShape, "batch_size"),
        (lambda: ostinato.stream(layer(ostinato.GRUCell), 2).step(torch.zeros(I)), errors.InvalidValue, "2-D"),
        (
            lambda: ostinato.stream(layer(ostinato.GRUCell)).step(torch.zeros(1, I).double()),
            errors.InvalidValue,
            "float32 is needed",
        ),
        (
            lambda: ostinato.stream(layer(ostinato.GRUCell)).step(torch.zeros(1, I, device="meta")),
            errors.InvalidShape,
            "meta",
        ),
        (lambda: ostinato.stream(layer(TimeGapCell)).step(torch.zeros(1, I)), errors.InvalidType, "gap"),
        (
            lambda: ostinato.stream(layer(TimeGapCell), 2).step(torch.zeros(2, I), gap=torch.zeros(3, 1)),
            errors.InvalidShape,
            "gap",
        ),
        (lambda: copy.deepcopy(ostinato.stream(layer(ostinato.GRUCell))), errors.InvalidType, "neither copied nor"),
        (lambda: pickle.dumps(ostinato.stream(layer(ostinato.GRUCell))), errors.InvalidType, "neither copied nor"),
        (lambda: ostinato.stream(layer(ostinato.GRUCell), 2).reset(2), errors.InvalidValue, "between 0 and 1"),
        (lambda: ostinato.stream(layer(ostinato.GRUCell), 2).reset("all"), errors.InvalidType, "whole number"),
        (
            lambda: setattr(ostinato.stream(layer(ostinato.GRUCell), 2), "state", torch.zeros(1, 3, H)),
            errors.InvalidShape,
            "h_0",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make, error, rule):
    with pytest.raises(error, match=rule):
        make()


def test_a_step_that_is_not_pure_is_refused():
    class Noisy(Sorted):
        def step(self, x, h):
            return torch.tanh(linear(x, self.weight) + torch.randn_like(h))

    with pytest.raises(errors.CellError, match="two results"):
        ostinato.stream(layer(Noisy))


@pytest.mark.parametrize("engine", ["native", "loop"])
def test_frames_of_several_threads_take_turns(engine) -> None:
    """The states are those of as many frames one after the other: no frame is lost, none is half of two."""
    layer = ostinato.GRU(4, 5, engine=engine).eval()
    live, expected, frame = ostinato.stream(layer), ostinato.stream(layer), torch.ones(1, 4)

    def run() -> None:
        for _ in range(200):
            live.step(frame)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for _ in range(800):
        expected.step(frame)
    torch.testing.assert_close(live.state, expected.state, rtol=0, atol=0)


def test_a_program_without_a_stream_has_no_hook_on_its_optimizers() -> None:
    code = (
        "import ostinato, torch\nfrom torch.optim import optimizer\n"
        "layer = ostinato.GRU(2, 3)\nlayer(torch.randn(4, 1, 2))\n"
        "print(len(optimizer._global_optimizer_post_hooks))\n"
        "for _ in range(2): ostinato.stream(layer)\n"
        "print(len(optimizer._global_optimizer_post_hooks))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.stdout.split() == ["0", "1"], ran.stderr
