"""From files to a trained tagger and back to files."""

from __future__ import annotations

import json
from typing import ClassVar

import pytest
import torch

from ostinato.data.preview import preview
from ostinato.errors import DataError
from ostinato.models.ensemble import Ensemble
from ostinato.tasks.tagging.kind import TASK
from ostinato.tasks.tagging.sentences import choose_columns, read_sentences
from tests.tasks.tagging.conftest import as_conll, sentences

UNIVERSAL = """# sent_id = 1
# text = don't walk
1-2\tdon't\t_\t_\t_\t_\t_\t_\t_\t_
1\tdo\tdo\tAUX\tVB\t_\t_\t_\t_\t_
2\tn't\tnot\tPART\tRB\t_\t_\t_\t_\tSpaceAfter=No
2.1\tgo\tgo\tVERB\tVB\t_\t_\t_\t_\t_
3\twalk\twalk\tVERB\tVB\t_\t_\t_\t_\t_

# sent_id = 2
1\twalk\twalk\tNOUN\tNN\t_\t_\t_\t_\t_

"""


def trained(prepared, steps=80):
    """The model after some plain steps."""
    task = prepared.task
    optimizer = torch.optim.Adam(task.network.parameters(), lr=0.02)
    for step in range(steps):
        loss, _ = task.loss(task.batch(step), None)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return task.finished({})


@pytest.mark.parametrize("crf", [False, True])
def test_it_learns_what_the_most_frequent_tag_cannot_tell(conll_file, small, crf):
    prepared = TASK.prepare([conll_file], small.replaced({"crf": crf}))
    model = trained(prepared, 60)
    (baseline,) = prepared.baselines().values()
    figures = prepared.test(model)
    assert prepared.part == "test"
    assert set(figures) == {"loss", *baseline} == {"loss", "accuracy", "entity_f1", "entity_precision", "entity_recall"}
    assert figures["accuracy"] > 0.98 > 0.9 > baseline["accuracy"]
    assert figures["entity_f1"] > 0.95 > 0.8 > baseline["entity_f1"]
    score = prepared.task.validate()
    assert (score.main, score.higher_is_better) == ("entity_f1", True)
    assert model.network.training
    # A place that was never seen is known by its ending.
    assert model.predict(["the", "Zuzuton", "city"]) == ["O", "B-LOC", "I-LOC"]


def test_a_batch_is_a_function_of_its_number(conll_file, small):
    one, other = (TASK.prepare([conll_file], small).task for _ in range(2))
    for step in (7, 2, 2, 40):
        (x, y), (again, tags) = one.batch(step), other.batch(step)
        assert torch.equal(y, tags)
        assert all(torch.equal(a, b) for a, b in zip(x, again, strict=True))
        assert x.words.numel() <= 200
    assert one.batches_per_epoch == other.batches_per_epoch
    words = sum(int(one.batch(step)[0].lengths.sum()) for step in range(one.batches_per_epoch))
    assert words == sum(
        int(one.batch(step)[0].lengths.sum()) for step in range(one.batches_per_epoch, 2 * one.batches_per_epoch)
    )


def test_parts_by_chance_keep_repeats_together(tmp_path, small):
    path = tmp_path / "a.conll"
    path.write_text(as_conll(sentences(60) + [[("walk", "B-ACT")]] * 30))
    prepared = TASK.prepare([path], small)
    assert any("repeat an input" in note for note in prepared.notes)
    assert prepared.split["by"] == "chance"
    again = TASK.prepare([path], small.replaced({"seed": 5}))
    assert again.split == prepared.split
    assert TASK.prepare([path], small.replaced({"split_seed": 5})).split["digest"] != prepared.split["digest"]


def test_parts_by_file(tmp_path, conll_file, small):
    (tmp_path / "dev.conll").write_text(as_conll(sentences(10, seed=7)))
    strange = [*sentences(5), [("Oslo", "B-CITY"), ("grins", "O")]]
    (tmp_path / "test.conll").write_text(as_conll(strange))
    settings = small.replaced(
        {"validation_file": str(tmp_path / "dev.conll"), "test_file": str(tmp_path / "test.conll")}
    )
    prepared = TASK.prepare([conll_file], settings)
    assert prepared.split["rows"] == {"training": 120, "validation": 10, "test": 6}
    said = "\n".join(prepared.notes)
    assert "train.conll: words and tags from columns 0 and 1, counted from 0; 120 sentences of" in said
    assert said.endswith("4 tags: B-ACT, B-LOC, I-LOC, O.")
    assert "5 of 6 test rows have an input that is learnt from too" in said
    assert "do not occur in training, and count as wrong: B-CITY (1)" in said
    assert "test words" in said
    assert prepared.test(prepared.task.finished({}))["accuracy"] < 1
    # Only a test file: the validation part is cut from the training part, which then has no row of the test file.
    only_test = TASK.prepare([conll_file], small.replaced({"test_file": str(tmp_path / "test.conll")}))
    assert only_test.split["rows"] == {"training": 108, "validation": 12, "test": 6}
    only_dev = TASK.prepare([conll_file], small.replaced({"validation_file": str(tmp_path / "dev.conll")}))
    assert only_dev.part == "validation"
    assert only_dev.split["rows"] == {"training": 120, "validation": 10, "test": 0}


def test_a_changed_file_has_another_fingerprint(conll_file, small):
    before = TASK.prepare([conll_file], small).task.fingerprint
    conll_file.write_text(conll_file.read_text() + "a O\n")
    assert TASK.prepare([conll_file], small).task.fingerprint != before


def test_long_sentences_are_learnt_in_pieces_and_tagged_whole(tmp_path, small):
    path = tmp_path / "a.conll"
    path.write_text(as_conll([*sentences(40), [("walk", "B-ACT"), ("the", "O")] * 1000]))
    prepared = TASK.prepare([path], small.replaced({"batch_size": 64}))
    for step in range(prepared.task.batches_per_epoch):
        assert prepared.task.batch(step)[0].words.numel() <= 64
    model = prepared.task.finished({})
    assert len(model.predict(["walk"] * 5000)) == 5000


def test_one_tag_alone_teaches_nothing(tmp_path, small):
    path = tmp_path / "a.conll"
    path.write_text("a X O\nb Y O\n\n" * 10 + "c X O\n\nd Y O\n")
    with pytest.raises(DataError, match=r"a\.conll, column 2, has one class only \('O'\).*check the column"):
        TASK.prepare([path], small)


def test_tags_that_differ_in_case_only_are_said(tmp_path, small):
    path = tmp_path / "a.conll"
    path.write_text("a X\nb Y\n\nc x\n\nd Y\n")
    prepared = TASK.prepare([path], small.replaced({"validation_file": str(path)}))
    assert any("differ only in case or space: 'X' (1 row) and 'x' (1 row)" in note for note in prepared.notes)


@pytest.fixture
def tagger(tmp_path, small):
    path = tmp_path / "train.conllu"
    path.write_text(UNIVERSAL * 20)
    settings = small.replaced({"validation_file": str(path)})
    return trained(TASK.prepare([path], settings), 60)


def test_universal_comes_back_as_it_was(tmp_path, tagger):
    path = tmp_path / "new.conllu"
    emptied = (
        UNIVERSAL.replace("AUX", "_").replace("PART", "_").replace("\tNOUN", "\tX").replace("walk\tVERB", "walk\tX")
    )
    path.write_text(emptied)
    rows = list(TASK.predict(tagger, [path], {}))
    assert "".join(row["conll"] + "\n" for row in rows) == UNIVERSAL
    assert [row["tokens"] for row in rows] == [["do", "n't", "walk"], ["walk"]]
    assert [row["prediction"] for row in rows] == [["AUX", "PART", "VERB"], ["NOUN"]]
    assert all(0.9 < score <= 1 for row in rows for score in row["score"])
    figures = TASK.evaluate(tagger, [tmp_path / "train.conllu"], {})
    assert figures["accuracy"] == 1
    assert (figures["sentences"], figures["words"], figures["unseen_tags"]) == (40, 80, {})
    assert TASK.evaluate(tagger, [path], {})["unseen_tags"] == {"_": 2, "X": 2}
    json.dumps(figures, allow_nan=False)


def test_other_formats_are_tagged_too(tmp_path, tagger):
    (tmp_path / "a.conll").write_text("-DOCSTART- x\n\nwalk x\n\ndo y\nn't z\nwalk x\n")
    rows = list(TASK.predict(tagger, [tmp_path / "a.conll"], {}))
    assert "".join(row["conll"] + "\n" for row in rows) == (
        "-DOCSTART- x\n\nwalk x NOUN\n\ndo y AUX\nn't z PART\nwalk x VERB\n\n"
    )
    (tmp_path / "a.jsonl").write_text('{"id": 3, "tokens": ["walk"]}\n{"id": 4, "tokens": ["do", "n\'t"]}\n')
    rows = list(TASK.predict(tagger, [tmp_path / "a.jsonl"], {"format": "jsonl"}))
    assert [{**row, "score": len(row["score"])} for row in rows] == [
        {"id": 3, "tokens": ["walk"], "prediction": ["NOUN"], "score": 1},
        {"id": 4, "tokens": ["do", "n't"], "prediction": ["AUX", "PART"], "score": 2},
    ]
    (row, _) = TASK.predict(tagger, [tmp_path / "a.jsonl"], {})
    assert row["conll"] == "walk\tNOUN"


def test_an_ensemble_serves_as_a_model_does(conll_file, small):
    members = [trained(TASK.prepare([conll_file], small.replaced({"crf": crf})), 30) for crf in (False, True)]
    both = Ensemble(members, {})
    figures = TASK.evaluate(both, [conll_file], {})
    assert figures["accuracy"] > 0.9
    rows = list(TASK.predict(both, [conll_file], {}))
    words = [row["tokens"] for row in rows]
    means = [(a + b) / 2 for a, b in zip(members[0].scores(words), members[1].scores(words), strict=True)]
    assert [row["prediction"] for row in rows] == [[both.tags[k] for k in mean.argmax(1)] for mean in means]


def test_recognised_by_the_name_or_by_lists_of_words_and_tags(tmp_path, conll_file):
    assert "tag for every word" in TASK.recognise(preview([conll_file]))
    rows = tmp_path / "a.jsonl"
    rows.write_text('{"id": 1, "tokens": ["a", "b"], "tags": ["X", "Y"]}\n')
    assert "columns tokens and tags" in TASK.recognise(preview([rows]))
    for other in (
        '{"text": "a b", "tags": ["X", "Y"]}',
        '{"tokens": ["a"], "tags": [1]}',
        '{"tokens": ["a"], "tags": null}',
    ):
        rows.write_text(other + "\n")
        assert TASK.recognise(preview([rows])) is None
    (tmp_path / "a.csv").write_text("tokens,tags\na b,X Y\n")
    assert TASK.recognise(preview([tmp_path / "a.csv"])) is None


class Oracle:
    """A model that is always right: it knows the sentences, and is asked for them in their order."""

    joint = False
    columns: ClassVar = {"form": "conllu", "words": "form", "target": "upos"}

    def __init__(self, answers):
        self.tags = sorted({tag for sentence in answers for tag in sentence.tags})
        self.answers = iter(answers)

    def scores(self, sentences):
        rights = [next(self.answers) for _ in sentences]
        assert [right.words for right in rights] == sentences
        return [torch.eye(len(self.tags))[[self.tags.index(tag) for tag in right.tags]] for right in rights]

    def from_scores(self, scores):
        return [[self.tags[number] for number in one.argmax(1)] for one in scores]


def test_a_treebank_comes_back_byte_for_byte(data):
    """Comments, ranges and empty nodes of two thousand real sentences."""
    path = data / "ud_english_ewt" / "dev.conllu"
    sentences = read_sentences([path])
    oracle = Oracle(sentences.tagged(choose_columns(sentences)))
    rows = list(TASK.predict(oracle, [path], {}))
    assert "".join(row["conll"] + "\n" for row in rows) == path.read_text(encoding="utf-8")
    assert all(score == 1 for row in rows for score in row["score"])
