"""The settings of a language model's training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ostinato.errors import InvalidValue
from ostinato.models.regularisation import PARTS, Regularisation
from ostinato.setting import setting
from ostinato.tasks.settings import TrainingSettings

DROPPING = "Regularisation"

PRESETS: dict[str, dict[str, Any]] = {
    "awd": {
        "tie_embeddings": True,
        "embedding_dropout": 0.1,
        "input_dropout": 0.4,
        "hidden_dropout": 0.3,
        "output_dropout": 0.4,
        "locked_dropout": True,
        "weight_drop": 0.5,
        "activation_penalty": 2.0,
        "change_penalty": 1.0,
    },
}
"""Settings by the preset's name: the paper's for the Penn Treebank. Optimiser and widths stay as they are."""


@dataclass(frozen=True, kw_only=True)
class LanguageModelSettings(TrainingSettings):
    """What a language model's run depends on, besides the text and the machine.

    A preset is nothing but values for the settings that are not given:

    >>> found = LanguageModelSettings(preset="awd", weight_drop=0.2)
    >>> found.weight_drop, found.locked_dropout, found.regularisation.output
    (0.2, True, 0.4)
    >>> LanguageModelSettings(tokens="words")
    Traceback (most recent call last):
    ostinato.errors.InvalidValue: tokens must be one of char, byte, word, bpe, got 'words'
    """

    tokens: Literal["char", "byte", "word", "bpe"] = setting(
        "char",
        "What the model reads and writes: characters of the text's own alphabet, bytes, words, or pieces of words "
        "(byte pair encoding).",
        "Text",
    )
    vocabulary_size: int | None = setting(
        None, "Of words the most frequent, 20,000 unless said; of pieces of words so many, 8,000 unless said.",
        "Text", at_least=1,
    )  # fmt: skip
    least_count: int | None = setting(None, "Words that occur less often are unknown. Default: 2.", "Text", at_least=1)
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
    tie_embeddings: bool | None = setting(
        None, "The vectors that tokens are read by also score them; no, unless the preset says so.", "Model"
    )

    preset: Literal["awd"] | None = setting(
        None, "Values for what is not given here: awd for AWD-LSTM's (Merity et al. 2018). They are printed.", DROPPING
    )
    embedding_dropout: float | None = setting(
        None, "Part of the tokens that lose their vector, all their occurrences together.", DROPPING, at_least=0,
        below=1,
    )  # fmt: skip
    input_dropout: float | None = setting(
        None, "Part dropped of what the first layer reads; as --dropout unless said.", DROPPING, at_least=0, below=1
    )
    hidden_dropout: float | None = setting(
        None, "Part dropped between layers; as --dropout unless said.", DROPPING, at_least=0, below=1
    )
    output_dropout: float | None = setting(
        None, "Part dropped before the scores; as --dropout unless said.", DROPPING, at_least=0, below=1
    )
    locked_dropout: bool | None = setting(None, "Drop the same places at all steps of a sequence in a batch.", DROPPING)
    weight_drop: float | None = setting(
        None, "Part dropped of the recurrent weights, anew for each batch.", DROPPING, at_least=0, below=1
    )
    activation_penalty: float | None = setting(
        None, "Added to the loss: so many times the mean square of the outputs.", DROPPING, at_least=0
    )
    change_penalty: float | None = setting(
        None, "Added to the loss: so many times the mean square of the outputs' change in a step.", DROPPING,
        at_least=0,
    )  # fmt: skip

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

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.preset is not None:
            for name, value in PRESETS[self.preset].items():
                if getattr(self, name) is None:
                    object.__setattr__(self, name, value)
        if self.vocabulary_size is not None and self.tokens not in ("word", "bpe"):
            raise InvalidValue(f"vocabulary_size is for tokens that are word or bpe, got {self.tokens!r}")
        if self.least_count is not None and self.tokens != "word":
            raise InvalidValue(f"least_count is for tokens that are word, got {self.tokens!r}")

    @property
    def regularisation(self) -> Regularisation | None:
        """What is dropped part by part; None where ``dropout`` alone says it."""
        given = {name: getattr(self, setting_of) for name, setting_of in zip(PARTS, PART_SETTINGS, strict=True)}
        if not self.locked_dropout and all(value is None for value in given.values()):
            return None
        usual = dict.fromkeys(("input", "hidden", "output"), self.dropout)
        parts = {name: usual.get(name, 0.0) if value is None else value for name, value in given.items()}
        return Regularisation(**parts, locked=bool(self.locked_dropout))


PART_SETTINGS = ("embedding_dropout", "input_dropout", "hidden_dropout", "output_dropout", "weight_drop")
"""The settings of :data:`~ostinato.models.regularisation.PARTS`, in their order."""
