"""The commands on a small file of pairs: train, evaluate, predict, load; and files that do not fit the model."""

from __future__ import annotations

import csv
import json
import random

import pytest

import ostinato
from ostinato.cli import main
from ostinato.models.transducer import Transducer

SIZE = ["--hidden-size=12", "--embedding-size=6", "--validate-every=4", "--device=cpu"]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    draw = random.Random(0)
    texts = ["".join(draw.choices("abcdefgh", k=draw.randint(4, 8))) for _ in range(300)]
    file = tmp_path_factory.mktemp("data") / "pairs.tsv"
    file.write_text("source\ttarget\n" + "".join(f"{text}\t{text[::-1]}\n" for text in texts), "utf-8")
    return file


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Runs a command in an empty folder; gives its exit code, its output and its complaints."""
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    return run


def test_from_a_file_to_predictions(pairs, tmp_path, run):
    code, out, err = run("train", pairs, "--task=transduce", "--out=model", "--steps=6", *SIZE)
    assert code == 0, err
    assert "240 pairs to learn from, 30 to check with, 30 for the final score" in out + err
    assert "most frequent target" in out + err
    model = ostinato.load("model")
    assert isinstance(model, Transducer)
    assert model.training["split"]["rows"]["test"] == 30

    code, out, err = run("evaluate", "model", pairs, "--format=json")
    assert code == 0, err
    figures = json.loads(out)
    assert figures["pairs"] == 300
    assert {"loss", "exact_match", "token_accuracy", "character_error_rate", "bleu"} <= set(figures)

    code, out, err = run("predict", "model", pairs, "-o", "answers.csv")
    assert code == 0, err
    with open("answers.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["prediction"] for row in rows] == model.predict([row["source"] for row in rows])

    (tmp_path / "other.tsv").write_text("text\tsource_\nab\tba\n", "utf-8")
    code, _, err = run("predict", "model", "other.tsv", "-o", "other.csv")
    assert code != 0
    assert "no column 'source'" in " ".join(err.split())
    assert not (tmp_path / "other.csv").exists()
