"""The settings of a language model's training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ostinato.setting import setting
from ostinato.tasks.settings import TrainingSettings


@dataclass(frozen=True, kw_only=True)
class LanguageModelSettings(TrainingSettings):
    """What a language model's run depends on, besides the text and the machine.

    >>> LanguageModelSettings(tokens="word")
    Traceback (most recent call last):
    ostinato.errors.InvalidValue: tokens must be one of char, byte, got 'word'
    """

    tokens: Literal["char", "byte"] = setting(
        "char", "What the model reads and writes: characters of the text's own alphabet, or bytes.", "Text"
    )
    validation_fraction: float = setting(
        0.1, "The last part of the file, which is kept for checking and never learnt from.", "Text", above=0, below=1
    )
    validation_limit: int = setting(
        250_000, "Validation reads at most so many tokens of that part, from its beginning.", "Text", at_least=2
    )

    input: Literal["embedding", "one-hot"] = setting(
        "embedding", "How a token enters: as a learnt vector, or as a 1 among zeros.", "Model"
    )
    embedding_size: int = setting(64, "Width of the learnt vectors.", "Model", at_least=1)

    batch_size: int = setting(32, "Places of the text that are read side by side.", "Learning", at_least=1)
    sequence_length: int = setting(
        64, "Steps that the gradient reaches back; the state is carried on beyond.", "Learning", at_least=1
    )
    learning_rate: float = setting(
        0.015,
        "Highest learning rate of AdamW, reached after the warm-up; it falls on a cosine to a hundredth.",
        "Learning",
        above=0,
        resumable=True,
    )
