"""How good written texts are: the same figures for the model, in training and after, and for what it has to beat."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ostinato.data.tokens import Tokens
from ostinato.errors import InvalidValue
from ostinato.models.needs import need
from ostinato.tasks.transduction.edits import edit_distance

Cut = Callable[[str], Sequence[str]]
"""A text as its tokens."""


def measure(written: Sequence[str], right: Sequence[str], cut: Cut) -> dict[str, float]:
    """Figures of one or more texts beside the right ones.

    ``exact_match`` is the part of the texts that are right as a whole; ``token_accuracy`` the part of the right texts'
    tokens that stand at their place, the end counted as one; ``character_error_rate`` the edit distances divided by
    the right texts' characters, and may be above 1.

    >>> measure(["abd", "x"], ["abc", "x"], list)
    {'exact_match': 0.5, 'token_accuracy': 0.8333333333333334, 'character_error_rate': 0.25}

    Args:
        written, right: texts, in the same order.
        cut: a text into the tokens that ``token_accuracy`` counts.

    Raises:
        InvalidValue: no text.
    """
    if not right:
        raise InvalidValue("at least one text is needed to measure, got none")
    exact = sum(one == other for one, other in zip(written, right, strict=True))
    places, tokens = 0, 0
    for one, other in zip(written, right, strict=True):
        mine, theirs = [*cut(one), None], [*cut(other), None]
        places += sum(a == b for a, b in zip(mine, theirs, strict=False))
        tokens += len(theirs)
    edits = sum(edit_distance(one, other) for one, other in zip(written, right, strict=True))
    return {
        "exact_match": exact / len(right),
        "token_accuracy": places / tokens,
        "character_error_rate": edits / max(1, sum(map(len, right))),
    }


def bleu(written: Sequence[str], right: Sequence[str], *, of_characters: bool) -> float:
    """BLEU of the whole, 0 to 100, by sacrebleu with its defaults (M. Post, A call for clarity in reporting BLEU
    scores, 2018): of words as its ``13a`` cuts them, or of characters.

    >>> bleu(["the cat sat on the mat"], ["the cat sat on the mat"], of_characters=False)
    100.0
    """
    score = need("sacrebleu", "tasks").corpus_bleu(
        list(written), [list(right)], tokenize="char" if of_characters else "13a", force=True
    )
    return round(float(score.score), 6)


def compared(written: Sequence[str], targets: Sequence[str], tokens: Tokens) -> dict[str, float]:
    """:func:`measure` and BLEU of texts beside the targets, spaced alike where tokens are words."""
    right = list(targets)
    if tokens.kind == "words":
        written, right = ([" ".join(tokens.split(text)) for text in texts] for texts in (written, right))
    of_characters = tokens.kind == "characters"
    return measure(written, right, tokens.split) | {"bleu": bleu(written, right, of_characters=of_characters)}
