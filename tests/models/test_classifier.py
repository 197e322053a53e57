"""Classifiers: what they answer, alone and in a list, and the way to a folder and back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from ostinato.cells.library.gru import GRUCell
from ostinato.cells.library.lstm import LSTMCell
from ostinato.data.tokens import build_tokens
from ostinato.errors import InvalidType, InvalidValue, ModelFolderError
from ostinato.models.classifier import Classifier, Labelled, LabelledSet
from ostinato.models.ensemble import Ensemble
from ostinato.models.folder import load, save
from ostinato.models.sequence_inputs import Series, Texts
from ostinato.models.sequence_network import SequenceNetwork, SequenceSize

TEXTS = ["to be", "or not to be", "that", "is the question"]


def of_texts(kind="characters", separator=None, **options) -> Classifier:
    tokens = build_tokens(TEXTS, kind, **options)
    network = SequenceNetwork(SequenceSize(outputs=3, tokens=tokens.size, hidden_size=5, dropout=0.5), LSTMCell)
    return Classifier(network, Texts(tokens), ("a", "b", "c"), separator, {"inputs": ["text"], "target": "kind"})


def of_series(channels=("x", "y"), pooling="attention") -> Classifier:
    size = SequenceSize(outputs=2, channels=len(channels), hidden_size=4, pooling=pooling)
    network = SequenceNetwork(size, GRUCell)
    network.scale(torch.arange(1.0, 1 + len(channels)), torch.full((len(channels),), 2.0))
    return Classifier(network, Series(channels), ("no", "yes"))


def test_a_list_is_answered_as_its_members_alone():
    """Each row of a batch, whatever stands beside it, is what the network alone says of it in evaluation mode."""
    model = of_texts()
    model.network.train()
    scores = model.scores(TEXTS)
    assert model.network.training
    model.network.eval()
    for text, row in zip(TEXTS, scores, strict=True):
        tokens = torch.tensor([model.inputs.tokens.vocabulary.encode(list(text))]).T
        alone = model.network(tokens, torch.tensor([len(text)])).softmax(1)[0]
        torch.testing.assert_close(row, alone)
        torch.testing.assert_close(model.scores(text), alone)


def test_predictions_are_the_likeliest_class_and_its_probability():
    model = of_texts()
    scores = model.scores(TEXTS)
    for answer, row in zip(model.predict(TEXTS), scores, strict=True):
        assert isinstance(answer, Labelled)
        assert answer == (model.labels[int(row.argmax())], float(row.max()))
    alone = model.predict(TEXTS[0])
    assert alone == (model.predict(TEXTS)[0].label, pytest.approx(model.predict(TEXTS)[0].probability))
    torch.testing.assert_close(scores.sum(1), torch.ones(4))


def test_several_labels_are_decided_one_by_one():
    model = of_texts(separator=";")
    assert model.from_scores(torch.tensor([0.9, 0.2, 0.5])) == LabelledSet(("a", "c"), (pytest.approx(0.9), 0.5))
    assert model.from_scores(torch.tensor([0.1, 0.2, 0.3])) == LabelledSet((), ())
    output = torch.randn(2, 3)
    torch.testing.assert_close(model.answers(output), 1 / (1 + torch.exp(-output)))


def test_a_series_may_be_a_tensor_an_array_or_lists():
    model = of_series()
    series = torch.randn(5, 2)
    forms = [series, series.numpy(), series.tolist(), [tuple(step) for step in series.tolist()]]
    for form in forms:
        torch.testing.assert_close(model.scores(form), model.scores(series))
    assert model.scores(forms).shape == (4, 2)
    single = of_series(("x",))
    column = torch.randn(6)
    for form in (column, column.unsqueeze(1), column.tolist()):
        torch.testing.assert_close(single.scores(form), single.scores([column])[0])


def test_a_long_sequence_among_short_ones_is_read_alone(monkeypatch):
    model, sizes = of_series(), []
    model.network.register_forward_pre_hook(lambda module, inputs: sizes.append(inputs[0].shape[:2]))
    series = [torch.randn(20_000, 2), *(torch.randn(3, 2) for _ in range(9))]
    scores = model.scores(series)
    assert sorted(sizes) == [(3, 9), (20_000, 1)]
    torch.testing.assert_close(scores[4], model.scores(series[4]))


def test_encodings_are_what_the_head_reads():
    model = of_series()
    series = [torch.randn(5, 2), torch.randn(2, 2)]
    vectors = model.encode(series)
    assert vectors.shape == (2, 8)
    torch.testing.assert_close(model.network.head(vectors).softmax(1), model.scores(series))
    torch.testing.assert_close(model.encode(series[0]), vectors[:1])


@pytest.mark.parametrize(
    ("make", "x", "error", "message"),
    [
        (of_texts, "", InvalidValue, "the text must hold at least one of the characters"),
        (of_texts, ["to", ""], InvalidValue, "text 2 must hold"),
        (lambda: of_texts("words"), ["to", "  "], InvalidValue, "text 2 must hold at least one of the words"),
        (of_texts, ["to", 3], InvalidType, "text 2 must be a str, got int: this model reads texts"),
        (of_texts, 3, InvalidType, "a text or a list of such is needed, got int"),
        (of_series, torch.zeros(0, 2), InvalidValue, r"must be \(T, 2\), with T steps from 1 .* got \(0, 2\)"),
        (of_series, torch.zeros(5, 3), InvalidValue, r"channels x, y, got \(5, 3\)"),
        (of_series, [[1.0, 2.0], [float("nan"), 1.0]], InvalidValue, "got nan in channel 'x' at step 1"),
        (of_series, "calm", InvalidType, "must be numbers"),
        (of_series, [[[1.0, 2.0], [3.0]]], InvalidType, "series 1 must be numbers"),
    ],
)
def test_what_cannot_be_read(make, x, error, message):
    with pytest.raises(error, match=message):
        make().predict(x)


@pytest.mark.parametrize(
    "make",
    [
        of_texts,
        of_series,
        lambda: of_texts("words", ";", hashed=50),
        lambda: of_texts("words", most=3),
        lambda: of_texts("subwords", most=280),
    ],
)
def test_a_folder_gives_the_same_answers(make, tmp_path: Path):
    model = make()
    model.training = {"figures": {"accuracy": 0.5}}
    save(model, tmp_path)
    found = load(tmp_path)
    x = TEXTS if isinstance(model.inputs, Texts) else [torch.randn(4, 2), torch.randn(1, 2)]
    assert isinstance(found, Classifier)
    assert torch.equal(found.scores(x), model.scores(x))
    assert (found.labels, found.separator, found.columns) == (model.labels, model.separator, model.columns)
    assert found.training == model.training
    assert found.content() == model.content()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": ["a", "a", "b"]}, "without repeats"),
        ({"labels": ["a"]}, "at least 2"),
        ({"labels": ["a", "b", "c", "d"]}, "must be F32 "),
        ({"separator": 3}, "separator must be null or a short text"),
        ({"pooling": "median"}, "pooling must be one of last, mean, max, attention"),
        ({"hidden_size": 1 << 20}, "hidden_size must be a whole number"),
        ({"input": {"kind": "picture"}}, "kind must be one of text, series"),
        ({"input": {"kind": "series", "channels": ["x"] * 8}}, "model.safetensors must hold"),
        ({"bidirectional": "yes"}, "bidirectional must be true or false"),
    ],
)
def test_a_folder_is_not_believed(change, message, tmp_path: Path):
    save(of_texts(), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    holder = next(value for value in [config, *config.values()] if isinstance(value, dict) and "labels" in value)
    holder.update(change)
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelFolderError, match=message):
        load(tmp_path)


def test_an_ensemble_answers_with_the_mean_of_the_probabilities():
    members = [of_texts(), of_texts()]
    mean = (members[0].scores(TEXTS) + members[1].scores(TEXTS)) / 2
    answers = Ensemble(members, {}).predict(TEXTS)
    assert [answer.probability for answer in answers] == pytest.approx(mean.amax(1).tolist())
    assert [answer.label for answer in answers] == [members[0].labels[best] for best in mean.argmax(1)]
