"""The trainer with a task that is none of the built-in ones: whatever it promises holds for any."""

from __future__ import annotations

import csv
import json
import math
import os
import signal

import matplotlib.image
import numpy
import pytest
import torch

from ostinato.errors import DataError, InvalidValue, ModelFolderError, TrainingError
from ostinato.models.folder import load
from ostinato.tasks.task import Score
from ostinato.training.checkpoint import read_checkpoint
from ostinato.training.record import Record, better
from ostinato.training.run import train
from tests.training.toy import ToyNetwork, ToyTask


def stored(folder):
    return json.loads((folder / "config.json").read_text())["training"]


def test_what_a_run_leaves(toy, numbers, tmp_path):
    result = train(numbers, tmp_path / "m", steps=120, validate_every=20, learning_rate=0.03, **toy)
    assert (result.task, result.step, result.part) == ("toy", 120, "validation")
    assert result.test["loss"] < 0.5 * result.baselines["zero"]["loss"], "it learns"
    assert result.test["loss"] == pytest.approx(result.validation.figures["loss"], rel=1e-4)
    rows = list(csv.DictReader((tmp_path / "m" / "metrics.csv").open()))
    names = ["step", "seconds", "learning_rate", "training_loss", "validation_loss", "validation_r2"]
    assert list(rows[0]) == names
    assert [int(row["step"]) for row in rows] == list(range(20, 121, 20))
    assert min(float(row["validation_loss"]) for row in rows) == result.validation.value
    training = stored(tmp_path / "m")
    assert training["test"] == result.test
    assert training["baselines"] == result.baselines
    assert training["validation"] == result.validation.figures
    assert (training["files"], training["split"], training["main"]) == (["numbers.txt"], {"last": 20}, "loss")
    assert load(tmp_path / "m").predict(torch.zeros(2, 7)) == pytest.approx([0.0, 0.0], abs=0.3)


def test_the_best_is_the_highest_where_higher_is_better(toy, numbers, tmp_path):
    options = toy | {"validate_every": 3, "learning_rate": 0.5, "warm_up": 0, "main": "r2", "patience": 4}
    result = train(numbers, tmp_path / "m", steps=3000, **options)
    rows = list(csv.DictReader((tmp_path / "m" / "metrics.csv").open()))
    found = [float(row["validation_r2"]) for row in rows]
    assert result.validation.value == max(found)
    assert result.best_step == 3 * (1 + found.index(max(found)))
    assert result.step == result.best_step + 4 * 3
    assert "no better validation 4 times" in result.stopped_because
    assert result.test["loss"] == pytest.approx(result.validation.figures["loss"], rel=1e-4)
    assert matplotlib.image.imread(result.curve).shape[2] == 4


def test_killed_again_and_again_is_the_same_run(toy, numbers, tmp_path, monkeypatch):
    """Something kills the run now and then; its last session ends with the weights of the run that was not killed."""
    options = toy | {"steps": 50, "validate_every": 15, "checkpoint_every": 4}
    train(numbers, tmp_path / "whole", **options)
    batch, deadly = ToyTask.batch, [3, 10, 27, 44]

    def killed(self, step):
        if step in deadly:
            deadly.remove(step)
            raise MemoryError("killed")
        return batch(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(ToyTask, "batch", killed)
        with pytest.raises(MemoryError):
            train(numbers, tmp_path / "broken", **options)
        while deadly:
            with pytest.raises(MemoryError):
                train(out=tmp_path / "broken", resume=True, quiet=True)
    result = train(out=tmp_path / "broken", resume=True, quiet=True)
    assert result.step == 50
    for get in (last_weights, best_weights, past):
        assert_same(get(tmp_path / "whole"), get(tmp_path / "broken"))
    assert stored(tmp_path / "broken")["test"] == stored(tmp_path / "whole")["test"]


def last_weights(folder):
    return read_checkpoint(folder / "checkpoints" / "last.ckpt")["state_dict"]


def best_weights(folder):
    return load(folder).network.state_dict()


def past(folder):
    rows = csv.DictReader((folder / "metrics.csv").open())
    return {row["step"]: torch.tensor([float(v) for n, v in row.items() if n != "seconds"]) for row in rows}


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def test_workers_change_nothing(toy, numbers, tmp_path):
    for workers in (0, 2):
        train(numbers, tmp_path / str(workers), workers=workers, steps=12, validate_every=5, **toy)
    assert_same(last_weights(tmp_path / "0"), last_weights(tmp_path / "2"))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for its own process")
def test_ctrl_c_is_granted_after_the_step_and_costs_nothing(toy, numbers, tmp_path, monkeypatch):
    options = toy | {"steps": 50, "validate_every": 15}
    train(numbers, tmp_path / "whole", **options)
    batch, pressed = ToyTask.batch, []

    def pressing(self, step):
        if step == 22 and not pressed:
            pressed.append(step)
            os.kill(os.getpid(), signal.SIGINT)
        return batch(self, step)

    monkeypatch.setattr(ToyTask, "batch", pressing)
    result = train(numbers, tmp_path / "broken", **options)
    assert (result.interrupted, result.step, result.test) == (True, 23, None)
    assert "test" not in stored(tmp_path / "broken")
    load(tmp_path / "broken").predict(torch.zeros(1, 7))
    again = train(out=tmp_path / "broken", resume=True, quiet=True)
    assert (again.interrupted, again.step) == (False, 50)
    assert_same(last_weights(tmp_path / "whole"), last_weights(tmp_path / "broken"))
    assert again.test == stored(tmp_path / "whole")["test"]


def test_a_finished_run_is_not_measured_twice(toy, numbers, tmp_path, monkeypatch):
    train(numbers, tmp_path / "m", steps=5, **toy)
    training = stored(tmp_path / "m")
    result = train(out=tmp_path / "m", resume=True, quiet=True)
    assert stored(tmp_path / "m") == training
    assert (result.test, result.baselines) == (training["test"], training["baselines"])


def test_what_is_not_the_same_is_not_resumed(toy, numbers, tmp_path, monkeypatch):
    train(numbers, tmp_path / "m", steps=5, **toy)
    with pytest.raises(InvalidValue, match=r"stays what it is, toy with 1 model; leave --task"):
        train(out=tmp_path / "m", resume=True, task="tag")
    with pytest.raises(InvalidValue, match=r"keeps its settings.*got main"):
        train(out=tmp_path / "m", resume=True, main="r2")
    monkeypatch.setattr(ToyTask, "fingerprint", "of others")
    with pytest.raises(DataError, match="is not what this run began with"):
        train(out=tmp_path / "m", resume=True)


def test_a_loss_that_becomes_nan_changes_no_weight(toy, numbers, tmp_path, monkeypatch):
    forward = ToyNetwork.forward
    monkeypatch.setattr(ToyNetwork, "forward", lambda self, x: forward(self, x) * (math.nan if self.training else 1))
    with pytest.raises(TrainingError, match=r"the loss became nan at step 1;"):
        train(numbers, tmp_path / "m", steps=5, **toy)
    assert all(bool(tensor.isfinite().all()) for tensor in best_weights(tmp_path / "m").values())


def test_settings_of_another_task(toy, numbers, tmp_path):
    from ostinato.tasks.language_modelling.settings import LanguageModelSettings

    with pytest.raises(InvalidValue, match="settings must be ToySettings for the task toy, got LanguageModelSettings"):
        train(numbers, tmp_path / "m", task="toy", settings=LanguageModelSettings())
    with pytest.raises(InvalidValue, match="'sequence_length' is no setting"):
        train(numbers, tmp_path / "m", task="toy", sequence_length=3)
    assert not (tmp_path / "m").exists()


def test_another_programs_folder_is_left_alone(toy, numbers, tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "run.json").write_text('{"format": "other"}')
    with pytest.raises(ModelFolderError, match="left alone"):
        train(numbers, tmp_path / "m", overwrite=True, **toy)


@pytest.mark.parametrize(
    ("one", "other", "higher", "expected"),
    [
        (2.0, 1.0, True, True),
        (1.0, 1.0, True, False),
        (2.0, 1.0, False, False),
        (0.5, 1.0, False, True),
        (math.nan, 1.0, True, False),
        (math.nan, 1.0, False, False),
        (1.0, math.nan, False, True),
        (math.nan, math.nan, True, False),
    ],
)
def test_which_figure_is_better(one, other, higher, expected):
    assert better(Score({"f": one}, "f", higher), Score({"f": other}, "f", higher)) is expected


def test_a_record_survives_a_checkpoint(tmp_path):
    record = Record(elapsed=1.5)
    record.add_loss(0.5)
    figures = {"accuracy": numpy.float64(0.5), "loss": torch.tensor(0.25)}
    record.add_validation(10, 0.1, Score(figures, "accuracy", True, about={"rows": 3}))
    torch.save(record.state_dict(), tmp_path / "record")
    again = Record()
    again.load_state_dict(torch.load(tmp_path / "record", weights_only=True))
    assert again == record
    assert again.best.value == 0.5
