"""Every task from a small real file to figures and predictions, by commands; one is the installed one."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ostinato.cli import main
from ostinato.tasks.registry import task_named

COMMAND = str(Path(sys.executable).with_name("ostinato"))

TINY = ("--steps=6", "--validate-every=6", "--hidden-size=8", "--device=cpu")


def table(path):
    return list(csv.DictReader(io.StringIO(path.read_text("utf-8"))))


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, value in {"OSTINATO_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("NO_COLOR", "1")
    return tmp_path


@pytest.fixture
def ostinato(place):
    """Runs the installed command in a folder of its own; gives its exit code, its output and its complaints."""

    def run(*arguments):
        ended = subprocess.run([COMMAND, *map(str, arguments)], capture_output=True, text=True)
        return ended.returncode, ended.stdout, ended.stderr

    return run


@pytest.fixture
def here(place, capsys):
    """The same in this process, which has all packages loaded already."""

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    return run


@pytest.fixture
def sentences(data, place):
    """The first sentences of a treebank."""
    text = (data / "ud_english_ewt" / "train.conllu").read_text("utf-8")
    path = place / "few.conllu"
    path.write_text("\n\n".join(text.split("\n\n")[:60]) + "\n\n", "utf-8")
    return path


def test_tagging(here, sentences):
    code, out, err = here("train", sentences.name, *TINY, "--out=tagger")
    assert code == 0, err
    assert "few.conllu: task tag, since" in err
    assert "this model" in out
    assert "most frequent tag per word" in out
    assert "ostinato predict tagger" in out

    assert here("predict", "tagger", sentences.name, "-o", "out.conllu")[0] == 0
    before, after = sentences.read_text("utf-8").splitlines(), Path("out.conllu").read_text("utf-8").splitlines()
    assert len(before) == len(after)
    tags = 0
    for old, new in zip(before, after, strict=True):
        columns, others = old.split("\t"), new.split("\t")
        assert (columns[:3], columns[4:]) == (others[:3], others[4:])
        tags += len(columns) == 10

    code, out, _ = here("evaluate", "tagger", sentences.name, "--format=json")
    found = json.loads(out)
    assert code == 0
    right = sum(o.split("\t")[3:4] == n.split("\t")[3:4] for o, n in zip(before, after, strict=True) if "\t" in o)
    words = [line for line in before if "\t" in line and line.split("\t")[0].isdecimal()]
    assert found["words"] == len(words)
    assert found["accuracy"] == pytest.approx((right - tags + len(words)) / len(words))
    assert "accuracy" in here("evaluate", "tagger", sentences.name)[1]

    code, out, _ = here("predict", "tagger", sentences.name, "--format=jsonl")
    rows = [json.loads(line) for line in out.splitlines()]
    assert len(rows) == 60
    assert all(len(row["tokens"]) == len(row["prediction"]) == len(row["score"]) for row in rows)


@pytest.fixture
def names(data, place):
    """A few names of three languages, as a table."""
    rows = [("name", "language")]
    for language in ("Arabic", "Chinese", "Russian"):
        rows += [(name, language) for name in (data / "names" / f"{language}.txt").read_text("utf-8").split("\n")[:60]]
    path = place / "names.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(row for row in rows if row[0])
    return path


@pytest.fixture
def model(names, here):
    """A classifier that has learnt next to nothing."""
    code, out, err = here("train", names, "--task=classify", *TINY, "--out=model", "--quiet")
    assert code == 0, err
    assert "most frequent class" in out
    assert re.search(r"this model +[\d.]+ +[\d.]+", out)
    return Path("model")


def test_classifying(names, model, ostinato, here):
    code, out, err = ostinato("predict", model, names, "-o", "out.csv")
    assert (code, out) == (0, "")
    assert "out.csv: " in err
    rows, answers = table(names), table(Path("out.csv"))
    assert [row["name"] for row in answers] == [row["name"] for row in rows]
    assert {row["prediction"] for row in answers} <= {"Arabic", "Chinese", "Russian"}
    assert all(1 / 3 <= float(row["score"]) <= 1 for row in answers)

    found = json.loads(here("evaluate", model, names, "--format=json")[1])
    right = sum(a["prediction"] == row["language"] for a, row in zip(answers, rows, strict=True))
    assert found["accuracy"] == pytest.approx(right / len(rows))
    assert "confusion" in here("evaluate", model, names)[1]

    assert here("predict", model, names, "-o", "-", "--format=csv")[1] == Path("out.csv").read_text("utf-8")


def test_a_killed_prediction_goes_on(names, model, here, monkeypatch):
    from ostinato.tasks.classification.kind import TASK

    real, asked = TASK.predict, []
    here("predict", model, names, "-o", "whole.csv")

    def killed(model, files, options):
        for number, row in enumerate(real(model, files, options)):
            if number == 20:
                raise KeyboardInterrupt
            yield row

    def watched(model, files, options):
        asked.append(options["start"])
        return real(model, files, options)

    monkeypatch.setattr("ostinato.cli.row_file.NOTE_EVERY", 0.0)
    monkeypatch.setattr(type(TASK), "predict", lambda self, *rest: killed(*rest))
    assert here("predict", model, names, "-o", "out.csv")[0] == 130
    assert not Path("out.csv").exists()
    monkeypatch.setattr(type(TASK), "predict", lambda self, *rest: watched(*rest))
    code, _, err = here("predict", model, names, "-o", "out.csv")
    assert (code, asked) == (0, [20])
    assert "Going on after 20 rows" in err
    assert Path("out.csv").read_bytes() == Path("whole.csv").read_bytes()
    assert not list(Path().glob(".out.csv*"))


def test_a_file_that_changes_while_it_is_read_gives_no_result(names, model, here, monkeypatch):
    from ostinato.tasks.classification.kind import TASK

    real = TASK.predict

    def disturbed(self, model, files, options):
        for number, row in enumerate(real(model, files, options)):
            if number == 5:
                names.write_text(names.read_text("utf-8") + "Zed,Chinese\n", "utf-8")
            yield row

    monkeypatch.setattr(type(TASK), "predict", disturbed)
    code, _, err = here("predict", model, names, "-o", "out.csv")
    assert code == 2
    assert "changed while it was read" in err
    assert not Path("out.csv").exists()


def test_what_models_refuse(names, model, here, place):
    (place / "other.csv").write_text("nome,langue\nAnna,it\n")
    (place / "there.csv").write_text("precious")
    for line, message in [
        (["predict", model, "other.csv"], "no column 'name'"),
        (["predict", model, "names.cvs"], "did you mean names.csv?"),
        (["predict", model, names, "-o", "there.csv"], "there.csv exists already; replace it (--overwrite)"),
        (["predict", model, names, "-o", names, "--overwrite"], "is the file that is predicted"),
        (["predict", model, names, "--format", "conll"], "only tagged sentences"),
        (["predict", model, names, "--backtest"], "is for models of the task forecast, and model is a classifier"),
        (["evaluate", model, "other.csv"], "no column"),
        (["evaluate", model, names, "--part", "validation"], "is for language models, and model is a classifier"),
        (["sample", model], "model is a classifier and writes no text"),
        (["train", names, "--task=classify", "--out=model"], "holds a run already"),
        (["train", names, "--task=classify", "--target=langage", "--out=m"], "language"),
        (["train", names, "--task=clasify"], "did you mean 'classify'?"),
    ]:
        code, out, err = here(*line)
        assert (code, out) == (2, ""), line
        assert message in err, line
        assert err.startswith("error: ")
        assert err.count("\n") == 1
    assert Path("there.csv").read_text() == "precious"
    assert not Path("m").exists()


def test_forecasting(data, place, here):
    lines = (data / "ETTh1.csv").read_text().splitlines()[:300]
    (place / "oil.csv").write_text("\n".join(lines) + "\n")
    code, out, err = here("train", "oil.csv", "--target=OT", "--horizon=3", "--window=12", *TINY, "--out=oil")
    assert code == 0, err
    assert "oil.csv: task forecast, since" in err
    assert "persistence" in out
    code, out, _ = here("predict", "oil", "oil.csv", "--format=jsonl")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [row["horizon"] for row in rows] == [1, 2, 3]
    assert {row["origin"][:16] for row in rows} == {lines[-1][:16]}
    code, out, _ = here("predict", "oil", "oil.csv", "--backtest", "--format=jsonl")
    rows = [json.loads(line) for line in out.splitlines()]
    assert len(rows) == (299 - 12 - 3 + 1) * 3
    assert [row["actual"] for row in rows[-3:]] == [float(line.split(",")[-1]) for line in lines[-3:]]
    assert "mase" in json.loads(here("evaluate", "oil", "oil.csv", "--format=json")[1])


def test_transducing(place, here):
    words = ["".join("abcdef"[(n * k + k) % 6] for k in range(3 + n % 3)) for n in range(60)]
    (place / "pairs.tsv").write_text("source\ttarget\n" + "".join(f"{word}\t{word[::-1]}\n" for word in words))
    code, out, err = here("train", "pairs.tsv", "--task=transduce", *TINY, "--out=turned")
    assert code == 0, err
    assert "exact match" in out
    code, out, _ = here("predict", "turned", "pairs.tsv", "--format=tsv")
    rows = list(csv.DictReader(io.StringIO(out), delimiter="\t"))
    assert code == 0
    assert [row["source"] for row in rows] == words
    assert {"prediction", "score"} <= rows[0].keys()

    def score_of(*more: str) -> list[float]:
        code, out, _ = here("predict", "turned", "pairs.tsv", "--format=tsv", *more)
        assert code == 0
        return [float(row["score"]) for row in csv.DictReader(io.StringIO(out), delimiter="\t")]

    wide, greedy = (score_of(f"--beam-width={width}", "--length-power=0") for width in (8, 1))
    assert sum(wide) >= sum(greedy)
    code, out, _ = here("evaluate", "turned", "pairs.tsv", "--beam-width=1", "--format=json")
    assert json.loads(out)["pairs"] == len(words)
    code, _, err = here("predict", "turned", "pairs.tsv", "--beam-width=0")
    assert code == 2
    assert "width must be a whole number of at least 1, got 0" in err


def test_an_ensemble_after_a_search(names, here):
    arguments = ["--task=classify", "--tune=2", "--ensemble=2", *TINY, "--out=both"]
    code, out, err = here("train", names, *arguments)
    assert code == 0, err
    assert "2 trials of 2 steps each, judged by the validation part" in err
    trials = table(Path("both/tune.csv"))
    assert [trial["run"] for trial in trials] == ["trial-1", "trial-2"]
    best = max(trials, key=lambda trial: float(trial["score"]))
    settings = json.loads(Path("both/run.json").read_text())["settings"]
    assert settings["hidden_size"] == int(best["hidden_size"])
    assert settings["learning_rate"] == float(best["learning_rate"])
    assert Path("both/1/model.safetensors").exists()
    assert Path("both/2/model.safetensors").exists()
    assert "this model" in out
    assert here("predict", "both", names)[0] == 0


def test_comparing(names, here):
    arguments = ["--task=classify", "--cells=gru,rnn", "--seeds=2", "--match-parameters", *TINY, "--out=cells"]
    code, out, err = here("compare", names, *arguments)
    assert code == 0, err
    assert re.search(r"rnn: hidden size \d+, [\d,]+ parameters \([+-]", err)
    assert re.search(r"gru +2 +8 +[\d,]+ +[\d.]+ ± [\d.]+", out)
    assert len(Path("cells/runs.csv").read_text().splitlines()) == 5
    assert Path("cells/comparison.png").stat().st_size > 1000


def test_formats_shows_each_layout(here):
    code, out, _ = here("formats")
    assert code == 0
    for task in ("classify", "forecast", "tag", "transduce"):
        assert f"--task {task}" in out


@pytest.mark.parametrize("task", ["classify", "regress", "tag", "forecast", "transduce"])
def test_help_of_a_task_shows_its_own_flags(here, task):
    flat = re.sub(r"[\s│]+", " ", here("train", "--task", task, "--help")[1])
    for setting in dataclasses.fields(task_named(task).settings):
        assert re.search(rf"--{setting.name.replace('_', '-')}\b", flat)
    assert f"--task {task}" in flat
