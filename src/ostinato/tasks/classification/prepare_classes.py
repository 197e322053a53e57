"""From files to a classification task: read, checked, cut into parts, and a network of the right sizes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ostinato.data.labels import classes_of, texts_of, unseen_note
from ostinato.models.classifier import Classifier
from ostinato.models.sequence_inputs import Texts
from ostinato.tasks.classification import baselines
from ostinato.tasks.classification.answers import class_figures
from ostinato.tasks.classification.columns import Columns
from ostinato.tasks.classification.measure import indicators, of_classes, of_sets
from ostinato.tasks.classification.parts import (
    Material,
    about,
    cut,
    examples,
    inputs_of,
    network_of,
    read_material,
    unknown_note,
)
from ostinato.tasks.classification.settings import ClassifySettings
from ostinato.tasks.classification.task import Classification, Examples
from ostinato.tasks.task import Prepared


def prepare(files: Sequence[Path], settings: ClassifySettings) -> Prepared:
    """Files made ready to learn classes from.

    Raises:
        DataError: a file cannot be learnt from; the message names the file, and the line or the column.
    """
    material = read_material(files, settings, () if settings.target is None else (settings.target,))
    labels = labels_of(material.targets, settings.separator, material.where, material.columns)
    single = settings.separator is None
    parts = cut(material, settings, labels if single else None, labels)
    every = material.inputs
    inputs = inputs_of([every[row] for row in parts.training.tolist()], material, settings)
    training, validation, test = (
        examples(rows, material, inputs, labels) for rows in (parts.training, parts.validation, parts.test)
    )
    known = training.targets if single else [label for row in training.targets for label in row]
    classes, suspicions = classes_of(known, material.name)
    network = network_of(inputs, training.inputs, len(classes), settings)
    model = Classifier(network, inputs, classes, settings.separator, material.columns.content())
    task = Classification(
        model,
        training,
        validation.first(settings.validation_limit),
        class_weights(settings.class_weights, training.targets, classes, single),
        settings.label_smoothing,
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
            _classes_note(classes, known, material),
            *suspicions,
            *parts.notes,
            *unknown_note(inputs, final.inputs, name),
            *unseen_note(final.targets if single else [one for row in final.targets for one in row], classes, name),
        ),
        split=parts.to_json(),
        baselines=lambda: _baselines(model, training, final, settings),
        test=lambda trained: class_figures(trained, final.inputs, final.targets)[0],
        part=name,
    )


def labels_of(
    cells: Sequence[tuple[Any, ...]], separator: str | None, where: Callable[[int], str], columns: Columns
) -> list[Any]:
    """Each row's class as a text; or where there may be several the tuple of its labels, in their order.

    Raises:
        DataError: a row has none, and there is no ``separator``.
    """
    column = columns.target[0] if columns.target else "file"
    single = [cell for (cell,) in cells]
    if separator is None:
        return texts_of([cell.strip() or None if isinstance(cell, str) else cell for cell in single], where, column)
    several = ["" if cell is None else str(cell) for cell in single]
    return [tuple(dict.fromkeys(part.strip() for part in one.split(separator) if part.strip())) for one in several]


SHARE = {"gentle": 0.25, "sqrt": 0.5, "balanced": 1.0}
"""The power of a class's rarity that it counts with."""


def class_weights(how: str, targets: Sequence[Any], classes: Sequence[str], single: bool) -> Tensor | None:
    """(K,) what a class counts; over the rows their mean is 1.

    With ``balanced`` a class counts as much as it is rare, with ``sqrt`` the root of that, with ``gentle`` the root of
    the root. Of labels that are there or
    not, it is how much those that are there count beside those that are not.

    >>> class_weights("balanced", ["a", "a", "a", "b"], ["a", "b"], single=True)
    tensor([0.6667, 2.0000])
    """
    if how == "none":
        return None
    if single:
        counts = Counter(targets)
        here = torch.tensor([float(counts[label]) for label in classes])
        weights = (here.sum() / here) ** SHARE[how]
        return weights * here.sum() / (weights * here).sum()
    here = indicators(targets, classes).sum(0)
    return ((len(targets) - here).clamp(min=1) / here) ** SHARE[how]


def _classes_note(classes: Sequence[str], known: Sequence[str], material: Material) -> str:
    counts = Counter(known)
    shown = ", ".join(f"{name} {counts[name]:,}" for name in classes[:20]) + (", …" if len(classes) > 20 else "")
    column = f" of column {material.columns.target[0]}" if material.columns.target else ""
    return f"{len(classes)} classes{column}, in the training part: {shown}."


def _baselines(
    model: Classifier, training: Examples, final: Examples, settings: ClassifySettings
) -> dict[str, dict[str, float]]:
    unit = model.inputs.tokens.kind if isinstance(model.inputs, Texts) else None
    name = "linear model of n-grams" if unit else "linear model of summary statistics"
    if model.separator is None:
        often = baselines.most_frequent(training.targets)
        balanced = settings.class_weights != "none"
        linear = baselines.LinearClasses(training.inputs, training.targets, unit, balanced)
        answers = {"most frequent class": [often] * len(final.inputs), name: linear.predict(final.inputs)}
        return {who: of_classes(said, final.targets, model.labels) for who, said in answers.items()}
    common = indicators(training.targets, model.labels).mean(0) >= 0.5
    usual = [label for label, yes in zip(model.labels, common.tolist(), strict=True) if yes]
    sets = baselines.LinearSets(training.inputs, indicators(training.targets, model.labels), unit)
    several = {"most frequent labels": [usual] * len(final.inputs), name: sets.predict(final.inputs, model.labels)}
    return {who: of_sets(said, final.targets, model.labels) for who, said in several.items()}
