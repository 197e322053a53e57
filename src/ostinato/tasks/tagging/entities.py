"""Entities in tags such as B-PER, I-PER, O: where they begin and end, and how many of them were found.

An entity counts as found when its kind, its first and its last word are all right (Tjong Kim Sang and De Meulder 2003).
The rules are those of CoNLL's ``conlleval``: an I- after O, or after another kind, begins an entity too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

PARTS = re.compile(r"O|[BIESLU]-.+")
"""O, or the place in an entity (begin, inside, end or last, single or unit) and its kind."""


class Entity(NamedTuple):
    """Words ``first`` to ``last``, both included, of a kind."""

    kind: str
    first: int
    last: int


def names_entities(tags: Iterable[str]) -> bool:
    """Whether these are tags of entities: all of the form, and at least one entity begins with B-.

    >>> names_entities(["O", "B-PER", "I-PER"]), names_entities(["NOUN", "O"]), names_entities(["O"])
    (True, False, False)
    """
    tags = set(tags)
    return all(PARTS.fullmatch(tag) for tag in tags) and any(tag.startswith("B-") for tag in tags)


def entities(tags: Sequence[str]) -> list[Entity]:
    """The entities of one sentence, first to last.

    >>> entities(["B-PER", "I-PER", "O", "I-LOC", "B-LOC"])
    [Entity(kind='PER', first=0, last=1), Entity(kind='LOC', first=3, last=3), Entity(kind='LOC', first=4, last=4)]
    """
    found: list[Entity] = []
    before, first = "O", 0
    for t, tag in enumerate([*tags, "O"]):
        if before != "O" and _parted(before, tag):
            found.append(Entity(before[2:], first, t - 1))
        if tag != "O" and _parted(before, tag):
            first = t
        before = tag
    return found


def _parted(before: str, tag: str) -> bool:
    """Whether two neighbouring tags belong to different entities, or one of them to none."""
    return "O" in (before, tag) or before[2:] != tag[2:] or before[0] in "ELSU" or tag[0] in "BSU"


@dataclass(frozen=True)
class EntityScore:
    """How many entities there are, how many were named, and how many of those rightly.

    >>> score = EntityScore.of([["B-PER", "O", "B-LOC"]], [["B-PER", "O", "B-PER"]])
    >>> score.precision, score.recall, score.f1
    (0.5, 0.5, 0.5)
    """

    right: int
    named: int
    there: int

    @classmethod
    def of(cls, truth: Iterable[Sequence[str]], predicted: Iterable[Sequence[str]]) -> EntityScore:
        """Counted over sentences, the right tags of each and the predicted ones."""
        right = named = there = 0
        for one, other in zip(truth, predicted, strict=True):
            wanted, given = set(entities(one)), set(entities(other))
            right, named, there = right + len(wanted & given), named + len(given), there + len(wanted)
        return cls(right, named, there)

    @property
    def precision(self) -> float:
        """Part of the named entities that is right; 0 if none was named."""
        return self.right / self.named if self.named else 0.0

    @property
    def recall(self) -> float:
        """Part of the entities that was found; 0 if there is none."""
        return self.right / self.there if self.there else 0.0

    @property
    def f1(self) -> float:
        """The harmonic mean of both."""
        return 2 * self.right / (self.named + self.there) if self.named + self.there else 0.0
