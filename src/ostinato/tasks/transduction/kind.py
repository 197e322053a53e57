"""What the commands need to know of transduction."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ostinato.data.table import read_table
from ostinato.models.beam import Search
from ostinato.models.transducer import Transducer
from ostinato.tasks.task import Prepared, TaskKind
from ostinato.tasks.transduction.pairs import Pairs, checked_texts, choose_columns
from ostinato.tasks.transduction.prepare import prepare
from ostinato.tasks.transduction.settings import TransduceSettings
from ostinato.tasks.transduction.task import figures

if TYPE_CHECKING:
    from ostinato.data.preview import Preview

ROWS = 256
"""So many rows of a file are predicted together."""


class Transduction:
    """Pairs of texts: the second is written for the first."""

    name: ClassVar[str] = "transduce"
    model_kind: ClassVar[str] = Transducer.kind
    settings: ClassVar[type[TransduceSettings]] = TransduceSettings

    def recognise(self, preview: Preview) -> str | None:
        """Two columns of free texts in a .tsv file."""
        kinds = list(preview.kinds.values())
        if preview.extension in (".tsv", ".tab") and kinds == ["text", "text"]:
            return "a .tsv file of two columns of texts holds pairs"
        return None

    def prepare(self, files: Sequence[Path], settings: TransduceSettings) -> Prepared:
        """See :func:`ostinato.tasks.transduction.prepare.prepare`."""
        return prepare(files, settings)

    def evaluate(self, model: Transducer, files: Sequence[Path], options: dict[str, Any]) -> dict[str, Any]:
        """Loss, exact match, token accuracy, character error rate and BLEU, and what of the sources is unusual.

        Args:
            model: what training made.
            files: tables with the columns of the pairs.
            options: ``source`` and ``target``, columns other than those that the model learnt from; ``width`` and
                ``length_power`` of the search.

        Raises:
            DataError: a file cannot be read, lacks a column, or has an empty side.
        """
        table = read_table(files)
        columns = choose_columns(table, *(options.get(name, model.columns.get(name)) for name in ("source", "target")))
        sources = checked_texts(table, columns.source, "--source")
        pairs = Pairs(sources, checked_texts(table, columns.target, "--target"), range(len(table)))
        return {**figures(model, pairs, _search(options)), "pairs": len(pairs), **unusual(model, sources)}

    def predict(self, model: Transducer, files: Sequence[Path], options: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The rows with what is written as ``prediction``, its ``score`` (ln p a token) and whether it is
        ``complete`` or was cut at the greatest length allowed.

        Args:
            model: what training made.
            files: tables with the column of the sources.
            options: ``source``, ``width`` and ``length_power``, as for :meth:`evaluate`; ``start``, how many rows are
                left out.

        Raises:
            DataError: a file cannot be read, lacks the column, or has an empty source.
        """
        table = read_table(files)
        column = options.get("source", model.columns.get("source", table.columns[0]))
        sources = checked_texts(table, column, "--source")
        _say(unusual(model, sources), len(sources), table.name, model)
        for start in range(options.get("start", 0), len(sources), ROWS):
            chosen = sources[start : start + ROWS]
            for row, (best, *_) in enumerate(model.written(chosen, _search(options)), start):
                answer = {"prediction": best.text, "score": round(best.score, 6), "complete": best.complete}
                yield {**table[row], **answer}


def unusual(model: Transducer, sources: Iterable[str]) -> dict[str, int]:
    """How many tokens of the sources training did not have, and how many sources are longer than any it had."""
    tokens, unknown, longer = model.source_tokens, 0, 0
    for text in sources:
        unknown += tokens.count_unknown(text)
        longer += len(tokens.split(text)) > model.longest
    return {"unknown_tokens": unknown, "longer_than_in_training": longer}


def _say(found: dict[str, int], count: int, name: str, model: Transducer) -> None:
    if unknown := found["unknown_tokens"]:
        warnings.warn(
            f"{name}: {unknown:,} {model.source_tokens.kind} did not occur in training; they are read as one unknown "
            f"token",
            stacklevel=3,
        )
    if longer := found["longer_than_in_training"]:
        warnings.warn(
            f"{name}: {longer:,} of {count:,} sources are longer than the {model.longest:,} {model.source_tokens.kind} "
            f"of the longest that was learnt from; expect worse",
            stacklevel=3,
        )


def _search(options: dict[str, Any]) -> Search:
    return Search(**{name: options[name] for name in ("width", "length_power") if name in options})


TASK: TaskKind = Transduction()
