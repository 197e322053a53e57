"""What is said of a text before a model learns it: its parts, its tokens, what is unknown, and a preset's settings."""

from __future__ import annotations

from ostinato.tasks.language_modelling.corpus import Corpus
from ostinato.tasks.language_modelling.settings import PRESETS, LanguageModelSettings


def notes(corpus: Corpus, settings: LanguageModelSettings) -> tuple[str, ...]:
    """The lines, the most important one last where there is but one."""
    unit, whole = corpus.vocabulary.unit, len(corpus.validation)
    found = [
        f"{corpus.path.name}: {len(corpus.training):,} {unit}s to learn from, {whole:,} to check with; "
        f"{corpus.vocabulary.size} tokens."
    ]
    if whole > settings.validation_limit:
        found.append(f"Validation reads the first {settings.validation_limit:,} of the {whole:,} {unit}s.")
    if rare := corpus.unknown_in_training:
        found.append(
            f"{rare:,} {unit}s of the training part ({rare / len(corpus.training):.1%}) are too rare to be known; "
            f"all are one token, unknown. --least-count and --vocabulary-size decide."
        )
    if strangers := corpus.unknown_in_validation():
        found.append(_strangers(corpus, strangers))
    if settings.preset is not None:
        values = ", ".join(f"{name} {getattr(settings, name)}" for name in PRESETS[settings.preset])
        found.append(f"Preset {settings.preset}: {values}.")
    return tuple(found)


def _strangers(corpus: Corpus, count: int) -> str:
    unit = corpus.vocabulary.unit
    if corpus.vocabulary.by_line:
        return (
            f"{count:,} {unit}s of the validation part ({count / len(corpus.validation):.1%}) are unknown; predicting "
            f"that is easier than spelling them, which flatters the figures."
        )
    return (
        f"{count:,} {unit}s of the validation part do not occur in the training part; "
        f"they count as unknown, and as badly predicted."
    )
