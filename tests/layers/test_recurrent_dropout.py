"""Recurrent dropout in its two forms: with the masks the layer drew, equations written out give all it gives."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import linear

import ostinato
from ostinato import errors
from ostinato.cells import registry
from tests.support.added import Added, tape_of
from tests.support.layer_matrix import FORMS, Case, as_tuple, call, gradients, lengths_of, randomised
from tests.support.own_cells import NormalisedCell, PeepholeLSTMCell, TwoWidthsCell

FORMS_OF_DROPOUT = ("state", "candidate")


def close(got, want, atol=1e-10):
    for one, two in zip(got, want, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=atol)


def lstm(cell, w, x, states, m):
    (h, c), dropped = states, states[0] * m.get("dropout_h", 1)
    i, f, g, o = (w["weight_ih"] @ x + w["bias_ih"] + w["weight_hh"] @ dropped + w["bias_hh"]).chunk(4)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh() * m.get("dropout_candidate", 1)
    h = o.sigmoid() * c.tanh()
    return h, (h, c)


def gru(cell, w, x, states, m):
    (h,), dropped = states, states[0] * m.get("dropout_h", 1)
    x_r, x_z, x_n = (w["weight_ih"] @ x + w["bias_ih"]).chunk(3)
    h_r, h_z, h_n = (w["weight_hh"] @ dropped + w["bias_hh"]).chunk(3)
    z, n = (x_z + h_z).sigmoid(), (x_n + (x_r + h_r).sigmoid() * h_n).tanh() * m.get("dropout_candidate", 1)
    h = (1 - z) * n + z * h
    return h, (h,)


def cho_gru(cell, w, x, states, m):
    """As Keras's GRU with recurrent_dropout and reset_after=False: the reset gate acts on the dropped-out state."""
    (h,), dropped = states, states[0] * m.get("dropout_h", 1)
    x_r, x_z, x_n = (w["weight_ih"] @ x + w["bias_ih"]).chunk(3)
    u_r, u_z, u_n = w["weight_hh"].chunk(3)
    b_r, b_z, b_n = w["bias_hh"].chunk(3)
    r, z = (x_r + u_r @ dropped + b_r).sigmoid(), (x_z + u_z @ dropped + b_z).sigmoid()
    n = (x_n + u_n @ (r * dropped) + b_n).tanh() * m.get("dropout_candidate", 1)
    h = (1 - z) * n + z * h
    return h, (h,)


def rnn(cell, w, x, states, m):
    h = (w["weight_ih"] @ x + w["bias_ih"] + w["weight_hh"] @ (states[0] * m.get("dropout_h", 1)) + w["bias_hh"]).tanh()
    return h, (h,)


def peephole(cell, w, x, states, m):
    """The gates look at c element by element: it is no operand of a product, and stays whole."""
    h, c = states
    i, f, g, o = (w["weight_ih"] @ x + w["weight_hh"] @ (h * m["dropout_h"])).chunk(4)
    i, f = (i + w["weight_ci"] * c).sigmoid(), (f + w["weight_cf"] * c).sigmoid()
    c = f * c + i * g.tanh()
    h = (o + w["weight_co"] * c).sigmoid() * c.tanh()
    return h, (h, c)


def normalised(cell, w, x, states, m):
    new = w["weight_ih"] @ x + w["weight_hh"] @ (states[0] * m["dropout_h"])
    h = torch.tanh(cell.scale * nn.functional.layer_norm(new, new.shape, w["ln.weight"], w["ln.bias"]))
    return h, (h,)


def two_widths(cell, w, x, states, m):
    """The new h enters products in the same step: what was added to makes it new, so that it stays whole."""
    h, memory = states
    h = torch.tanh(w["weight_ih"] @ x + w["weight_mh"] @ (memory * m["dropout_m"]) + 0.5 * h)
    memory = 0.9 * memory + w["weight_hm"] @ h
    return w["weight_ho"] @ h, (h, memory)


WRITTEN = {
    ostinato.LSTMCell: lstm,
    ostinato.GRUCell: gru,
    ostinato.ChoGRUCell: cho_gru,
    ostinato.RNNCell: rnn,
    PeepholeLSTMCell: peephole,
    NormalisedCell: normalised,
    TwoWidthsCell: two_widths,
}
WITH_CANDIDATE = (ostinato.LSTMCell, ostinato.GRUCell, ostinato.ChoGRUCell)
PAIRS = [*((cell, "state") for cell in WRITTEN), *((cell, "candidate") for cell in WITH_CANDIDATE)]


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    pair=st.sampled_from(PAIRS),
    layers=st.integers(1, 2),
    bidirectional=st.booleans(),
    form=st.sampled_from(FORMS),
    steps=st.integers(1, 5),
    lengths=st.lists(st.integers(0, 5), min_size=1, max_size=3),
    zoneout=st.sampled_from([0.0, 0.3]),
    engine=st.sampled_from(["loop", "auto", "native"]),
)
def test_layer_matrix(pair, layers, bidirectional, form, steps, lengths, zoneout, engine):
    cell, kind = pair
    case = Case(layers, bidirectional, False, form, steps, tuple(lengths), True, engine)
    options = {"recurrent_dropout": 0.4, "recurrent_dropout_form": kind, "zoneout": zoneout}
    options |= {"bidirectional": bidirectional, "engine": engine}
    layer = randomised(ostinato.Recurrent(cell, 4, 5, layers, dtype=torch.float64, **options), 1)
    steps, lengths = lengths_of(case)
    rows = len(lengths)
    x = torch.randn(steps, rows, 4, dtype=torch.float64, requires_grad=True)
    count = layers * (2 if bidirectional else 1)
    hx = [torch.randn(count, rows, s, dtype=torch.float64, requires_grad=True) for s in layer.state_shape.sizes[0]]

    def run(input, hx, **given):
        torch.manual_seed(7)
        return layer(input, hx, **given)

    got = call(run, case, x, hx, steps, lengths)
    seen = x[: max(lengths)] if form == "packed" else x  # packed rows know no other T than the longest
    masks = tape_of(layer, seen, lengths, 7) if max(lengths) else {}
    want = Added(masks, step=WRITTEN[cell]).run(layer, x, lengths, hx)
    close((got[0], *got[1]), (want[0], *want[1]))
    wanted = [*layer.parameters(), x, *hx]
    close(gradients((got[0], *got[1]), wanted), gradients((want[0], *want[1]), wanted), 1e-9)
    plain = ostinato.Recurrent(cell, 4, 5, layers, dtype=torch.float64, bidirectional=bidirectional)
    plain.load_state_dict(layer.state_dict())
    layer.zoneout = 0.0
    layer.eval()
    close(call(run, case, x, hx, steps, lengths)[:1], call(plain, case, x, hx, steps, lengths)[:1])


def dropped_out(layer, x):
    """The output of the loop, or None if the layer's step has no place where recurrent dropout acts; it says so."""
    try:
        with ostinato.engine("loop"):
            return layer(x)[0]
    except errors.CellError as error:
        if "recurrent dropout has no" not in str(error):
            raise
        return None


@pytest.mark.parametrize("known", registry.everyone().values(), ids=lambda known: known.name)
def test_every_cell_of_the_library(known) -> None:
    """A cell that has no place for a form says so; with zoneout and resets, too, loop and native agree on one of both.

    What zoneout and resets mean for every cell, tests/layers/test_zoneout.py holds against a reference.
    """
    options = {"recurrent_dropout": 0.4, "dtype": torch.float64}
    layer = randomised(ostinato.Recurrent(known.cell, 3, 4, **options), 1)
    x = torch.randn(4, 2, 3, dtype=torch.float64, requires_grad=True)
    outputs = {}
    for form in FORMS_OF_DROPOUT:
        layer.recurrent_dropout_form = form
        outputs[form] = dropped_out(layer, x)
    there = [form for form, output in outputs.items() if output is not None]
    steps = [vars(kind)["step"] for kind in known.cell.__mro__ if "step" in vars(kind)]
    assert ("candidate" in there) == any("candidate" in step.__code__.co_names for step in steps)
    plain = dropped_out(layer.eval(), x)
    assert not any(torch.allclose(outputs[form], plain) for form in there)
    layer.train()
    layer.zoneout = 0.3
    if there:
        layer.recurrent_dropout_form = there[0]
    else:
        layer.recurrent_dropout = 0.0
    flags = torch.rand(4, 2) < 0.4
    results = []
    for engine in ("loop", "native"):
        torch.manual_seed(7)
        with ostinato.engine(engine):
            output, state = layer(x, reset=flags)
        results.append([output, *as_tuple(state), *gradients((output, *as_tuple(state)), [x, *layer.parameters()])])
    close(*results, 1e-9)


def test_masks_are_a_sequences_or_a_steps_with_the_right_odds() -> None:
    x = torch.zeros(20, 50, 2)
    held = tape_of(ostinato.LSTM(2, 50, recurrent_dropout=0.25), x, None, 1)["l0"]
    for name in ("dropout_h", "dropout_c"):
        mask = held[name]
        assert torch.equal(mask, mask[:1].expand_as(mask))
        assert set(mask.unique().tolist()) == {0.0, torch.tensor(1 / 0.75).item()}
        assert abs((mask[0] == 0).float().mean() - 0.25) < 0.03
    assert not torch.equal(held["dropout_h"], held["dropout_c"])
    layer = ostinato.LSTM(2, 50, recurrent_dropout=0.25, recurrent_dropout_form="candidate")
    mask = tape_of(layer, x, None, 1)["l0"]["dropout_candidate"]
    assert abs((mask == 0).float().mean() - 0.25) < 0.01
    assert abs(((mask[0] == 0) & (mask[1] == 0)).float().mean() - 0.0625) < 0.02
    assert torch.equal(mask, tape_of(layer, x, None, 1)["l0"]["dropout_candidate"])
    assert mask.dtype == torch.float32
    assert torch.isfinite(ostinato.GRU(2, 5, recurrent_dropout=1.0)(x)[0]).all()


class Written(ostinato.Cell):
    """A step that multiplies its state in one of the ways users write it."""

    def __init__(self, input_size, hidden_size, way):
        super().__init__(input_size, hidden_size)
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.empty(hidden_size))
        self.way = way
        self.reset_parameters()

    def step(self, x, h):
        w, b, rows, width = self.weight_hh, self.bias, h.shape[0], h.shape[1]
        if self.way == "linear":
            product = linear(h, w, b)
        elif self.way == "at":
            product = h @ w.T + b
        elif self.way == "t":
            product = (w @ h.T).T + b
        elif self.way == "addmm":
            product = torch.addmm(b, h, w.t())
        elif self.way == "einsum":
            product = torch.einsum("bi,oi->bo", h, w) + b
        elif self.way == "joined":
            product = torch.cat([x, h, x[:, :1]], -1) @ torch.cat([0 * self.weight_ih, w, 0 * b[:, None]], 1).T + b
        elif self.way == "halves":
            one, two = h.chunk(2, -1)
            product = one @ w[:, : width // 2].T + two.clone().mul_(1) @ w[:, width // 2 :].T + b
        elif self.way == "heads":
            blocks = torch.stack([w[:, : width // 2], w[:, width // 2 :]])
            heads = h.view(rows, 2, width // 2).transpose(0, 1)
            product = torch.bmm(heads, blocks.transpose(1, 2)).sum(0) + b
        else:
            product = torch.matmul(h.unsqueeze(1), w.mT).squeeze(1) + b
        return torch.tanh(linear(x, self.weight_ih) + product) + 0.25 * h


@pytest.mark.parametrize("way", ["linear", "at", "t", "addmm", "einsum", "joined", "halves", "heads", "matmul"])
def test_however_the_product_is_written(way) -> None:
    layer = ostinato.Recurrent(Written, 3, 4, way=way, recurrent_dropout=0.4, dtype=torch.float64)
    x, h = torch.randn(5, 3, 3, dtype=torch.float64), torch.randn(3, 4, dtype=torch.float64)
    mask = tape_of(layer, x, None, 2)["l0"]["dropout_h"][0]
    want, old = [], h
    for t in range(5):
        w, u, b = layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_l0
        old = torch.tanh(x[t] @ w.T + (old * mask) @ u.T + b) + 0.25 * old
        want.append(old)
    for engine in ("loop", "native"):
        torch.manual_seed(2)
        with ostinato.engine(engine):
            close([layer(x, h.unsqueeze(0))[0]], [torch.stack(want)], 1e-12)


class Elementwise(ostinato.Cell):
    """No state of its meets a matrix."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.weight = nn.Parameter(torch.randn(hidden_size, input_size))

    def step(self, x, h):
        return torch.tanh(linear(x, self.weight) + 0.5 * h)


@pytest.mark.parametrize("engine", ["auto", "loop", "native"])
def test_a_cell_without_a_place_for_it(engine) -> None:
    x = torch.randn(3, 2, 4)
    layer = ostinato.Recurrent(Elementwise, 4, 5, recurrent_dropout=0.3, engine=engine)
    with pytest.raises(errors.CellError, match=r"multiplies none of its states with a matrix.*form='candidate'"):
        layer(x)
    assert layer.eval()(x)[0].shape == (3, 2, 5)
    layer = ostinato.Recurrent(Elementwise, 4, 5, recurrent_dropout=0.3, recurrent_dropout_form="candidate")
    with pytest.raises(errors.CellError, match=r"passes nothing through self\.candidate.*form='state'"):
        layer(x)


def test_a_candidate_of_another_width() -> None:
    class Narrow(Elementwise):
        def step(self, x, h):
            return torch.cat([self.candidate(linear(x, self.weight)[:, :2]), h[:, 2:]], -1)

    class Said(Narrow):
        @property
        def candidate_size(self):
            return 2

    options = {"recurrent_dropout": 0.5, "recurrent_dropout_form": "candidate"}
    x = torch.randn(3, 2, 4)
    with pytest.raises(errors.InvalidShape, match=r"mask of the candidate must be \(2, 2\).*got \(2, 5\)"):
        ostinato.Recurrent(Narrow, 4, 5, **options)(x)
    assert tape_of(ostinato.Recurrent(Said, 4, 5, **options), x, None, 0)["l0"]["dropout_candidate"].shape == (3, 2, 2)


def test_eval_mode_is_torchs_own_kernel_again() -> None:
    layer = ostinato.LSTM(4, 5, recurrent_dropout=0.3, engine="aten")
    x = torch.randn(3, 2, 4)
    with pytest.raises(errors.EngineError, match=r"LSTMCell with recurrent dropout \(state\) is not one of torch's"):
        layer(x)
    assert layer.eval()(x)[0].shape == (3, 2, 5)
    assert ostinato.explain(layer).engine == "aten"


def test_bad_input() -> None:
    for wrong in (-0.1, 1.5, True, "0.1"):
        with pytest.raises(errors.InvalidValue, match=r"recurrent_dropout must be a number in \[0, 1\]"):
            ostinato.LSTM(4, 5, recurrent_dropout=wrong)
    with pytest.raises(errors.InvalidValue, match="recurrent_dropout_form must be one of 'state', 'candidate'"):
        ostinato.LSTM(4, 5, recurrent_dropout=0.1, recurrent_dropout_form="cell")
