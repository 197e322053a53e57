"""``config.json``: what every kind of model says there, and the rules for believing it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ostinato.errors import ModelFolderError
from ostinato.models.kinds import KINDS
from ostinato.models.reader import Reader
from ostinato.version import __version__

FORMAT, VERSION = "ostinato.model", 2

ENSEMBLE = "ensemble"


@dataclass(frozen=True)
class ModelConfig:
    """The contents of ``config.json``.

    Args:
        kind: of :data:`~ostinato.models.kinds.KINDS`, or ``"ensemble"``.
        content: what the kind itself wrote, unchecked.
        training: what is known of the model's making, unchecked.
    """

    kind: str
    content: dict[str, Any]
    training: dict[str, Any] = field(default_factory=dict)


def config_to_json(config: ModelConfig) -> str:
    """The text of ``config.json``; a figure that is no finite number becomes null."""
    content = {
        "format": FORMAT,
        "format_version": VERSION,
        "ostinato_version": __version__,
        "kind": config.kind,
        "model": config.content,
        "training": _plain(config.training),
    }
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def config_from_json(config: dict[str, Any], path: Path) -> ModelConfig:
    """What every kind has in common, checked.

    Args:
        config: the JSON object.
        path: named in messages.

    Raises:
        ModelFolderError: an entry is missing, of the wrong type, or of a newer version.
    """
    read = Reader(path)
    if read.text(config, "format") != FORMAT:
        raise ModelFolderError(f"{path}: format must be {FORMAT!r}, got {config['format']!r}; is it another program's?")
    version = read.whole(config, "format_version", 1 << 30)
    if version > VERSION:
        raise ModelFolderError(
            f"{path} has format version {version}, and this Ostinato {__version__} reads up to {VERSION}; "
            f"upgrade it: pip install --upgrade ostinato"
        )
    kind = read.one_of(config, "kind", (*KINDS, ENSEMBLE))
    content = read.table(config, "model")
    if version == 1:
        # Format 1, of language models alone, had the vocabulary beside the model.
        content["tokens"] = read.table(config, "tokens")
    return ModelConfig(kind, content, read.table(config, "training"))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value
