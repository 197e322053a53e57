"""Files as sentences: what is read, what is guessed, and what is said of a file that is not as it should be."""

from __future__ import annotations

import json

import pytest

from ostinato.errors import DataError
from ostinato.tasks.tagging.measure import Tagged
from ostinato.tasks.tagging.sentences import Columns, choose_columns, read_sentences

ANN = [Tagged(["Ann", "sleeps"], ["B-PER", "O"]), Tagged(["Rome"], ["B-LOC"])]
UNIVERSAL = """# sent_id = 1
1-2\tdon't\t_\t_\t_\t_\t_\t_\t_\t_
1\tdo\tdo\tAUX\tVB\t_\t_\t_\t_\t_
2\tn't\tnot\tPART\tRB\t_\t_\t_\t_\t_
2.1\tgo\tgo\tVERB\tVB\t_\t_\t_\t_\t_
"""


def write(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize(
    ("name", "text", "columns"),
    [
        ("a.conll", "Ann B-PER\nsleeps O\n\n\nRome B-LOC", Columns("0", "1")),
        ("a.iob2", "Ann\tNNP\tB-PER\nsleeps\tV\tO\n\nRome\tNNP\tB-LOC\n", Columns("0", "2")),
        ("a.conll", "1 Ann B-PER\n2 sleeps O\n\n1 Rome B-LOC\n", Columns("1", "2")),
        ("a.conll", "-DOCSTART- -X-\n\nAnn B-PER\nsleeps O\n\nRome B-LOC\n", Columns("0", "1")),
        (
            "a.jsonl",
            lines({"tokens": ["Ann", "sleeps"], "tags": ["B-PER", "O"]}, {"tokens": ["Rome"], "tags": ["B-LOC"]}),
            Columns("tokens", "tags"),
        ),
        (
            "a.jsonl",
            lines(
                {"id": 1, "w": ["Ann", "sleeps"], "tags": ["B-PER", "O"]}, {"id": 2, "w": ["Rome"], "tags": ["B-LOC"]}
            ),
            Columns("w", "tags"),
        ),
    ],
)
def test_what_is_guessed(tmp_path, name, text, columns):
    sentences = read_sentences([write(tmp_path, name, text)])
    if columns.words == "w":
        with pytest.raises(DataError, match="name it with --words; of the columns id, w, tags, lists of texts are in"):
            choose_columns(sentences)
        assert choose_columns(sentences, "w") == columns
    else:
        assert choose_columns(sentences) == columns
    assert sentences.tagged(columns) == ANN


def test_universal(tmp_path):
    sentences = read_sentences([write(tmp_path, "a.conllu", UNIVERSAL)])
    assert sentences.tagged(choose_columns(sentences)) == [Tagged(["do", "n't"], ["AUX", "PART"])]
    assert choose_columns(sentences, None, "XPOS") == Columns("form", "xpos")
    assert choose_columns(sentences, "2", "4") == Columns("lemma", "xpos")


@pytest.mark.parametrize(
    ("name", "text", "words", "target", "message"),
    [
        ("a.conllu", UNIVERSAL, None, "upso", "columns id, form, .* got 'upso'; did you mean 'upos'"),
        ("a.conll", "Ann B-PER\n", None, "3", "a.conll has 2 columns, numbered from 0; there is no column 3"),
        ("a.conll", "Ann B-PER\n", None, "ner", "a.conll has 2 columns without names; give a number from 0"),
        ("a.conll", "Ann\nsleeps\n", None, None, "a.conll: the target, column 0, is the column of the words"),
        ("a.conll", "Ann O\n", None, "0", "the target, column 0, is the column of the words.*only copy it"),
        ("a.jsonl", lines({"tokens": ["a"], "tags": ["b"]}), None, "tag", "no column 'tag' .*; did you mean 'tags'"),
        (
            "a.jsonl",
            lines({"tokens": ["a"], "tags": ["b", "c"]}),
            None,
            None,
            "a.jsonl, line 1: every word needs one tag, got 1",
        ),
        ("a.jsonl", lines({"tokens": ["a"], "tags": [1]}), None, "tags", "'tags' .--target. must hold lists of texts"),
        (
            "a.jsonl",
            lines({"tokens": ["a"], "tags": ["b"]}, {"tokens": [], "tags": []}),
            None,
            None,
            "a.jsonl, line 2: 'tokens' must hold a word or more; remove the row",
        ),
        ("a.jsonl", lines({"tokens": "a b"}), None, None, "of the columns tokens, none holds lists of texts"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, name, text, words, target, message):
    sentences = read_sentences([write(tmp_path, name, text)])
    with pytest.raises(DataError, match=message):
        sentences.tagged(choose_columns(sentences, words, target))


def test_ragged_columns(tmp_path):
    with pytest.raises(DataError, match=r"a.conll, line 4 has 3 columns, and the lines before it have 2"):
        read_sentences([write(tmp_path, "a.conll", "a O\nb O\n\nc d O\n")])
    with pytest.raises(DataError, match=r"a.conllu, line 2 has 3 columns, and CoNLL-U has 10"):
        read_sentences([write(tmp_path, "a.conllu", "# x\n1\ta\tO\n")])


def test_files_that_do_not_belong_together(tmp_path):
    one, rows = write(tmp_path, "a.conll", "a O\n"), write(tmp_path, "b.jsonl", lines({"tokens": ["a"], "tags": ["b"]}))
    with pytest.raises(DataError, match=r"must be of one format, got a\.conll and b\.jsonl"):
        read_sentences([one, rows])
    with pytest.raises(DataError, match=r"c\.conll has other columns than"):
        read_sentences([one, write(tmp_path, "c.conll", "a b O\n")])
