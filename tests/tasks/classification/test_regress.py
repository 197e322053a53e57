"""From files to a trained regressor, its figures and its predictions."""

from __future__ import annotations

import numpy
import pytest
import torch

from ostinato.data.preview import preview
from ostinato.errors import DataError
from ostinato.tasks.classification.baselines import LinearNumbers, summary
from ostinato.tasks.classification.regress import TASK
from ostinato.tasks.classification.settings import RegressSettings
from tests.tasks.classification.conftest import SMALL, drawn, texts, trained, write_csv

SETTINGS = RegressSettings(**SMALL)


def with_(**changes):
    return SETTINGS.replaced(changes)


@pytest.fixture
def lengths(tmp_path):
    """How many a a word has, and twice that."""
    rows = [
        {"word": row["word"], "count": row["word"].count("a"), "double": 2.0 * row["word"].count("a")}
        for row in drawn(texts(), 200)
    ]
    return write_csv(tmp_path / "counts.csv", rows)


def test_one_target(lengths):
    prepared = TASK.prepare([lengths], with_(inputs="word", target="count"))
    model = trained(prepared, 200)
    figures, baselines = prepared.test(model), prepared.baselines()
    assert figures["r2"] > 0.8 > baselines["mean"]["r2"]
    assert set(baselines) == {"mean", "linear model of n-grams"}
    rows = list(TASK.predict(model, [lengths], {}))
    errors = [row["prediction"] - row["count"] for row in rows]
    evaluated = TASK.evaluate(model, [lengths], {})
    assert evaluated["mse"] == pytest.approx(numpy.square(errors).mean(), rel=1e-4)
    assert evaluated["mae"] == pytest.approx(numpy.abs(errors).mean(), rel=1e-4)


def test_several_targets(lengths):
    prepared = TASK.prepare([lengths], with_(inputs="word", target="count,double"))
    model = trained(prepared, 60)
    assert model.deviations[1] == pytest.approx(2 * float(model.deviations[0]), rel=1e-5)
    row = next(TASK.predict(model, [lengths], {}))
    assert list(row) == ["word", "count", "double", "prediction_count", "prediction_double"]
    assert row["prediction_double"] == pytest.approx(model.predict(row["word"])["double"], rel=1e-4)
    assert set(TASK.evaluate(model, [lengths], {})["targets"]) == {"count", "double"}


def test_series(series):
    settings = with_(group="unit", time="day", inputs=("load",), target="slope")
    prepared = TASK.prepare([series], settings)
    assert prepared.test(trained(prepared, 80))["r2"] > 0.6 > prepared.baselines()["mean"]["r2"]
    assert set(prepared.baselines()) == {"mean", "linear model of summary statistics"}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [{"word": "ab", "price": 1.5}, {"word": "abc", "price": ""}],
            "line 3: price must be a finite number .* got none",
        ),
        (
            [{"word": "ab", "price": 1.5}, {"word": "abc", "price": "dear"}],
            "line 2: price must be a finite number|line 3",
        ),
        ([{"word": "a" * n, "price": 3} for n in range(1, 30)], "price is the same in all training rows"),
    ],
)
def test_what_cannot_be_learnt(rows, message, tmp_path):
    with pytest.raises(DataError, match=message):
        TASK.prepare([write_csv(tmp_path / "rows.csv", rows)], with_(inputs="word", target="price"))


def test_tables_are_recognised(tmp_path):
    rows = [{"ad": f"house number {n} with a garden", "price": 1000.5 + n} for n in range(30)]
    assert "column price holds numbers" in TASK.recognise(preview([write_csv(tmp_path / "rows.csv", rows)]))


def test_a_summary_against_numpy():
    series = torch.randn(9, 3)
    found, steps = summary(series).numpy(), series.numpy()
    slopes = [numpy.polyfit(numpy.arange(9), steps[:, channel], 1)[0] for channel in range(3)]
    parts = [steps.mean(0), steps.std(0), steps.min(0), steps.max(0), steps[0], steps[-1], slopes, [9]]
    numpy.testing.assert_allclose(found, numpy.concatenate(parts), rtol=1e-4, atol=1e-5)


def test_the_linear_model_finds_what_is_linear():
    series = [torch.randn(6, 2) for _ in range(60)]
    right = torch.stack([torch.stack([one.mean(), one[-1, 0]]) for one in series])
    said = LinearNumbers(series[:40], right[:40], None).predict(series[40:])
    torch.testing.assert_close(said, right[40:], atol=0.05, rtol=0.05)
