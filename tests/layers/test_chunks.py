"""A sequence in chunks is the sequence, and each chunk's gradients are those of truncated back-propagation."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import pack_sequence

import ostinato
from ostinato import errors
from ostinato.cells import registry
from ostinato.layers.states import map_network
from tests.support.own_cells import OWN_CELLS, TimeGapCell

CELLS = (*OWN_CELLS, ostinato.RNNCell, ostinato.ElmanCell, ostinato.GRUCell, ostinato.ChoGRUCell, ostinato.LSTMCell)
I, H = 3, 4


def flat(state):
    found = []
    map_network(found.append, state)
    return found


def blocks_of(x, sizes, axis):
    """x cut at these numbers of steps, empty ones among them; what is left comes last."""
    at, parts = 0, []
    for size in [*sizes, x.shape[axis]]:
        size = min(size, x.shape[axis] - at)
        parts.append(x.narrow(axis, at, size))
        at += size
    return iter(parts)


@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    cell=st.sampled_from(CELLS),
    engine=st.sampled_from(["loop", "native"]),
    layers=st.integers(1, 2),
    steps=st.integers(0, 9),
    k=st.integers(1, 10),
    form=st.sampled_from(["batched", "batch first", "unbatched"]),
    lengths=st.none() | st.lists(st.integers(0, 9), min_size=3, max_size=3),
    sizes=st.none() | st.lists(st.integers(0, 4), max_size=5),
    with_hx=st.booleans(),
)
def test_joined_it_is_the_layer(cell, engine, layers, steps, k, form, lengths, sizes, with_hx):
    torch.manual_seed(0)
    first, batched = form == "batch first", form != "unbatched"
    rnn = ostinato.Recurrent(cell, I, H, layers, batch_first=first, engine=engine, dtype=torch.float64).eval()
    rows, axis = 3 if batched else 1, 1 if first else 0

    def draw(width):
        value = torch.randn(steps, rows, width, dtype=torch.float64)
        return value.transpose(0, 1) if first else value if batched else value.squeeze(1)

    x, streams = draw(I), {"gap": draw(1)} if cell is TimeGapCell else {}
    if lengths is not None:
        lengths = [min(n, steps) for n in lengths[:rows]]
    with torch.no_grad():
        _, state = rnn(x, **streams)
        hx = map_network(torch.randn_like, state) if with_hx else None
        expected, final = rnn(x, hx, lengths=lengths, **streams)
        given = {n: v if sizes is None else blocks_of(v, sizes[::-1], axis) for n, v in streams.items()}
        given_x = x if sizes is None else blocks_of(x, sizes, axis)
        done = list(ostinato.chunks(rnn, given_x, k, hx=hx, lengths=lengths, **given))
    assert [c.output.shape[axis] for c in done] == ([k] * (steps // k) + [steps % k] * (steps % k > 0) or [0])
    made = [torch.cat([c.output for c in done], axis), *flat(done[-1].state)]
    for one, other in zip(made, [expected, *flat(final)], strict=True):
        # A step on the same rows is the same numbers; products for all steps at once round by how many there are.
        exactly = engine == "loop" and lengths is None
        torch.testing.assert_close(one, other, rtol=0, atol=0 if exactly else 1e-13)


@pytest.mark.parametrize("known", registry.everyone().values(), ids=lambda known: known.name)
def test_every_cell_of_the_library(known):
    rnn = ostinato.Recurrent(known.cell, I, H, 2, engine="loop", dtype=torch.float64).eval()
    x = torch.randn(7, 3, I, dtype=torch.float64)
    with torch.no_grad():
        expected, final = rnn(x)
        done = list(ostinato.chunks(rnn, x, 3))
    assert torch.equal(torch.cat([c.output for c in done]), expected)
    assert all(torch.equal(one, two) for one, two in zip(flat(done[-1].state), flat(final), strict=True))


@pytest.mark.parametrize("engine", ["auto", "loop", "native", "aten"])
@pytest.mark.parametrize("k", [4, 7, 20])
def test_gradients_are_those_of_a_truncated_loop(engine, k):
    ours = ostinato.LSTM(I, H, 2, dtype=torch.float64, engine=engine)
    theirs = nn.LSTM(I, H, 2, dtype=torch.float64)
    theirs.load_state_dict(ours.state_dict())
    x, weight = torch.randn(20, 2, I, dtype=torch.float64), torch.randn(20, 2, H, dtype=torch.float64)
    hx = tuple(torch.randn(2, 2, H, dtype=torch.float64, requires_grad=True) for _ in range(2))
    optimizers = [torch.optim.SGD(m.parameters(), lr=0.05) for m in (ours, theirs)]
    state = hx
    for n, (output, after) in enumerate(ostinato.chunks(ours, x, k, hx=hx)):
        part = slice(n * k, n * k + k)
        expected, state = theirs(x[part], state)
        torch.testing.assert_close(output, expected, rtol=0, atol=1e-12)
        pairs = ((output, after, ours), (expected, state, theirs))
        for optimizer, (made, final, module) in zip(optimizers, pairs, strict=True):
            optimizer.zero_grad()
            ((made * weight[part]).sum() + final[1].sum()).backward()
            if n == 0:
                module.reached = [h.grad.clone() for h in hx]
                for h in hx:
                    h.grad = None
        for name, parameter in theirs.named_parameters():
            torch.testing.assert_close(ours.get_parameter(name).grad, parameter.grad, rtol=0, atol=1e-11)
        for optimizer in optimizers:
            optimizer.step()
        state = tuple(s.detach() for s in state)
    torch.testing.assert_close(ours.reached, theirs.reached, rtol=0, atol=1e-11)
    assert all(h.grad is None for h in hx), "a later chunk reached the first state"


def test_rows_that_have_ended_keep_their_state_and_give_no_gradient():
    rnn = ostinato.GRU(I, H)
    x = torch.randn(9, 3, I)
    x[2:, 0] = float("nan")
    found = list(ostinato.chunks(rnn, x, 4, lengths=torch.tensor([2, 0, 9])))
    assert torch.equal(found[0].state[0, 0], found[0].output[1, 0])
    assert torch.equal(found[2].state[0, 0], found[0].state[0, 0])
    assert torch.equal(found[2].state[0, 1], torch.zeros(H))
    assert not found[1].output[:, :2].any()
    found[2].output.sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in rnn.parameters())


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("blocks", [False, True])
def test_rows_restart_where_they_do_in_the_whole(batch_first, blocks):
    rnn = ostinato.GRU(I, H, 2, batch_first=batch_first, initial_state="learned", engine="loop", dtype=torch.float64)
    with torch.no_grad():
        rnn.initial_h_l0.fill_(0.4)
    axis = 1 if batch_first else 0
    x, reset = torch.randn(11, 3, I, dtype=torch.float64), torch.rand(11, 3) < 0.3
    if batch_first:
        x, reset = x.transpose(0, 1), reset.T
    expected, _ = rnn(x, reset=reset)
    given = (blocks_of(reset, [3, 0, 4], axis)) if blocks else reset
    torch.testing.assert_close(torch.cat([c.output for c in ostinato.chunks(rnn, x, 4, reset=given)], axis), expected)
    alone = rnn(x[0] if batch_first else x[:, 0], reset=(reset if batch_first else reset.T)[0])[0]
    found = ostinato.chunks(rnn, x[0] if batch_first else x[:, 0], 4, reset=(reset if batch_first else reset.T)[0])
    torch.testing.assert_close(torch.cat([c.output for c in found]), alone)
    with pytest.raises(errors.InvalidShape, match="reset must have the 11 steps of x, got 3"):
        ostinato.chunks(rnn, x, 4, reset=reset.narrow(axis, 0, 3))


def test_every_row_may_have_ended():
    rnn = ostinato.LSTM(I, H)
    done = list(ostinato.chunks(rnn, torch.randn(6, 2, I), 2, lengths=[1, 2]))
    assert len(done) == 3
    assert not done[2].output.any()
    done[2].output.sum().backward()
    assert not any(p.grad.any() for p in rnn.parameters())


def test_a_learned_state_begins_and_is_trained_by_the_first_chunk():
    rnn = ostinato.GRU(I, H, initial_state="learned")
    with torch.no_grad():
        rnn.initial_h_l0.fill_(0.3)
    x = torch.randn(6, 2, I)
    reached = []
    for output, _ in ostinato.chunks(rnn, x, 3):
        rnn.zero_grad()
        output.sum().backward()
        reached.append(rnn.initial_h_l0.grad)
    torch.testing.assert_close(rnn(x[:3])[0], next(ostinato.chunks(rnn, x, 3)).output)
    assert reached[0].any()
    assert reached[1] is None


def test_a_file_is_read_as_it_is_needed(tmp_path):
    steps = 1000
    torch.from_file(str(tmp_path / "x"), shared=True, size=steps * I).copy_(torch.randn(steps * I))
    mapped = torch.from_file(str(tmp_path / "x"), shared=False, size=steps * I).view(steps, I)
    rnn = ostinato.RNN(I, H, engine="loop").eval()
    with torch.no_grad():
        joined = torch.cat([output for output, _ in ostinato.chunks(rnn, mapped, 64)])
        assert torch.equal(joined, rnn(mapped)[0])


def test_blocks_are_read_when_their_steps_are_due():
    read = []

    def blocks():
        for n in range(100):
            read.append(n)
            yield torch.randn(2, 1, I)

    found = ostinato.chunks(ostinato.GRU(I, H), blocks(), 4)
    next(found)
    next(found)
    assert len(read) <= 5


def test_a_call_of_its_own_a_chunk_draws_its_own_dropout():
    rnn = ostinato.LSTM(I, H, 2, dropout=0.5)
    x = torch.randn(6, 2, I)
    torch.manual_seed(1)
    one = [c.output for c in ostinato.chunks(rnn, x, 3)]
    torch.manual_seed(1)
    first, state = rnn(x[:3])
    second, _ = rnn(x[3:], tuple(s.detach() for s in state))
    assert torch.equal(torch.cat(one), torch.cat((first, second)))


class FromInput(nn.Module):
    def forward(self, x):
        return x.mean(0, keepdim=True).new_zeros(1, x.shape[-2] if x.dim() == 3 else len(x), H)


def test_a_computed_state_needs_its_condition():
    rnn = ostinato.GRU(I, H, initial_state=FromInput())
    x = torch.randn(5, 2, I)
    with pytest.raises(errors.InvalidValue, match="a chunk is no whole input; give condition"):
        ostinato.chunks(rnn, x, 2)
    condition = torch.zeros(2, 1)
    assert len(list(ostinato.chunks(rnn, x, 2, condition=condition))) == 3
    hx, reset = torch.zeros(1, 2, H), torch.zeros(5, 2, dtype=torch.bool)
    assert len(list(ostinato.chunks(rnn, x, 2, hx=hx))) == 3
    assert len(list(ostinato.chunks(rnn, x, 2, hx=hx, reset=reset, condition=condition))) == 3
    with pytest.raises(errors.InvalidValue, match="hx=… where no row restarts"):
        ostinato.chunks(rnn, x, 2, hx=hx, reset=reset)


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"k": 0}, errors.InvalidValue, "k must be greater than zero, got 0"),
        ({"k": 2.0}, errors.InvalidType, "k must be a whole number"),
        ({"x": 3}, errors.InvalidType, "x must be a tensor or an iterable of tensors, blocks of steps, got int"),
        ({"x": [[1.0]]}, errors.InvalidType, "blocks of x must be tensors, got list"),
        ({"x": torch.zeros(5)}, errors.InvalidValue, "x must be 2-D or 3-D, got 1-D"),
        ({"x": torch.zeros(5, 2, I + 1)}, errors.InvalidShape, "input_size = 3, got 4"),
        ({"x": [torch.zeros(5, 2, I), torch.zeros(5, I)]}, errors.InvalidValue, "a block of x must be 3-D, got 2-D"),
        ({"x": pack_sequence([torch.zeros(5, I)])}, errors.InvalidType, "x is a PackedSequence.*give the padded"),
        ({"lengths": [6, 1]}, errors.InvalidValue, "between 0 and T = 5"),
        ({"lengths": [1]}, errors.InvalidShape, "lengths must be"),
        ({"lengths": [6, 1], "x": [torch.zeros(5, 2, I)]}, errors.InvalidValue, "up to 6, and x has ended after 5"),
        ({"gap": torch.zeros(4, 2, 1)}, errors.InvalidShape, "gap must have the 5 steps of x, got 4"),
        ({"gap": [torch.zeros(4, 2, 1)]}, errors.InvalidShape, "gap has ended after 4 steps, and x goes on"),
        ({"gap": [torch.zeros(7, 2, 1)]}, errors.InvalidShape, "gap goes on, and x has ended after 5 steps"),
        ({"gap": 3}, errors.InvalidType, "gap must be a tensor or an iterable"),
        ({"gaps": 3}, errors.InvalidType, "did you mean 'gap'"),
    ],
)
def test_what_does_not_fit(change, kind, message):
    rnn = ostinato.Recurrent(TimeGapCell, I, H)
    given = {"x": torch.zeros(5, 2, I), "k": 2, "gap": torch.zeros(5, 2, 1)} | change
    with pytest.raises(kind, match=message):
        list(ostinato.chunks(rnn, given.pop("x"), given.pop("k"), **given))


def test_layers_it_cannot_cut():
    with pytest.raises(errors.InvalidValue, match="reads the whole sequence from its end"):
        ostinato.chunks(ostinato.GRU(I, H, bidirectional=True), torch.zeros(5, 2, I), 2)
    with pytest.raises(errors.InvalidType, match="a recurrent layer of ours, got GRU"):
        ostinato.chunks(nn.GRU(I, H), torch.zeros(5, 2, I), 2)
