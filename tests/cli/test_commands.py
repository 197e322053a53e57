"""The command line: what it prints, what it refuses, and its exit codes."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ostinato.cli import main
from ostinato.cli.demo import language_reference
from ostinato.cli.examples import examples_folder, first_line
from ostinato.models.folder import load
from ostinato.tasks.language_modelling.settings import LanguageModelSettings as Settings
from ostinato.version import __version__

SMALL = ["--hidden-size=12", "--embedding-size=6", "--batch-size=4", "--sequence-length=16", "--device=cpu"]


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "tales.txt"
    path.write_text("".join(f"{n} green bottles, {n % 7} of them on the wall.\n" for n in range(300)))
    return path


@pytest.fixture
def run(capsys):
    """Runs a command; gives its exit code, its output and its complaints."""

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    return run


@pytest.fixture
def model(text, run):
    code, _, err = run("train", text, "--steps=30", "--validate-every=10", *SMALL)
    assert code == 0, err
    return Path("ostinato-tales")


def test_training_ends_with_figures_a_sample_a_picture_and_the_next_command(text, run):
    code, out, err = run("train", text, "--steps=30", "--validate-every=10", *SMALL)
    assert code == 0
    assert re.search(r"Validation: \d\.\d{4} nats = \d\.\d{4} bits per character, perplexity \d+\.\d+", out)
    assert "  | " in out
    assert Path("ostinato-tales/learning_curve.png").stat().st_size > 1000
    assert "ostinato sample ostinato-tales" in out
    assert "characters to learn from" in err
    assert len(err.splitlines()) <= 3, "Lightning is not to be heard"


def test_evaluation_gives_the_number_that_training_gave(text, model, run):
    reported = load(model).training["validation"]
    code, out, _ = run("evaluate", model, text, "--part", "validation", "--format", "json")
    assert code == 0
    assert json.loads(out) == reported
    code, out, _ = run("evaluate", model, text)
    assert re.fullmatch(r"\d\.\d+ nats = \d\.\d+ bits per character, perplexity [\d.]+, over [\d,]+ characters\n", out)


def test_unknown_characters_are_counted_aloud(model, run, tmp_path):
    (tmp_path / "other.txt").write_text("grün bottles, größer")
    _, out, _ = run("evaluate", model, tmp_path / "other.txt")
    assert "3 of them are characters that the model does not know" in out


def test_sampling(model, run):
    code, out, _ = run("sample", model, "--prompt", "3 green", "--length", 25, "--seed", 7)
    assert (code, len(out)) == (0, len("3 green") + 25 + 1)
    assert out == "3 green" + load(model).sample("3 green", 25, temperature=0.8, seed=7) + "\n"
    assert run("sample", model, "--length", 0)[1] == "\n"


def test_settings_from_yaml_and_flags(text, run, tmp_path):
    (tmp_path / "s.yaml").write_text("steps: 5\nseed: 9\nhidden-size: 20\n")
    assert run("train", text, *SMALL, "--config", "s.yaml", "--out=m", "--quiet")[0] == 0
    settings = json.loads(Path("m/run.json").read_text())["settings"]
    assert (settings["steps"], settings["seed"], settings["hidden_size"]) == (5, 9, 12)


def test_a_cell_of_the_users_own(text, run, tmp_path, monkeypatch):
    source = """
import torch, ostinato
class Tiny(ostinato.Cell):
    def __init__(self, input_size, hidden_size, device=None, dtype=None):
        super().__init__(input_size, hidden_size)
        self.w = torch.nn.Parameter(torch.zeros(hidden_size, input_size + hidden_size, device=device, dtype=dtype))
        self.reset_parameters()
    def step(self, x, h):
        return torch.tanh(torch.cat((x, h), -1) @ self.w.T)
"""
    (tmp_path / "cell_of_a_test.py").write_text(source)
    path = list(sys.path)
    code, out, err = run("train", text, "--steps=3", *SMALL, "--cell=cell_of_a_test:Tiny", "--out=m")
    assert code == 0, err
    assert "--cell cell_of_a_test:Tiny" in out
    assert sys.path == path
    code, _, err = run("sample", "m", "--length=3")
    assert code == 2
    assert "--cell cell_of_a_test:Tiny" in err
    assert run("sample", "m", "--length=3", "--cell=cell_of_a_test:Tiny")[0] == 0
    assert run("evaluate", "m", text, "--cell=cell_of_a_test:Tiny")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "tale.txt"], "there is no file tale.txt; did you mean tales.txt?"),
        (["train"], "a text file is needed"),
        (["train", "tales.txt", "--hidden-size=0"], "hidden_size must be at least 1, got 0"),
        (["train", "tales.txt", "--time-budget=soon"], "got 'soon'"),
        (["train", "tales.txt", "--cell=lstmm"], "did you mean 'lstm'?"),
        (["train", "tales.txt", "--cell=nowhere:Cell"], "cell 'nowhere:Cell' was not found"),
        (["train", "tales.txt", "--cell=json:loads"], "must be a subclass of ostinato.Cell"),
        (["train", "tales.txt", "--cell=json:Nothing"], "has no Nothing"),
        (["train", "tales.txt", "--config=none.yaml"], "settings file none.yaml cannot be read"),
        (["train", "--resume", "--out=nowhere"], "no run to go on with in nowhere"),
        (["sample", "nowhere"], "there is no model folder nowhere"),
        (["evaluate", "nowhere", "tales.txt"], "there is no model folder nowhere"),
        (["examples", "helo"], "did you mean hello"),
    ],
)
def test_bad_input_is_one_clear_line(text, run, arguments, message):
    code, out, err = run(*arguments)
    assert code == 2
    assert message in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert "Traceback" not in out + err


def test_sampling_refuses(model, run):
    for arguments, message in [
        (["--prompt", "漢"], "'漢' (U+6F22)"),
        (["--temperature", "-1"], "temperature must be a number that is at least 0, got -1.0"),
        (["--top-k", "0"], "top_k must be at least 1"),
        (["--top-p", "1.5"], "top_p must be above 0 and at most 1"),
        (["--length", "-3"], "length must be at least 0"),
    ]:
        code, _, err = run("sample", model, *arguments)
        assert (code, message in err) == (2, True), err


def test_debug_shows_where_an_error_came_from(text):
    with pytest.raises(Exception, match="there is no file"):
        main(["train", "nothing.txt", "--debug"])


def test_help_has_every_setting_and_its_text(run):
    code, out, _ = run("train", "--help")
    flat = re.sub(r"[\s│]+", " ", out)
    assert code == 0
    for setting in dataclasses.fields(Settings):
        assert f"--{setting.name.replace('_', '-')}" in flat
        assert setting.metadata["help"].split(". ")[0][:40] in flat, setting.name
    assert "ostinato train --resume" in flat
    for command in ("sample", "evaluate", "demo", "examples"):
        assert f"ostinato {command}" in run(command, "--help")[1]


def test_version(run):
    assert run("--version")[1] == f"ostinato {__version__}\n"


def test_the_demo_and_the_demo_again(run, monkeypatch):
    reference = language_reference()
    assert len(reference) > 300_000
    monkeypatch.setattr("ostinato.cli.demo.language_reference", lambda: reference[:30_000])
    for _ in range(2):
        code, out, err = run("demo", "--time-budget", "1s", "--out", "d")
        assert code == 0, err
        before, after = out.index("Before training"), out.index("After training")
        assert before < after < out.index("Validation:") < out.index("ostinato evaluate d d/corpus.txt")
    Path("other").mkdir()
    Path("other/letter.txt").write_text("dear")
    assert run("demo", "--out", "other")[0] == 2
    assert sorted(path.name for path in Path("other").iterdir()) == ["letter.txt"]


def test_examples_are_listed_by_their_first_line(run):
    code, out, _ = run("examples")
    assert code == 0
    for path in examples_folder().glob("*.py"):
        if not path.stem.startswith("_"):
            assert first_line(path)
            assert first_line(path) in out


def test_an_example_gets_what_follows_its_name(run, tmp_path, monkeypatch):
    folder = tmp_path / "examples"
    folder.mkdir()
    (folder / "echo.py").write_text('"""Say it again."""\nimport sys\nprint(sys.argv[1:])\n')
    monkeypatch.setattr("ostinato.cli.examples.examples_folder", lambda: folder)
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    assert run("examples", "echo", "--loud", "x")[1] == "['--loud', 'x']\n"


def test_a_missing_extra_is_named():
    code = "import sys; sys.modules['typer'] = None; from ostinato.cli import main; main(['train'])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr == "error: typer is not installed; it comes with: pip install 'ostinato[train]'\n"
