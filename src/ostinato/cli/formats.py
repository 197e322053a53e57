"""``ostinato formats``: which files Ostinato reads, by example."""

from __future__ import annotations


def formats() -> None:
    """Show the layouts of files that can be learnt from, five rows of each, and the command for it.

    ostinato formats
    ostinato formats | less
    """
    from ostinato.data.formats import described

    print(described())
