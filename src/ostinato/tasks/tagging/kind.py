"""What the commands need to know of tagging."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from ostinato.data import conll
from ostinato.data.files import expand
from ostinato.tasks.tagging.measure import measure, tagged, unseen_tags
from ostinato.tasks.tagging.prepare import prepare
from ostinato.tasks.tagging.sentences import TAGS, WORDS, Sentences, choose_columns, column_of_words, read_sentences
from ostinato.tasks.tagging.settings import TagSettings
from ostinato.tasks.task import Prepared

if TYPE_CHECKING:
    from ostinato.data.preview import Preview


class Tagging:
    """Sentences in CoNLL, CoNLL-U or JSON lines: every word gets a tag."""

    name: ClassVar[str] = "tag"
    model_kind: ClassVar[str] = "tagger"
    settings: ClassVar[type[TagSettings]] = TagSettings

    def recognise(self, preview: Preview) -> str | None:
        """CoNLL and CoNLL-U by their names; rows by lists of words and lists of tags."""
        if preview.extension in (".conll", ".conllu"):
            return "CoNLL files hold a tag for every word"
        first = preview.rows[0] if preview.rows else {}
        lists = [name for name, cell in first.items() if isinstance(cell, list) and isinstance(cell[0], str)]
        words, tags = (next((name for name in usual if name in lists), None) for usual in (WORDS, TAGS))
        return f"columns {words} and {tags} hold a list each, of words and of tags" if words and tags else None

    def prepare(self, files: Sequence[Path], settings: TagSettings) -> Prepared:
        """See :func:`ostinato.tasks.tagging.prepare.prepare`."""
        return prepare(files, settings)

    def evaluate(self, model: Any, files: Sequence[Path], options: dict[str, Any]) -> dict[str, Any]:
        """Accuracy and loss, for tags of entities precision, recall and F1, and the tags that the model never saw.

        Args:
            model: a :class:`~ostinato.models.tagger.Tagger` or an ensemble of them.
            files: sentences with their tags.
            options: ``words`` and ``target``, columns other than those that the model learnt from. Those count for
                files of the same form; in others the usual ones are read.

        Raises:
            DataError: a file cannot be read, or lacks a column.
        """
        sentences = read_sentences(expand(files))
        columns = choose_columns(sentences, *_named(model, sentences, options))
        right = sentences.tagged(columns)
        return {
            **measure(model, right),
            "sentences": len(right),
            "words": sum(len(sentence.words) for sentence in right),
            "unseen_tags": unseen_tags(right, model.tags),
        }

    def predict(self, model: Any, files: Sequence[Path], options: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """A row for each sentence, in the files' order.

        A row has its ``prediction`` and their probabilities as ``score``, a list each; before them the ``tokens``, or
        all columns of a row of JSON lines. Where ``options["format"]`` is ``conll``, as it is unless said otherwise,
        a row has besides the sentence's lines: in CoNLL-U with the tags in the target's column, in CoNLL with one
        column more.

        Raises:
            DataError: a file cannot be read, or lacks the column of the words.
        """
        sentences = read_sentences(expand(files))
        column, target = _named(model, sentences, options)
        words = sentences.words(column_of_words(sentences, column))
        as_lines = options.get("format", "conll") == "conll"
        start = options.get("start", 0)
        for number, (tags, chances) in enumerate(tagged(model, words[start:]), start):
            row = _row(sentences, number, words[number])
            row["prediction"] = tags
            row["score"] = _of_the_tags(chances, tags, model.tags)
            if as_lines:
                row["conll"] = "\n".join(_lines(sentences, number, words[number], tags, target))
            yield row


def _named(model: Any, sentences: Sentences, options: dict[str, Any]) -> tuple[str | None, str | None]:
    """The columns of words and tags that are asked for, or that the model knows of files like these."""
    known = model.columns if model.columns.get("form") == sentences.form else {}
    return options.get("words", known.get("words")), options.get("target", known.get("target"))


def _row(sentences: Sentences, number: int, words: list[str]) -> dict[str, Any]:
    return {"tokens": words} if sentences.table is None else sentences.table[sentences.rows[number]]


def _of_the_tags(chances: Tensor, tags: Sequence[str], names: Sequence[str]) -> list[float]:
    return [round(float(chances[t, names.index(tag)]), 6) for t, tag in enumerate(tags)]


def _lines(
    sentences: Sentences, number: int, words: Sequence[str], tags: Sequence[str], target: str | None
) -> Iterator[str]:
    if sentences.table is not None:
        yield from (f"{word}\t{tag}" for word, tag in zip(words, tags, strict=True))
        return
    sentence = sentences.rows[number]
    yield from conll.with_column(sentence, tags, target if sentence.universal else None)


TASK = Tagging()
