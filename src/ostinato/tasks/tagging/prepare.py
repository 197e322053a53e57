"""From files to a tagging task: read, checked, cut into parts, and a network of the right sizes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import accumulate
from pathlib import Path

from ostinato.data.files import expand, unchanged
from ostinato.data.labels import classes_of
from ostinato.data.parts import Parts
from ostinato.data.split import hold_out, overlap_note, split_by_file, split_rows
from ostinato.models.cell_names import cell_named
from ostinato.models.tagger import Tagger
from ostinato.models.tagging_network import TaggingNetwork, TaggingSize
from ostinato.models.tagging_tokens import TaggingTokens
from ostinato.tasks.tagging.baseline import MostFrequentTag
from ostinato.tasks.tagging.measure import Tagged, measure, score, unseen_tags
from ostinato.tasks.tagging.sentences import Columns, Sentences, choose_columns, read_sentences
from ostinato.tasks.tagging.settings import TagSettings
from ostinato.tasks.tagging.task import TaggingTask
from ostinato.tasks.task import Prepared
from ostinato.tasks.trial import constructed


def prepare(files: Sequence[Path], settings: TagSettings) -> Prepared:
    """Files made ready to learn from.

    Raises:
        DataError: a file cannot be learnt from; the message names the file, and the line or the column.
    """
    sources = {"training": expand(files)}
    for part, name in (("validation", settings.validation_file), ("test", settings.test_file)):
        if name is not None:
            sources[part] = expand(name)
    with unchanged([path for some in sources.values() for path in some]) as fingerprint:
        read = {part: read_sentences(some) for part, some in sources.items()}
        columns = choose_columns(read["training"], settings.words, settings.target)
        rows = {part: sentences.tagged(columns) for part, sentences in read.items()}
    every = [row for some in rows.values() for row in some]
    parts = _parts(every, {part: len(some) for part, some in rows.items()}, [s.name for s in read.values()], settings)
    training, validation, test = (
        [every[row] for row in chosen.tolist()] for chosen in (parts.training, parts.validation, parts.test)
    )
    every_tag = [tag for sentence in training for tag in sentence.tags]
    tags, doubts = classes_of(every_tag, f"{read['training'].name}, column {columns.target},")
    model = _model(training, tags, {"form": read["training"].form, **asdict(columns)}, settings)
    task = TaggingTask(
        model, training, validation, batch_words=settings.batch_size, seed=settings.seed, fingerprint=fingerprint
    )
    final = test or validation
    notes = [note for sentences in read.values() for note in sentences.notes]
    return Prepared(
        task,
        notes=(
            *notes,
            *parts.notes,
            *doubts,
            *_strangers(training, validation, "validation"),
            *_strangers(training, test, "test"),
            _about(read["training"], columns, training, tags),
        ),
        split=parts.to_json(),
        baselines=lambda: {"most frequent tag per word": _baseline(training, final)},
        test=lambda trained: measure(trained, final),
        part="test" if test else "validation",
    )


def _parts(rows: Sequence[Tagged], given: dict[str, int], names: Sequence[str], settings: TagSettings) -> Parts:
    """The parts that files give, and the rest by chance; a repeated sentence is in one part, or is counted.

    Args:
        rows: of all files.
        given: the part that each file is for, and how many of the rows are its.
        names: of the files.
        settings: the fractions and the seed.
    """
    keys = [tuple(row.words) for row in rows]
    seed, share = settings.split_seed, settings.validation_fraction
    if len(given) == 1:
        fractions = (1 - share - settings.test_fraction, share, settings.test_fraction)
        return split_rows(len(rows), fractions=fractions, seed=seed, keys=keys)
    runs = [range(end - count, end) for end, count in zip(accumulate(given.values()), given.values(), strict=True)]
    parts = split_by_file(runs, list(given), names)
    return hold_out(parts.noting(*overlap_note(parts, keys)), share, seed=seed, keys=keys)


def _model(training: Sequence[Tagged], tags: tuple[str, ...], columns: dict[str, str], settings: TagSettings) -> Tagger:
    tokens = TaggingTokens.of(
        (sentence.words for sentence in training),
        least_count=settings.least_count,
        most_words=settings.most_words,
        lower_case=settings.lower_case,
    )
    size = TaggingSize(
        words=tokens.word_count,
        characters=tokens.character_count,
        tags=len(tags),
        word_size=settings.word_size,
        character_size=settings.character_size,
        hidden_size=settings.hidden_size,
        num_layers=settings.num_layers,
        dropout=settings.dropout,
        cell_options=settings.options_of_cell(),
        word_dropout=settings.word_dropout,
        crf=settings.crf,
    )
    network = constructed(lambda: TaggingNetwork(size, cell_named(settings.cell)), settings.cell)
    return Tagger(network, tokens, tags, columns)


def _baseline(training: Sequence[Tagged], final: Sequence[Tagged]) -> dict[str, float]:
    learnt = MostFrequentTag(training)
    return score(final, [learnt.predict(sentence.words) for sentence in final])


def _about(sentences: Sentences, columns: Columns, training: Sequence[Tagged], tags: Sequence[str]) -> str:
    where = f"columns {columns.words} and {columns.target}" + (", counted from 0" * (sentences.form == "conll"))
    words, shown = sum(len(row.words) for row in training), ", ".join(tags[:20]) + (", …" if len(tags) > 20 else "")
    return (
        f"{sentences.name}: words and tags from {where}; {len(training):,} sentences of {words:,} words to learn from. "
        f"{len(tags)} tags: {shown}."
    )


def _strangers(training: Sequence[Tagged], part: Sequence[Tagged], name: str) -> Iterator[str]:
    """What occurs in another part that does not in training."""
    words = {word for sentence in training for word in sentence.words}
    total = sum(len(sentence.words) for sentence in part)
    if unknown := sum(word not in words for sentence in part for word in sentence.words):
        yield (
            f"{unknown:,} of {total:,} {name} words ({unknown / total:.1%}) do not occur in training; their spelling "
            f"is all that is known of them"
        )
    if strange := unseen_tags(part, {tag for sentence in training for tag in sentence.tags}):
        shown = ", ".join(f"{tag} ({count:,})" for tag, count in strange.items())
        yield f"tags of {name} words that do not occur in training, and count as wrong: {shown}"
