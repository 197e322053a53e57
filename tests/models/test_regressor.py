"""Regressors: quantities in their own units, one or several, and the way to a folder and back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from ostinato.cells.library.gru import GRUCell
from ostinato.errors import ModelFolderError
from ostinato.models.folder import load, save
from ostinato.models.regressor import Regressor
from ostinato.models.sequence_inputs import Series
from ostinato.models.sequence_network import SequenceNetwork, SequenceSize

MEANS, DEVIATIONS = torch.tensor([100.0, -3.0]), torch.tensor([20.0, 0.5])
SERIES = [torch.randn(4, 1), torch.randn(7, 1)]


def regressor(targets=("price", "rent")) -> Regressor:
    count = len(targets)
    network = SequenceNetwork(SequenceSize(outputs=count, channels=1, hidden_size=4, pooling="mean"), GRUCell)
    return Regressor(network, Series(("load",)), targets, MEANS[:count], DEVIATIONS[:count])


def test_answers_are_in_the_targets_own_units():
    model = regressor()
    output = model.network(SERIES[1].unsqueeze(1), torch.tensor([7]))[0]
    torch.testing.assert_close(model.scores(SERIES)[1], output.detach() * DEVIATIONS + MEANS)
    values = torch.tensor([[120.0, -3.5]])
    torch.testing.assert_close(model.standardised(values), torch.tensor([[1.0, -1.0]]))
    torch.testing.assert_close(model.answers(model.standardised(values)), values)


def test_one_target_is_a_number_and_several_are_named():
    several, one = regressor(), regressor(("price",))
    assert [set(answer) for answer in several.predict(SERIES)] == [{"price", "rent"}] * 2
    assert several.predict(SERIES[0])["rent"] == pytest.approx(float(several.scores(SERIES[0])[1]))
    assert one.predict(SERIES) == pytest.approx(one.scores(SERIES)[:, 0].tolist())
    assert isinstance(one.predict(SERIES[0]), float)


def test_a_folder_gives_the_same_answers(tmp_path: Path):
    model = regressor()
    save(model, tmp_path)
    found = load(tmp_path)
    assert isinstance(found, Regressor)
    assert torch.equal(found.scores(SERIES), model.scores(SERIES))
    assert found.content() == model.content()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"deviations": [1.0, 0.0]}, "deviations above 0"),
        ({"means": [1.0]}, "one for each of 2 targets"),
        ({"means": [1.0, "x"]}, "finite numbers"),
        ({"targets": []}, "at least 1"),
    ],
)
def test_a_folder_is_not_believed(change, message, tmp_path: Path):
    save(regressor(), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    holder = next(value for value in [config, *config.values()] if isinstance(value, dict) and "means" in value)
    holder.update(change)
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelFolderError, match=message):
        load(tmp_path)
