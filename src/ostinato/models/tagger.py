"""A trained tagger: sentences in, tags out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from ostinato.cells.cell import Cell
from ostinato.errors import InvalidType, InvalidValue, ModelFolderError
from ostinato.models.cell_names import name_of_cell
from ostinato.models.evaluation import evaluating
from ostinato.models.reader import DEEPEST, WIDEST, Reader
from ostinato.models.tagging_network import Sentences, TaggingNetwork, TaggingSize
from ostinato.models.tagging_tokens import TaggingTokens

WORDS = 4096
"""So many words, padding included, are tagged in one call, which bounds the memory; a longer sentence is alone."""


@dataclass(frozen=True)
class Tagger:
    """A network with its words and its tags: what :func:`ostinato.load` returns for a tagger's folder.

    Args:
        network: the model proper, an ordinary ``nn.Module``.
        tokens: words and characters ↔ numbers.
        tags: by their numbers.
        columns: what stands where in the files it learnt from: ``words`` and ``target``, each a column's name, and the
            files' ``form``.
        training: figures of the run that made it.

    Example:
        >>> from ostinato.cells.library.lstm import LSTMCell
        >>> tokens = TaggingTokens(("the", "cat"), "acehtu", lower_case=True)
        >>> network = TaggingNetwork(TaggingSize(tokens.word_count, tokens.character_count, tags=2), LSTMCell)
        >>> tagger = Tagger(network, tokens, ("DET", "NOUN"))
        >>> len(tagger.predict(["the", "cat"])), [len(tags) for tags in tagger.predict([["the"], ["the", "cat"]])]
        (2, [1, 2])
    """

    network: TaggingNetwork
    tokens: TaggingTokens
    tags: tuple[str, ...]
    columns: dict[str, str] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)

    kind: ClassVar[str] = "tagger"

    def content(self) -> dict[str, Any]:
        """All that rebuilds it besides the weights."""
        size = self.network.size
        return {
            "cell": name_of_cell(self.network.cell_type),
            "word_size": size.word_size,
            "character_size": size.character_size,
            "hidden_size": size.hidden_size,
            "num_layers": size.num_layers,
            "dropout": size.dropout,
            "word_dropout": size.word_dropout,
            "crf": size.crf,
            "cell_options": size.cell_options,
            "lower_case": self.tokens.lower_case,
            "columns": self.columns,
            "tags": list(self.tags),
            "characters": self.tokens.characters,
            "words": list(self.tokens.words),
        }

    @classmethod
    def from_content(
        cls, content: dict[str, Any], training: dict[str, Any], read: Reader, cell: type[Cell], device: str | None
    ) -> Self:
        """An untrained network of that content.

        Raises:
            ModelFolderError: an entry is missing, of the wrong type, or out of bounds.
        """
        try:
            tokens = TaggingTokens(
                tuple(read.words(content, "words")), read.text(content, "characters"), read.flag(content, "lower_case")
            )
        except InvalidValue as error:
            raise ModelFolderError(f"{read.path}: {error}") from error
        tags = tuple(read.words(content, "tags"))
        if len(tags) < 1 or len(set(tags)) < len(tags):
            raise ModelFolderError(f"{read.path}: tags must be one or more, without repeats, got {str(tags)[:80]}")
        columns = read.table(content, "columns")
        size = TaggingSize(
            words=tokens.word_count,
            characters=tokens.character_count,
            tags=len(tags),
            word_size=read.whole(content, "word_size", WIDEST),
            character_size=read.whole(content, "character_size", WIDEST),
            hidden_size=read.whole(content, "hidden_size", WIDEST),
            num_layers=read.whole(content, "num_layers", DEEPEST),
            dropout=read.fraction(content, "dropout"),
            word_dropout=read.fraction(content, "word_dropout"),
            crf=read.flag(content, "crf"),
            cell_options=read.options(content, "cell_options"),
        )
        network = TaggingNetwork(size, cell, device=device)
        return cls(network, tokens, tags, {name: read.text(columns, name) for name in columns}, training)

    @property
    def joint(self) -> bool:
        """Whether the tags of a sentence are chosen together, so that they need not be each word's likeliest."""
        return self.network.crf is not None

    def predict(self, sentences: Any) -> Any:
        """The tag of each word: with a CRF the likeliest tagging of the sentence, else each word's likeliest tag.

        Args:
            sentences: a list of words, or a list of such lists.

        Returns:
            A tag a word, in the same nesting.

        Raises:
            InvalidType: not words in lists.
            InvalidValue: a sentence without words; the message says which.
        """
        several = _sentences(sentences)
        found: list[list[str]] = [[]] * len(several)
        for rows, batch in self._batches(several):
            with evaluating(self.network):
                chosen = self.network.decide(self.network(batch), batch.lengths).cpu()
            for b, row in enumerate(rows):
                found[row] = self._names(chosen[: len(several[row]), b])
        return found if several is sentences else found[0]

    def scores(self, sentences: Any) -> Any:
        """(T, K) the probability of each tag for each word of a sentence, or a list of them for a list of sentences.

        With a CRF they are each word's marginals over all taggings of its sentence.

        Raises:
            InvalidType, InvalidValue: as for :meth:`predict`.
        """
        several = _sentences(sentences)
        found: list[Tensor] = [torch.empty(0)] * len(several)
        for rows, batch in self._batches(several):
            with evaluating(self.network):
                chances = self.network.probabilities(self.network(batch), batch.lengths).cpu()
            for b, row in enumerate(rows):
                found[row] = chances[: len(several[row]), b].clone()
        return found if several is sentences else found[0]

    def from_scores(self, scores: Any) -> Any:
        """Each word's likeliest tag by :meth:`scores`, or by their mean over several models.

        With a CRF these are not always the tags of the likeliest tagging, which :meth:`predict` gives.
        """
        if isinstance(scores, Tensor):
            return self._names(scores.argmax(1))
        return [self._names(one.argmax(1)) for one in scores]

    def _names(self, numbers: Tensor) -> list[str]:
        return [self.tags[number] for number in numbers.tolist()]

    def encode(self, sentences: Any) -> Tensor:
        """(N, 2·H) each sentence as a vector: the stack's features at its two ends.

        Raises:
            InvalidType, InvalidValue: as for :meth:`predict`.
        """
        several = _sentences(sentences)
        found = torch.zeros(len(several), self.network.stack.output_size)
        for rows, batch in self._batches(several):
            with evaluating(self.network):
                found[rows] = self.network.encode(batch).cpu()
        return found

    def _batches(self, sentences: Sequence[Sequence[str]]) -> Iterator[tuple[list[int], Sentences]]:
        """Sentences of similar length together, at most ``WORDS`` words at a time, with their places in the list."""
        device = self.network.head.weight.device
        rows: list[int] = []
        for row in sorted(range(len(sentences)), key=lambda row: len(sentences[row])):
            if rows and (len(rows) + 1) * len(sentences[row]) > WORDS:
                yield rows, self.tokens.batch([sentences[r] for r in rows]).to(device)
                rows = []
            rows.append(row)
        if rows:
            yield rows, self.tokens.batch([sentences[r] for r in rows]).to(device)


def _sentences(given: Any) -> Sequence[Sequence[str]]:
    """``given`` itself if it is a list of sentences, else the list of the one sentence that it is."""
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise InvalidType(
            f"sentences must be a list of words, or a list of such lists, got {type(given).__name__}; "
            "a text has to be cut into words first, as in ['The', 'cat', 'sat', '.']"
        )
    several: Sequence[Sequence[str]] = given if given and not isinstance(given[0], str) else [given]
    for number, sentence in enumerate(several):
        if isinstance(sentence, str) or not isinstance(sentence, Sequence):
            raise InvalidType(
                f"every sentence must be a list of words, got {type(sentence).__name__} as sentence {number + 1}"
            )
        if not sentence:
            raise InvalidValue(f"every sentence must have a word, got none in sentence {number + 1}; leave it out")
        for word in sentence:
            if not isinstance(word, str):
                raise InvalidType(f"every word must be a str, got {type(word).__name__} in sentence {number + 1}")
    return several
