"""DropConnect on a layer's weights: once a call, the same in every engine, and nothing lost on the way to a file."""

from __future__ import annotations

import copy
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.functional import linear

import ostinato
from ostinato import errors

T, B, I, H = 20, 3, 4, 5
TORCH = {ostinato.LSTM: nn.LSTM, ostinato.GRU: nn.GRU, ostinato.RNN: nn.RNN}


class Submodule(ostinato.Cell):
    """Its recurrent weights are a module's, and their names begin with nothing that is known."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.into = nn.Linear(input_size, hidden_size)
        self.back = nn.Linear(hidden_size, hidden_size)

    def step(self, x, h):
        return torch.tanh(self.into(x) + self.back(h))


def flat(state):
    return state if isinstance(state, tuple) else (state,)


def plain_with_dropped(ours, theirs, part):
    """torch's own layer's parameters with the masks drawn here, layer by layer, forward before reverse."""
    own = dict(theirs.named_parameters())
    return own | {name: F.dropout(value, part) for name, value in own.items() if name.startswith("weight_hh")}


@pytest.mark.parametrize("engine", ["auto", "loop", "native", "aten"])
@pytest.mark.parametrize("kind", TORCH)
@pytest.mark.parametrize("directions", [1, 2])
def test_one_mask_a_call_in_every_engine(kind, engine, directions):
    options = {"num_layers": 2, "bidirectional": directions == 2, "dtype": torch.float64}
    ours = kind(I, H, weight_dropout=0.5, engine=engine, **options)
    theirs = TORCH[kind](I, H, **options)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(T, B, I, dtype=torch.float64)
    torch.manual_seed(5)
    output, state = ours(x)
    after = torch.random.get_rng_state()
    torch.manual_seed(5)
    expected, expected_state = functional_call(theirs, plain_with_dropped(ours, theirs, 0.5), (x,))
    assert torch.equal(after, torch.random.get_rng_state()), "other draws than one mask a weight"
    for one, two in zip((output, *flat(state)), (expected, *flat(expected_state)), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-12)
    output.square().sum().backward()
    expected.square().sum().backward()
    for name, parameter in theirs.named_parameters():
        torch.testing.assert_close(ours.get_parameter(name).grad, parameter.grad, rtol=0, atol=1e-10)
    assert (ours.weight_hh_l0.grad == 0).any(), "what is dropped has no gradient"
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(x)[0], theirs(x)[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("cell", [ostinato.LSTMCell, ostinato.ChoGRUCell, ostinato.ElmanCell])
def test_with_lengths_and_dropout_between_the_engines_agree(cell):
    made = []
    for engine in ("loop", "native"):
        torch.manual_seed(3)
        rnn = ostinato.Recurrent(
            cell, I, H, 3, engine=engine, weight_dropout=0.3, dropout=0.4, bidirectional=True, dtype=torch.float64
        )
        x = torch.randn(T, B, I, dtype=torch.float64)
        output, _ = rnn(x, lengths=[T, 0, 7])
        output.square().sum().backward()
        made.append([output, *(p.grad for p in rnn.parameters())])
    for one, two in zip(*made, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-11)


def test_each_call_draws_anew_and_expects_the_weight():
    rnn = ostinato.RNN(1, 20, weight_dropout=0.25, bias=False, engine="loop", dtype=torch.float64)
    with torch.no_grad():
        rnn.weight_hh_l0.copy_(torch.rand(20, 20) + 0.5)
        rnn.weight_ih_l0.zero_()
    seen = []
    rnn.cell_type.step, step = (lambda cell, x, h: (seen.append(cell.weight_hh), h)[1]), rnn.cell_type.step
    try:
        for _ in range(2000):
            rnn(torch.zeros(1, 1, 1, dtype=torch.float64))
    finally:
        rnn.cell_type.step = step
    seen = torch.stack(seen)
    torch.testing.assert_close((seen == 0).double().mean(), torch.tensor(0.25).double(), rtol=0, atol=0.005)
    kept = seen != 0
    torch.testing.assert_close(seen[kept], (rnn.weight_hh_l0.detach().expand_as(seen) / 0.75)[kept])
    # A mean of 2000 draws of w/0.75 or 0 deviates by w·√(1/3)/√2000 < 0.02; five of these.
    torch.testing.assert_close(seen.mean(0), rnn.weight_hh_l0.detach(), rtol=0, atol=0.1)


def train(rnn, head, optimizer, steps, seed):
    torch.manual_seed(seed)
    for _ in range(steps):
        optimizer.zero_grad()
        head(rnn(torch.randn(T, B, I))[0]).square().mean().backward()
        optimizer.step()


def test_nothing_is_lost_by_saving_and_loading_and_training_goes_on(tmp_path):
    """AWD-LSTM's weights were lost where what had been dropped was saved, and what was raw was not."""
    rnn, head = ostinato.LSTM(I, H, 2, weight_dropout=0.5), nn.Linear(H, 1)
    optimizer = torch.optim.Adam([*rnn.parameters(), *head.parameters()], lr=0.01)
    train(rnn, head, optimizer, 3, 1)
    assert list(rnn.state_dict()) == list(nn.LSTM(I, H, 2).state_dict())
    assert all(bool((value != 0).all()) for value in rnn.state_dict().values())
    torch.save([m.state_dict() for m in (rnn, head, optimizer)], tmp_path / "checkpoint")

    again, second = ostinato.LSTM(I, H, 2, weight_dropout=0.5), nn.Linear(H, 1)
    resumed = torch.optim.Adam([*again.parameters(), *second.parameters()], lr=0.01)
    for module, state in zip((again, second, resumed), torch.load(tmp_path / "checkpoint"), strict=True):
        module.load_state_dict(state)
    x = torch.randn(T, B, I)
    assert torch.equal(again.eval()(x)[0], rnn.eval()(x)[0])
    train(rnn.train(), head, optimizer, 3, 2)
    train(again.train(), second, resumed, 3, 2)
    for name, value in rnn.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name

    plain = nn.LSTM(I, H, 2)
    plain.load_state_dict(rnn.state_dict())
    torch.testing.assert_close(plain(x)[0], rnn.eval()(x)[0])
    fresh = ostinato.LSTM(I, H, 2, weight_dropout=0.5).eval()
    fresh.load_state_dict(plain.state_dict())
    assert torch.equal(fresh(x)[0], rnn(x)[0])
    twin = copy.deepcopy(rnn.train())
    torch.manual_seed(4)
    expected = rnn(x)[0]
    torch.manual_seed(4)
    assert torch.equal(twin(x)[0], expected)
    assert all(isinstance(p, nn.Parameter) for p in twin.parameters())


def test_weights_by_name_a_submodule_s_too():
    rnn = ostinato.Recurrent(Submodule, I, H, 2, weight_dropout={"back.weight": 0.5, "into.bias": 0.9})
    x = torch.randn(T, B, I)
    torch.manual_seed(1)
    output, _ = rnn(x)
    torch.manual_seed(1)
    y = x
    for k in range(2):
        into, back = getattr(rnn, f"into_l{k}"), getattr(rnn, f"back_l{k}")
        bias, weight = F.dropout(into.bias, 0.9), F.dropout(back.weight, 0.5)
        h, made = torch.zeros(B, H), []
        for step in y:
            h = torch.tanh(linear(step, into.weight, bias) + linear(h, weight, back.bias))
            made.append(h)
        y = torch.stack(made)
    torch.testing.assert_close(output, y)
    assert torch.equal(rnn.back_l0.weight, rnn.state_dict()["back_l0.weight"])
    assert ostinato.explain(rnn).engine == "native"


def test_it_can_be_set_and_changed_later():
    rnn = ostinato.GRU(I, H)
    x = torch.randn(T, B, I)
    whole = rnn(x)[0]
    rnn.weight_dropout = 0.5
    assert not torch.equal(rnn(x)[0], whole)
    assert "weight_dropout=0.5" in repr(rnn)
    rnn.weight_dropout = {}
    assert torch.equal(rnn(x)[0], whole)
    with pytest.raises(errors.InvalidValue):
        rnn.weight_dropout = 2.0
    assert rnn.weight_dropout == {}


def test_a_short_call_repeated_in_training_still_draws():
    rnn, x = ostinato.GRU(I, H, weight_dropout=0.5), torch.randn(T, B, I)
    with torch.no_grad():
        made = [rnn(x)[0] for _ in range(4)]
    assert not any(torch.equal(one, two) for one, two in pairwise(made))


def test_explaining_and_asking_what_was_compiled_draw_nothing():
    rnn = ostinato.GRU(I, H, weight_dropout=0.5)
    before = torch.random.get_rng_state()
    assert ostinato.explain(rnn, detail=True).engine == "native"
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_inside_torch_compile(backend):
    rnn = ostinato.Recurrent(ostinato.ChoGRUCell, I, H, 2, weight_dropout=0.5)
    x = torch.randn(T, B, I)
    torch.compiler.reset()
    compiled = torch.compile(rnn, backend=backend, fullgraph=True)
    torch.manual_seed(6)
    expected, _ = rnn(x)
    torch.manual_seed(6)
    output, _ = compiled(x)
    torch.testing.assert_close(output, expected)
    output.sum().backward()
    found = rnn.weight_hh_l0.grad.clone()
    rnn.zero_grad()
    expected.sum().backward()
    torch.testing.assert_close(found, rnn.weight_hh_l0.grad)


def test_the_tape_is_of_a_call_that_draws():
    rnn = ostinato.GRU(I, H, weight_dropout=0.5)
    x = torch.randn(T, B, I)
    torch.manual_seed(2)
    expected, _ = rnn(x)
    torch.manual_seed(2)
    torch.testing.assert_close(ostinato.record(rnn, x)["l0"]["h"], expected.detach())


def test_a_stream_does_not_drop():
    rnn = ostinato.GRU(I, H, weight_dropout=0.5)
    with pytest.raises(errors.InvalidValue, match=r"would drop weights \(weight_dropout=0.5\); call layer.eval\(\)"):
        ostinato.stream(rnn)
    ostinato.stream(rnn.eval())


def test_torch_has_no_such_layer():
    with pytest.raises(errors.InvalidValue, match=r"torch\.nn has no weight_dropout, and this layer has"):
        ostinato.to_torch(ostinato.LSTM(I, H, weight_dropout=0.5))


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        (1.5, errors.InvalidValue, r"weight_dropout must be a number in \[0, 1\]"),
        (-0.1, errors.InvalidValue, r"weight_dropout must be a number in \[0, 1\]"),
        (True, errors.InvalidType, "weight_dropout must be a probability, or a dictionary"),
        ("much", errors.InvalidType, "weight_dropout must be a probability, or a dictionary"),
        ({"weight_hh": 2}, errors.InvalidValue, r"weight_dropout\['weight_hh'\] must be a number in \[0, 1\]"),
        (
            {"weight_hx": 0.5},
            errors.InvalidValue,
            "has weight_ih, weight_hh, bias_ih, bias_hh; did you mean 'weight_",
        ),
        ({3: 0.5}, errors.InvalidValue, "weight_dropout names 3, and GRUCell has weight_ih"),
    ],
)
def test_what_is_no_probability_of_a_weight(value, kind, message):
    with pytest.raises(kind, match=message):
        ostinato.GRU(I, H, weight_dropout=value)


def test_a_cell_of_other_names_is_asked_for_them():
    with pytest.raises(
        errors.InvalidValue,
        match=r"Submodule has into.weight, into.bias, back.weight, back.bias; .*weight_dropout=\{NAME: 0.5\}",
    ):
        ostinato.Recurrent(Submodule, I, H, weight_dropout=0.5)
