"""``config.json``: what it says, and the rules for believing it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ostinato.errors import InvalidValue, ModelFolderError
from ostinato.models.cell_names import BUILT_IN, IMPORT_PATH
from ostinato.models.language_model import INPUTS, LanguageModelSize
from ostinato.models.vocabulary import ByteVocabulary, CharacterVocabulary, Vocabulary
from ostinato.version import __version__

FORMAT, VERSION, KIND = "ostinato.model", 1, "language-model"

WIDEST, DEEPEST = 1 << 16, 1 << 10
"""Bounds of every width and of the number of layers that is believed."""


@dataclass(frozen=True)
class ModelConfig:
    """The contents of ``config.json``."""

    cell: str
    size: LanguageModelSize
    vocabulary: Vocabulary
    training: dict[str, Any] = field(default_factory=dict)


def config_to_json(config: ModelConfig) -> str:
    """The text of ``config.json``."""
    size, vocabulary = config.size, config.vocabulary
    tokens: dict[str, Any] = {"kind": vocabulary.kind}
    if isinstance(vocabulary, CharacterVocabulary):
        tokens["alphabet"] = vocabulary.alphabet
    content = {
        "format": FORMAT,
        "format_version": VERSION,
        "ostinato_version": __version__,
        "kind": KIND,
        "tokens": tokens,
        "model": {
            "cell": config.cell,
            "hidden_size": size.hidden_size,
            "num_layers": size.num_layers,
            "input": size.input,
            "embedding_size": size.embedding_size,
            "dropout": size.dropout,
            "cell_options": size.cell_options,
        },
        "training": config.training,
    }
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def config_from_json(content: dict[str, Any], path: Path) -> ModelConfig:
    """The configuration, every entry checked.

    Args:
        content: the JSON object.
        path: named in messages.

    Raises:
        ModelFolderError: an entry is missing, of the wrong type, out of bounds, or of a newer version.
    """
    read = _Reader(path)
    if read.text(content, "format") != FORMAT:
        raise ModelFolderError(
            f"{path}: format must be {FORMAT!r}, got {content['format']!r}; is it another program's?"
        )
    version = read.whole(content, "format_version", 1 << 30)
    if version > VERSION:
        raise ModelFolderError(
            f"{path} has format version {version}, and this Ostinato {__version__} reads up to {VERSION}; "
            f"upgrade it: pip install --upgrade ostinato"
        )
    if read.text(content, "kind") != KIND:
        raise ModelFolderError(
            f"{path}: kind must be {KIND!r}, got {content['kind']!r}; upgrade: pip install -U ostinato"
        )
    model = read.table(content, "model")
    vocabulary = _vocabulary(read, read.table(content, "tokens"))
    cell = read.text(model, "cell")
    if cell not in BUILT_IN and not IMPORT_PATH.fullmatch(cell):
        raise ModelFolderError(f"{path}: cell must be {', '.join(BUILT_IN)} or package.module:Class, got {cell[:80]!r}")
    input = read.text(model, "input")
    if input not in INPUTS:
        raise ModelFolderError(f"{path}: input must be one of {', '.join(INPUTS)}, got {input[:80]!r}")
    size = LanguageModelSize(
        vocabulary_size=vocabulary.size,
        hidden_size=read.whole(model, "hidden_size", WIDEST),
        num_layers=read.whole(model, "num_layers", DEEPEST),
        input=input,
        embedding_size=read.whole(model, "embedding_size", WIDEST),
        dropout=read.fraction(model, "dropout"),
        cell_options=_cell_options(read, model),
    )
    return ModelConfig(cell, size, vocabulary, read.table(content, "training"))


def _vocabulary(read: _Reader, tokens: dict[str, Any]) -> Vocabulary:
    kind = read.text(tokens, "kind")
    if kind == ByteVocabulary.kind:
        return ByteVocabulary()
    if kind != CharacterVocabulary.kind:
        raise ModelFolderError(f"{read.path}: tokens.kind must be char or byte, got {kind[:80]!r}")
    try:
        return CharacterVocabulary(read.text(tokens, "alphabet"))
    except InvalidValue as error:
        raise ModelFolderError(f"{read.path}: {error}") from error


def _cell_options(read: _Reader, model: dict[str, Any]) -> dict[str, Any]:
    options = read.table(model, "cell_options")
    for name, value in options.items():
        if not name.isidentifier() or not isinstance(value, bool | int | float | str) or abs(_size(value)) > WIDEST:
            raise ModelFolderError(
                f"{read.path}: cell_options must be names with a number of at most {WIDEST}, a word or a truth value, "
                f"got {name[:80]!r}"
            )
    return options


def _size(value: bool | int | float | str) -> float:
    return len(value) if isinstance(value, str) else value


class _Reader:
    """Entries of a JSON object, by type and bounds."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def text(self, table: dict[str, Any], name: str) -> str:
        return str(self._entry(table, name, "a text", lambda v: isinstance(v, str)))

    def table(self, table: dict[str, Any], name: str) -> dict[str, Any]:
        return dict(self._entry(table, name, "an object", lambda v: isinstance(v, dict)))

    def whole(self, table: dict[str, Any], name: str, limit: int) -> int:
        rule = f"a whole number from 1 to {limit:,}"
        return int(self._entry(table, name, rule, lambda v: type(v) is int and 1 <= v <= limit))

    def fraction(self, table: dict[str, Any], name: str) -> float:
        return float(
            self._entry(table, name, "at least 0 and below 1", lambda v: type(v) in (int, float) and 0 <= v < 1)
        )

    def _entry(self, table: dict[str, Any], name: str, rule: str, holds: Callable[[Any], bool]) -> Any:
        if name not in table:
            raise ModelFolderError(
                f"{self.path} is damaged: {name} is missing; copy the folder again, or train it anew"
            )
        if not holds(table[name]):
            raise ModelFolderError(f"{self.path}: {name} must be {rule}, got {str(table[name])[:80]!r}")
        return table[name]
