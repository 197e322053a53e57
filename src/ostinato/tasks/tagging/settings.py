"""The settings of tagging, beside those of every training run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ostinato.setting import setting
from ostinato.tasks.settings import TrainingSettings

FEWEST_STEPS = 600
"""A small file is read more often than ``usual_epochs`` times."""


@dataclass(frozen=True, kw_only=True)
class TagSettings(TrainingSettings):
    """What tagging can be told.

    >>> TagSettings().total_steps(1000), TagSettings().total_steps(10), TagSettings(epochs=2.0).total_steps(10)
    (6000, 600, 20)
    """

    usual_steps: ClassVar[int | None] = None
    usual_epochs: ClassVar[float | None] = 6

    words: str | None = setting(
        None,
        "The column of the words: a name in CoNLL-U and JSON lines, a number from 0 in CoNLL; form or the first one "
        "unless said otherwise.",
        "Data",
    )
    target: str | None = setting(
        None,
        "The column of the tags: upos, xpos or another name in CoNLL-U, a number in CoNLL (-1 is the last), a name in "
        "JSON lines; upos or the last one unless said otherwise.",
        "Data",
    )
    validation_file: str | None = setting(None, "Sentences to check with, which are not learnt from.", "Data")
    test_file: str | None = setting(None, "Sentences for the final score, which decide nothing.", "Data")
    validation_fraction: float = setting(
        0.1, "Part of the sentences to check with, where no file is given for it.", "Data", above=0, below=1
    )
    test_fraction: float = setting(
        0.1, "Part of the sentences for the final score, where neither part is given as a file.", "Data", at_least=0,
        below=1,
    )  # fmt: skip

    hidden_size: int = setting(150, "Width of the recurrent layers, in each direction.", "Model", at_least=1)
    word_size: int = setting(100, "Width of the vector that is learnt for each word.", "Model", at_least=1)
    character_size: int = setting(
        32,
        "Width of a character's vector, and of the states that spell a word, each way.",
        "Model",
        at_least=1,
    )
    crf: bool = setting(
        False, "Choose the tags of a sentence together, by a conditional random field, instead of one by one.", "Model"
    )
    lower_case: bool = setting(
        True, "Look words up in lower case; their capitals are read with their spelling.", "Model"
    )
    least_count: int = setting(2, "Words that occur less often get no vector of their own.", "Model", at_least=1)
    most_words: int = setting(100_000, "Only so many words, the most frequent, get vectors.", "Model", at_least=1)
    dropout: float = setting(
        0.4, "Part of the values dropped before and after the layers while training.", "Model", at_least=0, below=1
    )
    word_dropout: float = setting(
        0.2,
        "Part of the words that are read as unknown ones while training, so that unknown words are learnt.",
        "Model",
        at_least=0,
        below=1,
    )

    batch_size: int = setting(
        500, "Words a batch, padding included: short sentences are read side by side by the dozen.", "Learning",
        at_least=1,
    )  # fmt: skip
    learning_rate: float = setting(
        0.003,
        "Highest learning rate of AdamW, reached after the warm-up; it falls on a cosine to a hundredth.",
        "Learning",
        above=0,
        resumable=True,
    )
    warm_up: int = setting(50, "Steps in which the learning rate rises to its highest.", "Learning", at_least=0)
    validate_every: int = setting(400, "Steps between two validations.", "Saving", at_least=1)

    def total_steps(self, batches_per_epoch: int) -> int | None:
        """As for every run; without a length of any kind at least ``FEWEST_STEPS``."""
        steps = super().total_steps(batches_per_epoch)
        usual = self.steps is None and self.epochs is None and self.time_budget is None
        return max(steps, FEWEST_STEPS) if usual and steps is not None else steps
