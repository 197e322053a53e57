"""WHAT is computed: the contract of a cell, and every known cell; ``ostinato cells`` lists them by name."""

from ostinato.cells.library import *  # noqa: F403
from ostinato.cells.library import __all__ as __all__
