"""``--cell NAME`` with any known cell and its options, in every task: trained, saved, loaded, compared."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from ostinato.cells import registry
from ostinato.cli import main
from ostinato.errors import InvalidType, InvalidValue
from ostinato.models.cell_names import BUILT_IN
from ostinato.models.cell_options import cell_options
from ostinato.models.folder import load
from ostinato.tasks.settings import TrainingSettings

TINY = ["--hidden-size=6", "--steps=2", "--batch-size=4", "--device=cpu", "--quiet", "--out=m"]


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)
    Path("tales.txt").write_text("".join(f"{n} green bottles, {n % 7} on the wall.\n" for n in range(150)))
    words = ("ball", "bear", "cat", "cup", "bat", "cow") * 8
    Path("words.csv").write_text("text,kind\n" + "".join(f"{word},{word[0]}\n" for word in words))
    Path("pairs.tsv").write_text("source\ttarget\n" + "".join(f"{word}\t{word[::-1]}\n" for word in words))
    Path("load.csv").write_text("t,load\n" + "".join(f"{t},{math.sin(t / 3):.3f}\n" for t in range(200)))
    sentences = [[words[n % 6], words[n % 5], f"w{n}"] for n in range(30)]
    tagged = ("".join(f"{word}\t{word[0].upper()}\n" for word in sentence) for sentence in sentences)
    Path("tags.conll").write_text("\n".join(tagged))


@pytest.fixture
def run(capsys):
    """Runs a command; gives its exit code, its output and its complaints."""

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    return run


TASKS = {
    "language-model": ["tales.txt", "--sequence-length=8", "--embedding-size=4"],
    "classify": ["words.csv", "--inputs=text", "--target=kind"],
    "tag": ["tags.conll"],
    "forecast": ["load.csv", "--time=t", "--target=load", "--horizon=3", "--window=6"],
    "transduce": ["pairs.tsv", "--source=source", "--target=target"],
}


@pytest.mark.parametrize(
    ("task", "cell", "options"),
    [
        ("language-model", "elman", "output_size=3,output_nonlinearity=sigmoid"),
        ("language-model", "mogrifier-lstm", "rounds=3,rank=2"),
        ("classify", "sru", "rescale=false"),
        ("classify", "layer-norm-lstm", "normalise-cell=none"),
        ("tag", "qrnn", "window=2,pooling=ifo"),
        ("tag", "elman", "output_size=4"),
        ("forecast", "lem", "dt=0.5"),
        ("forecast", "lru", ""),
        ("transduce", "lstm", "proj_size=3,bias=false"),
        ("transduce", "mgu", "form=mgu2"),
    ],
)
def test_every_task_takes_every_kind_of_cell(run, task, cell, options):
    given = ["--cell", cell, *(["--cell-options", options] if options else [])]
    layers = 2 if cell in ("elman", "lstm") else 1  # whose options act on other layers than the first
    code, _, err = run("train", *TASKS[task], "--task", task, *TINY, *given, f"--num-layers={layers}")
    assert code == 0, err
    content = json.loads(Path("m/config.json").read_text())["model"]
    assert content["cell"] == cell
    expected = cell_options(BUILT_IN[cell], options.split(",") if options else [])
    assert content["cell_options"] == expected
    assert load("m").network.cell_type is BUILT_IN[cell]
    assert run("evaluate", "m", TASKS[task][0], "--format=json")[0] == 0


def test_a_run_goes_on_with_its_options(run):
    given = [*TASKS["language-model"], *TINY, "--cell=mgu", "--cell-options=form=mgu1"]
    assert run("train", *given)[0] == 0
    code, _, err = run("train", "--resume", "--out=m", "--steps=4", "--quiet")
    assert code == 0, err
    assert json.loads(Path("m/config.json").read_text())["model"]["cell_options"] == {"form": "mgu1"}


def test_cells_are_compared_at_the_same_size(run):
    tiny = ["--hidden-size=8", "--steps=2", "--batch-size=4", "--device=cpu", "--quiet", "--seeds=1"]
    cells = "--cells=lstm,mgu,min-gru"
    code, out, err = run("compare", *TASKS["language-model"], *tiny, cells, "--match-parameters", "--out=c")
    assert code == 0, err
    assert [line.split()[0] for line in out.splitlines() if line.split() and line.split()[0] in BUILT_IN] == [
        "lstm",
        "mgu",
        "min-gru",
    ]
    code, _, err = run("compare", *TASKS["language-model"], *tiny, cells, "--cell-options=form=mgu2", "--out=d")
    assert code == 2
    assert "LSTMCell has no option 'form'; it has: bias, " in err


@pytest.mark.parametrize(
    ("cell", "options", "message"),
    [
        ("lstm", "rounds=3", "LSTMCell has no option 'rounds'; it has: bias, "),
        ("mgu", "fom=mgu2", "did you mean 'form'"),
        ("mgu", "form=mgu9", "form must be one of"),
        ("lstm", "device=cpu", "LSTMCell has no option 'device'"),
        ("lstm", "num_layers=2", "LSTMCell has no option 'num_layers'"),
        ("mogrifier-lstm", "rounds=many", "rounds must be a whole number"),
        ("mogrifier-lstm", "rounds=1,rounds=2", "the option rounds is given twice, as 1 and as 2"),
        ("mgu", "mgu2", "an option of a cell is written NAME=VALUE, such as activation=relu, got 'mgu2'"),
        ("janet", "chrono=1000000", "chrono must be at most 65,536"),
        ("lstn", "", "did you mean 'lstm'"),
    ],
)
def test_options_that_a_cell_does_not_have(run, cell, options, message):
    given = ["--cell", cell, *(["--cell-options", options] if options else [])]
    code, out, err = run("train", "tales.txt", *TINY, *given)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert not Path("m").exists()


def test_how_options_are_read():
    lstm = registry.find("lstm").cell
    assert cell_options(lstm, ["forget-bias = 1e-2", "bias=FALSE"]) == {"forget_bias": 0.01, "bias": False}
    assert cell_options(lstm, ["recurrent_init=nan"]) == {"recurrent_init": "nan"}
    with pytest.raises(InvalidValue, match="NAME=VALUE"):
        cell_options(lstm, ["=3"])
    with pytest.raises(InvalidType, match="has no option 'hidden_size'"):
        cell_options(lstm, ["hidden_size=3"])


def test_options_from_python():
    settings = TrainingSettings().replaced({"cell": "mgu", "cell_options": {"form": "mgu2", "bias": True}})
    assert settings.cell_options == ("form=mgu2", "bias=True")
    assert settings.options_of_cell() == {"form": "mgu2", "bias": True}
