"""From files to a trained forecaster and back to rows."""

from __future__ import annotations

import math

import pytest
import torch

from ostinato.data.preview import preview
from ostinato.errors import DataError, InvalidValue
from ostinato.models.ensemble import Ensemble
from ostinato.models.folder import load, save
from ostinato.tasks.forecasting.kind import TASK
from ostinato.tasks.forecasting.settings import ForecastSettings

SMALL = ForecastSettings(target=("load",), window=24, horizon=6, hidden_size=8, dropout=0.0)


def trained(prepared, steps=60, rate=0.01):
    """The model after some plain steps."""
    torch.manual_seed(0)
    task = prepared.task
    optimizer = torch.optim.Adam(task.network.parameters(), lr=rate)
    for step in range(steps):
        loss, _ = task.loss(task.batch(step), None)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return task.finished({"split": prepared.split})


@pytest.fixture
def prepare(waves):
    return lambda **changes: TASK.prepare([waves], SMALL.replaced(changes))


@pytest.mark.parametrize("output", ["direct", "autoregressive"])
def test_it_learns_what_persistence_cannot_tell(prepare, output):
    prepared = prepare(output=output)
    model = trained(prepared)
    simple = prepared.baselines()
    assert list(simple) == ["persistence", "seasonal naive (24)", "ridge", "ridge, last value"]
    figures = prepared.test(model)
    assert set(figures) == set(simple["ridge"])
    assert figures["mse_standardised"] < 0.25 * simple["persistence"]["mse_standardised"]
    score = prepared.task.validate()
    assert (score.main, score.higher_is_better) == ("mse_standardised", False)
    assert model.network.training


def test_what_is_known_of_the_future_is_used(prepare):
    """Only the holidays' column tells when the wave is lifted."""
    without, beside = prepare(), prepare(known=("holiday",))
    figures = [one.test(trained(one, 150)) for one in (without, beside)]
    assert figures[1]["mse_standardised"] < 0.5 * figures[0]["mse_standardised"]


def test_quantiles_are_fitted(prepare):
    prepared = prepare(quantiles="0.05,0.5,0.95", inputs=("wind",))
    before = prepared.task.validate()
    model = trained(prepared)
    after = prepared.task.validate()
    assert after.main == "pinball"
    assert after.value < 0.6 * before.value
    assert model.predict(torch.ones(24, 2), time="2024-02-01").shape == (6, 3)


def test_scales_are_of_the_training_part_alone(prepare):
    prepared = prepare(split="240r/80r/80r", known=("holiday",))
    waves = [50 + 10 * math.sin(2 * math.pi * i / 24) + 5 * (i // 24 % 5 == 0) for i in range(240)]
    scale = prepared.task.model.form.scales["load"]
    assert scale.mean == pytest.approx(sum(waves) / 240, abs=1e-4)
    assert scale.deviation == pytest.approx(torch.tensor(waves).std(correction=0).item(), abs=1e-4)
    assert prepared.split["series"]["load"]["rows"] == [240, 320, 400]
    assert prepared.split["series"]["load"]["ends"][0] == "2024-01-11 00:00:00"
    assert prepared.part == "test"
    assert prepare(split="0.8/0.2/0").part == "validation"


def test_a_batch_is_a_function_of_its_number(prepare):
    one, other = prepare().task, prepare().task
    steps = [0, 5, 1, one.batches_per_epoch, 0]
    first = [one.batch(step) for step in steps]
    for (windows, right), step in zip(first, steps, strict=True):
        again = other.batch(step)
        assert torch.equal(windows.past, again[0].past)
        assert torch.equal(right, again[1])
    assert not torch.equal(first[0][1], first[3][1])
    every = torch.cat([one.batch(step)[1] for step in range(one.batches_per_epoch)])
    assert len(every.unique(dim=0)) <= len(every) == one.batches_per_epoch * 128


def test_rows_for_what_comes(prepare, waves, tmp_path):
    model = trained(prepare(), 5)
    save(model, tmp_path / "model")
    rows = list(TASK.predict(load(tmp_path / "model"), [waves], {}))
    assert [row["horizon"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert {row["origin"] for row in rows} == {"2024-01-17 15:00:00"}
    assert rows[0]["time"] == "2024-01-17 16:00:00"
    history = [float(line.split(",")[1]) for line in waves.read_text().splitlines()[1:]]
    expected = model.predict(history, time="2024-01-17 15:00").tolist()
    assert [row["forecast"] for row in rows] == pytest.approx(expected, rel=1e-5)
    mean = list(TASK.predict(Ensemble([model, model], {}), [waves], {}))
    assert [row["forecast"] for row in mean] == pytest.approx(expected, rel=1e-5)


def test_a_backtest_has_every_origin_and_the_figures_follow_from_it(prepare, waves):
    model = trained(prepare(), 5)
    rows = list(TASK.predict(model, [waves], {"backtest": True}))
    assert len(rows) == (400 - 24 - 6 + 1) * 6
    for start in (0, 1, 6, 2221, len(rows)):
        assert list(TASK.predict(model, [waves], {"backtest": True, "start": start})) == rows[start:]
    error = torch.tensor([row["forecast"] - row["actual"] for row in rows], dtype=torch.float64)
    model.training.clear()
    figures = TASK.evaluate(model, [waves], {})
    assert figures["mse"] == pytest.approx(float(error.square().mean()), rel=1e-4)
    assert (figures["origins"], figures["part"]) == (371, "all")


def test_the_file_it_learnt_from_is_scored_by_its_test_part(prepare, waves, write):
    prepared = prepare()
    model = trained(prepared, 5)
    figures = TASK.evaluate(model, [waves], {})
    assert figures["part"] == "test"
    assert figures["mse"] == prepared.test(model)["mse"]
    assert figures["baselines"]["persistence"] == prepared.baselines()["persistence"]
    other = write(waves.read_text().splitlines()[:-1], "other.csv")
    assert TASK.evaluate(model, [other], {})["part"] == "all"


def test_groups(write, hours):
    lines = [f"{hour},{shop},{(n + 1) * (i % 7)}" for n, shop in enumerate("ab") for i, hour in enumerate(hours(90))]
    path = write(["when,shop,sold", *lines])
    settings = SMALL.replaced({"target": "sold", "group": "shop", "window": 8, "season": 7})
    prepared = TASK.prepare([path], settings)
    model = trained(prepared, 30)
    rows = list(TASK.predict(model, [path], {}))
    assert [row["shop"] for row in rows] == ["a"] * 6 + ["b"] * 6
    assert list(TASK.predict(model, [path], {"start": 8})) == rows[8:]
    # b is twice a, and each is standardised by itself.
    assert [row["forecast"] for row in rows[6:]] == pytest.approx([2 * row["forecast"] for row in rows[:6]], abs=1e-3)
    assert any("2 series, 180 rows" in note for note in prepared.notes)


def test_notes_say_what_was_guessed(prepare):
    notes = " ".join(prepare().notes)
    for said in ("time column: when", "not read: wind, holiday", "a season of 24 steps", "look back into the part"):
        assert said in notes


@pytest.mark.parametrize(
    ("changes", "error", "rule"),
    [
        ({"horizon": 300}, DataError, "series load has 400 rows, 280 of them .* needs 324"),
        ({"horizon": 50}, DataError, "the validation part of series load has 40 rows"),
        ({"split": "12/4/4"}, DataError, "needs 14,400 rows, and series load has 400"),
        ({"inputs": "winds"}, DataError, "no column 'winds' .*did you mean 'wind'"),
        ({"cell": "lstn"}, InvalidValue, "did you mean 'lstm'"),
    ],
)
def test_what_cannot_be_learnt(prepare, changes, error, rule):
    with pytest.raises(error, match=rule):
        prepare(**changes)


def test_leakage_is_refused(waves, write):
    copied = [f"{line},{line.split(',')[1] if i else 'again'}" for i, line in enumerate(waves.read_text().splitlines())]
    with pytest.raises(DataError, match=r"'again' .* is the target 'load' under another name"):
        TASK.prepare([write(copied, "copied.csv")], SMALL.replaced({"known": "again"}))


def test_a_constant_series_is_said(write, hours):
    path = write(["when,load", *(f"{hour},7.1" for hour in hours(300))])
    prepared = TASK.prepare([path], SMALL)
    assert any("is constant, or repeats its season exactly, so there is no MASE" in note for note in prepared.notes)
    figures = prepared.test(trained(prepared, 2))
    assert "mase" not in figures
    assert figures["mae"] < 1e-3


def test_prediction_files_that_do_not_fit(prepare, waves, write):
    model = trained(prepare(known=("holiday",)), 1)
    lines = waves.read_text().splitlines()
    with pytest.raises(DataError, match="series load has 0 rows past its last target, and the model reads holiday"):
        next(TASK.predict(model, [waves], {}))
    ahead = [*lines[:390], *(f"{line.split(',')[0]},,,1" for line in lines[390:396])]
    assert len(list(TASK.predict(model, [write(ahead, "ahead.csv")], {}))) == 6
    with pytest.raises(DataError, match="no column 'holiday'"):
        next(TASK.predict(model, [write([line.rpartition(",")[0] for line in lines], "less.csv")], {}))
    with pytest.raises(DataError, match="series load has 20 rows, and the model reads windows of 24"):
        next(TASK.predict(model, [write(lines[:21], "short.csv")], {}))
    with pytest.raises(DataError, match="rows are 7200 seconds apart, and the model learnt from rows 3600"):
        next(TASK.predict(model, [write(lines[:1] + lines[1::2], "slow.csv")], {}))


def test_what_is_recognised(waves, write):
    assert TASK.recognise(preview([waves])) == "column 'when' holds times, and all others numbers"
    named = write(
        ["day,shop,sold", *(f"2024-01-{day:02d},{'ab'[day % 2]},{day}.5" for day in range(1, 29))], "named.csv"
    )
    assert TASK.recognise(preview([named])) is None
    texts = write(["text,load", "good,1", "bad,2"], "texts.csv")
    assert TASK.recognise(preview([texts])) is None


def test_the_baselines_of_a_known_file(data):
    """Persistence and ridge as computed once by other code: 0.0343 and 0.0264."""
    settings = ForecastSettings(target=("OT",), split="12/4/4")
    prepared = TASK.prepare([data / "ETTh1.csv"], settings)
    assert prepared.split["series"]["OT"]["rows"] == [8640, 11520, 14400]
    simple = prepared.baselines()
    assert simple["persistence"]["mse_standardised"] == pytest.approx(0.0343, abs=5e-5)
    assert simple["ridge, last value"]["mse_standardised"] == pytest.approx(0.0264, abs=5e-5)
    # Before it has learnt, the network is persistence.
    assert prepared.test(prepared.task.model) == pytest.approx(simple["persistence"], rel=1e-5)
