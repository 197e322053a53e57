"""Figures against counting by hand, and what a model does not know."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch

from ostinato.cells.library.gru import GRUCell
from ostinato.models import tagger
from ostinato.models.tagger import Tagger
from ostinato.models.tagging_network import TaggingNetwork, TaggingSize
from ostinato.models.tagging_tokens import TaggingTokens
from ostinato.tasks.tagging.baseline import MostFrequentTag
from ostinato.tasks.tagging.measure import Tagged, measure, score, unseen_tags

SENTENCES = [
    Tagged(["the", "cat", "sat"], ["D", "N", "V"]),
    Tagged(["cats"], ["N"]),
    Tagged(["sat", "the"], ["V", "D"]),
]


def a_model(crf=False):
    tokens = TaggingTokens.of([s.words for s in SENTENCES], least_count=1, most_words=99, lower_case=True)
    size = TaggingSize(tokens.word_count, tokens.character_count, 3, 4, 3, 5, crf=crf)
    return Tagger(TaggingNetwork(size, GRUCell), tokens, ("D", "N", "V"))


@pytest.mark.parametrize("crf", [False, True])
@pytest.mark.parametrize("words", [1, 5, 4096])
def test_a_model_is_measured_as_it_predicts(monkeypatch, crf, words):
    """In batches of any size, in any order: the loss is that of each sentence alone."""
    monkeypatch.setattr(tagger, "WORDS", words)
    model = a_model(crf)
    figures = measure(model, SENTENCES)
    predicted = model.predict([s.words for s in SENTENCES])
    right = sum(a == b for s, p in zip(SENTENCES, predicted, strict=True) for a, b in zip(s.tags, p, strict=True))
    assert figures["accuracy"] == pytest.approx(right / 6)
    assert set(figures) == {"loss", "accuracy"}
    total = 0.0
    for sentence in SENTENCES:
        batch = model.tokens.batch([sentence.words])
        chances = model.network.probabilities(model.network(batch), batch.lengths)
        total -= sum(chances[t, 0, model.tags.index(tag)].log().item() for t, tag in enumerate(sentence.tags))
    assert figures["loss"] == pytest.approx(total / 6, rel=1e-5)


@pytest.mark.parametrize("crf", [False, True])
def test_a_tag_that_was_never_learnt_is_wrong_and_leaves_the_loss_finite(crf):
    model = a_model(crf)
    strange = Tagged(["the", "cat"], ["X", "X"])
    with_it = measure(model, [*SENTENCES, strange])
    assert with_it["loss"] == pytest.approx(measure(model, SENTENCES)["loss"], rel=1e-5)
    assert measure(model, [strange]) == {"accuracy": 0}
    assert unseen_tags([*SENTENCES, strange], model.tags) == {"X": 2}


def test_entities_are_scored_where_tags_name_them():
    sentences = [Tagged(["in", "New", "York"], ["O", "B-LOC", "I-LOC"])]
    nothing = {"accuracy": 2 / 3, "entity_f1": 0, "entity_precision": 0, "entity_recall": 0}
    assert score(sentences, [["O", "B-LOC", "O"]]) == nothing
    assert score(sentences, [["O", "B-LOC", "I-LOC"]])["entity_f1"] == 1


def test_the_baseline_counts(data):
    lines = (data / "ud_english_ewt" / "dev.conllu").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines if line[:1].isdigit() and line.split("\t")[0].isdecimal()]
    half = len(rows) // 2
    learnt = MostFrequentTag([Tagged([row[1] for row in rows[:half]], [row[3] for row in rows[:half]])])
    pairs = Counter((row[1], row[3]) for row in rows[:half])
    tags = sorted({row[3] for row in rows})
    common = Counter(row[3] for row in rows[:half]).most_common(1)[0][0]
    known = {row[1] for row in rows[:half]}
    for row in rows[half : half + 800]:
        counts = [pairs[row[1], tag] for tag in tags]
        expected = tags[counts.index(max(counts))] if row[1] in known else common
        assert learnt.predict([row[1]]) == [expected]


def test_the_loss_of_an_untrained_crf_is_that_of_guessing():
    model = a_model(crf=True)
    for parameter in model.network.head.parameters():
        torch.nn.init.zeros_(parameter)
    assert measure(model, SENTENCES)["loss"] == pytest.approx(math.log(3), rel=1e-6)
