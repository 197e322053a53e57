"""Sequences out of every layout, its bad files, and the examples that are shown."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy
import pandas
import pytest
import torch

from ostinato.data import layouts
from ostinato.data.conll import read_conll, with_column, written
from ostinato.data.formats import FORMATS, described
from ostinato.data.gaps import filled, regular_step, resampled
from ostinato.data.labels import classes_of, texts_of, unseen_note
from ostinato.data.preview import preview
from ostinato.data.table import Table, read_table
from ostinato.data.times import check_rising, parse_step, seconds_of, step_in_words
from ostinato.data.ts_format import read_ts
from ostinato.errors import DataError, InvalidValue


def write(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    return path


def table_of(folder: Path, content: str, name: str = "a.csv") -> Table:
    return read_table(write(folder, name, content))


LONG = "unit,hour,heat,load,failed\n7,0,1,10,no\n8,0,2,20,yes\n7,1,3,30,no\n8,3,4,40,yes\n"


def test_long_format_against_pandas(tmp_path: Path) -> None:
    table = table_of(tmp_path, LONG)
    got = layouts.long_rows(table, "unit", ["heat", "load"], "failed", time="hour")
    frame = pandas.read_csv(tmp_path / "a.csv")
    for index, (name, own) in enumerate(frame.groupby("unit")):
        assert got.groups is not None
        assert got.groups[index] == name
        numpy.testing.assert_array_equal(got.inputs[index], own[["heat", "load"]].to_numpy("float32"))
    assert (got.targets, got.where(1), got.names) == (["no", "yes"], "a.csv, line 3", ("heat", "load"))
    assert got.inputs[0].dtype == torch.float32


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "7,1,3,30,no",
            "7,0,3,30,no",
            r"a\.csv, line 4: the time in column 'hour' of unit 7 is that of a\.csv, line 2",
        ),
        (
            "7,1,3,30,no",
            "7,-1,3,30,no",
            r"line 4: the time in column 'hour' of unit 7 is earlier than in a\.csv, line 2",
        ),
        ("7,1,3,30,no", "7,1,,30,no", r"line 4: column 'heat' is empty; say how to fill it: --fill"),
        ("7,1,3,30,no", "7,1,hot,30,no", r"line 4: column 'heat' must hold numbers \(--inputs\), got 'hot'"),
        ("7,1,3,30,no", "7,1,3,30,yes", r"line 4: the target 'failed' must be the same in all rows of unit 7"),
        ("7,1,3,30,no", ",1,3,30,no", r"line 4: column 'unit' \(--group\) is empty"),
        ("7,1,3,30,no", "7,,3,30,no", r"line 4: column 'hour' \(--time\) is empty"),
    ],
)
def test_bad_long_format(tmp_path: Path, old: str, new: str, message: str) -> None:
    table = table_of(tmp_path, LONG.replace(old, new))
    with pytest.raises(DataError, match=message):
        layouts.long_rows(table, "unit", ["heat", "load"], "failed", time="hour")


def test_columns_that_cannot_be(tmp_path: Path) -> None:
    table = table_of(tmp_path, LONG)
    for arguments, message in (
        (
            ("unit", ["heat", "failed"], "failed"),
            "the target 'failed' is also an input; the model would read the answer",
        ),
        (("unit", ["heat", "heat"], "failed"), "names 'heat' twice"),
        (("unit", ["heta"], "failed"), r"no column 'heta' \(--inputs\); did you mean 'heat'"),
        (("unit", ["heat"], "faild"), r"no column 'faild' \(--target\); did you mean 'failed'"),
        (("unti", ["heat"], "failed"), r"no column 'unti' \(--group\); did you mean 'unit'"),
        (("unit", ["unit"], "failed"), "column 'unit' says which row a step is, so it cannot be an input"),
    ):
        with pytest.raises(DataError, match=message):
            layouts.long_rows(table, *arguments)


def test_a_step_in_each_column(tmp_path: Path) -> None:
    table = table_of(tmp_path, "a,b,c,y\n1,2,3,p\n4,5,,q\n6,,7,p\n")
    with pytest.raises(DataError, match=r"a\.csv, line 4: column 'b' is empty; fill it: --fill"):
        layouts.wide_rows(table, ["a", "b", "c"], "y")
    got = layouts.wide_rows(table, ["a", "b", "c"], "y", fill="linear")
    assert [one.squeeze(1).tolist() for one in got.inputs] == [[1, 2, 3], [4, 5], [6, 6.5, 7]]
    assert got.notes == ("1 missing value was filled in (--fill linear)",)
    empty = table_of(tmp_path, "a,b,y\n1,2,p\n,,q\n")
    with pytest.raises(DataError, match="line 3 has no value in its columns; a sequence of length 0"):
        layouts.wide_rows(empty, ["a", "b"], "y")


def test_lists_in_cells(tmp_path: Path) -> None:
    table = table_of(tmp_path, '{"x":[1,2],"y":[3,4],"k":"a"}\n{"x":[5],"y":[6],"k":"b"}\n', "a.jsonl")
    got = layouts.lists(table, ["x", "y"], "k")
    assert [one.tolist() for one in got.inputs] == [[[1, 3], [2, 4]], [[5, 6]]]
    rows = layouts.lists(table_of(tmp_path, '{"x":[[1,2],[3,4],[5,6]]}\n', "b.jsonl"), ["x"])
    assert (rows.inputs[0].tolist(), rows.names) == ([[1, 2], [3, 4], [5, 6]], ("dim_0", "dim_1"))
    for content, message in (
        ('{"x":[1,2],"y":[3]}\n', "line 1: column 'y' has 1 steps, and 'x' has 2"),
        ('{"x":[1],"y":[3]}\n{"x":[],"y":[3]}\n', "line 2: column 'x' is empty; a sequence of length 0"),
        ('{"x":[1,null],"y":[3,4]}\n', "line 1: column 'x' is empty|line 1: column 'x, y' is empty"),
        ('{"x":[1],"y":3}\n', "column 'y' .--inputs. must hold lists of numbers"),
    ):
        with pytest.raises(DataError, match=message):
            layouts.lists(table_of(tmp_path, content, "c.jsonl"), ["x", "y"])


def test_texts(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.csv, line 3: column 'text' is empty; a sequence of length 0"):
        layouts.texts(table_of(tmp_path, "text,y\na,1\n,2\n"), "text", "y")
    got = layouts.texts(table_of(tmp_path, "text,y\n12,1\n13,2\n"), "text", "y")
    assert (list(got.inputs), got.targets, got.of_text) == (["12", "13"], [1, 2], True)


def test_a_file_a_class(data: Path, tmp_path: Path) -> None:
    got = layouts.class_files(data / "names")
    lines = {path.stem: path.read_text().splitlines() for path in sorted((data / "names").glob("*.txt"))}
    assert list(zip(got.inputs, got.targets or [], strict=True)) == [(n, c) for c in lines for n in lines[c]]
    (tmp_path / "1").mkdir()
    with pytest.raises(DataError, match="would both be class 'a'"):
        layouts.class_files([write(tmp_path, "a.txt", "x"), write(tmp_path / "1", "a.txt", "y")])


def test_ts_of_the_archive(data: Path) -> None:
    got = layouts.ts_files([data / "JapaneseVowels_TRAIN.ts", data / "JapaneseVowels_TEST.ts"])
    assert (len(got), got.file(269), got.file(270), got.where(270)) == (640, 0, 1, "JapaneseVowels_TEST.ts, line 16")
    assert {tuple(one.shape[1:]) for one in got.inputs} == {(12,)}
    assert (min(got.lengths()), max(got.lengths())) == (7, 29)
    assert sorted(set(got.targets or [])) == list("123456789")
    text = (data / "JapaneseVowels_TEST.ts").read_text().splitlines()[15]
    channels = [list(map(float, part.split(","))) for part in text.split(":")[:-1]]
    numpy.testing.assert_allclose(got.inputs[270].T, channels, rtol=1e-6)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1,2:a\n", r"a\.ts, line 1 must start with @ or #"),
        ("@classLabel true a\n", "has no @data line"),
        ("@classLabel true a\n@data\n", "has no sequences after @data"),
        ("@classLabel maybe\n@data\n1:a\n", "@classlabel must be true or false, got 'maybe'"),
        ("@timeStamps true\n@data\n(0,1):a\n", "has time stamps in its sequences"),
        ("@dimensions two\n@data\n1:a\n", "@dimensions must be a whole number from 1, got 'two'"),
        ("@dimensions 2\n@classLabel true a\n@data\n1,2:a\n", "line 4 has 1 channels, and @dimensions says 2"),
        ("@classLabel true a\n@data\n1,2:3,4:a\n1,2:a\n", "line 4 has 1 channels, and others have 2"),
        ("@classLabel true a\n@data\n1,x:a\n", "line 3, channel 0: 'x' is not a number"),
        ("@classLabel true a\n@data\n1,2:3:a\n", "line 3: all channels of a sequence must be of one length, got 1, 2"),
        ("@classLabel true a\n@data\n1,2:b\n", "line 3 has the label 'b', which @classLabel does not name"),
        ("@targetLabel true\n@data\n1,2:b\n", "line 3: the target 'b' is not a number"),
        ("@classLabel true a\n@data\n1,?,3:a\n", r"a\.ts, line 3: column 'dim_0' is empty"),
    ],
)
def test_bad_ts(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        layouts.ts_files(write(tmp_path, "a.ts", content))


def test_ts_of_numbers_and_gaps(tmp_path: Path) -> None:
    series, targets, _ = read_ts(write(tmp_path, "a.ts", "@targetlabel true\n@data\n1,?,3:0.5\n"))
    assert targets == [0.5]
    assert math.isnan(series[0][1, 0])
    got = layouts.ts_files(tmp_path / "a.ts", fill="linear")
    assert got.inputs[0].flatten().tolist() == [1, 2, 3]
    other = write(tmp_path, "b.ts", "@targetlabel true\n@data\n1:2:0.5\n")
    with pytest.raises(DataError, match=r"b\.ts has 2 channels, and .*a\.ts has 1"):
        layouts.ts_files([tmp_path / "a.ts", other])


def test_conll_is_written_back_as_it_was(data: Path, tmp_path: Path) -> None:
    path = data / "ud_english_ewt" / "dev.conllu"
    sentences = read_conll(path)
    assert (len(sentences), sum(map(len, sentences))) == (2001, 25_147)
    assert "".join(written(sentences, [one.column("upos") for one in sentences], "upos")) == path.read_text()
    token = sentences[0].tokens[2]
    assert path.read_text().splitlines()[token.line - 1].split("\t") == list(token.columns)
    changed = list(with_column(sentences[0], ["X"] * len(sentences[0])))
    assert all(line.endswith("predicted=X") for line in changed if line[:1].isdigit())
    plain = write(tmp_path, "a.conll", "-DOCSTART- O\n\n# a comment here\nAnn B-PER\n# O\n\n\nRome B-LOC")
    got = read_conll(plain)
    assert [one.column(0) for one in got] == [["Ann", "#"], ["Rome"]]
    assert [one.where() for one in got] == ["a.conll, line 4", "a.conll, line 8"]


def test_bad_conll(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.conll, line 2 has 1 columns, and the lines before it have 2"):
        read_conll(write(tmp_path, "a.conll", "Ann B-PER\nsleeps\n"))
    with pytest.raises(DataError, match=r"a\.conllu, line 1 has 2 columns, and CoNLL-U has 10"):
        read_conll(write(tmp_path, "a.conllu", "1\tAnn\n"))
    with pytest.raises(DataError, match="holds no tokens"):
        read_conll(write(tmp_path, "b.conllu", "# text = none\n\n"))
    sentence = read_conll(write(tmp_path, "b.conll", "Ann B-PER\n"))[0]
    with pytest.raises(DataError, match="has 2 columns, numbered from 0; there is no column 5"):
        sentence.column(5)
    with pytest.raises(DataError, match="columns without names"):
        sentence.column("upos")
    with pytest.raises(InvalidValue, match="1 tokens need as many values, got 2"):
        list(with_column(sentence, ["a", "b"]))


def test_times(tmp_path: Path) -> None:
    table = table_of(tmp_path, "t,u\n2016-02-28 23:00:00,2016-02-29\n2016-02-29T00:00:00Z,2016-02-30\n")
    numpy.testing.assert_array_equal(numpy.diff(seconds_of(table, "t")), [3600])
    assert seconds_of(table, "t")[1] == 1456704000
    with pytest.raises(DataError, match=r"a\.csv, line 3: column 'u' \(--time\) has no such day or hour: '2016-02-30'"):
        seconds_of(table, "u")
    with pytest.raises(DataError, match=r"line 2: column 't' .* such as 2016-07-01 12:00:00, got '7/1/2016'"):
        seconds_of(table_of(tmp_path, "t,x\n7/1/2016,1\n"), "t")
    check_rising([1.0, 2.0], str, "t")
    for text in ("15min", "1h", "2d", "30s"):
        assert step_in_words(parse_step(text)) == text
    with pytest.raises(InvalidValue, match="must be like 30s, 15min, 1h, 1d or 1w, got 'often'"):
        parse_step("often")


@pytest.mark.parametrize(("how", "expected"), [("forward", "ffill"), ("linear", "interpolate")])
def test_gaps_against_pandas(how: str, expected: str) -> None:
    generator = numpy.random.default_rng(0)
    values = numpy.where(generator.random((50, 3)) < 0.4, numpy.nan, generator.normal(size=(50, 3)))
    values[0] = 1.0
    got, count = filled(values, how, "abc", str)
    numpy.testing.assert_allclose(got, getattr(pandas.DataFrame(values), expected)(), rtol=1e-12)
    assert count == numpy.isnan(values).sum()


def test_other_gaps() -> None:
    values = numpy.array([[numpy.nan, 1.0], [numpy.nan, numpy.nan]])
    with pytest.raises(DataError, match=r"row 0: column 'a' is empty \(3 values are in all\); say how"):
        filled(values, None, "ab", "row {}".format)
    with pytest.raises(DataError, match="column 'a' is always empty; leave it out, or --fill zero"):
        filled(values, "linear", "ab", str)
    assert filled(values, "zero", "ab", str)[0].tolist() == [[0, 1], [0, 0]]
    assert filled(values, "mean", "ab", str, [5.0, 6.0])[0].tolist() == [[5, 1], [5, 6]]


def test_resampling_against_pandas() -> None:
    generator = numpy.random.default_rng(0)
    seconds = numpy.sort(generator.uniform(0, 100_000, 60)) + 1e9
    values = generator.normal(size=(60, 2))
    times, got, touched = resampled(seconds, values, 3600.0)
    frame = pandas.DataFrame(values, index=pandas.to_datetime(seconds, unit="s")).resample("1h")
    numpy.testing.assert_allclose(got, frame.mean(), rtol=1e-9)
    assert touched == int((frame.size() != 1).sum())
    assert regular_step(times, str, "t") == 3600
    with pytest.raises(DataError, match=r"line 3: the time in column 't' is 3h after the row before.*--resample 1h"):
        regular_step(numpy.array([0, 3600, 7200, 18000, 21600.0]), "line {}".format, "t")
    with pytest.raises(DataError, match="give a longer --resample"):
        resampled(numpy.array([0.0, 1e9]), values[:2], 1.0)


def test_labels() -> None:
    assert classes_of(["b", "a", "10", "9"], "f") == (("9", "10", "a", "b"), ())
    assert "'A b' (1 row) and 'ab' (2 rows)" in classes_of(["A b", "ab", "ab"], "f")[1][0]
    with pytest.raises(DataError, match=r"f has one class only \('a'\)"):
        classes_of(["a", "a"], "f")
    with pytest.raises(DataError, match="line 1: column 'y' is empty; every row needs its class"):
        texts_of(["a", None], "line {}".format, "y")
    assert unseen_note(["a"], ["a"], "test") == ()
    assert "'z' (1 row)" in unseen_note(["z"], ["a"], "test")[0]


def test_what_a_first_look_sees(tmp_path: Path) -> None:
    rows = "".join(
        f"2020-01-{day:02},{day * 1.5},{'ab'[day % 2]},a text {day},{day % 3},{day}\n" for day in range(1, 29)
    )
    path = write(tmp_path, "a.csv", "when,size,kind,say,code,id\n" + rows)
    seen = preview(path)
    assert list(seen.kinds.values()) == ["time", "number", "label", "text", "label", "number"]
    assert (seen.extension, len(seen.rows), seen.rows[0]["kind"], seen.class_files) == (".csv", 28, "b", False)
    assert preview([write(tmp_path, "a.txt", "x"), write(tmp_path, "b.txt", "y")]).class_files
    assert preview(write(tmp_path, "a.conllu", "x")).kinds == {}
    assert preview(write(tmp_path, "a.jsonl", '{"x": [1, 2]}')).kinds == {"x": "series"}


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.file)
def test_each_example_reads_as_it_says(tmp_path: Path, form: object) -> None:
    path = write(tmp_path, form.file, form.example)
    words = form.command.split()
    flags = dict(pairwise(words))
    inputs = flags.get("--inputs", "").split(",")
    if path.suffix == ".ts":
        assert len(layouts.ts_files(path)) == 5
    elif path.suffix == ".conll":
        assert sum(map(len, read_conll(path))) == 5
    elif path.suffix in (".txt", ".tsv"):
        assert len(read_table(path)) >= 4
    elif flags["--task"] == "forecast":
        table = read_table(path)
        check_rising(seconds_of(table, flags["--time"])[: 3 if "--group" in flags else 5], table.where, "time")
        assert table.numbers(flags["--target"]).shape == (5,)
    elif "--group" in flags:
        got = layouts.long_rows(read_table(path), "unit", inputs, "failed", time="hour")
        assert got.lengths() == [3, 2]
    elif path.suffix == ".jsonl":
        assert layouts.lists(read_table(path), inputs, flags["--target"]).lengths() == [3, 2, 2, 3, 3]
    elif len(inputs) > 1:
        assert layouts.wide_rows(read_table(path), inputs, flags["--target"]).lengths() == [4, 3, 4, 4, 3]
    else:
        assert len(layouts.texts(read_table(path), inputs[0], flags["--target"])) == 5


def test_the_table_of_formats_is_plain_and_narrow() -> None:
    text = described()
    assert max(map(len, text.splitlines())) <= 120
    assert all(form.command in text for form in FORMATS)
