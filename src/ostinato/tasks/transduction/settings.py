"""The settings of transduction, beside those of every training run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from ostinato.setting import setting
from ostinato.tasks.settings import TrainingSettings


@dataclass(frozen=True, kw_only=True)
class TransduceSettings(TrainingSettings):
    """What transduction can be told.

    >>> TransduceSettings(attention="dot")
    Traceback (most recent call last):
    ostinato.errors.InvalidValue: attention must be one of multiplicative, additive, none, got 'dot'
    """

    usual_steps: ClassVar[int | None] = 4500

    source: str | None = setting(None, "The column of the texts that are read; the first of two columns.", "Data")
    target: str | None = setting(None, "The column of the texts that are written; the second of two columns.", "Data")
    validation_file: str | None = setting(None, "Pairs to check with, which are not learnt from.", "Data")
    test_file: str | None = setting(None, "Pairs for the final score, which decide nothing.", "Data")
    validation_fraction: float = setting(
        0.1, "Part of the pairs to check with, where no file is given for it.", "Data", above=0, below=1
    )
    test_fraction: float = setting(
        0.1,
        "Part of the pairs for the final score, where neither part is given as a file.",
        "Data",
        at_least=0,
        below=1,
    )
    validation_limit: int = setting(500, "Validation reads and writes at most so many pairs.", "Data", at_least=1)
    longest: int = setting(
        1000, "Pairs with more tokens than this on a side are not learnt from: attention needs their product.", "Data",
        at_least=1,
    )  # fmt: skip

    tokens: Literal["characters", "words", "subwords"] = setting(
        "characters", "What is read and written: characters, words, or pieces of words learnt from the file.", "Text"
    )
    shared: bool = setting(False, "Source and target share a vocabulary and a table of vectors.", "Text")
    vocabulary_size: int = setting(
        8000, "At most so many words or pieces of words a side, the most frequent.", "Text", at_least=1
    )

    hidden_size: int = setting(128, "Width of the decoder, and of the encoder in each direction.", "Model", at_least=1)
    embedding_size: int = setting(64, "Width of the learnt vectors of tokens.", "Model", at_least=1)
    attention: Literal["multiplicative", "additive", "none"] = setting(
        "multiplicative",
        "How places of the source are compared with the decoder's output; none writes from the last state alone.",
        "Model",
    )
    feed: Literal["nothing", "output", "context"] = setting(
        "nothing",
        "What the decoder's recurrence reads of the attention; anything but nothing takes a call for each token, many "
        "times slower.",
        "Model",
    )
    tied: bool = setting(False, "The vectors of the target's tokens also score the output.", "Model")

    batch_size: int = setting(
        1800, "Tokens a batch, of both sides, padding included: short pairs are read side by side by the dozen.",
        "Learning", at_least=1,
    )  # fmt: skip
    learning_rate: float = setting(
        0.002,
        "Highest learning rate of AdamW, reached after the warm-up; it falls on a cosine to a hundredth.",
        "Learning",
        above=0,
        resumable=True,
    )
    label_smoothing: float = setting(
        0.0,
        "Part of the certainty that is taught to be spread over all tokens (Szegedy et al. 2016).",
        "Learning",
        at_least=0,
        below=1,
    )
