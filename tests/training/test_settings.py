"""Settings: rules, YAML, and the length of a run."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Literal

import pytest

from ostinato.errors import InvalidType, InvalidValue
from ostinato.setting import SettingsBase, setting
from ostinato.tasks.language_modelling.settings import LanguageModelSettings as Settings
from ostinato.tasks.settings import TrainingSettings, parse_seconds
from ostinato.training.settings import settings_from_yaml, settings_to_yaml


@dataclass(frozen=True, kw_only=True)
class ByEpochs(TrainingSettings):
    """A task whose usual length is in epochs."""

    usual_steps = None
    usual_epochs = 2.0


@dataclass(frozen=True, kw_only=True)
class EveryType(SettingsBase):
    """One field of each type that a setting may have."""

    columns: tuple[str, ...] = setting((), "Which columns are read.", "Data")
    target: str | None = setting(None, "The column to predict.", "Data")
    scale: bool = setting(True, "Whether values are scaled.", "Data")
    pool: Literal["last", "mean"] | None = setting(None, "How steps are joined.", "Model")
    rate: float | None = setting(None, "A number.", "Model", above=0)


def test_every_type_that_a_setting_may_have():
    found = EveryType().replaced({"columns": "a, b", "target": "y", "scale": False, "pool": "mean", "rate": "1e-3"})
    assert found == EveryType(columns=("a", "b"), target="y", scale=False, pool="mean", rate=0.001)
    assert found.replaced({"columns": ["c"], "target": None, "pool": None, "rate": 2}).columns == ("c",)
    assert EveryType().replaced(json.loads(json.dumps(dataclasses.asdict(found)))) == found


@pytest.mark.parametrize(
    ("changes", "kind", "rule"),
    [
        ({"columns": ["a", 3]}, InvalidType, r"columns must be a list of names, got \('a', 3\)"),
        ({"columns": None}, InvalidType, "columns must be a list of names, got None"),
        ({"target": 3}, InvalidType, "target must be a text, got 3"),
        ({"scale": 1}, InvalidType, "scale must be true or false, got 1"),
        ({"scale": None}, InvalidType, "scale must be true or false, got None"),
        ({"pool": "max"}, InvalidValue, "pool must be one of last, mean, got 'max'"),
        ({"rate": True}, InvalidType, "rate must be a number, got True"),
        ({"rate": -1}, InvalidValue, "rate must be above 0, got -1"),
    ],
)
def test_rules_of_every_type(changes, kind, rule):
    with pytest.raises(kind, match=rule):
        EveryType().replaced(changes)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"hidden_size": 0}, "hidden_size must be at least 1, got 0"),
        ({"dropout": 1.0}, "dropout must be below 1, got 1.0"),
        ({"dropout": -0.1}, "dropout must be at least 0, got -0.1"),
        ({"validation_fraction": 0}, "validation_fraction must be above 0, got 0"),
        ({"learning_rate": float("nan")}, "learning_rate must be finite, got nan"),
        ({"tokens": "words"}, "tokens must be one of char, byte, word, bpe, got 'words'"),
        ({"time_budget": "soon"}, "like 90s, 2m, 1.5h.*got 'soon'"),
        ({"time_budget": "0s"}, "time_budget must be above 0"),
        ({"hiden_size": 3}, "'hiden_size' is no setting; did you mean 'hidden_size'"),
    ],
)
def test_values_outside_the_rule(changes, rule):
    with pytest.raises(InvalidValue, match=rule):
        Settings().replaced(changes)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"hidden_size": 2.5}, "hidden_size must be a whole number, got 2.5"),
        ({"hidden_size": True}, "a whole number, got True"),
        ({"hidden_size": None}, "a whole number, got None"),
        ({"learning_rate": "fast"}, "learning_rate must be a number, got 'fast'"),
        ({"cell": 3}, "cell must be a text, got 3"),
        ({"steps": "many"}, "steps must be a whole number, got 'many'"),
    ],
)
def test_values_of_another_type(changes, rule):
    with pytest.raises(InvalidType, match=rule):
        Settings().replaced(changes)


def test_yaml_there_and_back(tmp_path):
    settings = Settings(cell="gru", steps=7, dropout=0.25, time_budget=90.0)
    (tmp_path / "s.yaml").write_text(settings_to_yaml(settings))
    assert Settings().replaced(settings_from_yaml(tmp_path / "s.yaml")) == settings


def test_yaml_as_people_write_it(tmp_path):
    (tmp_path / "s.yaml").write_text("time-budget: 2m\nlearning_rate: 1e-3\nepochs: 3\n# a remark\n")
    settings = Settings().replaced(settings_from_yaml(tmp_path / "s.yaml"))
    assert (settings.time_budget, settings.learning_rate, settings.epochs) == (120.0, 0.001, 3.0)
    (tmp_path / "s.yaml").write_text("")
    assert settings_from_yaml(tmp_path / "s.yaml") == {}


@pytest.mark.parametrize("content", ["[1, 2]", "a: [", "3: 4", "!!python/object/apply:os.system ['true']"])
def test_yaml_that_is_no_table_of_settings(tmp_path, content):
    (tmp_path / "s.yaml").write_text(content)
    with pytest.raises(InvalidValue):
        settings_from_yaml(tmp_path / "s.yaml")


def test_the_fewest_steps_that_a_setting_asks_for():
    assert Settings().total_steps(10**6) == 1250
    assert Settings(time_budget=5.0).total_steps(10**6) is None
    assert Settings(time_budget=5.0, steps=9).total_steps(10**6) == 9
    assert Settings(epochs=1.5).total_steps(10) == 15
    assert Settings(epochs=1.5, steps=4).total_steps(10) == 4
    assert Settings(epochs=0.001).total_steps(10) == 1
    assert ByEpochs().total_steps(10) == 20
    assert ByEpochs(steps=7).total_steps(10) == 7
    assert ByEpochs(time_budget=7.0).total_steps(10) is None


def test_every_setting_has_a_text_and_a_group():
    for one in dataclasses.fields(Settings):
        assert one.metadata["help"].endswith(".")
        assert one.metadata["group"]


def test_seconds():
    assert parse_seconds(" 1.5H ") == 5400
    for wrong in ("", "-1s", "1d", "s"):
        with pytest.raises(InvalidValue):
            parse_seconds(wrong)
