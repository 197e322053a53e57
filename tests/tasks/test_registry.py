"""Tasks by name, and the one that files are for."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from ostinato.errors import InvalidValue
from ostinato.models.kinds import KINDS, model_class
from ostinato.tasks import registry
from ostinato.tasks.settings import TrainingSettings


@dataclass(frozen=True, kw_only=True)
class WithHorizon(TrainingSettings):
    horizon: int = 1


@pytest.fixture
def three(monkeypatch):
    """Three tasks, of which two have a reason to take any table."""
    kinds = {
        "one": SimpleNamespace(settings=TrainingSettings, recognise=lambda seen: f"{seen} has classes"),
        "two": SimpleNamespace(settings=WithHorizon, recognise=lambda seen: f"{seen} has times"),
        "three": SimpleNamespace(settings=WithHorizon, recognise=lambda seen: None),
    }
    monkeypatch.setattr(registry, "TASKS", dict.fromkeys(kinds, ""))
    monkeypatch.setattr(registry, "task_named", kinds.__getitem__)
    monkeypatch.setitem(sys.modules, "ostinato.data.preview", SimpleNamespace(preview=lambda files: files[0].name))
    return kinds


def test_a_text_is_for_a_language_model(tmp_path):
    assert registry.guess([Path("tales.txt")]) == ("language-model", "tales.txt is a text")
    assert registry.guess([Path("README")]) == ("language-model", "README is a text")


def test_one_reason_is_taken_and_several_are_not(three, tmp_path):
    three["one"].recognise = lambda seen: None
    assert registry.guess([Path("a.csv")]) == ("two", "a.csv has times")
    assert registry.guess([tmp_path]) == ("two", f"{tmp_path.name} has times")
    assert registry.guess([Path("*.txt")]) == ("two", "*.txt has times")
    assert registry.guess([Path("a.txt"), Path("b.txt")]) == ("two", "a.txt has times")


def test_several_reasons_are_said(three):
    with pytest.raises(InvalidValue, match=r"choose: --task one \(a.csv has classes\); or --task two \(a.csv has ti"):
        registry.guess([Path("a.csv")])


def test_settings_that_a_task_lacks_rule_it_out(three):
    assert registry.guess([Path("a.csv")], {"horizon"})[0] == "two"
    with pytest.raises(InvalidValue, match=r"is not plain; say it with --task one\|two\|three"):
        registry.guess([Path("a.csv")], {"nonsense"})


def test_no_reason(three):
    three["one"].recognise = three["two"].recognise = lambda seen: None
    with pytest.raises(InvalidValue, match=r"what is to be learnt from a.csv is not plain; say it with --task"):
        registry.guess([Path("a.csv")])


def test_every_kind_of_model_has_its_task():
    assert set(registry.OF_MODELS) == set(KINDS)
    assert set(registry.OF_MODELS.values()) == set(registry.TASKS)
    for kind, name in registry.OF_MODELS.items():
        task = registry.task_of(kind)
        assert (task.name, task.model_kind) == (name, kind)
        assert model_class(kind).kind == kind
        assert task.settings() == task.settings().replaced({})
    with pytest.raises(InvalidValue, match="no task makes models of the kind 'painter'"):
        registry.task_of("painter")


def test_names():
    assert registry.task_named("language-model").name == "language-model"
    with pytest.raises(InvalidValue, match="there is no task 'forcast'; did you mean 'forecast'"):
        registry.task_named("forcast")
    with pytest.raises(InvalidValue, match="there is no task 'x'; there are classify, regress, tag, forecast"):
        registry.task_named("x")
