"""Language modelling as one of the tasks: a text file in, a model that writes out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ostinato.errors import DataError, InvalidValue, ModelFolderError
from ostinato.models.cell_names import cell_named
from ostinato.models.evaluation import Evaluation
from ostinato.models.language_model import LanguageModel, LanguageModelSize
from ostinato.models.text_model import TextModel
from ostinato.tasks.language_modelling.corpus import open_corpus, validation_part
from ostinato.tasks.language_modelling.line_tokens import validation_characters
from ostinato.tasks.language_modelling.notes import notes
from ostinato.tasks.language_modelling.settings import LanguageModelSettings
from ostinato.tasks.language_modelling.task import LanguageModelling
from ostinato.tasks.task import Prepared, TaskKind
from ostinato.tasks.trial import constructed

if TYPE_CHECKING:
    from ostinato.data.preview import Preview


class LanguageModellingKind:
    """From a text to a language model, its figures, and no predictions by row: it writes instead."""

    name: ClassVar[str] = "language-model"
    model_kind: ClassVar[str] = TextModel.kind
    settings: ClassVar[type[LanguageModelSettings]] = LanguageModelSettings

    def recognise(self, preview: Preview) -> str | None:
        """Never among tables: a single file that is no table is taken for a text before anyone is asked."""
        return None

    def prepare(self, files: Sequence[Path], settings: LanguageModelSettings) -> Prepared:
        """The corpus of a text file, and an untrained model of its alphabet."""
        corpus = open_corpus(
            _one(files),
            settings.tokens,
            settings.validation_fraction,
            settings.sequence_length,
            vocabulary_size=settings.vocabulary_size,
            least_count=settings.least_count,
        )
        size = LanguageModelSize(
            vocabulary_size=corpus.vocabulary.size,
            hidden_size=settings.hidden_size,
            num_layers=settings.num_layers,
            input=settings.input,
            embedding_size=settings.embedding_size,
            dropout=settings.dropout,
            cell_options=settings.options_of_cell(),
            tied=bool(settings.tie_embeddings),
            regularisation=settings.regularisation,
        )
        cell = cell_named(settings.cell)
        network = constructed(lambda: LanguageModel(size, cell), settings.cell)
        return Prepared(
            task=LanguageModelling(network, corpus, settings),
            notes=notes(corpus, settings),
            split={
                "validation_fraction": settings.validation_fraction,
                "validation_limit": settings.validation_limit,
            },
            baselines=dict,
            test=None,
            part="validation",
        )

    def evaluate(self, model: TextModel, files: Sequence[Path], options: dict[str, Any]) -> dict[str, Any]:
        """How well the model predicts a text; ``{"part": "validation"}`` for the part that training validated with."""
        return evaluation(model, _one(files), options.get("part", "all")).as_dict()

    def predict(self, model: TextModel, files: Sequence[Path], options: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Refuses.

        Raises:
            InvalidValue: always: a language model has no answer for each row.
        """
        raise InvalidValue("a language model predicts no rows: `ostinato sample MODEL` lets it write")


def evaluation(model: TextModel, file: Path, part: str = "all") -> Evaluation:
    """How well a model predicts a text.

    Args:
        model: predicts.
        file: of the text.
        part: ``"all"``, or ``"validation"`` for the part that training validated with.

    Raises:
        DataError: the file is missing, empty, too short or not UTF-8.
        ModelFolderError: the model does not say which part was validated with.
    """
    if part != "validation":
        return model.evaluate(file)
    # Models of the first format say it beside the other facts of their training.
    split = model.training.get("split", model.training)
    fraction, limit = split.get("validation_fraction"), split.get("validation_limit")
    if not isinstance(fraction, float) or not 0 < fraction < 1 or type(limit) is not int or limit < 2:
        raise ModelFolderError("config.json does not say which part training validated with; use --part all")
    tokens = validation_part(file, model.vocabulary, fraction, limit)
    return model.evaluate_tokens(tokens, validation_characters(file, model.vocabulary, fraction, limit))


def _one(files: Sequence[Path]) -> Path:
    if len(files) != 1:
        raise DataError(f"a language model reads one text file, got {len(files)}; join several with cat")
    return files[0]


TASK: TaskKind = LanguageModellingKind()
