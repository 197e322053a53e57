"""Every task from a small real file to figures and predictions, through the installed command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ostinato.cli import main

COMMAND = str(Path(sys.executable).with_name("ostinato"))

TINY = ("--steps=6", "--validate-every=6", "--hidden-size=8", "--device=cpu")


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


def test_tagging(ostinato, here, sentences):
    code, out, err = ostinato("train", sentences.name, *TINY, "--out=tagger")
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
