"""A transducer as its users meet it: texts in and out, scores that are probabilities, attention, its folder."""

from __future__ import annotations

import json
from itertools import product

import pytest
import torch

import ostinato
from ostinato.cells.library.gru import GRUCell
from ostinato.data.tokens import build_tokens
from ostinato.errors import InvalidType, InvalidValue, ModelFolderError
from ostinato.models.folder import save
from ostinato.models.text_rows import FREE_TOKENS, ratio_of
from ostinato.models.transducer import Transducer
from ostinato.models.transduction_network import TransductionNetwork
from ostinato.models.transduction_size import TransductionSize

TEXTS = ["abc", "", "bbacb", "c", "abba"]


def transducer(kind="characters", texts=("abc",), ratio=0.0, **size) -> Transducer:
    tokens = build_tokens(texts, kind, most=None if kind != "subwords" else 260)
    sizes = {"hidden_size": 6, "embedding_size": 4, **size}
    network = TransductionNetwork(TransductionSize(tokens.size, tokens.size, **sizes), GRUCell)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.6)
    network.eval()
    return Transducer(network, tokens, tokens, ratio, 5, {"source": "a", "target": "b"}, {"steps": 3})


def log_probability(model: Transducer, source: str, target: str) -> float:
    """ln p(target and its end | source), from the network's scores alone."""
    size = model.network.size
    ours = torch.tensor([[*model.source_tokens.encode(source), size.source_end]]).t()
    theirs = [*model.target_tokens.encode(target), size.end]
    scores = model.network(ours, torch.tensor([len(ours)]), torch.tensor([[size.start, *theirs[:-1]]]).t())
    return float(scores[:, 0].log_softmax(1).gather(1, torch.tensor(theirs).unsqueeze(1)).sum().detach())


def test_the_best_of_all_texts_with_their_probabilities():
    """Over all texts of up to two letters: with a limit of two tokens nothing else can be written."""
    model = transducer()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ostinato.models.transducer.FREE_TOKENS", 2)
        found = model.best("cab", 13, width=200, length_power=0.0)
    every = {"".join(letters): 0.0 for n in range(3) for letters in product("abc", repeat=n)}
    every = {text: log_probability(model, "cab", text) for text in every}
    assert [one.text for one in found] == sorted(every, key=every.__getitem__, reverse=True)
    for one in found:
        assert one.score == pytest.approx(every[one.text], abs=1e-5)


def test_a_score_is_a_token_s_share():
    model = transducer()
    for power in (0.0, 1.0):
        (best,) = model.best("abc", 1, width=3, length_power=power)
        length = len(best.text) + 1
        assert best.score == pytest.approx(log_probability(model, "abc", best.text) / length**power, abs=1e-5)


@pytest.mark.parametrize("attention", ["multiplicative", "additive", "none"])
@pytest.mark.parametrize("width", [1, 4])
def test_a_text_among_others_is_a_text_alone(attention, width):
    model = transducer(attention=attention, ratio=1.0)
    together = model.predict(TEXTS, width=width)
    assert together == [model.predict(text, width=width) for text in TEXTS]
    vectors = model.encode(TEXTS)
    assert vectors.shape == (5, 12)
    for vector, text in zip(vectors, TEXTS, strict=True):
        torch.testing.assert_close(vector, model.encode(text))
    assert model.predict([]) == []


def test_batches_are_bounded(monkeypatch):
    model = transducer()
    expected = model.predict(TEXTS)
    monkeypatch.setattr("ostinato.models.transducer.TOKENS", 20)
    assert model.predict(TEXTS) == expected


def test_the_limit_grows_with_the_source():
    model = transducer(ratio=2.0)
    model.network.head.bias.data[model.network.size.end] = -100
    for length in (1, 7):
        (best,) = model.best("a" * length, 1)
        assert len(best.text) == FREE_TOKENS + 2 * length
        assert not best.complete
    lengths = [(3, 9), (4, 25), (1, 11)]
    assert all(target <= FREE_TOKENS + ratio_of(lengths) * source for source, target in lengths)


def test_attention_of_what_was_written():
    model = transducer()
    shown = model.attend("abca", "cb")
    assert shown.source == ("a", "b", "c", "a", "■")
    assert shown.target == ("c", "b", "■")
    torch.testing.assert_close(shown.weights.sum(1), torch.ones(3))
    assert model.attend("aé", "b").source == ("a", "é", "■")
    assert transducer("subwords", ["a cat sat"] * 9).attend("a cat", "sat").source[-2:] == (" cat", "■")
    assert len(model.attend("abc").target) == len(model.predict("abc")) + 1
    with pytest.raises(InvalidValue, match="attention none"):
        transducer(attention="none").attend("abc")


@pytest.mark.parametrize("ending", [".png", ".svg", ".pdf"])
def test_a_picture_of_the_attention(tmp_path, ending):
    model = transducer("words", ["the $cat sat", "狗"])
    path = model.attend("the $cat sat 狗 \\alpha", "sat the").draw(tmp_path / f"attention{ending}")
    assert path.stat().st_size > 3000
    if ending == ".svg":
        drawn = path.read_text("utf-8")
        assert all(f"<!-- {token} -->" in drawn for token in ("the", "sat", "cat"))
    with pytest.raises(InvalidValue, match=r"must end in \.png, \.svg, \.pdf, got 'attention\.jpg'"):
        model.attend("the").draw(tmp_path / "attention.jpg")
    with pytest.raises(InvalidValue, match="at most 200 tokens a side, got 301"):
        model.attend("the " * 300, "the").draw(tmp_path / "long.png")


@pytest.mark.parametrize("kind", ["characters", "words", "subwords"])
def test_its_folder(tmp_path, kind):
    texts = ["the cat sat", "on the mat"]
    model = transducer(kind, texts, attention="additive", tied=True)
    save(model, tmp_path / "model")
    again = ostinato.load(tmp_path / "model")
    assert isinstance(again, Transducer)
    assert again.content() == model.content()
    assert again.training == {"steps": 3}
    assert again.best(texts, 2) == model.best(texts, 2)
    torch.testing.assert_close(again.encode(texts), model.encode(texts), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("entry", "value", "rule"),
    [
        ("attention", "dot", "attention must be one of"),
        ("feed", None, "feed must be one of"),
        ("hidden_size", 1 << 40, "hidden_size must be a whole number from 1"),
        ("ratio", -1.0, "ratio must be a finite number from 0"),
        ("longest", "all", "longest must be a whole number from 0"),
        ("shared", 1, "shared must be true or false"),
        ("source_tokens", {"tokens": "letters"}, "source_tokens"),
        ("target_tokens", {"tokens": "words", "vocabulary": {"kind": "hashing", "buckets": 9}}, "got a hash"),
    ],
)
def test_a_folder_is_not_believed(tmp_path, entry, value, rule):
    save(transducer(), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text("utf-8"))
    config["model"][entry] = value
    (tmp_path / "config.json").write_text(json.dumps(config), "utf-8")
    with pytest.raises(ModelFolderError, match=rule):
        ostinato.load(tmp_path)


@pytest.mark.parametrize(
    ("call", "error", "rule"),
    [
        (lambda m: m.predict(3), InvalidType, "a text or a list of texts, got int"),
        (lambda m: m.predict(["a", None]), InvalidType, "got NoneType as source 2"),
        (lambda m: m.predict(b"abc"), InvalidType, "a text or a list of texts, got bytes"),
        (lambda m: m.predict("a", width=0), InvalidValue, "width must be a whole number of at least 1"),
        (lambda m: m.best("a", 0), InvalidValue, "count must be a whole number of at least 1, got 0"),
    ],
)
def test_arguments_outside_the_rule(call, error, rule):
    with pytest.raises(error, match=rule):
        call(transducer())
