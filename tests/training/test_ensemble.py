"""Several seeds in one folder: trained, interrupted, resumed, read back, and distrusted."""

from __future__ import annotations

import json
import os
import shutil

import pytest
import torch

from ostinato.errors import InvalidValue, ModelFolderError, TrainingError
from ostinato.models.ensemble import Ensemble
from ostinato.models.folder import load, save_ensemble
from ostinato.training.run import train
from tests.training.toy import ToyModel, ToyTask

SHORT = {"steps": 12, "validate_every": 6}


def test_members_differ_and_their_mean_answers(toy, numbers, tmp_path):
    result = train(numbers, tmp_path / "e", ensemble=3, seed=4, **SHORT, **toy)
    assert (result.folder, result.step, len(result.members)) == (tmp_path / "e", 36, 3)
    model, x = load(tmp_path / "e"), torch.randn(5, 7)
    members = [load(tmp_path / "e" / str(number)) for number in (1, 2, 3)]
    every = torch.stack([member.scores(x) for member in members])
    assert not torch.equal(every[0], every[1])
    torch.testing.assert_close(model.scores(x), every.mean(0))
    assert model.predict(x) == pytest.approx(every.mean(0).tolist())
    assert torch.equal(model.encode(x), torch.cat([member.encode(x) for member in members], 1))
    assert (model.kind, len(model)) == ("toy", 3)
    assert result.test == model.training["test"]
    assert result.baselines.keys() == {"zero"}
    assert [member.training["test"] for member in members] == [one.test for one in result.members]
    alone = train(numbers, tmp_path / "second", seed=5, **SHORT, **toy)
    assert load(alone.folder).predict(x) == members[1].predict(x)


def test_an_ensemble_killed_in_its_second_member_goes_on(toy, numbers, tmp_path, monkeypatch):
    train(numbers, tmp_path / "whole", ensemble=3, **SHORT, **toy)
    batch = ToyTask.batch

    def killed(self, step):
        if self.settings.seed == 1 and step == 8:
            raise MemoryError("killed")
        return batch(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(ToyTask, "batch", killed)
        with pytest.raises(MemoryError):
            train(numbers, tmp_path / "broken", ensemble=3, **SHORT, **toy)
    assert len(load(tmp_path / "broken")) == 1, "what is there is usable"
    result = train(out=tmp_path / "broken", resume=True, quiet=True)
    x = torch.randn(4, 7)
    assert load(tmp_path / "broken").predict(x) == load(tmp_path / "whole").predict(x)
    assert result.test == load(tmp_path / "whole").training["test"]


def test_a_longer_resumed_ensemble_prolongs_every_member(toy, numbers, tmp_path):
    train(numbers, tmp_path / "e", ensemble=2, **SHORT, **toy)
    assert [one.step for one in train(out=tmp_path / "e", resume=True, steps=15, quiet=True).members] == [15, 15]
    with pytest.raises(InvalidValue, match="toy with 2 models; leave --task and --ensemble out"):
        train(out=tmp_path / "e", resume=True, ensemble=3)


def test_overwriting_leaves_nothing_of_the_other_kind(toy, numbers, tmp_path):
    folder = tmp_path / "m"
    train(numbers, folder, **SHORT, **toy)
    train(numbers, folder, ensemble=3, overwrite=True, **SHORT, **toy)
    assert not (folder / "model.safetensors").exists()
    train(numbers, folder, ensemble=2, overwrite=True, **SHORT, **toy)
    assert not (folder / "3").exists()
    (folder / "2" / "remark.txt").write_text("a user's own")
    train(numbers, folder, overwrite=True, **SHORT, **toy)
    assert isinstance(load(folder), ToyModel)
    left = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.parent != folder}
    assert left == {os.path.join("2", "remark.txt"), os.path.join("checkpoints", "last.ckpt")}


def test_bad_input_never_costs_the_ensemble_that_was_to_be_replaced(toy, numbers, tmp_path):
    train(numbers, tmp_path / "e", ensemble=2, **SHORT, **toy)
    before = {path: path.read_bytes() for path in (tmp_path / "e").rglob("*") if path.is_file()}
    with pytest.raises(InvalidValue, match="does not work with these settings"):
        train(numbers, tmp_path / "e", ensemble=2, overwrite=True, cell="tests.training.test_run:FailingCell", **toy)
    with pytest.raises(ModelFolderError, match="holds a run already"):
        train(numbers, tmp_path / "e", ensemble=2, **toy)
    assert {path: path.read_bytes() for path in (tmp_path / "e").rglob("*") if path.is_file()} == before


def test_a_time_budget_is_that_of_all(toy, numbers, tmp_path):
    result = train(numbers, tmp_path / "e", ensemble=2, time_budget="1s", **toy)
    assert all(0.5 <= one.seconds < 5 for one in result.members)
    noted = [json.loads((tmp_path / "e" / name / "run.json").read_text()) for name in (".", "1", "2")]
    assert [note["settings"]["time_budget"] for note in noted] == [1.0, 0.5, 0.5]


def test_what_cannot_be_joined(toy, numbers, tmp_path, monkeypatch):
    with pytest.raises(InvalidValue, match="ensemble must be from 2 to 64 models, got 65"):
        train(numbers, tmp_path / "e", ensemble=65, **toy)
    with pytest.raises(TrainingError, match="same part of the data"):
        train(numbers, tmp_path / "e", ensemble=2, split_by_seed=True, **SHORT, **toy)
    monkeypatch.delattr(ToyModel, "scores")
    with pytest.raises(InvalidValue, match="models of the task toy cannot answer together"):
        train(numbers, tmp_path / "f", ensemble=2, **SHORT, **toy)
    assert not (tmp_path / "f").exists()


@pytest.mark.parametrize("count", [0, -1, 65, 1 << 40, "2", 2.0, True, None])
def test_a_count_that_is_not_believed(tmp_path, count):
    save_ensemble(count, {}, tmp_path)
    with pytest.raises(ModelFolderError, match="members must be a whole number from 1 to 64"):
        load(tmp_path)


def test_members_that_are_not_believed(toy, numbers, tmp_path):
    folder = tmp_path / "e"
    train(numbers, folder, ensemble=2, **SHORT, **toy)
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace('"members": 2', '"members": 3'))
    with pytest.raises(ModelFolderError, match=r"there is no model folder .*3"):
        load(folder)
    (folder / "config.json").write_text(config)
    (folder / "2" / "config.json").write_text(config)
    with pytest.raises(ModelFolderError, match="says that it is an ensemble itself"):
        load(folder)
    shutil.rmtree(folder / "2")
    shutil.copytree(folder / "1", tmp_path / "elsewhere")
    (folder / "2").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelFolderError, match="link out of the model folder"):
        load(folder)


def test_members_with_answers_of_different_lengths():
    class Ragged:
        kind, training = "ragged", {}

        def __init__(self, value):
            self.value = value

        def scores(self, x):
            return [torch.full((length,), self.value) for length in x]

        def from_scores(self, scores):
            return [row.tolist() for row in scores]

    assert Ensemble([Ragged(1.0), Ragged(3.0)], {}).predict([2, 1]) == [[2.0, 2.0], [2.0]]
