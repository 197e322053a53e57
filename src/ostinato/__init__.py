"""Recurrent networks that you can read, change, and still run at full speed."""

from ostinato.version import __version__

__all__ = ["__version__"]
