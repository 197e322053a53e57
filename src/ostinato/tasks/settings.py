"""What every training run can be told, whatever it learns: the settings that each task extends by its own."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ostinato.errors import InvalidValue
from ostinato.models.cell_names import cell_named, name_of_cell
from ostinato.models.cell_options import Value, cell_options
from ostinato.setting import SettingsBase, setting

CELLS = "The name of a known cell, one of those in `ostinato cells`, or package.module:Class for one of your own."


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(SettingsBase):
    """What a run depends on, besides the files and the machine; ``batch_size`` is the flag ``--batch-size``.

    A task extends it: further fields, and other defaults for these ones, by writing the field anew. Which rows are
    kept for checking depends on ``split_seed`` alone, so that runs with other seeds can be compared and joined.

    >>> TrainingSettings(batch_size=0)
    Traceback (most recent call last):
    ostinato.errors.InvalidValue: batch_size must be at least 1, got 0

    Raises:
        InvalidValue, InvalidType: a value outside its rule.
    """

    usual_steps: ClassVar[int | None] = 1250
    """Where a run ends that is given no length; None where ``usual_epochs`` says it."""

    usual_epochs: ClassVar[float | None] = None

    cell: str = setting("lstm", CELLS, "Model")
    cell_options: tuple[str, ...] = setting(
        (), "Options of the cell as NAME=VALUE, such as activation=relu; `ostinato cells NAME` lists them.", "Model"
    )
    hidden_size: int = setting(256, "Width of the recurrent layers.", "Model", at_least=1)
    num_layers: int = setting(1, "Number of recurrent layers, each reading the one below.", "Model", at_least=1)
    dropout: float = setting(
        0.0,
        "Part of the values dropped before, between and after the layers while training: for long runs.",
        "Model",
        at_least=0,
        below=1,
    )

    steps: int | None = setting(
        None,
        "Stop after so many steps (batches); without a length of any kind, after the task's usual one.",
        "Length",
        at_least=1,
        resumable=True,
    )
    epochs: float | None = setting(
        None, "Stop after everything has been read so many times.", "Length", above=0, resumable=True
    )
    time_budget: float | None = setting(
        None,
        "Stop after so much training time: 90s, 2m, 1.5h, or a number of seconds.",
        "Length",
        above=0,
        resumable=True,
    )
    patience: int | None = setting(
        8,
        "Stop early after so many validations in a row without a better figure; 0 for never.",
        "Length",
        at_least=0,
        resumable=True,
    )

    batch_size: int = setting(32, "Sequences that are read side by side.", "Learning", at_least=1)
    learning_rate: float = setting(
        0.01,
        "Highest learning rate of AdamW, reached after the warm-up; it falls on a cosine to a hundredth.",
        "Learning",
        above=0,
        resumable=True,
    )
    warm_up: int = setting(100, "Steps in which the learning rate rises to its highest.", "Learning", at_least=0)
    weight_decay: float = setting(0.0, "AdamW's weight decay.", "Learning", at_least=0)
    clip: float = setting(1.0, "The gradient's norm is cut to this.", "Learning", above=0)
    seed: int = setting(
        0, "Decides the first weights, the dropout and the order of the batches.", "Learning", at_least=0
    )
    split_seed: int = setting(
        0, "Decides which rows are kept for checking, where chance decides it.", "Learning", at_least=0
    )
    workers: int = setting(
        0,
        "Processes that make batches beside the training, where making them takes long; 0 for none.",
        "Learning",
        at_least=0,
        resumable=True,
    )

    validate_every: int = setting(250, "Steps between two validations.", "Saving", at_least=1)
    checkpoint_every: int = setting(
        100, "Steps between two checkpoints; a killed run goes on from the last one.", "Saving", at_least=1
    )
    device: Literal["auto", "cpu", "cuda"] = setting(
        "auto", "Where to train: a CUDA GPU if there is one, or as named.", "Saving"
    )

    @classmethod
    def converted(cls, name: str, value: Any) -> Any:
        """As for every settings class; besides, a length of time as people write it, a cell given as a
        class, and its options given as a mapping."""
        if name == "time_budget" and isinstance(value, str):
            return parse_seconds(value)
        if name == "cell" and isinstance(value, type):
            return name_of_cell(value)
        if name == "cell_options" and isinstance(value, Mapping):
            return tuple(f"{option}={given}" for option, given in value.items())
        return super().converted(name, value)

    def options_of_cell(self) -> dict[str, Value]:
        """``cell_options`` as the cell's constructor takes them; the cell is imported, if it is a user's own.

        >>> TrainingSettings(cell="mgu", cell_options=("form=mgu2",)).options_of_cell()
        {'form': 'mgu2'}

        Raises:
            InvalidValue, InvalidType: no such cell, or one without such an option.
        """
        return cell_options(cell_named(self.cell), self.cell_options)

    def total_steps(self, batches_per_epoch: int) -> int | None:
        """Where the run ends by steps: the fewest that a setting asks for; None if only the time ends it.

        >>> TrainingSettings(epochs=1.5).total_steps(10), TrainingSettings(time_budget=60.0).total_steps(10)
        (15, None)
        """
        steps, epochs = self.steps, self.epochs
        if steps is None and epochs is None and self.time_budget is None:
            steps, epochs = self.usual_steps, self.usual_epochs
        limits = [] if steps is None else [steps]
        if epochs is not None:
            limits.append(max(1, math.ceil(epochs * batches_per_epoch)))
        return min(limits, default=None)


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
