"""Settings in a YAML file: what ``--config`` reads."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from ostinato.errors import InvalidValue
from ostinato.models.needs import need
from ostinato.setting import SettingsBase


def settings_from_yaml(path: Path) -> dict[str, Any]:
    """The changes that a YAML file of ``name: value`` lines asks for; ``batch-size`` and ``batch_size`` are the same.

    Raises:
        InvalidValue: no such file, not YAML, or not a table of settings.
    """
    yaml = need("yaml")
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidValue(f"the settings file {path} cannot be read: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise InvalidValue(f"{path} must hold lines of `setting: value`, got {type(content).__name__}")
    return {name.replace("-", "_"): value for name, value in content.items()}


def settings_to_yaml(settings: SettingsBase) -> str:
    """A YAML file from which ``settings_from_yaml`` reads them back."""
    values = dataclasses.asdict(settings)
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
    return str(need("yaml").safe_dump(plain, sort_keys=False))
