"""Tables of runs, widths of equal size, and the search, against what can be worked out by hand or by brute force."""

from __future__ import annotations

import dataclasses

import pandas
import pytest

from ostinato.errors import DataError, InvalidValue
from ostinato.tasks.settings import TrainingSettings
from ostinato.training.match import nearest_width
from ostinato.training.runs_file import Run, RunsFile
from ostinato.training.search import Best, candidates, full_settings, search, trial_settings

RUN = Run("lstm-0", "lstm", 24, 0.01, 0, 12_345, 100, 4.0, "test", "f", {"accuracy": 0.875, "loss": 0.3})


def test_what_is_written_is_read_back_and_is_a_table(tmp_path):
    table = RunsFile(tmp_path / "runs.csv")
    assert table.read() == []
    other = dataclasses.replace(RUN, run="gru-0", cell="my_cells:A, B", figures={"accuracy": 1 / 3})
    table.write([RUN, other])
    assert table.read() == [RUN, other]
    found = pandas.read_csv(table.path)
    assert list(found["steps_per_second"]) == [25.0, 25.0]
    assert found["loss"].isna().tolist() == [False, True]


@pytest.mark.parametrize(
    ("text", "message"),
    [("a,b\n1,2\n", "lacks the column run"), ("", "lacks the column run")],
)
def test_another_table_is_refused(tmp_path, text, message):
    (tmp_path / "runs.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        RunsFile(tmp_path / "runs.csv").read()


@pytest.mark.parametrize("damage", ["lstm-1,lstm,many", "lstm-1,lstm", "lstm-1" + ",1" * 30])
def test_a_damaged_line_is_named(tmp_path, damage):
    table = RunsFile(tmp_path / "runs.csv")
    table.write([RUN])
    table.path.write_text(table.path.read_text() + damage + "\n")
    with pytest.raises(DataError, match="line 3, is no run"):
        table.read()


@pytest.mark.parametrize("wanted", [8, 100, 4_321, 99_999, 1_000_000])
def test_the_nearest_width_is_the_nearest_of_all(wanted):
    def count(width):
        return 3 * width * (width + 5) + 7

    best = min(range(1, 2000), key=lambda width: abs(count(width) - wanted))
    try:
        assert nearest_width(count, wanted) == best
    except InvalidValue:
        assert not wanted / 2 <= count(best) <= wanted * 2


@pytest.mark.parametrize("wanted", [300, 4_321, 99_999])
def test_widths_that_a_cell_refuses_are_passed_over(wanted):
    def count(width):
        return None if width % 6 or width < 12 else 3 * width * (width + 5) + 7

    best = min(range(12, 2000, 6), key=lambda width: abs(count(width) - wanted))
    if wanted == 300:
        with pytest.raises(InvalidValue, match="the nearest, 12, gives 619"):
            nearest_width(count, wanted)
    else:
        assert nearest_width(count, wanted) == best
    with pytest.raises(InvalidValue, match="the cell refuses every width from 1 to 64"):
        nearest_width(lambda width: None, wanted)


def test_a_size_that_no_width_has_is_refused():
    with pytest.raises(InvalidValue, match="no width gives about 10 parameters: the nearest, 1, gives 1,000,001"):
        nearest_width(lambda width: 1_000_000 + width, 10)


def test_candidates_begin_with_what_is_there_and_stay_near_it():
    settings = TrainingSettings(hidden_size=100, learning_rate=0.01, seed=3)
    found = candidates(settings, 200)
    assert found[0] == (100, 0.01)
    assert found == candidates(settings, 200)
    assert found[1:] != candidates(settings.replaced({"seed": 4}), 200)[1:]
    widths, rates = zip(*found[1:], strict=True)
    assert 48 <= min(widths) < 64
    assert 160 < max(widths) <= 200
    assert all(width % 8 == 0 for width in widths)
    assert 0.0025 <= min(rates) < 0.003
    assert 0.033 < max(rates) <= 0.04


def test_a_time_budget_is_shared():
    timed = TrainingSettings(time_budget=100.0)
    trial, full = trial_settings(timed, 5, None), full_settings(timed, Best(8, 0.1, "trial-2"))
    assert (5 * trial.time_budget + full.time_budget, full.hidden_size, full.learning_rate) == (100.0, 8, 0.1)
    stepped = trial_settings(TrainingSettings(epochs=2.0), 5, 1001)
    assert (stepped.steps, stepped.epochs) == (251, None)


def test_the_best_trial_wins_and_no_trial_runs_twice(tmp_path):
    table, tried = RunsFile(tmp_path / "tune.csv"), []
    settings = TrainingSettings(hidden_size=32, steps=5)

    def run(settings, name):
        if len(tried) == 3:
            return None
        tried.append(name)
        score = -abs(settings.hidden_size - 48)
        return dataclasses.replace(
            RUN,
            run=name,
            hidden_size=settings.hidden_size,
            learning_rate=settings.learning_rate,
            figures={"score": score},
        )

    assert search(settings, 5, table, "f", run) is None
    assert [one.run for one in table.read()] == tried == ["trial-1", "trial-2", "trial-3"]
    tried.clear()
    best = search(settings, 5, table, "f", run)
    assert tried == ["trial-4", "trial-5"]
    wanted = min(candidates(settings, 5), key=lambda pair: abs(pair[0] - 48))
    assert (best.hidden_size, best.learning_rate) == wanted
    tried.clear()
    search(settings, 3, table, "other files", run)
    assert len(tried) == 3
