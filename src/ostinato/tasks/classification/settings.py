"""The settings of classification and of regression, beside those of every training run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from ostinato.setting import setting
from ostinato.tasks.settings import CELLS, TrainingSettings

FEWEST_STEPS, MOST_STEPS = 600, 20_000
"""A small file is read more often than ``usual_epochs`` times, and a large one less often."""


@dataclass(frozen=True, kw_only=True)
class SequenceSettings(TrainingSettings):
    """What both can be told.

    >>> usual, short = SequenceSettings(), SequenceSettings(steps=7)
    >>> usual.total_steps(1000), usual.total_steps(10), short.total_steps(10)
    (10000, 600, 7)
    """

    usual_steps: ClassVar[int | None] = None
    usual_epochs: ClassVar[float | None] = 10

    inputs: tuple[str, ...] = setting(
        (), "The columns to read: texts, or the channels of a series; guessed where there is one reading.", "Data"
    )
    group: str | None = setting(
        None, "The column that says which rows belong to one series, where a row is a single step.", "Data"
    )
    time: str | None = setting(None, "The column by which the steps of a series are ordered.", "Data")
    fill: Literal["forward", "linear", "zero"] | None = setting(
        None, "Missing numbers are an error, or take the last value, one between their neighbours, or 0.", "Data"
    )
    validation_file: str | None = setting(None, "Rows to check with, which are not learnt from.", "Data")
    test_file: str | None = setting(None, "Rows for the final score, which decide nothing.", "Data")
    split_column: str | None = setting(None, "The column that says of each row: train, validation or test.", "Data")
    validation_fraction: float = setting(
        0.1, "Part of the rows to check with, where neither file nor column says which.", "Data", above=0, below=1
    )
    test_fraction: float = setting(
        0.2, "Part of the rows for the final score, where neither file nor column says which.", "Data", at_least=0,
        below=1,
    )  # fmt: skip
    repeats: Literal["together", "once"] = setting(
        "together",
        "Rows that repeat an input and its target are kept in one part, or once means that only the first is kept.",
        "Data",
    )

    tokens: Literal["characters", "words", "subwords"] | None = setting(
        None, "As what a text is read; characters where texts are short, words otherwise, unless said.", "Text"
    )
    least_count: int = setting(2, "Words and characters that occur less often are unknown.", "Text", at_least=1)
    most_tokens: int = setting(20_000, "At most so many, the most frequent, are known.", "Text", at_least=1)
    hash_buckets: int | None = setting(
        None, "Tokens are numbered by a hash modulo this instead: for vocabularies without an end.", "Text", at_least=2
    )
    embedding_size: int = setting(64, "Width of the vector that is learnt for each token.", "Text", at_least=1)

    cell: str = setting("gru", CELLS, "Model")
    hidden_size: int = setting(128, "Width of the recurrent layers, in each direction.", "Model", at_least=1)
    bidirectional: bool = setting(True, "Read each sequence from both ends.", "Model")
    pooling: Literal["last", "mean", "max", "attention"] = setting(
        "last", "What makes one vector of a sequence's steps.", "Model"
    )
    dropout: float = setting(
        0.3, "Part of the values dropped before and after the layers while training.", "Model", at_least=0, below=1
    )

    batch_size: int = setting(32, "Sequences that are read side by side, at most.", "Learning", at_least=1)
    batch_steps: int = setting(
        20_000, "Steps of a batch, padding included, at most: long sequences come in smaller batches.", "Learning",
        at_least=1,
    )  # fmt: skip
    learning_rate: float = setting(
        0.004,
        "Highest learning rate of AdamW, reached after the warm-up; it falls on a cosine to a hundredth.",
        "Learning",
        above=0,
        resumable=True,
    )
    weight_decay: float = setting(0.01, "AdamW's weight decay.", "Learning", at_least=0)
    validate_every: int = setting(200, "Steps between two validations.", "Saving", at_least=1)
    validation_limit: int = setting(5000, "Only so many rows are checked with while training.", "Saving", at_least=1)

    def total_steps(self, batches_per_epoch: int) -> int | None:
        """As for every run; without a length of any kind from ``FEWEST_STEPS`` to ``MOST_STEPS``."""
        steps = super().total_steps(batches_per_epoch)
        usual = self.steps is None and self.epochs is None and self.time_budget is None
        return min(max(steps, FEWEST_STEPS), MOST_STEPS) if usual and steps is not None else steps


@dataclass(frozen=True, kw_only=True)
class ClassifySettings(SequenceSettings):
    """What classification can be told.

    >>> ClassifySettings(class_weights="squared")
    Traceback (most recent call last):
    ostinato.errors.InvalidValue: class_weights must be one of none, gentle, sqrt, balanced, got 'squared'
    """

    target: str | None = setting(None, "The column of the classes; guessed where there is one reading.", "Data")
    separator: str | None = setting(
        None, "The sign between the labels of a row, where it may have several or none, as in ';'.", "Data"
    )
    class_weights: Literal["none", "gentle", "sqrt", "balanced"] = setting(
        "none",
        "Rare classes count more: balanced gives every class the same weight in all, sqrt goes half the way, gentle a "
        "quarter.",
        "Learning",
    )
    label_smoothing: float = setting(
        0.0, "Part of the probability that is spread over all classes.", "Learning", at_least=0, below=1
    )


@dataclass(frozen=True, kw_only=True)
class RegressSettings(SequenceSettings):
    """What regression can be told.

    >>> RegressSettings().replaced({"target": "price, rent"}).target
    ('price', 'rent')
    """

    target: tuple[str, ...] = setting(
        (), "The columns of the numbers to learn; guessed where there is one reading.", "Data"
    )
