"""Files of rows: what each format looks like, and that a kill at any moment costs nothing and leaves nothing half."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path

import pandas
import pytest
import torch

from ostinato.cli.row_file import RowFile, must_be_free, write_to_stream
from ostinato.cli.row_formats import FORMATS, format_for, row_format
from ostinato.errors import DataError, InvalidValue

ROWS = [
    {"text": 'He said "no, never"', "prediction": "no", "score": 0.125, "scores": {"no": 0.125}},
    {"text": "two\nlines, and ümlaut", "prediction": None, "score": torch.tensor(0.5), "scores": {}},
    {"text": "", "prediction": "yes", "score": 1e-30, "scores": {"yes": [1, 2]}},
]


def rows_from(start):
    return iter(ROWS[start:])


@pytest.fixture
def durable_rows(monkeypatch):
    """Each row is noted at once, so that a test need not wait a second."""
    monkeypatch.setattr("ostinato.cli.row_file.NOTE_EVERY", 0.0)


@pytest.mark.parametrize(("name", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_pandas_reads_the_table(tmp_path, name, delimiter):
    path = tmp_path / f"out.{name}"
    assert RowFile(path, row_format(name), "f").write(rows_from) == 3
    table = pandas.read_csv(path, sep=delimiter, keep_default_na=False)
    assert list(table.columns) == list(ROWS[0])
    assert list(table["text"]) == [row["text"] for row in ROWS]
    assert list(table["score"]) == [0.125, 0.5, 1e-30]
    assert json.loads(table["scores"][2]) == {"yes": [1, 2]}


def test_json_and_json_lines_hold_the_same(tmp_path):
    lines, whole = tmp_path / "a.jsonl", tmp_path / "a.json"
    RowFile(lines, row_format("jsonl"), "f").write(rows_from)
    RowFile(whole, row_format("json"), "f").write(rows_from)
    found = [json.loads(line) for line in lines.read_text("utf-8").splitlines()]
    assert found == json.loads(whole.read_text("utf-8"))
    assert [row["score"] for row in found] == [0.125, 0.5, 1e-30]
    assert "ümlaut" in lines.read_text("utf-8")


@pytest.mark.parametrize("name", FORMATS)
def test_no_rows_at_all_are_a_file_too(tmp_path, name):
    RowFile(tmp_path / "out", row_format(name), "f").write(lambda start: iter(()))
    assert (tmp_path / "out").read_text() == ("[]\n" if name == "json" else "")


@pytest.mark.parametrize("name", ["csv", "tsv", "jsonl", "json"])
@pytest.mark.parametrize("dies_after", [0, 1, 2, 3])
@pytest.mark.usefixtures("durable_rows")
def test_a_killed_file_goes_on_and_ends_as_if_nothing_had_been(tmp_path, name, dies_after):
    whole, path = tmp_path / "whole", tmp_path / "out"
    RowFile(whole, row_format(name), "f").write(rows_from)
    asked = []

    def dying(start):
        asked.append(start)
        yield from ROWS[start:dies_after]
        raise MemoryError

    with pytest.raises(MemoryError):
        RowFile(path, row_format(name), "f").write(dying)
    assert not path.exists()
    part = path.with_name(".out.part")
    # A kill in the middle of a write leaves half a row behind what was noted.
    with open(part, "ab") as file:
        file.write(b'half a row, "')

    def rest(start):
        asked.append(start)
        return rows_from(start)

    assert RowFile(path, row_format(name), "f").write(rest) == 3
    assert asked == [0, dies_after]
    assert path.read_bytes() == whole.read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out", "whole"]


@pytest.mark.usefixtures("durable_rows")
def test_a_part_made_from_something_else_is_thrown_away(tmp_path):
    def dying(start):
        yield {"other": 1}
        raise MemoryError

    path = tmp_path / "out.csv"
    with pytest.raises(MemoryError):
        RowFile(path, row_format("csv"), "of another model").write(dying)
    RowFile(path, row_format("csv"), "of this model").write(rows_from)
    assert next(csv.reader(io.StringIO(path.read_text("utf-8")))) == list(ROWS[0])


@pytest.mark.usefixtures("durable_rows")
def test_a_damaged_note_begins_anew(tmp_path):
    path = tmp_path / "out.csv"
    path.with_name(".out.csv.part").write_text("text\nrubbish")
    for damage in ("{", "[]", '{"fingerprint": "f", "columns": [], "rows": 1, "bytes": 100}'):
        path.with_name(".out.csv.part.json").write_text(damage)
        RowFile(path, row_format("csv"), "f").write(rows_from)
        assert "rubbish" not in path.read_text("utf-8")


def test_what_fails_at_once_leaves_nothing(tmp_path):
    def failing(start):
        raise DataError("no such column")

    with pytest.raises(DataError, match="no such column"):
        RowFile(tmp_path / "out.csv", row_format("csv"), "f").write(failing)
    assert list(tmp_path.iterdir()) == []


def test_a_stream_gets_the_same(tmp_path, capsys):
    RowFile(tmp_path / "out", row_format("csv"), "f").write(rows_from)
    write_to_stream(sys.stdout, row_format("csv"), rows_from)
    assert capsys.readouterr().out == (tmp_path / "out").read_text("utf-8")


def test_a_row_with_a_column_of_its_own_has_no_place_in_a_table(tmp_path):
    rows = [{"a": 1}, {"a": 2, "b": 3}]
    with pytest.raises(DataError, match="prediction 2 has the columns b"):
        RowFile(tmp_path / "out.csv", row_format("csv"), "f").write(lambda start: iter(rows[start:]))
    assert not (tmp_path / "out.csv").exists()


def test_what_is_refused(tmp_path):
    with pytest.raises(DataError, match="only tagged sentences"):
        RowFile(tmp_path / "out", row_format("conll"), "f").write(rows_from)
    with pytest.raises(DataError, match="a prediction holds object"):
        RowFile(tmp_path / "out", row_format("jsonl"), "f").write(lambda start: iter([{"a": object()}]))
    with pytest.raises(InvalidValue, match="format must be one of csv, tsv, jsonl, json, conll, got 'xml'"):
        row_format("xml")
    (tmp_path / "there").write_text("precious")
    with pytest.raises(DataError, match="exists already; replace it"):
        must_be_free(tmp_path / "there", overwrite=False)
    must_be_free(tmp_path / "there", overwrite=True)
    with pytest.raises(ValueError, match="is a folder, and a file is needed"):
        must_be_free(tmp_path, overwrite=True)


@pytest.mark.parametrize(
    ("out", "given", "format"),
    [
        ("a.jsonl", None, "jsonl"),
        ("a.JSON", None, "json"),
        ("a.conllu", None, "conll"),
        ("a.csv", "json", "json"),
        ("a.txt", None, "tsv"),
        (None, None, "tsv"),
    ],
)
def test_the_format_follows_the_name(out, given, format):
    assert format_for(Path(out) if out else None, given, "tsv") == format
