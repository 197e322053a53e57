"""Regression: what the commands need to know of it, and the way from files to the task."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from ostinato.data.columns import is_number
from ostinato.data.files import expand
from ostinato.errors import DataError
from ostinato.models.regressor import Regressor
from ostinato.models.sequence_inputs import Texts
from ostinato.tasks.classification import baselines
from ostinato.tasks.classification.answers import answers, number_figures, numbers
from ostinato.tasks.classification.columns import Columns, usual_targets
from ostinato.tasks.classification.measure import of_numbers
from ostinato.tasks.classification.parts import (
    about,
    cut,
    examples,
    inputs_of,
    lengths_of,
    network_of,
    read_material,
    unknown_note,
)
from ostinato.tasks.classification.rows import has_numbers, read_rows
from ostinato.tasks.classification.settings import RegressSettings
from ostinato.tasks.classification.task import Examples, Regression
from ostinato.tasks.task import Prepared

if TYPE_CHECKING:
    from ostinato.data.preview import Preview


class RegressionKind:
    """Texts or series, each with one number or several to learn."""

    name: ClassVar[str] = "regress"
    model_kind: ClassVar[str] = "regressor"
    settings: ClassVar[type[RegressSettings]] = RegressSettings

    def recognise(self, preview: Preview) -> str | None:
        """``.ts`` files with numbers, or a table with one column of numbers beside a text or series."""
        if preview.extension == ".ts":
            return "each series of a .ts file has a number" if has_numbers(preview.files[0]) else None
        numbers = preview.of_kind("number")
        target = usual_targets(numbers) or numbers
        read = [*preview.of_kind("text"), *preview.of_kind("series")]
        if len(target) == 1 and len(read) == 1 and not preview.of_kind("label"):
            return f"column {read[0]} is to be read, and column {target[0]} holds numbers"
        return None

    def prepare(self, files: Sequence[Path], settings: RegressSettings) -> Prepared:
        """Files made ready to learn numbers from.

        Raises:
            DataError: a file cannot be learnt from; the message names the file, and the line or the column.
        """
        material = read_material(files, settings, settings.target)
        names = material.columns.target
        values = numbers_of(material.targets, names, material.where)
        parts = cut(material, settings, None, material.targets)
        every = material.inputs
        inputs = inputs_of([every[row] for row in parts.training.tolist()], material, settings)
        training, validation, test = (
            examples(rows, material, inputs, values) for rows in (parts.training, parts.validation, parts.test)
        )
        means, deviations = training.targets.mean(0), training.targets.std(0, correction=0)
        if bool((deviations == 0).any()):
            name = names[int((deviations == 0).int().argmax())]
            raise DataError(f"{material.name}: {name} is the same in all training rows; there is nothing to learn")
        network = network_of(inputs, training.inputs, len(names), settings)
        model = Regressor(network, inputs, names, means, deviations, material.columns.content())
        task = Regression(
            model,
            training,
            validation.first(settings.validation_limit),
            batch_size=settings.batch_size,
            batch_steps=settings.batch_steps,
            seed=settings.seed,
            fingerprint=material.fingerprint,
        )
        final, name = (test, "test") if len(test.inputs) else (validation, "validation")
        return Prepared(
            task,
            notes=(
                *material.notes,
                about(material, inputs, training),
                *_about_targets(names, means, deviations),
                *parts.notes,
                *unknown_note(inputs, final.inputs, name),
            ),
            split=parts.to_json(),
            baselines=lambda: _baselines(model, training, final),
            test=lambda trained: number_figures(trained, numbers(trained, final.inputs), final.targets),
            part=name,
        )

    def evaluate(self, model: Any, files: Sequence[Path], options: dict[str, Any]) -> dict[str, Any]:
        """Loss, mean absolute and mean squared error, and R²; with several targets also those of each.

        Args:
            model: a :class:`~ostinato.models.regressor.Regressor` or an ensemble of them.
            files: sequences with their numbers.
            options: none.

        Raises:
            DataError: a file cannot be read, or lacks a column.
        """
        rows = read_rows(expand(files), Columns.from_content(model.columns))
        inputs, where = rows.sequences.inputs, rows.sequences.where
        lengths_of(model.inputs, inputs, where)
        right = numbers_of(rows.targets or [], model.targets, where)
        predicted = numbers(model, inputs)
        figures: dict[str, Any] = {**number_figures(model, predicted, right), "rows": len(inputs)}
        if len(model.targets) > 1:
            figures["targets"] = {
                name: of_numbers(predicted[:, [number]], right[:, [number]])
                for number, name in enumerate(model.targets)
            }
        return figures

    def predict(self, model: Any, files: Sequence[Path], options: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The rows with their ``prediction``, or with several targets ``prediction_NAME`` for each.

        Raises:
            DataError: a file cannot be read, or lacks a column that the model reads.
        """
        rows = read_rows(expand(files), Columns.from_content(model.columns), with_target=False)
        inputs = rows.sequences.inputs
        lengths_of(model.inputs, inputs, rows.sequences.where)
        start = options.get("start", 0)
        for row, (_, scores) in enumerate(answers(model, inputs, start), start):
            values = [float(f"{value:.7g}") for value in scores.tolist()]
            names = ["prediction"] if len(values) == 1 else [f"prediction_{name}" for name in model.targets]
            yield rows.own(row) | dict(zip(names, values, strict=True))


def numbers_of(cells: Sequence[tuple[Any, ...]], names: Sequence[str], where: Callable[[int], str]) -> Tensor:
    """(N, P) the targets.

    Raises:
        DataError: one is missing, or no number; the message names the line.
    """
    for row, values in enumerate(cells):
        for name, value in zip(names, values, strict=True):
            if not is_number(value) or isinstance(value, str) or not abs(value) < float("inf"):
                got = "none" if value is None else repr(value)[:40]
                raise DataError(f"{where(row)}: {name} must be a finite number to be learnt, got {got}")
    return torch.tensor(cells, dtype=torch.float64).float().reshape(len(cells), len(names))


def _about_targets(names: Sequence[str], means: Tensor, deviations: Tensor) -> list[str]:
    return [
        f"{name}: {mean:.4g} on average in the training part, with a deviation of {deviation:.4g}."
        for name, mean, deviation in zip(names, means.tolist(), deviations.tolist(), strict=True)
    ]


def _baselines(model: Regressor, training: Examples, final: Examples) -> dict[str, dict[str, float]]:
    unit = model.inputs.tokens.kind if isinstance(model.inputs, Texts) else None
    linear = baselines.LinearNumbers(training.inputs, training.targets, unit)
    name = "linear model of n-grams" if unit else "linear model of summary statistics"
    mean = model.means.expand(len(final.inputs), -1)
    return {
        "mean": of_numbers(mean, final.targets),
        name: of_numbers(linear.predict(final.inputs), final.targets),
    }


TASK = RegressionKind()
