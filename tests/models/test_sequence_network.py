"""The many-to-one network against torch.nn, sequence by sequence."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ostinato.cells.library.gru import GRUCell
from ostinato.cells.library.lstm import LSTMCell
from ostinato.errors import InvalidValue
from ostinato.models.sequence_network import SequenceNetwork, SequenceSize

LENGTHS = torch.tensor([4, 7, 1])


def test_a_series_is_read_as_torch_reads_it_alone():
    network = SequenceNetwork(SequenceSize(outputs=3, channels=2, hidden_size=5, num_layers=2), LSTMCell)
    mean, deviation = torch.tensor([3.0, -1.0]), torch.tensor([2.0, 0.5])
    network.scale(mean, deviation)
    x = torch.randn(7, 3, 2)
    peer = nn.LSTM(2, 5, 2, bidirectional=True)
    peer.load_state_dict(network.stack.state_dict())
    found = network(x, LENGTHS)
    for b, length in enumerate(LENGTHS):
        _, (h, _) = peer((x[:length, b] - mean) / deviation)
        torch.testing.assert_close(found[b], network.head(torch.cat([h[2], h[3]])))


def test_a_text_is_read_as_torch_reads_it_alone():
    network = SequenceNetwork(
        SequenceSize(outputs=2, tokens=11, embedding_size=6, hidden_size=5, bidirectional=False, pooling="mean"),
        GRUCell,
    )
    x = torch.randint(11, (7, 3))
    peer = nn.GRU(6, 5)
    peer.load_state_dict(network.stack.state_dict())
    found = network(x, LENGTHS)
    for b, length in enumerate(LENGTHS):
        output, _ = peer(network.embedding(x[:length, b]))
        torch.testing.assert_close(found[b], network.head(output.mean(0)))


def test_a_channel_that_never_changes_is_left_as_it_is():
    network = SequenceNetwork(SequenceSize(outputs=1, channels=2, hidden_size=3), GRUCell)
    network.scale(torch.tensor([1.0, 5.0]), torch.tensor([2.0, 0.0]))
    assert network.deviation.tolist() == [2.0, 1.0]
    assert torch.isfinite(network(torch.full((4, 1, 2), 5.0), torch.tensor([4]))).all()


@pytest.mark.parametrize("pooling", ["last", "mean", "max", "attention"])
def test_sequences_without_steps_have_an_answer_and_finite_gradients(pooling):
    network = SequenceNetwork(SequenceSize(outputs=2, tokens=5, hidden_size=3, pooling=pooling), GRUCell)
    output = network(torch.zeros(2, 2, dtype=torch.long), torch.tensor([0, 2]))
    torch.testing.assert_close(output[0], network.head.bias)
    output.sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters())


def test_dropout_is_felt_in_training_alone():
    network = SequenceNetwork(SequenceSize(outputs=2, tokens=5, hidden_size=3, dropout=0.5), GRUCell)
    x, lengths = torch.ones(3, 1, dtype=torch.long), torch.tensor([3])
    assert not torch.equal(network(x, lengths), network(x, lengths))
    network.eval()
    assert torch.equal(network(x, lengths), network(x, lengths))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"outputs": 0, "tokens": 3}, "outputs must be positive, got 0"),
        ({"outputs": 2}, "either tokens or channels"),
        ({"outputs": 2, "tokens": 3, "channels": 1}, "either tokens or channels"),
        ({"outputs": 2, "tokens": 3, "dropout": 1.0}, "dropout must be at least 0 and below 1"),
    ],
)
def test_sizes_that_make_no_network(wrong, message):
    with pytest.raises(InvalidValue, match=message):
        SequenceSize(**wrong)
