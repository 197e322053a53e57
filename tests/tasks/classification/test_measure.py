"""Figures against scikit-learn's."""

from __future__ import annotations

import random
import warnings

import pytest
import torch
from torch.nn import functional as F

from ostinato.tasks.classification import measure

sklearn_metrics = pytest.importorskip("sklearn.metrics")

CLASSES = ["a", "b", "c", "d"]


@pytest.mark.parametrize("seed", range(3))
def test_classes(seed):
    draw = random.Random(seed)
    right = [draw.choice("abc") for _ in range(50)] + ["stranger"] * 2
    predicted = [draw.choice([name if name in CLASSES else "a", "a", "b"]) for name in right]
    figures = measure.of_classes(predicted, right, CLASSES)
    assert figures["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(right, predicted))
    assert figures["macro_f1"] == pytest.approx(sklearn_metrics.f1_score(right, predicted, average="macro"))
    matrix = measure.confusion(predicted, right, CLASSES)
    names = [*CLASSES, "stranger"]
    expected = sklearn_metrics.confusion_matrix(right, predicted, labels=names)
    assert [[matrix[one][other] for other in names] for one in names] == expected.tolist()
    assert measure.unseen(right, CLASSES) == {"stranger": 2}


@pytest.mark.parametrize("count", [1, 2])
def test_few_classes(count):
    names = ["a", "b"][:count]
    assert measure.of_classes(names, names, names) == {"accuracy": 1, "macro_f1": 1}
    assert measure.confusion(names, names, names) == {
        one: {other: int(one == other) for other in names} for one in names
    }


@pytest.mark.parametrize("seed", range(3))
def test_sets(seed):
    draw = random.Random(seed)
    right = [tuple(name for name in "abc" if draw.random() < 0.4) for _ in range(40)]
    predicted = [tuple(name for name in "abc" if draw.random() < 0.5) for _ in range(40)]
    figures = measure.of_sets(predicted, right, "abc")
    truth, answers = measure.indicators(right, "abc").numpy(), measure.indicators(predicted, "abc").numpy()
    assert figures["micro_f1"] == pytest.approx(sklearn_metrics.f1_score(truth, answers, average="micro"))
    assert figures["macro_f1"] == pytest.approx(sklearn_metrics.f1_score(truth, answers, average="macro"))
    assert figures["exact_match"] == pytest.approx(sklearn_metrics.accuracy_score(truth, answers))


def test_numbers():
    right, predicted = torch.randn(30, 2), torch.randn(30, 2)
    figures = measure.of_numbers(predicted, right)
    for name, function in (("mae", "mean_absolute_error"), ("mse", "mean_squared_error"), ("r2", "r2_score")):
        assert figures[name] == pytest.approx(
            getattr(sklearn_metrics, function)(right.numpy(), predicted.numpy()), rel=1e-5
        )
    assert set(measure.of_numbers(right[:1], right[:1])) == {"mae", "mse"}


def test_surprise_is_torchs_cross_entropy():
    output, weights = torch.randn(6, 4), torch.tensor([1.0, 2.0, 0.5, 1.5])
    right = list("abcdab")
    truth = torch.tensor([CLASSES.index(name) for name in right])
    for given in (None, weights):
        expected = float(F.cross_entropy(output, truth, weight=given))
        assert measure.surprise(output.softmax(1), right, CLASSES, given) == {"loss": pytest.approx(expected, rel=1e-5)}
    stranger = measure.surprise(output.softmax(1), [*right[:5], "stranger"], CLASSES)
    assert stranger["loss"] == pytest.approx(float(F.cross_entropy(output[:5], truth[:5])), rel=1e-5)
    assert measure.surprise(output[:1].softmax(1), ["stranger"], CLASSES) == {}


def test_surprise_of_sets_is_torchs_binary_cross_entropy():
    output, weights = torch.randn(3, 4), torch.tensor([1.0, 2.0, 0.5, 1.5])
    right = [("a", "c"), (), ("d",)]
    truth = measure.indicators(right, CLASSES)
    for given in (None, weights):
        expected = float(F.binary_cross_entropy_with_logits(output, truth, pos_weight=given))
        found = measure.surprise_of_sets(output.sigmoid(), right, CLASSES, given)
        assert found == {"loss": pytest.approx(expected, rel=1e-5)}


def test_a_probability_of_zero_is_no_infinity():
    assert measure.surprise(torch.tensor([[1.0, 0.0]]), ["b"], ["a", "b"])["loss"] < 100


def test_no_warning_where_a_class_is_never_predicted():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        measure.of_classes(["a", "a"], ["a", "b"], ["a", "b", "c"])
