"""What a tagger has to beat: each word gets the tag it had most often, whatever stands around it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from ostinato.tasks.tagging.measure import Tagged


class MostFrequentTag:
    """The most frequent tag of each word in training; for a word that did not occur, the most frequent of all.

    Words are told apart by their capitals too. Of two tags as frequent, the first by name is taken.

    >>> learnt = MostFrequentTag([Tagged(["a", "b", "a"], ["X", "Y", "X"])])
    >>> learnt.predict(["b", "c"])
    ['Y', 'X']
    """

    def __init__(self, sentences: Iterable[Tagged]) -> None:
        counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for sentence in sentences:
            for word, tag in zip(sentence.words, sentence.tags, strict=True):
                counts[word][tag] += 1
        overall = sum(counts.values(), Counter[str]())
        self._other = _most(overall)
        self._tags = {word: _most(tags) for word, tags in counts.items()}

    def predict(self, words: Sequence[str]) -> list[str]:
        """A tag a word."""
        return [self._tags.get(word, self._other) for word in words]


def _most(counts: Counter[str]) -> str:
    return min(counts, key=lambda tag: (-counts[tag], tag))
