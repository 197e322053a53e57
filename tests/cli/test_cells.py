"""``ostinato cells``: the list, one cell, and what it refuses."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest

import ostinato
from ostinato.cells import registry, tex
from ostinato.cells.page import page_of
from ostinato.cli import main

EVERYONE = registry.everyone()


@pytest.fixture
def run(capsys, monkeypatch):
    """Runs a command; gives its exit code, its output and its complaints."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(["cells", *arguments])
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    return run


def names_of(out: str) -> list[str]:
    return [line.split()[0] for line in out.splitlines() if line.split() and line.split()[0] in EVERYONE]


def test_all_of_them_by_name(run):
    code, out, _ = run()
    assert code == 0
    assert names_of(out) == sorted(EVERYONE)
    (gru,) = [line.split() for line in out.splitlines() if line.startswith(" gru ")]
    assert gru[-3:] == ["2014", "99,072", "98,304"]
    assert f"{len(EVERYONE)} cells" in out


@pytest.mark.parametrize(
    ("order", "column"), [("year", "year"), ("parameters", "parameters"), ("cost", "multiply_adds")]
)
def test_orders(run, order, column):
    _, out, _ = run("--sort", order, "--format", "json")
    values = [one[column] for one in json.loads(out)]
    assert values == sorted(values)
    assert len(values) == len(EVERYONE)


def test_the_readme_shows_real_lines(run):
    """The header, and some of the lines in their order; columns are as wide as those lines need."""
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text("utf-8")
    (block,) = re.findall(r"ostinato cells --sort cost.*?```text\n(.*?)```", readme, re.DOTALL)
    shown = [line.split() for line in block.splitlines() if "──" not in line]
    real = [line.split() for line in run("--sort", "cost")[1].splitlines()]
    places = [real.index(line) for line in shown]
    assert len(places) > 5
    assert places == sorted(places)


def test_csv(run):
    _, out, _ = run("--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["name"] for row in rows] == sorted(EVERYONE)
    (lstm,) = [row for row in rows if row["name"] == "lstm"]
    assert lstm == {
        "name": "lstm",
        "title": "Long short-term memory",
        "year": "1997",
        "states": "h c",
        "parameters": str(2 * 4 * 128 * 128 + 2 * 4 * 128),
        "multiply_adds": str(2 * 4 * 128 * 128),
    }


@pytest.mark.parametrize(
    ("name", "cost"), [("rnn", 2), ("gru", 6), ("lstm", 8), ("elman", 3), ("cho-gru", 6)], ids=lambda value: str(value)
)
def test_cost_is_the_number_of_square_products(run, name, cost):
    _, out, _ = run(name, "--format", "json")
    assert json.loads(out)["multiply_adds"] == cost * 128 * 128


@pytest.mark.parametrize("name", EVERYONE)
def test_one(run, name, monkeypatch):
    # To ask for the engine compiles the step, which is another test's matter.
    monkeypatch.setattr("ostinato.cli.cells._engine", lambda known: "native")
    code, out, _ = run(name)
    cell, words = EVERYONE[name].cell, " ".join(out.split())
    page = page_of(cell)
    assert code == 0
    assert out.startswith(f"{name}: {EVERYONE[name].title} ({EVERYONE[name].year})")
    assert "\\" not in out, "a command of TeX that is not known"
    assert "``" not in out
    assert ":math:" not in out
    for line in tex.aligned(page.equations):
        assert line.strip() in out
    assert " ".join(tex.prose(page.paper).split()) in words
    for parameter in dict(cell(4, 4).named_parameters()):
        assert parameter in out
    assert f'ostinato.Recurrent("{name}"' in out


def test_the_engine_is_said(run):
    assert "Engine:  native (the cell's step is compiled" in run("peephole-lstm")[1]


def test_one_for_programs(run):
    _, out, _ = run("lstm", "--format", "json")
    found = json.loads(out)
    assert found["options"]["forget_bias"]["default"] is None
    assert found["parameter_shapes"]["weight_ih"] == "(4·H, I)"
    assert getattr(ostinato.cells, found["class"].rpartition(".")[2]) is ostinato.LSTMCell
    assert found["equations"][4] == r"c_t &= f_t \odot c_{t-1} + i_t \odot g_t"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["peephole-lsmt"], "no cell is called 'peephole-lsmt'; `ostinato cells` lists all .*'peephole-lstm'"),
        (["GRUU"], "no cell is called 'GRUU'.*did you mean 'gru'"),
        (["gru", "--sort", "year"], "--sort year is for the list of all cells"),
        (["gru", "--format", "csv"], "csv is for the list"),
    ],
)
def test_what_it_refuses(run, arguments, message):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert re.search(message, err)


def test_an_order_that_there_is_not(run):
    code, _, err = run("--sort", "age")
    assert code == 2
    assert "'name', 'year', 'parameters', 'cost'" in err


def test_help_has_examples(run):
    code, out, _ = run("--help")
    assert code == 0
    assert "ostinato cells peephole-lstm" in out
