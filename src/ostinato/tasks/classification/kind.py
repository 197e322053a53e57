"""What the commands need to know of classification."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ostinato.data.files import expand
from ostinato.tasks.classification.answers import answers, class_figures
from ostinato.tasks.classification.columns import Columns, usual_targets
from ostinato.tasks.classification.measure import confusion, unseen
from ostinato.tasks.classification.parts import lengths_of
from ostinato.tasks.classification.prepare_classes import labels_of, prepare
from ostinato.tasks.classification.rows import has_numbers, read_rows
from ostinato.tasks.classification.settings import ClassifySettings
from ostinato.tasks.task import Prepared

if TYPE_CHECKING:
    from ostinato.data.preview import Preview


class ClassificationKind:
    """Texts or series, each of a class, or with several labels."""

    name: ClassVar[str] = "classify"
    model_kind: ClassVar[str] = "classifier"
    settings: ClassVar[type[ClassifySettings]] = ClassifySettings

    def recognise(self, preview: Preview) -> str | None:
        """``.ts`` files with labels, a file for each class, or a table with one column of labels beside a text or
        series."""
        if preview.extension == ".ts":
            return None if has_numbers(preview.files[0]) else "each series of a .ts file has a class"
        if preview.class_files:
            return "each of several texts holds the lines of a class"
        labels = usual_targets(preview.of_kind("label")) or preview.of_kind("label")
        read = [*preview.of_kind("text"), *preview.of_kind("series")]
        if len(labels) == 1 and len(read) == 1:
            return f"column {read[0]} is to be read, and column {labels[0]} holds classes"
        return None

    def prepare(self, files: Sequence[Path], settings: ClassifySettings) -> Prepared:
        """See :func:`ostinato.tasks.classification.prepare_classes.prepare`."""
        return prepare(files, settings)

    def evaluate(self, model: Any, files: Sequence[Path], options: dict[str, Any]) -> dict[str, Any]:
        """Loss, accuracy, F1, the confusion matrix, and the classes that the model never saw.

        Args:
            model: a :class:`~ostinato.models.classifier.Classifier` or an ensemble of them.
            files: sequences with their classes.
            options: none.

        Raises:
            DataError: a file cannot be read, or lacks a column.
        """
        rows = read_rows(expand(files), Columns.from_content(model.columns))
        inputs = rows.sequences.inputs
        lengths_of(model.inputs, inputs, rows.sequences.where)
        right = labels_of(rows.targets or [], model.separator, rows.sequences.where, rows.columns)
        figures, predicted = class_figures(model, inputs, right)
        if model.separator is not None:
            strange = unseen((one for row in right for one in row), model.labels)
            return {**figures, "rows": len(inputs), "unseen": strange}
        return {
            **figures,
            "rows": len(inputs),
            "unseen": unseen(right, model.labels),
            "confusion": confusion(predicted, right, model.labels),
        }

    def predict(self, model: Any, files: Sequence[Path], options: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The rows with their ``prediction`` and its probability as ``score``; several labels stand in one cell.

        Raises:
            DataError: a file cannot be read, or lacks a column that the model reads.
        """
        rows = read_rows(expand(files), Columns.from_content(model.columns), with_target=False)
        inputs = rows.sequences.inputs
        lengths_of(model.inputs, inputs, rows.sequences.where)
        start = options.get("start", 0)
        for row, (answer, _) in enumerate(answers(model, inputs, start), start):
            if model.separator is None:
                said: dict[str, Any] = {"prediction": answer.label, "score": round(answer.probability, 6)}
            else:
                chances = [f"{chance:.6f}" for chance in answer.probabilities]
                said = {"prediction": model.separator.join(answer.labels), "score": model.separator.join(chances)}
            yield rows.own(row) | said


TASK = ClassificationKind()
