"""From files to a trained classifier, its figures and its predictions; and files that cannot be learnt from."""

from __future__ import annotations

import json

import pytest
import torch

from ostinato.data.preview import preview
from ostinato.errors import DataError, InvalidValue
from ostinato.models.ensemble import Ensemble
from ostinato.models.folder import load, save
from ostinato.tasks.classification.kind import TASK
from ostinato.tasks.classification.prepare_classes import class_weights
from ostinato.tasks.classification.settings import ClassifySettings
from tests.tasks.classification.conftest import SMALL, drawn, texts, trained, write_csv

SETTINGS = ClassifySettings(**SMALL)


def with_(**changes):
    return SETTINGS.replaced(changes)


def test_it_learns_what_counting_letters_cannot_tell(words, tmp_path):
    prepared = TASK.prepare([words], SETTINGS)
    model = trained(prepared)
    baselines = prepared.baselines()
    figures = prepared.test(model)
    assert prepared.part == "test"
    assert figures["accuracy"] > 0.9 > baselines["most frequent class"]["accuracy"]
    assert set(baselines) == {"most frequent class", "linear model of n-grams"}
    save(model, tmp_path / "model")
    assert prepared.test(load(tmp_path / "model")) == figures
    assert TASK.evaluate(model, [words], {})["rows"] == 150


def test_evaluation_is_counted_by_hand_from_the_predictions(words):
    model = trained(TASK.prepare([words], SETTINGS), 10)
    figures = TASK.evaluate(model, [words], {})
    rows = list(TASK.predict(model, [words], {}))
    assert list(rows[0]) == ["word", "label", "prediction", "score"]
    assert figures["accuracy"] == pytest.approx(sum(row["prediction"] == row["label"] for row in rows) / len(rows))
    for right in ("left", "right", "none"):
        for said in ("left", "right", "none"):
            count = sum((row["label"], row["prediction"]) == (right, said) for row in rows)
            assert figures["confusion"][right][said] == count
    assert [row["word"] for row in rows] == [one.split(",")[0] for one in words.read_text().split()[1:]]
    assert rows[3]["score"] == pytest.approx(float(model.scores(rows[3]["word"]).max()), abs=1e-5)
    json.dumps(figures)


def test_batches_are_a_function_of_seed_and_step_and_read_every_row_once(words):
    tasks = [TASK.prepare([words], with_(seed=seed)).task for seed in (0, 0, 1)]
    batches = [[task.batch(step) for step in range(task.batches_per_epoch)] for task in tasks]
    again = tasks[0].batch(0)
    assert torch.equal(again[0].x, batches[0][0][0].x)
    assert torch.equal(batches[0][2][0].x, batches[1][2][0].x)
    assert any(
        not torch.equal(a[1], b[1]) for a, b in zip(batches[0], batches[2], strict=True) if a[1].shape == b[1].shape
    )
    read = sorted(
        tuple(sequences.x[:length, b].tolist())
        for sequences, _ in batches[0]
        for b, length in enumerate(sequences.lengths.tolist())
    )
    model = tasks[0].model
    expected = sorted(tuple(model.inputs.tokens.encode(text)) for text in tasks[0]._training.inputs)
    assert read == expected


def test_parts_have_their_share_of_each_class_and_share_no_input(words):
    prepared = TASK.prepare([words], SETTINGS)
    rows = prepared.split["rows"]
    assert rows == {
        "training": pytest.approx(105, abs=3),
        "validation": pytest.approx(15, abs=3),
        "test": pytest.approx(30, abs=3),
    }
    assert prepared.split["stratified"]


def test_repeats_stay_together_or_are_left_out(tmp_path):
    rows = drawn(texts(), 60)
    path = write_csv(tmp_path / "twice.csv", rows + rows[:20])
    together = TASK.prepare([path], SETTINGS)
    assert any("40 rows repeat an input" in note for note in together.notes)
    assert sum(together.split["rows"].values()) == 80
    once = TASK.prepare([path], with_(repeats="once"))
    assert any(note.startswith("20 rows that repeat an earlier one") for note in once.notes)
    assert sum(once.split["rows"].values()) == 60


def test_a_test_file_decides_nothing_and_its_strangers_count_as_wrong(words, tmp_path):
    test = write_csv(tmp_path / "test.csv", [{"word": "abc", "label": "left"}, {"word": "zzz", "label": "Up"}])
    prepared = TASK.prepare([words], with_(test_file=str(test)))
    assert prepared.split["rows"]["test"] == 2
    assert any("of classes that no training row has" in note and "'Up'" in note for note in prepared.notes)
    assert any("3 of 6 test characters" in note for note in prepared.notes)
    model = trained(prepared)
    assert prepared.test(model)["accuracy"] == 0.5
    assert TASK.evaluate(model, [test], {})["unseen"] == {"Up": 1}


def test_a_column_says_the_parts(tmp_path):
    rows = drawn(texts(), 60)
    for number, row in enumerate(rows):
        row["part"] = ("train", "dev", "test")[min(2, max(0, number - 39) // 10)]
    path = write_csv(tmp_path / "parts.csv", rows)
    prepared = TASK.prepare([path], with_(split_column="part", target="label"))
    assert (
        prepared.split["rows"] == {"training": 49, "validation": 10, "test": 1}
        or sum(prepared.split["rows"].values()) == 60
    )
    assert prepared.task.model.columns["inputs"] == ["word"]


def test_long_series_are_told_by_their_direction(series):
    settings = with_(group="unit", time="day", inputs=("load", "noise"), target="label")
    prepared = TASK.prepare([series], settings)
    model = trained(prepared, 60)
    assert prepared.test(model)["accuracy"] > 0.9
    rows = list(TASK.predict(model, [series], {}))
    assert len(rows) == 60
    assert list(rows[0]) == ["unit", "prediction", "score"]
    steps = torch.cat([prepared.task._training.inputs[row] for row in range(len(prepared.task._training.inputs))])
    torch.testing.assert_close(model.network.mean, steps.mean(0))
    torch.testing.assert_close(model.network.deviation, steps.std(0, correction=0))


def test_a_file_for_each_class(tmp_path):
    folder = tmp_path / "kinds"
    folder.mkdir()
    for name, letter in (("first", "a"), ("second", "b")):
        (folder / f"{name}.txt").write_text("".join(f"{letter * n}{'c' * (n % 3)}\n" for n in range(1, 21)))
    files = sorted(folder.iterdir())
    assert TASK.recognise(preview([folder])) == "each of several texts holds the lines of a class"
    prepared = TASK.prepare([folder], SETTINGS)
    model = trained(prepared, 40)
    assert model.labels == ("first", "second")
    assert TASK.evaluate(model, files, {})["accuracy"] > 0.9
    new = tmp_path / "new.txt"
    new.write_text("aaaa\nbbbb\n")
    assert [row["prediction"] for row in TASK.predict(model, [new], {})] == ["first", "second"]


def test_ts_files(tmp_path):
    path = tmp_path / "small.ts"
    lines = [f"{n},{n + 1},{n + 2}:0,0,1:up" for n in range(12)] + [f"{n},{n - 1}:0,1:down" for n in range(12)]
    path.write_text("@dimensions 2\n@classLabel true up down\n@data\n" + "\n".join(lines) + "\n")
    assert TASK.recognise(preview([path]))
    prepared = TASK.prepare([path], with_(batch_size=4))
    assert set(prepared.baselines()) == {"most frequent class", "linear model of summary statistics"}
    model = trained(prepared, 40)
    rows = list(TASK.predict(model, [path], {}))
    assert (rows[0]["place"], rows[0]["prediction"]) == ("small.ts, line 4", "up")
    assert TASK.evaluate(model, [path], {})["accuracy"] > 0.9


def test_several_labels(tmp_path):
    draw = drawn(texts(), 100)
    rows = [{"word": row["word"], "tags": "; ".join(sorted(set(row["word"]) & set("ab")))} for row in draw]
    path = write_csv(tmp_path / "tags.csv", rows)
    prepared = TASK.prepare([path], with_(separator=";", target="tags", inputs="word", pooling="max"))
    model = trained(prepared, 120)
    assert model.labels == ("a", "b")
    assert prepared.test(model)["micro_f1"] > 0.9
    assert set(prepared.baselines()) == {"most frequent labels", "linear model of n-grams"}
    found = {row["word"]: row["prediction"] for row in TASK.predict(model, [path], {})}
    assert model.predict("aabb").labels == ("a", "b")
    assert sum(found[row["word"]] == row["tags"].replace(" ", "") for row in rows) > 90


def test_an_ensemble_is_measured_as_a_model_is(words):
    prepared = TASK.prepare([words], SETTINGS)
    model = trained(prepared, 20)
    both = Ensemble([model, model], {})
    assert prepared.test(both) == pytest.approx(prepared.test(model))
    assert (
        next(iter(TASK.predict(both, [words], {})))["prediction"]
        == next(iter(TASK.predict(model, [words], {})))["prediction"]
    )


def test_class_weights():
    targets = ["a"] * 8 + ["b"] * 2
    balanced = class_weights("balanced", targets, ["a", "b"], single=True)
    assert float(balanced[0]) * 8 == pytest.approx(float(balanced[1]) * 2)
    half = class_weights("sqrt", targets, ["a", "b"], single=True)
    assert float(half[1] / half[0]) == pytest.approx(2.0)
    gentle = class_weights("gentle", targets, ["a", "b"], single=True)
    assert float(gentle[1] / gentle[0]) == pytest.approx(4**0.25)
    for weights in (balanced, half, gentle):
        assert float(weights[0] * 8 + weights[1] * 2) == pytest.approx(10)
    labels = class_weights("balanced", [("a",), ("a", "b"), ("a",), ()], ["a", "b"], single=False)
    assert labels.tolist() == pytest.approx([1 / 3, 3])


def test_weights_move_the_answers_towards_the_rare_class(tmp_path):
    rows = [{"word": row["word"], "label": "usual" if n % 10 else "rare"} for n, row in enumerate(drawn(texts(), 200))]
    path = write_csv(tmp_path / "rare.csv", rows)
    chances = []
    for how in ("none", "balanced"):
        torch.manual_seed(0)
        model = trained(TASK.prepare([path], with_(class_weights=how)), 12)
        chances.append(float(model.scores([row["word"] for row in rows])[:, 0].mean()))
    assert chances[0] < 0.25 < 0.35 < chances[1]


@pytest.mark.parametrize(
    ("rows", "changes", "message"),
    [
        ([{"word": "ab" * n, "label": "x"} for n in range(1, 9)], {}, "has one class only"),
        ([{"word": "ab", "label": "x"}, {"word": "", "label": "y"}], {}, "rows.csv, line 3: column 'word' is empty"),
        ([{"word": "ab", "label": "x"}, {"word": "cd", "label": ""}], {}, "line 3: column 'label' is empty"),
        ([{"word": "ab", "label": "x"}], {"target": "labl"}, "no column 'labl' .*did you mean 'label'"),
        ([{"word": "ab", "label": "x"}], {"inputs": "label", "target": "label"}, "to be learnt and read too"),
        ([{"one": "ab", "two": "cd", "three": "ef"}], {}, "which column is to be learnt"),
        ([{"one": "ab", "two": "cd", "label": "ef"}], {}, "which columns are to be read"),
        (
            [{"load": 1, "day": 2, "label": "x"}, {"load": "", "day": 1, "label": "y"}],
            {},
            "line 3: column 'load' is empty",
        ),
        (
            [{"load": 1, "text": "a b", "label": "x"}],
            {"inputs": "load,text"},
            "must be one of texts, or all of numbers",
        ),
        (
            [{"unit": "u", "load": 1, "label": "x"}, {"unit": "u", "load": 2, "label": "y"}],
            {"group": "unit"},
            "must be the same",
        ),
        ([{"word": "a", "label": "x"}] * 2, {"validation_fraction": 0.6, "test_fraction": 0.5}, "must leave rows"),
    ],
)
def test_what_cannot_be_learnt(rows, changes, message, tmp_path):
    path = write_csv(tmp_path / "rows.csv", rows)
    with pytest.raises((DataError, InvalidValue), match=message):
        TASK.prepare([path], with_(**changes))


def test_labels_that_differ_in_case_are_said(tmp_path):
    rows = [{"word": "ab" * n, "label": ("yes", "Yes", "no")[n % 3]} for n in range(1, 40)]
    notes = TASK.prepare([write_csv(tmp_path / "rows.csv", rows)], SETTINGS).notes
    assert any("differ only in case or space" in note for note in notes)


def test_rows_of_the_test_file_that_were_learnt_from_are_counted(words, tmp_path):
    notes = TASK.prepare([words], with_(test_file=str(write_csv(tmp_path / "t.csv", drawn(texts(), 150)[:7])))).notes
    assert any("7 of 7 test rows have an input that is learnt from too" in note for note in notes)


def test_a_file_to_predict_that_lacks_the_column(words, tmp_path):
    model = trained(TASK.prepare([words], SETTINGS), 1)
    other = write_csv(tmp_path / "other.csv", [{"words": "ab", "n": 1}])
    with pytest.raises(DataError, match=r"no column 'word' .*did you mean 'words'"):
        next(TASK.predict(model, [other], {}))
    ts = tmp_path / "x.ts"
    ts.write_text("@data\n1,2\n")
    with pytest.raises(DataError, match="this model reads tables or texts"):
        next(TASK.predict(model, [ts], {}))


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (
            [
                {"word": f"{n} is so long a text that nobody could take it for a class of its own", "mood": "+-"[n % 2]}
                for n in range(20)
            ],
            "column mood holds classes",
        ),
        ([{"day": n, "load": n / 7} for n in range(20)], None),
    ],
)
def test_tables_are_recognised(rows, why, tmp_path):
    reason = TASK.recognise(preview([write_csv(tmp_path / "rows.csv", rows)]))
    assert (reason is None) if why is None else why in reason
