"""The streamed evaluation against one plain reading of the text."""

from __future__ import annotations

import math

import numpy
import pytest
import torch
from torch.nn import functional as F

from ostinato.cells.library.gru import GRUCell
from ostinato.cells.library.lstm import LSTMCell
from ostinato.errors import DataError
from ostinato.models import evaluation
from ostinato.models.evaluation import Evaluation, evaluate
from ostinato.models.language_model import LanguageModel, LanguageModelSize


def model(cell=LSTMCell) -> LanguageModel:
    return LanguageModel(LanguageModelSize(11, hidden_size=12, num_layers=2, embedding_size=6, dropout=0.4), cell)


def tokens(count: int):
    return numpy.random.default_rng(count).integers(0, 11, count).astype("uint8")


def plain(network: LanguageModel, text) -> float:
    """The definition: one stream, from beginning to end."""
    network.eval()
    x = torch.from_numpy(text.astype("int64"))
    with torch.no_grad():
        scores, _ = network(x[:-1].unsqueeze(1))
    return float(F.cross_entropy(scores[:, 0].double(), x[1:]))


@pytest.mark.parametrize("count", [2, 3, 300, 4097])
def test_one_stream_is_the_definition(count):
    network, text = model(), tokens(count)
    assert evaluate(network, text).nats == pytest.approx(plain(network, text), rel=1e-6)


@pytest.mark.parametrize("cell", [LSTMCell, GRUCell])
@pytest.mark.parametrize("count", [8193, 12_345, 3 * 4096 + 2])
def test_many_streams_are_the_definition_too(cell, count):
    network, text = model(cell), tokens(count)
    assert evaluate(network, text).nats == pytest.approx(plain(network, text), rel=1e-5)


def test_every_token_but_the_first_is_counted_once(monkeypatch):
    # A network that scores all tokens alike is surprised by ln 11 at each: any other count would show in the mean,
    # and the unknown tokens are counted by position.
    network = model()
    torch.nn.init.zeros_(network.head.weight)
    torch.nn.init.zeros_(network.head.bias)
    monkeypatch.setattr(evaluation, "SCORES", 5000)
    text = tokens(20_011)
    result = evaluate(network, text, unknown=4)
    assert result.nats == pytest.approx(math.log(11), rel=1e-6)
    assert result.unknown == int((text == 4).sum())
    assert result.tokens == 20_011


def test_the_number_is_the_same_each_time_and_the_mode_is_kept():
    network, text = model().train(), tokens(9000)
    assert evaluate(network, text) == evaluate(network, text)
    assert network.training


def test_bits_and_perplexity():
    result = Evaluation(nats=math.log(8), tokens=10, unknown=0, unit="byte")
    assert result.bits == pytest.approx(3)
    assert result.perplexity == pytest.approx(8)
    assert "3.0000 bits per byte" in str(result)
    assert Evaluation(1e6, 10, 0, "byte").perplexity == math.inf


@pytest.mark.parametrize("count", [0, 1])
def test_too_short(count):
    with pytest.raises(DataError, match=f"at least 2 characters are needed .* got {count}"):
        evaluate(model(), tokens(count), unit="character")
