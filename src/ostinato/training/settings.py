"""The settings of a training run: one dataclass, whose field text is the help of the command line and of the docs."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_type_hints

from ostinato.errors import InvalidType, InvalidValue
from ostinato.models.cell_names import name_of_cell
from ostinato.models.needs import need

DEFAULT_STEPS = 1250


def _setting(
    default: Any,
    help: str,
    group: str,
    *,
    at_least: float | None = None,
    above: float | None = None,
    below: float | None = None,
    resumable: bool = False,
) -> Any:
    metadata = {"help": help, "group": group, "resumable": resumable}
    metadata |= {"at_least": at_least, "above": above, "below": below}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Settings:
    """What a run depends on, besides the text and the machine; ``batch_size`` is the flag ``--batch-size``.

    >>> Settings(batch_size=0)
    Traceback (most recent call last):
    ostinato.errors.InvalidValue: batch_size must be at least 1, got 0

    Raises:
        InvalidValue, InvalidType: a value outside its rule.
    """

    tokens: Literal["char", "byte"] = _setting(
        "char", "What the model reads and writes: characters of the text's own alphabet, or bytes.", "Text"
    )
    validation_fraction: float = _setting(
        0.1, "The last part of the file, which is kept for checking and never learnt from.", "Text", above=0, below=1
    )
    validation_limit: int = _setting(
        250_000, "Validation reads at most so many tokens of that part, from its beginning.", "Text", at_least=2
    )

    cell: str = _setting("lstm", "lstm, gru, rnn, or package.module:Class for a cell of your own.", "Model")
    hidden_size: int = _setting(256, "Width of the recurrent layers.", "Model", at_least=1)
    num_layers: int = _setting(1, "Number of recurrent layers, each reading the one below.", "Model", at_least=1)
    input: Literal["embedding", "one-hot"] = _setting(
        "embedding", "How a token enters: as a learnt vector, or as a 1 among zeros.", "Model"
    )
    embedding_size: int = _setting(64, "Width of the learnt vectors.", "Model", at_least=1)
    dropout: float = _setting(
        0.0,
        "Part of the values dropped before, between and after the layers while training: for long runs.",
        "Model",
        at_least=0,
        below=1,
    )

    steps: int | None = _setting(
        None,
        f"Stop after so many steps (batches). {DEFAULT_STEPS} if neither --epochs nor --time-budget is given.",
        "Length",
        at_least=1,
        resumable=True,
    )
    epochs: float | None = _setting(
        None, "Stop after the text has been read so many times.", "Length", above=0, resumable=True
    )
    time_budget: float | None = _setting(
        None,
        "Stop after so much training time: 90s, 2m, 1.5h, or a number of seconds.",
        "Length",
        above=0,
        resumable=True,
    )
    patience: int | None = _setting(
        8,
        "Stop early after so many validations in a row without a better figure; 0 for never.",
        "Length",
        at_least=0,
        resumable=True,
    )

    batch_size: int = _setting(32, "Places of the text that are read side by side.", "Learning", at_least=1)
    sequence_length: int = _setting(
        64, "Steps that the gradient reaches back; the state is carried on beyond.", "Learning", at_least=1
    )
    learning_rate: float = _setting(
        0.015,
        "Highest learning rate of AdamW, reached after the warm-up; it falls on a cosine to a hundredth.",
        "Learning",
        above=0,
        resumable=True,
    )
    warm_up: int = _setting(100, "Steps in which the learning rate rises to its highest.", "Learning", at_least=0)
    weight_decay: float = _setting(0.0, "AdamW's weight decay.", "Learning", at_least=0)
    clip: float = _setting(1.0, "The gradient's norm is cut to this.", "Learning", above=0)
    seed: int = _setting(
        0, "Decides the first weights, the dropout and the order of the batches.", "Learning", at_least=0
    )

    validate_every: int = _setting(250, "Steps between two validations.", "Saving", at_least=1)
    checkpoint_every: int = _setting(
        100, "Steps between two checkpoints; a killed run goes on from the last one.", "Saving", at_least=1
    )
    device: Literal["auto", "cpu", "cuda"] = _setting(
        "auto", "Where to train: a CUDA GPU if there is one, or as named.", "Saving"
    )

    def __post_init__(self) -> None:
        for setting in dataclasses.fields(self):
            _check(setting, _hints()[setting.name], getattr(self, setting.name))

    def replaced(self, changes: Mapping[str, Any]) -> Settings:
        """These settings with some changed.

        Raises:
            InvalidValue: a name that is no setting (the message names the nearest), or a value outside its rule.
        """
        names = [setting.name for setting in dataclasses.fields(self)]
        for name in changes:
            if name not in names:
                near = difflib.get_close_matches(name, names, n=2)
                raise InvalidValue(
                    f"{name!r} is no setting; "
                    + (f"did you mean {' or '.join(near)}?" if near else f"there are {names}")
                )
        return dataclasses.replace(self, **{name: _converted(name, value) for name, value in changes.items()})


def parse_seconds(text: str | float) -> float:
    """A length of time in seconds.

    >>> parse_seconds("90s"), parse_seconds("2m"), parse_seconds("1.5h"), parse_seconds(75)
    (90.0, 120.0, 5400.0, 75.0)

    Raises:
        InvalidValue: not a number with s, m or h after it.
    """
    match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*([smh]?)", str(text).strip().lower())
    if match is None:
        raise InvalidValue(f"time_budget must be like 90s, 2m, 1.5h, or a number of seconds, got {text!r}")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


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


def settings_to_yaml(settings: Settings) -> str:
    """A YAML file from which ``settings_from_yaml`` reads them back."""
    return str(need("yaml").safe_dump(dataclasses.asdict(settings), sort_keys=False))


def _hints() -> dict[str, Any]:
    return get_type_hints(Settings)


def _converted(name: str, value: Any) -> Any:
    """The field's own type: of a length of time, a class, a whole number where a fraction may be."""
    if name == "time_budget" and isinstance(value, str):
        return parse_seconds(value)
    if name == "cell" and isinstance(value, type):
        return name_of_cell(value)
    kind = _hints()[name]
    if type(value) is int and kind in (float, float | None):
        return float(value)
    if isinstance(value, str) and kind in (float, float | None):
        # YAML reads 1e-3 as a text: it wants 1.0e-3.
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _check(setting: dataclasses.Field[Any], kind: Any, value: Any) -> None:
    name, rule = setting.name, setting.metadata
    if choices := getattr(kind, "__args__", ()) if getattr(kind, "__origin__", None) is Literal else ():
        if value not in choices:
            raise InvalidValue(f"{name} must be one of {', '.join(choices)}, got {value!r}")
        return
    if value is None and isinstance(None, kind):
        return
    if isinstance(value, bool) or not isinstance(value, kind | int if kind in (float, float | None) else kind):
        wanted = {int: "a whole number", str: "a text", float: "a number"}
        word = next(text for one, text in wanted.items() if one in (kind, *getattr(kind, "__args__", ())))
        raise InvalidType(f"{name} must be {word}, got {value!r}")
    if isinstance(value, str):
        return
    if value != value or value in (float("inf"), float("-inf")):
        raise InvalidValue(f"{name} must be finite, got {value}")
    if rule["at_least"] is not None and value < rule["at_least"]:
        raise InvalidValue(f"{name} must be at least {rule['at_least']}, got {value}")
    if rule["above"] is not None and value <= rule["above"]:
        raise InvalidValue(f"{name} must be above {rule['above']}, got {value}")
    if rule["below"] is not None and value >= rule["below"]:
        raise InvalidValue(f"{name} must be below {rule['below']}, got {value}")
