"""A tagger as Python uses it, and its folder: what is written is read back, and nothing else is believed."""

from __future__ import annotations

import json

import pytest
import torch

from ostinato.cells.library.gru import GRUCell
from ostinato.cells.library.lstm import LSTMCell
from ostinato.errors import InvalidType, InvalidValue, ModelFolderError
from ostinato.models import tagger
from ostinato.models.folder import load, save
from ostinato.models.tagger import Tagger
from ostinato.models.tagging_network import TaggingNetwork, TaggingSize
from ostinato.models.tagging_tokens import TaggingTokens

SENTENCES = [["the", "cat", "sat", "on", "the", "mat"], ["a"], ["cats", "sat", "x" * 50], ["ü"]]
TAGS = ("DET", "NOUN", "VERB", "ADP")


def a_tagger(crf=False, cell=LSTMCell, **sizes):
    tokens = TaggingTokens.of(SENTENCES[:3], least_count=1, most_words=5, lower_case=True)
    size = TaggingSize(tokens.word_count, tokens.character_count, 4, **{"hidden_size": 6, "crf": crf, **sizes})
    network = TaggingNetwork(size, cell).eval()
    if crf:
        torch.nn.init.normal_(network.crf.transitions, std=2)
    columns = {"form": "conllu", "words": "form", "target": "upos"}
    return Tagger(network, tokens, TAGS, columns, {"note": 1})


@pytest.mark.parametrize("crf", [False, True])
@pytest.mark.parametrize("words", [1, 7, 4096])
def test_each_sentence_is_tagged_as_if_it_were_alone(monkeypatch, crf, words):
    monkeypatch.setattr(tagger, "WORDS", words)
    model = a_tagger(crf)
    together, chances, vectors = model.predict(SENTENCES), model.scores(SENTENCES), model.encode(SENTENCES)
    for number, sentence in enumerate(SENTENCES):
        assert together[number] == model.predict(sentence)
        torch.testing.assert_close(chances[number], model.scores(sentence))
        torch.testing.assert_close(chances[number].sum(1), torch.ones(len(sentence)))
        torch.testing.assert_close(vectors[number : number + 1], model.encode(sentence))
    assert vectors.shape == (4, 12)


def test_scores_decide_unless_tags_are_chosen_together():
    model = a_tagger()
    assert not model.joint
    assert model.from_scores(model.scores(SENTENCES)) == model.predict(SENTENCES)
    assert model.from_scores(model.scores(SENTENCES[0])) == model.predict(SENTENCES[0])
    together = a_tagger(crf=True)
    assert together.joint
    batch = together.tokens.batch(SENTENCES)
    tags, _ = together.network.crf.decode(together.network(batch), batch.lengths)
    assert together.predict(SENTENCES) == [
        [TAGS[tag] for tag in tags[: len(sentence), b]] for b, sentence in enumerate(SENTENCES)
    ]


def test_predicting_leaves_the_mode_and_draws_nothing():
    model = a_tagger(dropout=0.5, word_dropout=0.5)
    model.network.train()
    before = torch.get_rng_state()
    assert model.predict(SENTENCES) == model.predict(SENTENCES)
    assert model.network.training
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("crf", [False, True])
@pytest.mark.parametrize("cell", [LSTMCell, GRUCell])
def test_what_is_written_is_read_back(tmp_path, crf, cell):
    model = a_tagger(crf, cell, num_layers=2, dropout=0.25, word_dropout=0.125, word_size=7, character_size=3)
    save(model, tmp_path)
    again = load(tmp_path)
    assert isinstance(again, Tagger)
    assert again.network.size == model.network.size
    assert (again.tokens, again.tags, again.columns) == (model.tokens, model.tags, model.columns)
    assert again.training == model.training
    assert again.predict(SENTENCES) == model.predict(SENTENCES)
    for one, other in zip(again.scores(SENTENCES), model.scores(SENTENCES), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("hidden_size", 1 << 40, "hidden_size must be a whole number from 1 to"),
        ("word_size", "7", "word_size must be a whole number"),
        ("character_size", 0, "character_size must be"),
        ("num_layers", 900, "900 layers and model.safetensors holds"),
        ("dropout", 1, "dropout must be at least 0 and below 1"),
        ("crf", 1, "crf must be true or false"),
        ("crf", True, "lacks crf"),
        ("tags", ["A", "A", "B", "C"], "tags must be one or more, without repeats"),
        ("tags", [], "tags must be one or more, without repeats"),
        ("tags", ["A"], "must be F32"),
        ("words", ["a", "a"], "words must be without repeats"),
        ("words", [1], "words must be"),
        ("words", ["a"], "must be F32"),
        ("characters", "aa", "characters must be without repeats"),
        ("characters", None, "characters must be a text"),
        ("lower_case", "yes", "lower_case must be true or false"),
        ("columns", {"words": 3}, "words must be a text"),
        ("columns", "form", "columns must be an object"),
        ("cell_options", {"proj_size": 1 << 30}, "cell_options must be"),
    ],
)
def test_entries_that_are_not_believed(tmp_path, name, value, message):
    save(a_tagger(), tmp_path)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text("utf-8"))
    table = next(part for part in config.values() if isinstance(part, dict) and name in part)
    table[name] = value
    path.write_text(json.dumps(config), "utf-8")
    with pytest.raises(ModelFolderError, match=message):
        load(tmp_path)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ("The cat sat.", InvalidType, "list of words.*got str; a text has to be cut into words first"),
        (3, InvalidType, "got int"),
        ([], InvalidValue, "every sentence must have a word, got none in sentence 1"),
        ([["the"], []], InvalidValue, "got none in sentence 2; leave it out"),
        ([["the"], "cat"], InvalidType, "must be a list of words, got str as sentence 2"),
        (["the", 4], InvalidType, "every word must be a str, got int in sentence 1"),
        ([["the"], ["cat", None]], InvalidType, "every word must be a str, got NoneType in sentence 2"),
    ],
)
@pytest.mark.parametrize("method", ["predict", "scores", "encode"])
def test_what_is_no_sentence(method, given, error, message):
    with pytest.raises(error, match=message):
        getattr(a_tagger(), method)(given)
