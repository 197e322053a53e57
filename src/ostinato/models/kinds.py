"""The kinds of models by name; each is imported when a folder of its kind is loaded."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from ostinato.models.model import Model

KINDS = {
    "classifier": ("ostinato.models.classifier", "Classifier"),
    "regressor": ("ostinato.models.regressor", "Regressor"),
    "tagger": ("ostinato.models.tagger", "Tagger"),
    "forecaster": ("ostinato.models.forecaster", "Forecaster"),
    "transducer": ("ostinato.models.transducer", "Transducer"),
    "language-model": ("ostinato.models.text_model", "TextModel"),
}
"""Name → module and class. Folders name a kind; what is imported stands here."""


def model_class(kind: str) -> type[Model]:
    """The class of the models of that kind, which must be one of ``KINDS``.

    >>> model_class("language-model").__name__
    'TextModel'
    """
    module, name = KINDS[kind]
    return cast(type[Model], getattr(import_module(module), name))
