"""Zoneout of any cell: with the masks the layer drew, a plain loop gives its outputs, states and every gradient."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import ostinato
from ostinato import errors
from ostinato.cells import registry
from tests.support.added import Added, flags_in_form, tape_of
from tests.support.layer_matrix import FORMS, Case, as_tuple, call, gradients, lengths_of, randomised
from tests.support.own_cells import OWN_CELLS, TimeGapCell

CELLS = (*OWN_CELLS, ostinato.LSTMCell, ostinato.GRUCell, ostinato.ChoGRUCell, ostinato.RNNCell)


def close(got, want, atol=1e-10):
    for one, two in zip(got, want, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=atol)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    cell=st.sampled_from(CELLS),
    layers=st.integers(1, 2),
    bidirectional=st.booleans(),
    batch_first=st.booleans(),
    form=st.sampled_from(FORMS),
    steps=st.integers(1, 5),
    lengths=st.lists(st.integers(0, 5), min_size=1, max_size=3),
    with_hx=st.booleans(),
    with_reset=st.booleans(),
    training=st.booleans(),
    engine=st.sampled_from(["loop", "auto", "native"]),
)
def test_layer_matrix(
    cell, layers, bidirectional, batch_first, form, steps, lengths, with_hx, with_reset, training, engine
):
    case = Case(layers, bidirectional, batch_first, form, steps, tuple(lengths), with_hx, engine)
    names = cell.state_names
    zoneout = dict(zip(names, (0.4, 0.2), strict=False))
    options = {"bidirectional": bidirectional, "batch_first": batch_first, "engine": engine, "zoneout": zoneout}
    layer = randomised(ostinato.Recurrent(cell, 4, 5, layers, dtype=torch.float64, **options), 1).train(training)
    steps, lengths = lengths_of(case)
    rows = len(lengths)
    x = torch.randn(steps, rows, 4, dtype=torch.float64, requires_grad=True)
    flags = torch.rand(steps, rows) < 0.4 if with_reset else None
    count = layers * (2 if bidirectional else 1)
    hx = [torch.randn(count, rows, s, dtype=torch.float64, requires_grad=True) for s in layer.state_shape.sizes[0]]

    def run(input, hx, **given):
        torch.manual_seed(7)
        if with_reset:
            given["reset"] = flags_in_form(case, flags, lengths)
        return layer(input, hx, **given)

    got = call(run, case, x, hx if with_hx else None, steps, lengths)
    drawn = x[: max(lengths)] if form == "packed" else x  # packed rows know no other T than the longest
    drawn = drawn.transpose(0, 1) if batch_first else drawn
    masks = tape_of(layer, drawn, lengths, 7) if training and max(lengths) else {}
    want = Added(masks, {} if training else zoneout, flags).run(layer, x, lengths, hx if with_hx else None)
    close((got[0], *got[1]), (want[0], *want[1]))
    wanted = [*layer.parameters(), x, *(hx if with_hx else [])]
    close(gradients((got[0], *got[1]), wanted), gradients((want[0], *want[1]), wanted), 1e-9)


@pytest.mark.parametrize("known", registry.everyone().values(), ids=lambda known: known.name)
def test_every_cell_of_the_library(known) -> None:
    """With resets, too. That native agrees with the loop on every cell, test_recurrent_dropout.py says."""
    layer = randomised(ostinato.Recurrent(known.cell, 3, 4, zoneout=0.3, dtype=torch.float64, engine="loop"), 1)
    x = torch.randn(4, 2, 3, dtype=torch.float64, requires_grad=True)
    flags = torch.rand(4, 2) < 0.4
    torch.manual_seed(7)
    output, state = layer(x, reset=flags)
    want = Added(tape_of(layer, x, None, 7), reset=flags).run(layer, x, [4, 4])
    wanted = [*layer.parameters(), x]
    close((output, *as_tuple(state)), (want[0], *want[1]))
    close(gradients((output, *as_tuple(state)), wanted), gradients((want[0], *want[1]), wanted), 1e-9)


def test_the_lstm_of_the_paper() -> None:
    """Krueger et al., equations 1 and 2 around the LSTM's, written out for both modes."""
    layer = ostinato.LSTM(3, 4, zoneout={"h": 0.05, "c": 0.5}, dtype=torch.float64)
    x = torch.randn(6, 2, 3, dtype=torch.float64)
    w, u, b = layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_ih_l0 + layer.bias_hh_l0

    def run(zone):
        h = c = torch.zeros(2, 4, dtype=torch.float64)
        outputs = []
        for t in range(6):
            i, f, g, o = (x[t] @ w.T + h @ u.T + b).chunk(4, -1)
            new_c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            new_h = o.sigmoid() * new_c.tanh()
            h, c = zone(t, "h", h, new_h), zone(t, "c", c, new_c)
            outputs.append(h)
        return torch.stack(outputs), h[None], c[None]

    tape = tape_of(layer, x, None, 3)["l0"]

    def drawn(t, name, old, new):
        d = tape[f"zoneout_{name}"][t].double()
        return d * old + (1 - d) * new

    def expected(t, name, old, new):
        z = {"h": 0.05, "c": 0.5}[name]
        return z * old + (1 - z) * new

    for training, zone in ((True, drawn), (False, expected)):
        for engine in ("loop", "native"):
            torch.manual_seed(3)
            with ostinato.engine(engine):
                output, (h, c) = layer.train(training)(x)
            close((output, h, c), run(zone), 1e-12)


def test_masks_are_drawn_anew_with_the_right_odds() -> None:
    layer = ostinato.GRU(2, 50, zoneout=0.3)
    x = torch.zeros(40, 50, 2)
    first, second = (tape_of(layer, x, None, seed)["l0"]["zoneout_h"] for seed in (1, 2))
    again = tape_of(layer, x, None, 1)["l0"]["zoneout_h"]
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert abs(first.float().mean() - 0.3) < 0.005
    assert abs((first[0] & first[1]).float().mean() - 0.09) < 0.02  # a mask of its own at every step
    layer = ostinato.GRU(2, 50, 2, bidirectional=True, zoneout=0.3)
    tape = tape_of(layer, x, None, 1)
    drawn = [tape[place]["zoneout_h"] for place in ("l0", "l0_reverse", "l1", "l1_reverse")]
    for n, one in enumerate(drawn):
        assert all(abs((one & two).float().mean() - 0.09) < 0.005 for two in drawn[:n])


def test_lengths_packed_and_padded_see_the_same_masks() -> None:
    layer = ostinato.LSTM(4, 5, zoneout=0.3, recurrent_dropout=0.4, dtype=torch.float64)
    x, lengths = torch.randn(6, 3, 4, dtype=torch.float64), [3, 6, 2]
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
    results = []
    for run in (lambda: layer(x)[0], lambda: layer(x, lengths=lengths)[0], lambda: layer(packed)[0]):
        torch.manual_seed(0)
        results.append(run())
    full, padded, repacked = results
    valid = (torch.arange(6).unsqueeze(1) < torch.tensor(lengths)).unsqueeze(-1)
    close([padded, torch.nn.utils.rnn.pad_packed_sequence(repacked)[0]], [full * valid] * 2, 1e-12)


def test_the_bounds() -> None:
    x, h = torch.randn(5, 2, 4), torch.randn(1, 2, 5)
    frozen = ostinato.GRU(4, 5, zoneout=1.0)
    for training in (True, False):
        output, h_n = frozen.train(training)(x, h)
        torch.testing.assert_close(output, h.expand(5, -1, -1))
        torch.testing.assert_close(h_n, h)
    none = ostinato.LSTM(4, 5, zoneout=0.0)
    plain = ostinato.LSTM(4, 5)
    plain.load_state_dict(none.state_dict())
    close([none(x)[0]], [plain(x)[0]], 0)
    assert ostinato.explain(none).why == ostinato.explain(plain).why


def test_one_state_alone() -> None:
    layer = ostinato.LSTM(4, 5, zoneout={"c": 0.5})
    names = [name for name in tape_of(layer, torch.randn(3, 2, 4), None, 0)["l0"] if name.startswith("zoneout")]
    assert names == ["zoneout_c"]


def test_streams_of_the_cells_own_beside_it() -> None:
    layer = ostinato.Recurrent(TimeGapCell, 4, 5, 2, bidirectional=True, zoneout=0.3, dtype=torch.float64)
    x, gap = torch.randn(5, 3, 4, dtype=torch.float64), torch.rand(5, 3, 1, dtype=torch.float64)
    results = []
    for engine in ("loop", "native"):
        torch.manual_seed(0)
        with ostinato.engine(engine):
            results.append(layer(x, gap=gap, speaker=torch.ones(3, 5, dtype=torch.float64))[0])
    close(results[:1], results[1:], 1e-12)


@pytest.mark.parametrize("engine", ["auto", "loop"])
def test_a_stream_takes_the_expected_value(engine) -> None:
    layer = ostinato.LSTM(4, 5, 2, zoneout=0.3, engine=engine)
    x = torch.randn(6, 2, 4)
    with pytest.raises(errors.InvalidValue, match=r"training mode and would draw masks \(zoneout .h 0\.3, c 0\.3"):
        ostinato.stream(layer, 2)
    live = ostinato.stream(layer.eval(), 2)
    close([torch.stack([live.step(frame) for frame in x])], [layer(x)[0].detach()], 1e-6)
    assert live.engine == ("native" if engine == "auto" else "loop")


@pytest.mark.parametrize(("training", "stack"), [(True, {"num_layers": 2}), (False, {"bidirectional": True})])
def test_in_a_graph(training, stack) -> None:
    torch.compiler.reset()
    layer = ostinato.LSTM(4, 5, dtype=torch.float64, zoneout=0.3, recurrent_dropout=0.2, **stack)
    layer.train(training).engine = "native"
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    x = torch.randn(6, 3, 4, dtype=torch.float64, requires_grad=True)
    for zoneout in (0.3, 0.6, 0.0):
        layer.zoneout = zoneout
        results = []
        for run in (layer, compiled):
            torch.manual_seed(0)
            output, state = run(x, lengths=torch.tensor([6, 0, 4]))
            results.append([output, *state, *gradients((output, *state), [x, *layer.parameters()])])
        close(*results)
    torch.compiler.reset()


def test_options_may_change_between_calls() -> None:
    layer, x = ostinato.GRU(4, 5, zoneout=0.5).eval(), torch.randn(4, 2, 4)
    half = layer(x)[0]
    layer.zoneout = {"h": 0.0}
    plain = layer(x)[0]
    assert not torch.allclose(half, plain)
    layer.zoneout = 0.5
    close([layer(x)[0]], [half], 0)
    with torch.no_grad():  # the short way of repeated calls sees it too
        for zoneout, want in ((0.0, plain), (0.0, plain), (0.0, plain), (0.5, half)):
            layer.zoneout = zoneout
            close([layer(x)[0]], [want], 1e-6)


def test_the_layer_is_told_copied_and_saved() -> None:
    layer = ostinato.LSTM(4, 5, zoneout={"h": 0.05, "c": 0.5}, clip_gradient=1.0)
    assert repr(layer) == "LSTM(4, 5, zoneout={'h': 0.05, 'c': 0.5}, clip_gradient=1.0)"
    told = str(ostinato.explain(layer))
    assert "added to its step: zoneout (h 0.05, c 0.5; in eval mode its expected value)" in told
    assert list(layer.state_dict()) == list(torch.nn.LSTM(4, 5).state_dict())
    x = torch.randn(3, 2, 4)
    torch.manual_seed(0)
    want = layer(x)[0]
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        torch.manual_seed(0)
        close([other(x)[0]], [want], 0)
    with pytest.raises(errors.InvalidValue, match=r"torch\.nn has no zoneout"):
        ostinato.to_torch(layer)
    assert ostinato.check(layer).ok
    with pytest.raises(errors.EngineError, match="LSTMCell with zoneout, clipped gradients is not one of torch's own"):
        ostinato.explain(ostinato.LSTM(4, 5, zoneout=0.1, clip_gradient=1, engine="aten"))


def test_bad_input(monkeypatch) -> None:
    for wrong in (-0.1, 1.5, True, "0.1", None, float("nan")):
        with pytest.raises(errors.InvalidValue, match=r"zoneout must be a number in \[0, 1\]"):
            ostinato.LSTM(4, 5, zoneout=wrong)
    with pytest.raises(errors.InvalidValue, match=r"zoneout for c must be a number in \[0, 1\].*got 2"):
        ostinato.LSTM(4, 5, zoneout={"h": 0.1, "c": 2})
    with pytest.raises(errors.InvalidValue, match="zoneout: GRUCell has no state 'c'; it has: h"):
        ostinato.GRU(4, 5, zoneout={"c": 0.1})
    layer = ostinato.GRU(4, 5, zoneout=0.1)
    with pytest.raises(errors.InvalidValue, match="zoneout must be"):
        layer.zoneout = 2
    assert layer.zoneout == 0.1

    class Taken(TimeGapCell):
        def step(self, x, h, *, zoneout_h=None):
            return h + x.sum(-1, keepdim=True)

    with pytest.raises(errors.CellError, match=r"Taken\.step has a keyword 'zoneout_h' of its own.*rename it"):
        ostinato.Recurrent(Taken, 4, 5, zoneout=0.1)(torch.randn(3, 2, 4))
    with pytest.raises(errors.InvalidType, match="has no keyword-only parameter 'zoneout_h'"):
        layer(torch.randn(3, 2, 4), zoneout_h=torch.ones(3, 2, 5, dtype=torch.bool))
    monkeypatch.setattr("ostinato.layers.masks._width", lambda *_: 3)
    layer.engine = "loop"
    with pytest.raises(errors.InvalidShape, match=r"zoneout's mask of h must be \(2, 5\).*got \(2, 3\)"):
        layer(torch.randn(3, 2, 4))
