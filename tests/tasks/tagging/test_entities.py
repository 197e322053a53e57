"""Entities against the rules of CoNLL's ``conlleval`` written out as the two tables of that script."""

from __future__ import annotations

import random

import pytest

from ostinato.tasks.tagging.entities import Entity, EntityScore, entities, names_entities

ENDS = {"BB", "BS", "BO", "IB", "IS", "IO", "EE", "EI", "EO", "EB", "ES", "SB", "SI", "SE", "SS", "SO"}
"""Places of the word before and of this one between which an entity ends, whatever their kinds."""
STARTS = {"OB", "IB", "BB", "EB", "SB", "OS", "IS", "BS", "ES", "SS", "EE", "EI", "OE", "OI", "SE", "SI"}
"""Between which one starts."""


def chunks(tags: list[str]) -> list[Entity]:
    """As conlleval reads: end and start decided by the tables and by a change of kind."""
    found, kind, first = [], None, 0
    before = ("O", "")
    for t, tag in enumerate([*tags, "O"]):
        here = (tag[0], tag[2:])
        changed = before[1] != here[1]
        if kind is not None and (before[0] + here[0] in ENDS or (before[0] != "O" and changed)):
            found.append(Entity(kind, first, t - 1))
            kind = None
        if here[0] != "O" and (before[0] + here[0] in STARTS or changed):
            kind, first = here[1], t
        before = here
    return found


@pytest.mark.parametrize("places", ["BI", "I", "BIES"])
def test_as_conlleval(places):
    draw = random.Random(0)
    tags = ["O"] + [f"{place}-{kind}" for place in places for kind in ("PER", "LOC")]
    for _ in range(1000):
        sentence = [draw.choice(tags) for _ in range(draw.randint(1, 8))]
        assert entities(sentence) == chunks(sentence), sentence


def test_last_and_unit_are_end_and_single():
    tags = ["B-A", "L-A", "U-B", "U-B", "B-A", "I-A", "L-A", "O"]
    assert entities(tags) == chunks([tag.replace("L-", "E-").replace("U-", "S-") for tag in tags])
    assert len(entities(tags)) == 4
    assert names_entities(tags)


def test_figures():
    truth = [["B-PER", "I-PER", "O", "B-LOC"], ["O", "B-ORG"], ["B-PER"]]
    predicted = [["B-PER", "I-PER", "O", "B-ORG"], ["O", "B-ORG"], ["O"]]
    score = EntityScore.of(truth, predicted)
    assert (score.right, score.named, score.there) == (2, 3, 4)
    assert score.precision == pytest.approx(2 / 3)
    assert score.recall == 0.5
    assert score.f1 == pytest.approx(2 * (2 / 3) * 0.5 / (2 / 3 + 0.5))


def test_figures_where_there_is_nothing():
    none = EntityScore.of([["O"]], [["O"]])
    assert (none.precision, none.recall, none.f1) == (0, 0, 0)
    assert EntityScore.of([["B-A"]], [["O"]]).f1 == 0
    assert EntityScore.of([["O"]], [["B-A"]]).recall == 0


def test_which_tags_name_entities():
    assert names_entities(["B-a", "O", "I-a"])
    assert not names_entities(["B-a", "NOUN"])
    assert not names_entities([])
    assert not names_entities(["O", "I-a"])
