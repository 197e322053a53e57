"""Which task a command line means, before its flags are known: by name, by run, by guess; on tasks made for this."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from types import ModuleType

import pytest
import typer
from typer.testing import CliRunner

from ostinato.cli.flags import changes_of, parameters_of, takes_no_value
from ostinato.cli.task_command import with_parameters
from ostinato.cli.which_task import which_task
from ostinato.errors import InvalidValue
from ostinato.setting import setting
from ostinato.tasks import registry
from ostinato.tasks.settings import TrainingSettings


@dataclass(frozen=True, kw_only=True)
class CountSettings(TrainingSettings):
    inputs: tuple[str, ...] = setting((), "Columns to read.", "Data")
    scaled: bool = setting(True, "Whether values are scaled.", "Data")


@dataclass(frozen=True, kw_only=True)
class GuessSettings(TrainingSettings):
    horizon: int = setting(3, "How far.", "Data", at_least=1)


@dataclass(frozen=True)
class FakeKind:
    name: str
    settings: type
    columns: frozenset

    model_kind = "none"

    def recognise(self, preview):
        return f"it has {', '.join(sorted(self.columns))}" if self.columns <= set(preview.columns) else None


KINDS = {
    "count": FakeKind("count", CountSettings, frozenset({"a"})),
    "guess": FakeKind("guess", GuessSettings, frozenset({"a", "time"})),
}


@pytest.fixture(autouse=True)
def tasks(monkeypatch, tmp_path):
    names = {"language-model": registry.TASKS["language-model"]}
    for name, kind in KINDS.items():
        module = ModuleType(f"fake_{name}")
        module.TASK = kind
        monkeypatch.setitem(sys.modules, module.__name__, module)
        names[name] = module.__name__
    monkeypatch.setattr(registry, "TASKS", names)
    monkeypatch.setattr("ostinato.cli.which_task.TASKS", names)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text("a,b\n1,2\n3,4\n")
    (tmp_path / "times.csv").write_text("a,time\n1,2001-01-01\n3,2001-01-02\n")
    (tmp_path / "other.csv").write_text("x,y\n1,2\n3,4\n")
    (tmp_path / "tales.txt").write_text("Once upon a time.\n" * 5)
    (tmp_path / "tales.md").write_text("Once upon a time.\n" * 5)


@pytest.mark.parametrize(
    ("line", "task"),
    [
        ("tales.txt", "language-model"),
        ("tales.md --steps 3", "language-model"),
        ("nothing.txt", "language-model"),
        ("", "language-model"),
        ("a.csv", "count"),
        ("--steps 3 a.csv -o out", "count"),
        ("--no-scaled a.csv", "count"),
        ("--quiet a.csv", "count"),
        ("-oout -- a.csv", "count"),
        ("times.csv --horizon 3", "guess"),
        ("times.csv --no-scaled", "count"),
        ("tales.txt --task guess", "guess"),
        ("--task=count", "count"),
        ("a.csv --help", "language-model"),
        ("--task guess --help", "guess"),
        ("--resume --out nowhere", "language-model"),
    ],
)
def test_the_task(line, task):
    assert which_task(line.split()).task == task


def test_a_guess_says_why():
    assert which_task(["a.csv"]).guess == "a.csv: task count, since it has a. Another one: --task NAME."
    assert which_task(["tales.txt"]).guess == ""
    assert which_task(["a.csv", "--task", "count"]).guess == ""


def test_two_readings_are_an_error_with_both():
    with pytest.raises(InvalidValue, match=r"several ways; choose: --task count \(it has a\); or --task guess"):
        which_task(["times.csv"])


def test_no_reading_is_an_error_with_the_choices():
    with pytest.raises(InvalidValue, match=r"--task language-model\|count\|guess"):
        which_task(["other.csv"])
    with pytest.raises(InvalidValue, match=r"other\.csv"):
        which_task(["other.csv", "--horizon", "2"])
    with pytest.raises(InvalidValue, match="there is no task 'cuont'; did you mean 'count'"):
        which_task(["a.csv", "--task", "cuont"])


@pytest.fixture
def command():
    """Runs a command with the flags of CountSettings; gives what it was told."""
    told = {}

    def function(**flags):
        told.update(changes_of(CountSettings, flags))

    app = typer.Typer(add_completion=False, rich_markup_mode="markdown")
    app.command()(with_parameters(function, parameters_of(CountSettings, without=("device",)), "Counts."))

    def run(*arguments):
        told.clear()
        result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})
        return result, dict(told)

    return run


def test_flags_become_settings(command):
    assert command()[1] == {}
    given = command("--inputs", "a, b", "--no-scaled", "--learning-rate", "1e-3", "--time-budget", "2m", "--steps=3")[1]
    assert given == {
        "inputs": ("a", "b"),
        "scaled": False,
        "learning_rate": 0.001,
        "time_budget": "2m",
        "steps": 3,
    }
    assert CountSettings().replaced(given).time_budget == 120.0
    assert command("--scaled")[1] == {"scaled": True}
    assert takes_no_value(CountSettings) == {"--scaled", "--no-scaled"}


def test_help_shows_every_flag_with_its_text_under_its_heading(command):
    result, _ = command("--help")
    flat = " ".join(result.output.replace("│", " ").split())
    for one in dataclasses.fields(CountSettings):
        if one.name != "device":
            assert f"--{one.name.replace('_', '-')}" in flat
            assert one.metadata["help"].split(".")[0][:30] in flat
            assert f"─ {one.metadata['group']} ─" in result.output
    assert "--device" not in flat
    assert "Whether values are scaled. Default: yes." in flat


def test_a_value_of_the_wrong_type_is_an_error(command):
    assert command("--steps", "many")[0].exit_code == 2
