"""Tables: what each format reads as, and what every bad file is told."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy
import pandas
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ostinato.data import files, stored, table
from ostinato.data.files import expand
from ostinato.data.table import Table, read_table
from ostinato.errors import DataError


def read(folder: Path, name: str, content: str | bytes, **options: str) -> Table:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(path, **options)


BAD = {
    "ragged": ("a.csv", "x,y\n1,2\n1,2,3\n", r"a\.csv, line 3 has 3 cells, and the header has 2"),
    "ragged after a quoted line end": ("a.csv", 'x,y\n"1\n1",2\n1\n', r"line 4 has 1 cells"),
    "not UTF-8": ("a.csv", "x,y\n1,é\n".encode("latin1"), r"line 2 has the byte 0xe9 at place 3; convert it: iconv"),
    "UTF-16": ("a.csv", "x,y\n1,2\n".encode("utf-16"), r"is UTF-16, and UTF-8 is needed"),
    "NUL": ("a.csv", b"x,y\n1,\x00\n", r"line 2 holds a NUL"),
    "empty": ("a.csv", "", r"a\.csv is empty"),
    "only a header": ("a.csv", "x,y\n", r"has a header and no rows"),
    "only empty lines": ("a.csv", "\n\n", r"holds no rows"),
    "empty lines of text": ("a.txt", "\n \n", r"holds only empty lines"),
    "no header": ("a.csv", "0.5,1.5\n1,2\n", r"line 1 must name the columns, got numbers \(0\.5, 1\.5\)"),
    "a name twice": ("a.csv", "x,x\n1,2\n", r"names the column 'x' twice"),
    "quotes": ("a.csv", 'x,y\n"a"b,2\n', r"line 2 cannot be read as cells"),
    "open quote": ("a.csv", 'x,y\n"a,2\n' + "1,2\n" * 10_010, r"line 2 opens a quote that is not closed"),
    "no JSON": ("a.jsonl", '{"x": 1}\n{"x": \n', r"a\.jsonl, line 2 is not JSON"),
    "JSON array": ("a.json", '[{"x": 1}]\n', r"line 1 must hold an object, as in .*jq -c"),
    "no object": ("a.jsonl", '{"x": 1}\n3\n', r"line 2 must hold an object"),
    "mixed types": ("a.jsonl", '{"x": 1}\n{"x": "old"}\n', r"line 2: column 'x' holds texts, and whole numbers before"),
    "nested": ("a.jsonl", '{"x": {"y": 1}}\n', r"line 1: column 'x' must hold a number, a text or a list"),
    "too large a number": ("a.jsonl", '{"x": 123456789012345678901}\n', r"line 1: column 'x' must hold"),
    "half a character": ("a.jsonl", '{"x": "\\ud800"}\n', r"column 'x' holds half a character"),
    "no Parquet": ("a.parquet", "PAR1", r"cannot be read as Parquet"),
    "unknown ending": ("a.xlsx", "x", r"must end in \.csv.*got '\.xlsx'; save the sheet as CSV"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_told_where_and_why(tmp_path: Path, name: str) -> None:
    file, content, message = BAD[name]
    with pytest.raises(DataError, match=message):
        read(tmp_path, file, content)


def test_the_delimiter_is_found_and_said(tmp_path: Path) -> None:
    found = read(tmp_path, "a.csv", "x;y\n1;2\n")
    assert found.columns == ("x", "y")
    assert found.notes == ("a.csv: a semicolon stands between the columns",)
    assert not read(tmp_path, "b.csv", "x,y\n1;5,2\n").notes


def test_a_delimiter_that_is_wrong_is_told_the_right_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"does not split into columns at ';', and it has 2 columns with a comma"):
        read(tmp_path, "a.csv", "x,y\n1,2\n", delimiter=";")
    with pytest.raises(DataError, match="must be one character"):
        read(tmp_path, "a.csv", "x,y\n1,2\n", delimiter="ab")
    assert read(tmp_path, "a.csv", "x\ty\n1\t2\n", delimiter="tab").columns == ("x", "y")


def test_a_quote_in_tsv_is_a_character(tmp_path: Path) -> None:
    assert read(tmp_path, "a.tsv", 'x\ty\n"Hi," she said\t2\n')[0] == {"x": '"Hi," she said', "y": 2}


def test_a_missing_column_offers_the_nearest(tmp_path: Path) -> None:
    found = read(tmp_path, "a.csv", "speaker,text\na,b\n")
    with pytest.raises(DataError, match=r"a\.csv has no column 'spekaer' \(--target\); did you mean 'speaker'\?"):
        found.need("spekaer", "--target")
    with pytest.raises(DataError, match=r"did you mean 'text'\? the columns are speaker, text"):
        found.need("TEXT")


def test_numbers_name_the_line_of_what_is_none(tmp_path: Path) -> None:
    found = read(tmp_path, "a.csv", "x,y,z\n1,0.5,1\n\n2,NA,1e999\nold,,3\n")
    with pytest.raises(DataError, match=r"a\.csv, line 5: column 'x' must hold numbers \(--inputs\), got 'old'"):
        found.numbers("x", "--inputs")
    with pytest.raises(DataError, match=r"a\.csv, line 4: column 'z' must hold finite numbers, got inf"):
        found.numbers("z")
    numpy.testing.assert_array_equal(found.numbers("y"), [0.5, numpy.nan, numpy.nan])
    assert found.notes == ("a.csv: an empty line was left out: line 3",)
    with pytest.raises(DataError, match="write the fraction after a point"):
        read(tmp_path, "b.csv", "x;y\n1,5;2\n").numbers("x")


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "-2"], "integer"),
        (["1", "2.5"], "number"),
        (["1", "", "NA"], "integer"),
        (["007", "008"], "text"),
        (["123456789012345678901", "1"], "text"),
        (["NA", "NA"], "text"),
        (["None", "Anna"], "text"),
        (["1_000", "2"], "text"),
        (["+1", " 2 "], "integer"),
        (["1e5", ".5", "5."], "number"),
    ],
)
def test_kinds_of_csv(tmp_path: Path, cells: list[str], kind: str) -> None:
    found = read(tmp_path, "a.csv", "x,y\n" + "".join(f"{cell},k\n" for cell in cells))
    assert found.kinds["x"] == kind
    if kind == "text":
        assert found.column("x") == cells


def test_where_names_the_file_and_the_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('x,y\n"two\nlines",1\n\nc,2\n')
    (tmp_path / "b.csv").write_text("y,x\n3,d\n")
    found = read_table([tmp_path / "a.csv", tmp_path / "b.csv"])
    assert [found.where(row) for row in range(3)] == ["a.csv, line 2", "a.csv, line 5", "b.csv, line 2"]
    assert found[2] == {"x": "d", "y": 3}
    assert [found.file_of(row).name for row in range(3)] == ["a.csv", "a.csv", "b.csv"]
    assert [found.rows_of(0), found.rows_of(1)] == [range(2), range(2, 3)]


def test_files_with_other_columns_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,label\n1,2\n")
    (tmp_path / "b.csv").write_text("x,lable\n1,2\n")
    with pytest.raises(DataError, match=r"b\.csv has no column 'label', which .*a\.csv has; did you mean 'lable'"):
        read_table([tmp_path / "a.csv", tmp_path / "b.csv"])


def test_a_file_that_changes_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.csv"
    path.write_text("x\n1\n")
    original = table.read_sources

    def changing(*arguments: object, **options: object) -> object:
        with open(path, "a") as file:
            file.write("2\n")
        return original(*arguments, **options)

    monkeypatch.setattr(table, "read_sources", changing)
    with pytest.raises(DataError, match=r"a\.csv changed while it was read"):
        read_table(path)


def test_a_change_that_leaves_size_and_time_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("x\n1\n")
    state = path.stat()

    def change_it() -> None:
        with files.unchanged([path]):
            path.write_text("x\n2\n")
            os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))

    with pytest.raises(DataError, match="changed while it was read"):
        change_it()


def test_folders_and_globs(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt", "README.md", ".hidden"):
        (tmp_path / name).write_text("x\n")
    assert [path.name for path in expand(tmp_path)] == ["a.txt", "b.txt"]
    assert [path.name for path in expand(tmp_path / "*.txt")] == ["a.txt", "b.txt"]
    with pytest.raises(DataError, match=r"no file matches .*\*\.csv"):
        expand(tmp_path / "*.csv")
    with pytest.raises(DataError, match=r"there is no file .*a\.text; did you mean .*a\.txt"):
        expand(tmp_path / "a.text")
    with pytest.raises(DataError, match="is named twice"):
        expand([tmp_path / "a.txt", tmp_path])
    (tmp_path / "c.csv").write_text("x\n")
    with pytest.raises(DataError, match=r"several kinds \(\.csv, \.txt\)"):
        expand(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no files"):
        expand(tmp_path / "empty")
    with pytest.raises(DataError, match="no file was named"):
        expand([])


def test_a_large_table_is_mapped_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "LARGE", 0)
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "a.csv"
    path.write_text("x,y\n" + "".join(f"{row},t{row}\n" for row in range(20_000)))
    found = read_table(path)
    assert found.column("x") == list(range(20_000))
    assert (found[19_999], found.where(19_999)) == ({"x": 19_999, "y": "t19999"}, "a.csv, line 20,001")
    entry = next((tmp_path / "cache" / "data").iterdir())
    monkeypatch.setattr(table, "read_sources", None)
    assert read_table(path).column("y")[7] == "t7", "the second time nothing is parsed"
    monkeypatch.undo()
    monkeypatch.setattr(table, "LARGE", 0)
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path / "cache"))
    entry.write_bytes(entry.read_bytes()[:1000])
    assert len(read_table(path)) == 20_000, "half an entry is none"
    path.write_text("x,y\n1,a\n")
    assert len(read_table(path)) == 1
    assert len(list((tmp_path / "cache" / "data").iterdir())) == 1, "the entry of the older state is gone"


def test_a_large_table_without_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "LARGE", 0)
    for asked in ("off", str(tmp_path / "a.csv" / "folder")):
        monkeypatch.setenv("OSTINATO_CACHE", asked)
        assert read(tmp_path, "a.csv", "x,y\n1,a\n")[0] == {"x": 1, "y": "a"}


def test_the_kept_table_lies_beside_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OSTINATO_CACHE", raising=False)
    folder = stored.data_folder()
    assert folder is not None
    assert folder.parts[-2:] == ("ostinato", "data")


NAMES = st.text(st.characters(codec="utf-8", categories=("L",)), min_size=1, max_size=6)
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("C",)), min_size=1).map(lambda one: "t" + one)
COLUMNS = st.sampled_from(
    [TEXTS, st.integers(-(10**17), 10**17), st.floats(allow_nan=False, allow_infinity=False).map(lambda one: one + 0.5)]
)


@st.composite
def tables(draw: st.DrawFn) -> dict[str, list[object]]:
    names = draw(st.lists(NAMES, min_size=2, max_size=4, unique=True))
    rows = draw(st.integers(1, 6))
    return {name: draw(st.lists(st.none() | draw(COLUMNS), min_size=rows, max_size=rows).filter(any)) for name in names}


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tables())
def test_csv_tsv_json_lines_and_parquet_read_the_same(tmp_path: Path, content: dict[str, list[object]]) -> None:
    names, rows = list(content), list(zip(*content.values(), strict=True))
    rows = [row for row in rows if any(cell is not None for cell in row)]
    with open(tmp_path / "a.csv", "w", newline="") as file:
        csv.writer(file).writerows([names, *([("" if c is None else c) for c in row] for row in rows)])
    with open(tmp_path / "a.tsv", "w", newline="") as file:
        for row in [names, *rows]:
            file.write("\t".join("" if cell is None else str(cell) for cell in row) + "\n")
    with open(tmp_path / "a.jsonl", "w") as file:
        for row in rows:
            file.write(json.dumps(dict(zip(names, row, strict=True))) + "\n")
    frame = {name: pandas.array([row[i] for row in rows]) for i, name in enumerate(names)}
    pandas.DataFrame(frame).to_parquet(tmp_path / "a.parquet")
    expected = [dict(zip(names, row, strict=True)) for row in rows]
    for ending in ("csv", "tsv", "jsonl", "parquet"):
        assert list(read_table(tmp_path / f"a.{ending}")) == expected, ending
