"""Entries that come from strangers: what is believed, and what is not."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from ostinato.errors import ModelFolderError
from ostinato.models.reader import LONGEST, Reader

READ = Reader(Path("there/config.json"))
NOTHING = object()

CASES = {
    "text": ((), ["", "a"], [3, None, ["a"]]),
    "table": ((), [{}, {"a": 1}], [[], "a", None]),
    "tables": ((2,), [[], [{}, {"a": 1}]], [[1], {}, [{}, {}, {}]]),
    "whole": ((9,), [1, 9], [0, 10, 1.0, True, "1", None, 1 << 80]),
    "wholes": ((9, 0), [[], [0, 9]], [[10], [-1], [1.0], [True], 3]),
    "fraction": ((), [0, 0.5], [1, -0.1, True, "0", math.nan]),
    "number": ((-1.0, 2.0), [-1, 2.0, 0], [3, -1.5, math.inf, math.nan, True, "1"]),
    "numbers": ((), [[], [1, -2.5]], [[math.inf], [math.nan], ["1"], [None], 1.0]),
    "words": ((2,), [[], ["a", "b"]], [["a", 1], "ab", ["a"] * 3]),
    "flag": ((), [True, False], [0, 1, "true", None]),
    "one_of": ((("last", "mean"),), ["last", "mean"], ["max", "", None, 3, ["last"]]),
    "options": ((), [{}, {"leak": 0.5, "on": True, "m": "a"}], [{"a b": 1}, {"a": []}, {"a": 1 << 30}, {"a": -9e9}]),
}  # fmt: skip


@pytest.mark.parametrize(("method", "value"), [(name, value) for name, case in CASES.items() for value in case[1]])
def test_what_is_believed(method, value):
    assert getattr(READ, method)({"entry": value}, "entry", *CASES[method][0]) == value


@pytest.mark.parametrize(
    ("method", "value"), [(name, value) for name, case in CASES.items() for value in [*case[2], NOTHING]]
)
def test_what_is_not_believed(method, value):
    table = {} if value is NOTHING else {"entry": value}
    with pytest.raises(ModelFolderError, match=r"there.config\.json.*entry"):
        getattr(READ, method)(table, "entry", *CASES[method][0])


def test_a_list_of_any_length_is_not_believed():
    with pytest.raises(ModelFolderError, match="at most 4,194,304"):
        READ.words({"entry": [""] * (LONGEST + 1)}, "entry")


def test_a_message_shows_only_the_beginning_of_what_came():
    with pytest.raises(ModelFolderError) as raised:
        READ.whole({"entry": "x" * 10_000}, "entry", 9)
    assert len(str(raised.value)) < 200
