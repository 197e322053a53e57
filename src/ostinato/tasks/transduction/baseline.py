"""What a transducer has to beat: to write the source as it is, or always the target that occurred most often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence


def baselines(targets: Sequence[str]) -> dict[str, Callable[[str], str]]:
    """By name: what each writes for a source.

    >>> {name: write("ab") for name, write in baselines(["x", "y", "x"]).items()}
    {'copy of the source': 'ab', 'most frequent target': 'x'}

    Args:
        targets: of the training part; at least one.
    """
    counts = Counter(targets)
    # Of two as frequent the first by code points, so that the order of the file does not matter.
    usual = min(counts, key=lambda text: (-counts[text], text))
    return {"copy of the source": lambda source: source, "most frequent target": lambda source: usual}
