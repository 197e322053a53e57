"""Write pairs of strings to learn transduction from: letters at random, and the same reversed or sorted.

    python examples/pairs.py reverse --rows 90000 --seed 0 > reverse.tsv
    python examples/pairs.py sort --rows 2000 --seed 1 --shortest 20 > sort-20.tsv

The same arguments give the same file. Nothing is drawn with regard to what another seed draws; strings of five letters
may occur in both files, and of 26 letters in 20 places none ever does.
"""

from __future__ import annotations

import argparse
import random
import string
import sys
from collections.abc import Callable, Iterator, Sequence

RULES: dict[str, Callable[[str], str]] = {
    "reverse": lambda text: text[::-1],
    "sort": lambda text: "".join(sorted(text)),
    "copy": lambda text: text,
}


def pairs(rule: str, rows: int, *, shortest: int = 5, longest: int = 20, seed: int = 0) -> Iterator[tuple[str, str]]:
    """Strings of ``shortest`` to ``longest`` letters, every length as likely, and what the rule makes of each."""
    draw = random.Random(seed)
    for _ in range(rows):
        text = "".join(draw.choices(string.ascii_lowercase, k=draw.randint(shortest, longest)))
        yield text, RULES[rule](text)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("rule", choices=RULES, help="what the second column is of the first")
    parser.add_argument("--rows", type=int, default=90_000, help="pairs to write (default: 90000)")
    parser.add_argument("--shortest", type=int, default=5, help="letters at least (default: 5)")
    parser.add_argument("--longest", type=int, default=20, help="letters at most (default: 20)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    if not 1 <= options.shortest <= options.longest:
        parser.error(f"lengths must be from 1 up, got {options.shortest} to {options.longest}")
    print("source", "target", sep="\t")
    wanted = {"shortest": options.shortest, "longest": options.longest, "seed": options.seed}
    for both in pairs(options.rule, options.rows, **wanted):
        print(*both, sep="\t", file=sys.stdout)


if __name__ == "__main__":
    main()
