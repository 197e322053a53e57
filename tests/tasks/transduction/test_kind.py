"""From files of pairs to a task and back to rows: the parts, what is said, and what is refused."""

from __future__ import annotations

import json
import random
from types import SimpleNamespace

import pytest
import torch

from ostinato.errors import DataError, InvalidValue
from ostinato.tasks.transduction.kind import TASK
from ostinato.tasks.transduction.settings import TransduceSettings

SMALL = TransduceSettings(hidden_size=6, embedding_size=4, batch_size=300)


def texts(count: int, seed: int = 0, longest: int = 6) -> list[str]:
    draw = random.Random(seed)
    return ["".join(draw.choices("abcdefgh", k=draw.randint(4, longest))) for _ in range(count)]


def write(path, rows, header="source\ttarget"):
    path.write_text("\n".join([header, *("\t".join(row) for row in rows)]) + "\n", "utf-8")
    return path


@pytest.fixture
def pairs(tmp_path):
    return write(tmp_path / "pairs.tsv", [(text, text[::-1]) for text in texts(200)])


def prepared(*files, **changes):
    torch.manual_seed(0)
    return TASK.prepare(files, SMALL.replaced(changes))


def test_what_is_recognised():
    def seen(extension, *kinds):
        return SimpleNamespace(extension=extension, kinds=dict(enumerate(kinds)))

    assert "pairs" in TASK.recognise(seen(".tsv", "text", "text"))
    for other in (seen(".csv", "text", "text"), seen(".tsv", "text", "label"), seen(".tsv", "text"), seen(".txt")):
        assert TASK.recognise(other) is None


def test_parts_baselines_and_figures(pairs):
    ready = prepared(pairs)
    assert ready.part == "test"
    assert ready.split["rows"] == {"training": 160, "validation": 20, "test": 20}
    said = "\n".join(ready.notes)
    assert "'source' is read, and 'target' is to be written" in said
    assert "160 pairs to learn from, 20 to check with, 20 for the final score" in said
    simple = ready.baselines()
    palindromes = sum(text == text[::-1] for text in texts(200))
    assert simple["copy of the source"]["exact_match"] <= palindromes / 20
    figures = ready.test(ready.task.model)
    assert set(figures) == {"loss", "exact_match", "token_accuracy", "character_error_rate", "bleu"}
    assert set(simple["most frequent target"]) == set(figures) - {"loss"}
    assert ready.task.validate().figures.keys() == figures.keys()


def test_equal_sources_are_never_on_both_sides(tmp_path):
    rows = [(text, str(number)) for number, text in enumerate(texts(60) * 3)]
    table = write(tmp_path / "pairs.tsv", [(one, f"x{two}") for one, two in rows])
    ready = prepared(table)
    assert any("180 rows repeat an input (60 inputs come more than once)" in note for note in ready.notes)
    learnt = {pair.source for pair in ready.task._training}
    assert not learnt & {pair.source for pair in ready.task._validation}


def test_parts_by_file(tmp_path):
    every = [(text, text[::-1]) for text in texts(60)]
    files = [write(tmp_path / f"{n}.tsv", every[20 * n : 20 * n + 25]) for n in range(3)]
    ready = prepared(files[0], validation_file=str(files[1]), test_file=str(files[2]))
    assert ready.split["rows"] == {"training": 25, "validation": 25, "test": 20}
    assert any("of 25 validation rows have an input that is learnt from too" in note for note in ready.notes)
    only_test = prepared(files[0], test_file=str(files[2]), validation_fraction=0.2)
    assert only_test.split["rows"]["validation"] == 5
    assert prepared(files[0], test_fraction=0.0).part == "validation"


def test_only_the_training_part_is_learnt_from(tmp_path):
    learn = write(tmp_path / "learn.tsv", [("abc", "cba"), ("cab", "bac")] * 5)
    check = write(tmp_path / "check.tsv", [("xya", "ayx")])
    ready = prepared(learn, validation_file=str(check))
    tokens = ready.task.model.source_tokens
    assert tokens.count_unknown("abcxy") == 2
    assert any("2 characters of the validation and test sources do not occur in training" in n for n in ready.notes)


def test_long_pairs_are_left_out_and_counted(tmp_path):
    rows = [(text, text) for text in texts(40)] + [("a" * 50 + tail, "b") for tail in ("x", "y", "z")]
    ready = prepared(
        write(tmp_path / "pairs.tsv", rows), longest=20, validation_file=str(write(tmp_path / "v.tsv", rows[:3]))
    )
    assert len(ready.task._training) == 40
    assert any("3 pairs have more than 20 tokens on a side and are not learnt from" in note for note in ready.notes)
    assert ready.task.model.longest == 6
    with pytest.raises(DataError, match="every pair has more than 2 tokens"):
        prepared(write(tmp_path / "all.tsv", rows), longest=2)


@pytest.mark.parametrize("tokens", ["words", "subwords"])
def test_one_vocabulary_for_both_sides(tmp_path, tokens):
    rows = [(f"{a} cat {b}", f"{b} dog {a}") for a in ("the", "my", "a") for b in ("sat", "ran", "hid")]
    ready = prepared(write(tmp_path / "p.tsv", rows), tokens=tokens, shared=True, vocabulary_size=300, tied=True)
    model = ready.task.model
    assert model.source_tokens == model.target_tokens
    assert model.network.source_embedding is None
    assert ready.test(model)["exact_match"] <= 1
    # Words are compared as words: what stands between them is not the model's to know.
    assert ready.baselines()["most frequent target"]["token_accuracy"] > 0


def test_other_columns_and_formats(tmp_path, pairs):
    rows = [{"id": n, "fr": text[::-1], "en": text} for n, text in enumerate(texts(50))]
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    ready = prepared(file, source="en", target="fr")
    assert ready.task.model.columns == {"source": "en", "target": "fr"}
    whole = write(tmp_path / "digits.tsv", [(str(n), str(n + 1)) for n in range(50)])
    assert prepared(whole).task._training[0].source.isdecimal()


def test_rows_with_predictions(tmp_path, pairs):
    model = prepared(pairs).task.model
    rows = [(text, "?", str(n)) for n, text in enumerate(texts(300, seed=5))]
    file = write(tmp_path / "new.tsv", rows, "source\tmore\tid")
    found = list(TASK.predict(model, [file], {"width": 2}))
    assert [row["id"] for row in found] == list(range(300))
    assert list(found[0]) == ["source", "more", "id", "prediction", "score", "complete"]
    assert [row["prediction"] for row in found] == model.predict([text for text, _, _ in rows], width=2)
    rest = list(TASK.predict(model, [file], {"width": 2, "start": 270}))
    assert [(row["id"], row["prediction"]) for row in rest] == [(row["id"], row["prediction"]) for row in found[270:]]


def test_figures_of_a_file(tmp_path, pairs):
    model = prepared(pairs).task.model
    file = write(tmp_path / "test.tsv", [("abz", "zba"), ("abcdefgh", "hgfedcba")])
    figures = TASK.evaluate(model, [file], {"width": 1})
    assert figures["pairs"] == 2
    assert figures["unknown_tokens"] == 1
    assert figures["longer_than_in_training"] == 1
    json.dumps(figures)
    with (
        pytest.warns(UserWarning, match="1 characters did not occur in training"),
        pytest.warns(UserWarning, match="1 of 2 sources are longer than the 6 characters"),
    ):
        next(iter(TASK.predict(model, [file], {})))
    with pytest.raises(DataError, match="no column 'target'"):
        TASK.evaluate(model, [write(tmp_path / "x.tsv", [("a", "b", "c")], "source\ttargets\tid")], {})


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ("text\nabc\nabd\n", "has one column only, 'text', and pairs need two"),
        ("source target\nabc cba\nab ba\n", "has one column only, .source target., and pairs need two"),
        ("source\ttarget\nab\tba\nabc\t\nabd\t \n", "line 3: column 'target' .--target. is empty .2 such rows"),
        ("source\ttarget\n\tba\nabc\tx\n", "line 2: column 'source' .--source. is empty; fill the cell or remove"),
        ("source\ttarget\nab\tba\nabc\n", "line 3 has 1 cells"),
        ("a\tb\tc\nx\ty\tz\n", "has 3 columns; say which is read .* the columns are a, b, c"),
        ("source\ttarget\nab\t1.5\nac\t2.25\n", "holds numbers with fractions, whose spelling is lost"),
    ],
)
def test_files_that_are_no_pairs(tmp_path, content, rule):
    file = tmp_path / "bad.tsv"
    file.write_text(content, "utf-8")
    with pytest.raises(DataError, match=rule):
        prepared(file)


def test_arguments_outside_the_rule(pairs):
    with pytest.raises(DataError, match=r"no column 'sorce' \(--source\); did you mean 'source'"):
        prepared(pairs, source="sorce")
    with pytest.raises(DataError, match="the target is also the source"):
        prepared(pairs, source="target", target="target")
    with pytest.raises(InvalidValue, match=r"must leave something to learn from, got 0\.6 and 0\.5"):
        prepared(pairs, validation_fraction=0.6, test_fraction=0.5)
