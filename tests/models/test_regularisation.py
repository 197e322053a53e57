"""What AWD-LSTM drops: by its definition, by its expectation, and against the same parts written out."""

from __future__ import annotations

import copy
import dataclasses
import json

import pytest
import torch
from torch.nn import functional as F

from ostinato.cells.cell import Cell
from ostinato.cells.library.gru import GRUCell
from ostinato.cells.library.lstm import LSTMCell
from ostinato.errors import InvalidValue, ModelFolderError
from ostinato.models.folder import load, save
from ostinato.models.language_model import LanguageModel, LanguageModelSize
from ostinato.models.regularisation import (
    Regularisation,
    drop_tokens,
    locked_dropout,
)
from ostinato.models.text_model import TextModel
from ostinato.models.vocabulary import CharacterVocabulary

TOKENS = torch.randint(0, 13, (7, 3), generator=torch.Generator().manual_seed(0))
AWD = Regularisation(embedding=0.1, input=0.4, hidden=0.3, output=0.4, weights=0.5, locked=True)


def awd(cell: type[Cell] = LSTMCell, **changes) -> LanguageModel:
    return LanguageModel(LanguageModelSize(13, 9, 2, embedding_size=5, tied=True, regularisation=AWD, **changes), cell)


def test_locked_dropout_has_one_mask_a_sequence():
    x = torch.rand(40, 6, 50) + 1
    y = locked_dropout(x, 0.3, training=True)
    masks = y / x
    torch.testing.assert_close(masks, masks[:1].expand_as(masks))
    assert not torch.equal(masks[0, 0], masks[0, 1])
    torch.testing.assert_close(locked_dropout(torch.ones(3, 6, 50), 0.3, True).unique(), torch.tensor([0, 1 / 0.7]))
    assert (masks[0] == 0).double().mean() == pytest.approx(0.3, abs=0.1)
    assert locked_dropout(x, 0.3, training=False) is x


def test_whole_tokens_lose_their_vector():
    tokens = torch.randint(0, 50, (30, 8))
    y = drop_tokens(torch.ones(30, 8, 4), tokens, 0.4, 50, training=True)
    values = [y[tokens == token].unique() for token in tokens.unique()]
    assert all(len(value) == 1 for value in values)
    torch.testing.assert_close(torch.cat(values).unique(), torch.tensor([0, 1 / 0.6]))


def test_the_stack_drops_what_is_said():
    network = awd()
    assert (network.stack.dropout, network.stack.dropout_form, network.stack.weight_dropout) == (0.3, "sequence", 0.5)
    plain = LanguageModel(LanguageModelSize(13, 9, 2, embedding_size=5, dropout=0.2), LSTMCell)
    assert (plain.stack.dropout, plain.stack.dropout_form, plain.stack.weight_dropout) == (0.2, "element", 0.0)


def test_without_recurrent_weights_there_is_nothing_to_drop():
    class Leaky(Cell):
        def step(self, x, h):
            return 0.9 * h + 0.1 * x

    with pytest.raises(InvalidValue, match="names begin with weight_hh, and Leaky has none at all"):
        LanguageModel(LanguageModelSize(13, 5, 1, embedding_size=5, regularisation=AWD), Leaky)


@pytest.mark.parametrize(("hidden", "projected"), [(9, True), (5, False)])
def test_tied_weights_are_one_tensor(tmp_path, hidden, projected):
    network = LanguageModel(LanguageModelSize(4, hidden, embedding_size=5, tied=True), GRUCell)
    assert network.head.weight is network.embedding.weight
    assert (network.projection is not None) == projected
    x = torch.tensor([[0, 1], [3, 2]])
    y, _ = network.stack(network.head.weight[x])
    if projected:
        y = y @ network.projection.weight.T
    torch.testing.assert_close(network(x)[0], y @ network.embedding.weight.T + network.head.bias)

    save(TextModel(network, CharacterVocabulary("abc")), tmp_path)
    again = load(tmp_path).network
    assert again.head.weight is again.embedding.weight
    torch.testing.assert_close(again(x), network(x), rtol=0, atol=0)
    optimiser = torch.optim.SGD(again.parameters(), lr=0.1)
    F.cross_entropy(again(x)[0].flatten(0, 1), x.flatten()).backward()
    optimiser.step()
    assert torch.equal(again.head.weight, again.embedding.weight)
    assert not torch.equal(again.head.weight, network.head.weight)


def test_one_hot_has_nothing_to_tie():
    with pytest.raises(InvalidValue, match="tied embeddings need input to be embedding, got 'one-hot'"):
        LanguageModelSize(13, input="one-hot", tied=True)


def test_nothing_is_dropped_in_evaluation_and_all_of_it_in_training():
    network = awd()
    plain = LanguageModel(LanguageModelSize(13, 9, 2, embedding_size=5, tied=True), LSTMCell)
    plain.load_state_dict(network.state_dict())
    torch.testing.assert_close(network.eval()(TOKENS)[0], plain.eval()(TOKENS)[0])
    network.train()
    assert not torch.equal(network(TOKENS)[0], network(TOKENS)[0])


def test_a_folder_keeps_the_raw_weights(tmp_path):
    network = LanguageModel(LanguageModelSize(4, 9, 2, embedding_size=5, tied=True, regularisation=AWD), LSTMCell)
    before = copy.deepcopy(network.state_dict())
    for _ in range(3):
        network.train()(torch.zeros(5, 2, dtype=torch.long))
    save(TextModel(network, CharacterVocabulary("abc")), tmp_path)
    again = load(tmp_path).network
    assert again.size.regularisation == AWD
    for name, tensor in again.state_dict().items():
        assert torch.equal(tensor, before[name]), name
        assert "weight_hh" not in name or bool((tensor != 0).all())


def test_reading_in_two_calls_is_reading_in_one():
    network = awd(GRUCell).eval()
    whole, _ = network(TOKENS)
    first, state = network(TOKENS[:4])
    second, _ = network(TOKENS[4:], state)
    torch.testing.assert_close(torch.cat((first, second)), whole)
    lengths = torch.tensor([2, 7, 5])
    y, _, _ = network.activations(TOKENS)
    torch.testing.assert_close(network.encode(TOKENS, lengths), y[lengths - 1, torch.arange(3)])


@pytest.mark.parametrize(
    ("entry", "value", "message"),
    [
        ("tied", 1, "tied must be true or false, got '1'"),
        ("regularisation", [], "regularisation must be an object"),
        ("regularisation", {}, "embedding is missing"),
        ("regularisation", {**dataclasses.asdict(AWD), "weights": 1}, "weights must be at least 0 and below 1"),
        ("regularisation", {**dataclasses.asdict(AWD), "locked": "yes"}, "locked must be true or false"),
        ("input", "one-hot", "tied embeddings need input to be embedding"),
    ],
)
def test_entries_that_are_not_believed(tmp_path, entry, value, message):
    size = LanguageModelSize(4, 9, 2, embedding_size=5, tied=True, regularisation=AWD)
    save(TextModel(LanguageModel(size, GRUCell), CharacterVocabulary("abc")), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text("utf-8"))
    config["model"][entry] = value
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelFolderError, match=message):
        load(tmp_path)
