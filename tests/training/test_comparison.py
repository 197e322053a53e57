"""Comparisons: paired seeds, equal sizes, nothing done twice; and a search that leaves the test part alone."""

from __future__ import annotations

import csv

import pytest

from ostinato.errors import InvalidValue, ModelFolderError
from ostinato.models.cell_names import cell_named
from ostinato.models.folder import load
from ostinato.tasks.task import Prepared
from ostinato.training.comparison import compare
from ostinato.training.keeper import Keeper
from ostinato.training.match import parameters_at
from ostinato.training.run import train
from ostinato.training.tune import tune
from tests.training.toy import ToyKind, ToyNetwork, ToySettings

SHORT = {"steps": 4, "validate_every": 4, "device": "cpu", "batch_size": 16, "warm_up": 5}


@pytest.fixture
def settings(toy):
    return ToySettings(hidden_size=12, **SHORT)


@pytest.fixture
def bench(numbers, settings, tmp_path):
    said = []

    def run(cells=("lstm", "rnn"), **changes):
        said.clear()
        arguments = {"task": "toy", "seeds": 2, "settings": settings, "quiet": True, "say": said.append} | changes
        return compare([numbers], cells, tmp_path / "c", **arguments)

    run.said = said
    return run


def test_sizes_are_counted_without_building(toy, numbers, tmp_path):
    train(numbers, tmp_path / "m", hidden_size=5, **toy, steps=1)
    count = parameters_at(load(tmp_path / "m"), cell_named("gru"))
    for width in (1, 7, 40):
        network = ToyNetwork(cell_named("gru"), width, 0.0)
        assert count(width) == sum(parameter.numel() for parameter in network.parameters())


def test_every_cell_meets_every_seed_at_the_same_size(bench, tmp_path):
    found = bench(match_parameters=True)
    assert [(run.cell, run.seed) for run in found.runs] == [("lstm", 0), ("rnn", 0), ("lstm", 1), ("rnn", 1)]
    sizes = {run.cell: run.parameters for run in found.runs}
    widths = {run.cell: run.hidden_size for run in found.runs}
    assert widths["lstm"] == 12
    every = [
        abs(sum(p.numel() for p in ToyNetwork(cell_named("rnn"), width, 0.0).parameters()) - sizes["lstm"])
        for width in range(1, 60)
    ]
    assert widths["rnn"] == 1 + every.index(min(every))
    assert any(f"rnn: hidden size {widths['rnn']}, {sizes['rnn']:,} parameters" in line for line in bench.said)
    assert len({run.figures["loss"] for run in found.runs}) == 4
    for run in found.runs:
        model = load(tmp_path / "c" / run.run)
        assert model.content()["hidden_size"] == run.hidden_size
        assert model.training["test"]["loss"] == run.figures["loss"]
    assert found.picture.read_bytes().startswith(b"\x89PNG")


def test_a_run_is_that_of_the_train_command(bench, numbers, toy, tmp_path):
    found = bench(cells=["rnn"], seeds=1)
    alone = train(numbers, tmp_path / "m", cell="rnn", hidden_size=12, **(toy | SHORT | {"dropout": 0.0}))
    assert alone.test == found.runs[0].figures


def test_what_is_done_is_not_done_again(bench, monkeypatch, tmp_path):
    bench(cells=["rnn"], seeds=1)
    first = (tmp_path / "c" / "runs.csv").read_text()
    done = []
    real = ToyKind.prepare

    def counted(self, files, settings):
        done.append((settings.cell, settings.seed))
        return real(self, files, settings)

    monkeypatch.setattr(ToyKind, "prepare", counted)
    found = bench(cells=["rnn", "gru"], seeds=2)
    assert done == [("gru", 0), ("rnn", 1), ("gru", 1)]
    assert (tmp_path / "c" / "runs.csv").read_text().startswith(first)
    assert [run.run for run in found.runs] == ["rnn-0", "gru-0", "rnn-1", "gru-1"]
    done.clear()
    assert bench(cells=["rnn", "gru"], seeds=2) == found
    assert done == []
    bench(cells=["rnn"], seeds=1, overwrite=True)
    assert done == [("rnn", 0)]


def test_an_interrupted_run_is_gone_on_with(bench, monkeypatch):
    whole = bench(cells=["rnn"], seeds=1).runs[0]
    steps = []
    real = Keeper.on_train_batch_end

    def interrupted(self, trainer, learner, *rest):
        steps.append(learner.global_step)
        self.interrupted = len(steps) == 2
        real(self, trainer, learner, *rest)

    monkeypatch.setattr(Keeper, "on_train_batch_end", interrupted)
    stopped = bench(cells=["rnn"], seeds=1, overwrite=True)
    assert (stopped.interrupted, stopped.runs, steps) == (True, (), [1, 2])
    again = bench(cells=["rnn"], seeds=1)
    assert steps == [1, 2, 3, 4]
    assert (again.interrupted, again.runs[0].figures) == (False, whole.figures)


def test_what_is_refused(bench, tmp_path):
    with pytest.raises(InvalidValue, match="lstm is named twice"):
        bench(cells=["lstm", "gru", "lstm"])
    with pytest.raises(InvalidValue, match="a comparison needs cells"):
        bench(cells=[])
    with pytest.raises(InvalidValue, match="seeds must be at least 1, got 0"):
        bench(seeds=0)
    with pytest.raises(InvalidValue, match="did you mean 'lstm'"):
        bench(cells=["lstmm"])
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "letter.txt").write_text("dear")
    with pytest.raises(ModelFolderError, match="no folder of a comparison"):
        bench()


def test_a_search_never_looks_at_the_test_part(numbers, settings, monkeypatch, tmp_path):
    def closed(*_):
        raise AssertionError("the test part is not for this")

    real = ToyKind.prepare

    def without_test(self, files, settings):
        ready = real(self, files, settings)
        return Prepared(ready.task, ready.notes, ready.split, closed, closed, "test")

    monkeypatch.setattr(ToyKind, "prepare", without_test)
    said = []
    found = tune([numbers], "toy", settings, 3, tmp_path / "tune.csv", quiet=True, say=said.append)
    with open(tmp_path / "tune.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["run"] for row in rows] == ["trial-1", "trial-2", "trial-3"]
    assert {row["part"] for row in rows} == {"validation"}
    assert {row["steps"] for row in rows} == {"1"}
    best = min(rows, key=lambda row: float(row["loss"]))
    assert float(best["score"]) == -float(best["loss"])
    assert (found.hidden_size, found.learning_rate) == (int(best["hidden_size"]), float(best["learning_rate"]))
    assert found.steps == 4
    assert said[-1].startswith(f"Best: {best['run']}, hidden size {best['hidden_size']}")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted({"tune.csv", numbers.name})


def test_one_trial_is_no_search(numbers, settings, tmp_path):
    with pytest.raises(InvalidValue, match="tune must be at least 2 trials, got 1"):
        tune([numbers], "toy", settings, 1, tmp_path / "tune.csv")
