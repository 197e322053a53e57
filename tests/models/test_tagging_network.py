"""The network against torch.nn, one sentence and one word at a time."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ostinato.cells.library.elman import RNNCell
from ostinato.cells.library.gru import GRUCell
from ostinato.cells.library.lstm import LSTMCell
from ostinato.errors import InvalidValue
from ostinato.models.tagging_network import TaggingNetwork, TaggingSize
from ostinato.models.tagging_tokens import LONGEST_SPELLING, TaggingTokens

SENTENCES = [["the", "cat", "The", "cat", "sat"], ["a"], ["cats", "sat", "cat"]]
TOKENS = TaggingTokens.of(SENTENCES, least_count=2, most_words=100, lower_case=False)


def network(cell=LSTMCell, **sizes):
    sizes = {"word_size": 6, "character_size": 4, "hidden_size": 5, **sizes}
    return TaggingNetwork(TaggingSize(TOKENS.word_count, TOKENS.character_count, 3, **sizes), cell)


def by_torch(model, layer, sentence):
    """(T, K) scores of one sentence: every word spelt anew, every layer torch's own."""
    spelling, stack = layer(4, 4, bidirectional=True), layer(14, 5, model.size.num_layers, bidirectional=True)
    spelling.load_state_dict(model.spelling.state_dict())
    stack.load_state_dict(model.stack.state_dict())
    rows = []
    for word in sentence:
        number = TOKENS.words.index(word) if word in TOKENS.words else len(TOKENS.words)
        letters = torch.tensor([TOKENS.characters.index(letter) for letter in word])
        output, _ = spelling(model.characters.weight[letters])
        rows.append(torch.cat((model.words.weight[number], output[-1, :4], output[0, 4:])))
    features, _ = stack(torch.stack(rows))
    return features @ model.head.weight.T + model.head.bias, torch.cat((features[-1, :5], features[0, 5:]))


@pytest.mark.parametrize(("cell", "layer"), [(LSTMCell, nn.LSTM), (GRUCell, nn.GRU), (RNNCell, nn.RNN)])
@pytest.mark.parametrize("num_layers", [1, 2])
def test_equals_the_parts(cell, layer, num_layers):
    model = network(cell, num_layers=num_layers)
    scores, vectors = model(TOKENS.batch(SENTENCES)), model.encode(TOKENS.batch(SENTENCES))
    for b, sentence in enumerate(SENTENCES):
        expected, ends = by_torch(model, layer, sentence)
        torch.testing.assert_close(scores[: len(sentence), b], expected)
        torch.testing.assert_close(vectors[b], ends)


def test_each_word_is_spelt_once():
    batch = TOKENS.batch(SENTENCES)
    assert batch.characters.shape[1] == len({word for sentence in SENTENCES for word in sentence}) == 6
    for b, sentence in enumerate(SENTENCES):
        for t, word in enumerate(sentence):
            column = batch.spellings[t, b]
            letters = batch.characters[: batch.character_lengths[column], column]
            assert "".join(TOKENS.characters[letter] for letter in letters) == word


def test_only_its_ends_of_a_long_word_are_read():
    half = LONGEST_SPELLING // 2
    one, other = TOKENS.batch([["c" * half + "aaaa" + "t" * half]]), TOKENS.batch([["c" * half + "h" + "t" * half]])
    assert len(one.characters) == LONGEST_SPELLING
    assert torch.equal(one.characters, other.characters)
    assert TOKENS.batch([["c" * 100_000]]).characters.shape == (LONGEST_SPELLING, 1)


def test_words_and_letters_that_are_not_known():
    batch = TOKENS.batch([["cats", "ö"]])
    assert batch.words.tolist() == [[TOKENS.word_count - 1]] * 2
    assert batch.characters[0, 1] == TOKENS.character_count - 1
    assert network()(batch).isfinite().all()


def test_empty_sentences_and_empty_words():
    model = network(crf=True)
    for sentences in ([[], ["cat"], []], [[]], [["", "cat"]]):
        batch = TOKENS.batch(sentences)
        scores = model(batch)
        assert scores.shape == (max(1, *map(len, sentences), 1), len(sentences), 3)
        surprise = model.surprise(scores, torch.zeros(scores.shape[:2], dtype=torch.long), batch.lengths)
        assert surprise.isfinite().all()
        assert not surprise[batch.lengths == 0].any()


def test_word_dropout_makes_words_unknown_while_training():
    """With all words forgotten, each word enters as its spelling beside the unknown word's vector."""
    model = network(word_dropout=0.999999).train()
    batch = TOKENS.batch(SENTENCES)
    unknown = batch._replace(words=torch.full_like(batch.words, TOKENS.word_count - 1))
    torch.testing.assert_close(model(batch), model(unknown))
    assert not torch.equal(model.eval()(batch), model(unknown))
    model = network(word_dropout=0.25).train()
    model.words.weight.data.copy_(torch.arange(TOKENS.word_count).unsqueeze(1).expand(-1, 6))
    seen = []
    model.stack.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0][..., 0]))
    many = TOKENS.batch([["the", "cat"] * 1000])
    model(many)
    assert (seen[0] == TOKENS.word_count - 1).float().mean().item() == pytest.approx(0.25 + 0.75 * 0.5, abs=0.04)


def test_dropout_is_drawn_while_training_only():
    model = network(dropout=0.5)
    batch = TOKENS.batch(SENTENCES)
    assert not torch.equal(model(batch), model(batch))
    model.eval()
    assert torch.equal(model(batch), model(batch))


@pytest.mark.parametrize("crf", [False, True])
def test_a_likelihood_is_that_of_its_parts(crf):
    model = network(crf=crf).eval()
    batch = TOKENS.batch(SENTENCES)
    scores, tags = model(batch), torch.randint(3, batch.words.shape)
    surprise = model.surprise(scores, tags, batch.lengths)
    chances = model.probabilities(scores, batch.lengths)
    # A CRF's transitions begin at zero, so at first its tags are independent.
    for b, sentence in enumerate(SENTENCES):
        expected = -sum(chances[t, b, tags[t, b]].log() for t in range(len(sentence)))
        torch.testing.assert_close(surprise[b], expected)
        assert torch.equal(
            model.decide(scores, batch.lengths)[: len(sentence), b], chances[: len(sentence), b].argmax(1)
        )


@pytest.mark.parametrize("crf", [False, True])
def test_gradients_reach_every_parameter(crf):
    model = network(crf=crf)
    batch = TOKENS.batch(SENTENCES)
    model.surprise(model(batch), torch.zeros_like(batch.words), batch.lengths).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize(
    ("sizes", "rule"),
    [
        ({"hidden_size": 0}, "hidden_size must be positive, got 0"),
        ({"character_size": -1}, "character_size must be positive, got -1"),
        ({"word_dropout": 1.0}, "word_dropout must be at least 0 and below 1, got 1.0"),
    ],
)
def test_values_outside_the_rule(sizes, rule):
    with pytest.raises(InvalidValue, match=rule):
        network(**sizes)


def test_vocabularies():
    tokens = TaggingTokens.of([["B", "b", "a", "c", "a"]], least_count=1, most_words=2, lower_case=True)
    assert tokens.words == ("a", "b")
    assert tokens.knows("A")
    assert not tokens.knows("c")
    exact = TaggingTokens.of([["B", "b", "a", "c", "a"]], least_count=1, most_words=9, lower_case=False)
    assert exact.words == ("a", "B", "b", "c")
    with pytest.raises(InvalidValue, match="words must be without repeats"):
        TaggingTokens(("a", "a"), "a", False)
