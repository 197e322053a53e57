"""The network against the same parts written out with torch.nn, step by step as the papers have them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ostinato.cells.library.gru import GRUCell
from ostinato.cells.library.lstm import LSTMCell
from ostinato.errors import InvalidShape, InvalidValue
from ostinato.models.attention import AdditiveAttention, MultiplicativeAttention, context, weigh
from ostinato.models.states import map_state
from ostinato.models.transduction_network import Decoding, TransductionNetwork
from ostinato.models.transduction_size import TransductionSize
from tests.support.own_cells import TwoWidthsCell

S, B, T, H, E = 6, 3, 4, 5, 4
LENGTHS = torch.tensor([6, 1, 4])
SIZES = {"source_size": 9, "target_size": 7, "hidden_size": H, "embedding_size": E}
FORMS = [
    {"attention": attention, "feed": feed, "tied": tied}
    for attention, feed in [
        ("multiplicative", "nothing"),
        ("additive", "nothing"),
        ("none", "nothing"),
        ("additive", "context"),
        ("multiplicative", "output"),
    ]
    for tied in (False, True)
]


def name(form) -> str:
    return "-".join(str(value) for value in form.values())


@pytest.fixture
def source():
    return torch.randint(9, (S, B))


@pytest.fixture
def target():
    tokens = torch.randint(7, (T, B))
    tokens[0] = 8
    return tokens


def network_of(form, cell=LSTMCell, **more):
    network = TransductionNetwork(TransductionSize(**SIZES, **form, **more), cell).double()
    if network.bias is not None:
        nn.init.normal_(network.bias)
    return network


def plain(network, source, length, target):
    """Scores (T, V) for one source and one target: torch.nn.LSTM, and the equations place by place."""
    size = network.size
    encoder, decoder = nn.LSTM(E, H, bidirectional=True).double(), nn.LSTM(network.decoder.input_size, H).double()
    encoder.load_state_dict(network.encoder.state_dict())
    decoder.load_state_dict(network.decoder.state_dict())
    memory, (h_n, c_n) = encoder(network.source_embedding.weight[source[:length]])
    state = tuple(
        (bridge.weight @ torch.cat((last[0], last[1])) + bridge.bias).reshape(1, -1)
        for bridge, last in zip(network.bridge, (h_n, c_n), strict=True)
    )
    y, h = state[0][0], torch.zeros(E if size.tied else H, dtype=torch.float64)
    every, looked = [], []
    for token in target:
        x = [network.target_embedding.weight[token]]
        if size.feed == "context":
            read, weights = look(network.attention, y, memory)
            x.append(read)
        elif size.feed == "output":
            x.append(h)
        y, state = decoder(torch.cat(x).reshape(1, -1), state)
        y = y[0]
        h = y
        if size.attention != "none":
            if size.feed != "context":
                read, weights = look(network.attention, y, memory)
            looked.append(weights)
            h = torch.tanh(network.combine.weight @ torch.cat((read, y)))
        elif size.tied:
            h = torch.tanh(network.combine.weight @ y)
        if size.tied:
            every.append(network.target_embedding.weight[:-1] @ h + network.bias)
        else:
            every.append(network.head(h))
    return torch.stack(every), torch.stack(looked) if looked else None


def look(attention, query, memory):
    scores = []
    for (place,) in memory.unsqueeze(1):
        if isinstance(attention, AdditiveAttention):
            inner = attention.query.weight @ query + attention.key.weight @ place + attention.key.bias
            scores.append(attention.v.weight[0] @ torch.tanh(inner))
        else:
            scores.append(query @ attention.key.weight @ place / H**0.5)
    weights = torch.stack(scores).softmax(0)
    return sum(weight * place for weight, place in zip(weights, memory, strict=True)), weights


@pytest.mark.parametrize("form", FORMS, ids=name)
def test_equals_the_papers_step_by_step(form, source, target):
    network = network_of(form)
    scores = network(source, LENGTHS, target)
    assert scores.shape == (T, B, 8)
    memory, decoding = network.read(source, LENGTHS)
    _, _, weights = network.write(target, memory, decoding)
    for b, length in enumerate(LENGTHS.tolist()):
        expected, looked = plain(network, source[:, b], length, target[:, b])
        torch.testing.assert_close(scores[:, b], expected)
        if looked is not None:
            torch.testing.assert_close(weights[b, :, :length], looked)
            assert not weights[b, :, length:].any()


@pytest.mark.parametrize("form", FORMS, ids=name)
@pytest.mark.parametrize("cell", [GRUCell, TwoWidthsCell])
def test_writing_token_by_token_is_writing_at_once(form, cell, source, target):
    network = network_of(form, cell, num_layers=2)
    memory, start = network.read(source, LENGTHS)
    whole, end, _ = network.write(target, memory, start)
    decoding, parts = start, []
    for token in target.split(1):
        scores, decoding, _ = network.write(token, memory, decoding)
        parts.append(scores)
    torch.testing.assert_close(torch.cat(parts), whole)
    torch.testing.assert_close(decoding.state, end.state)


@pytest.mark.parametrize("form", FORMS, ids=name)
def test_several_targets_of_one_source(form, source, target):
    """What beam search asks: W rows a source, and the memory of the B sources as it is."""
    network = network_of(form)
    memory, decoding = network.read(source, LENGTHS)
    other = torch.randint(7, (T, B))
    both = torch.stack((target, other), 2).flatten(1)
    twice = Decoding(
        map_state(lambda t: t.repeat_interleave(2, 1), decoding.state),
        None if decoding.fed is None else decoding.fed.repeat_interleave(2, 1),
    )
    scores, _, weights = network.write(both, memory, twice)
    for n, alone in enumerate((target, other)):
        expected, _, looked = network.write(alone, memory, decoding)
        torch.testing.assert_close(scores[:, n::2], expected)
        if looked is not None:
            torch.testing.assert_close(weights[n::2], looked)


@pytest.mark.parametrize("form", FORMS, ids=name)
def test_what_stands_past_a_source_is_never_read(form, source, target):
    network = network_of(form)
    past = torch.arange(S).unsqueeze(1) >= LENGTHS
    results = []
    for filled in (source.masked_fill(past, 0), source.masked_fill(past, 9)):
        scores = network(filled, LENGTHS, target)
        gradients = torch.autograd.grad(scores.square().sum(), list(network.parameters()))
        results.append((scores, *gradients))
    for one, two in zip(*results, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0)


def test_a_source_of_no_tokens_has_finite_scores_and_gradients(target):
    network = network_of({"attention": "additive"})
    scores = network(torch.randint(9, (S, B)), torch.tensor([0, 3, 0]), target)
    scores.sum().backward()
    assert scores.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_gradients_of_the_attention():
    query, memory = (torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((2, 3, 5), (4, 3, 6)))
    inside = torch.arange(4) < torch.tensor([4, 1, 0]).unsqueeze(1)
    for attention in (AdditiveAttention(5, 6, 3).double(), MultiplicativeAttention(5, 6).double()):

        def read(query, memory, *_, attention=attention):
            return context(weigh(attention.scores(query, attention.keys(memory)), inside), memory)

        assert torch.autograd.gradcheck(read, (query, memory, *attention.parameters()))


def test_encode_is_the_last_state_of_both_directions(source):
    network = network_of({"attention": "multiplicative"})
    vectors = network.encode(source, LENGTHS)
    for b, length in enumerate(LENGTHS.tolist()):
        _, (h_n, _) = network.encoder(network.source_embedding(source[:length, b : b + 1]))
        torch.testing.assert_close(vectors[b], h_n.flatten())


def test_one_table_for_both_sides(source, target):
    network = TransductionNetwork(TransductionSize(9, 9, H, 1, E, shared=True, tied=True), GRUCell)
    assert network.source_embedding is None
    assert network(source, LENGTHS, target).shape == (T, B, 10)
    shapes = [tuple(p.shape) for p in network.parameters() if E in p.shape and max(p.shape) > 8 and p.shape[1] == E]
    assert shapes.count((11, E)) == 1


@pytest.mark.parametrize(
    ("sizes", "rule"),
    [
        ({"hidden_size": 0}, "hidden_size must be positive, got 0"),
        ({"attention": "dot"}, "attention must be one of multiplicative, additive, none, got 'dot'"),
        ({"feed": "all"}, "feed must be one of nothing, output, context, got 'all'"),
        ({"attention": "none", "feed": "output"}, "feed must be nothing where attention is none, got 'output'"),
        ({"shared": True}, "got source_size 9, target_size 7"),
        ({"dropout": 1.0}, "below 1, got 1.0"),
    ],
)
def test_values_outside_the_rule(sizes, rule):
    with pytest.raises(InvalidValue, match=rule):
        TransductionSize(**{**SIZES, **sizes})


def test_lengths_of_another_batch(source, target):
    with pytest.raises(InvalidShape, match=r"lengths must be \(3,\) for 3 sources"):
        network_of({})(source, LENGTHS[:2], target)
