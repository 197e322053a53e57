"""The model against the same parts written out with torch.nn."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ostinato.cells.library.elman import RNNCell
from ostinato.cells.library.gru import GRUCell
from ostinato.cells.library.lstm import LSTMCell
from ostinato.errors import InvalidValue
from ostinato.models.language_model import LanguageModel, LanguageModelSize
from ostinato.models.states import detached, map_state

TOKENS = torch.randint(0, 13, (7, 3), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("cell", "layer"), [(LSTMCell, nn.LSTM), (GRUCell, nn.GRU), (RNNCell, nn.RNN)])
@pytest.mark.parametrize("input", ["embedding", "one-hot"])
def test_equals_the_parts(cell, layer, input):
    network = LanguageModel(LanguageModelSize(13, 9, 2, input, embedding_size=5), cell)
    width = 5 if input == "embedding" else 13
    stack = layer(width, 9, 2)
    stack.load_state_dict(network.stack.state_dict())
    x = network.embedding.weight[TOKENS] if network.embedding is not None else torch.eye(13)[TOKENS]
    expected, _ = stack(x)
    scores, _ = network(TOKENS)
    torch.testing.assert_close(scores, expected @ network.head.weight.T + network.head.bias)


@pytest.mark.parametrize("cell", [LSTMCell, GRUCell])
def test_reading_in_two_calls_is_reading_in_one(cell):
    network = LanguageModel(LanguageModelSize(13, 9, 2), cell)
    whole, end = network(TOKENS)
    first, state = network(TOKENS[:4])
    second, last = network(TOKENS[4:], detached(state))
    torch.testing.assert_close(torch.cat((first, second)), whole)
    map_state(lambda tensor: torch.testing.assert_close(tensor.isnan().sum(), torch.tensor(0)), last)
    torch.testing.assert_close(last, end)


@pytest.mark.parametrize(
    ("sizes", "rule"),
    [
        ({"hidden_size": 0}, "hidden_size must be positive, got 0"),
        ({"num_layers": -1}, "num_layers must be positive, got -1"),
        ({"dropout": 1.0}, "below 1, got 1.0"),
        ({"input": "onehot"}, "embedding, one-hot, got 'onehot'"),
    ],
)
def test_values_outside_the_rule(sizes, rule):
    with pytest.raises(InvalidValue, match=rule):
        LanguageModelSize(13, **sizes)
