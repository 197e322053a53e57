"""Whole runs through the trainer: what is left in the folder, and that a killed run ends as if nothing had been."""

from __future__ import annotations

import pytest
import torch

import ostinato
from ostinato.cells.cell import Cell
from ostinato.errors import DataError
from ostinato.tasks.tagging.task import TaggingTask

SMALL = {"hidden_size": 8, "word_size": 8, "character_size": 8, "batch_size": 100, "learning_rate": 0.02, "quiet": True}


class PlainCell(Cell):
    """A cell of a user's own."""

    def __init__(self, input_size, hidden_size, *, device=None, dtype=None):
        super().__init__(input_size, hidden_size)
        self.weight_ih = torch.nn.Parameter(torch.zeros(hidden_size, input_size, device=device, dtype=dtype))
        self.weight_hh = torch.nn.Parameter(torch.zeros(hidden_size, hidden_size, device=device, dtype=dtype))
        self.reset_parameters()

    def step(self, x, h):
        return torch.tanh(x @ self.weight_ih.T + h @ self.weight_hh.T)


def test_a_killed_run_ends_with_the_weights_it_would_have_had(conll_file, tmp_path, monkeypatch):
    settings = {**SMALL, "steps": 24, "validate_every": 9, "checkpoint_every": 5}
    whole = ostinato.train(conll_file, tmp_path / "whole", task="tag", **settings)
    batch = TaggingTask.batch

    def killed(task, step):
        if step == 17:
            raise RuntimeError("killed")
        return batch(task, step)

    monkeypatch.setattr(TaggingTask, "batch", killed)
    with pytest.raises(RuntimeError, match="killed"):
        ostinato.train(conll_file, tmp_path / "killed", task="tag", **settings)
    monkeypatch.setattr(TaggingTask, "batch", batch)
    again = ostinato.train(out=tmp_path / "killed", resume=True, quiet=True)
    assert (again.step, again.test, again.baselines) == (24, whole.test, whole.baselines)
    one, other = ostinato.load(whole.folder), ostinato.load(again.folder)
    for name, tensor in one.network.state_dict().items():
        assert torch.equal(tensor, other.network.state_dict()[name]), name
    assert one.training["split"] == other.training["split"]
    assert one.training["test"]["entity_f1"] == whole.test["entity_f1"]


def test_a_run_that_was_begun_elsewhere_finds_its_files(conll_file, tmp_path, monkeypatch):
    (tmp_path / "test.conll").write_text(conll_file.read_text().replace("the ", "a "))
    monkeypatch.chdir(tmp_path)
    ostinato.train(conll_file, "run", task="tag", test_file="test.conll", steps=2, **SMALL)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = ostinato.train(out=tmp_path / "run", resume=True, steps=4, quiet=True)
    assert again.step == 4


def test_a_cell_of_ones_own(conll_file, tmp_path):
    result = ostinato.train(conll_file, tmp_path / "own", task="tag", cell=PlainCell, crf=True, steps=2, **SMALL)
    model = ostinato.load(result.folder, cell=PlainCell)
    assert len(model.predict(["the", "city"])) == 2


def test_a_file_that_is_no_tagging_costs_nothing(tmp_path):
    (tmp_path / "a.conll").write_text("a X\nb Y\n")
    with pytest.raises(DataError, match="3 parts need at least 3"):
        ostinato.train(tmp_path / "a.conll", tmp_path / "out", task="tag", **SMALL)
    assert not (tmp_path / "out").exists()
