"""Optional packages, imported where they are used: ``import ostinato`` stays as light as ``import torch``."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ostinato.errors import MissingExtra


def need(module: str, extra: str = "train") -> Any:
    """The module of that name, or the command that installs it.

    >>> need("json").dumps([1])
    '[1]'
    >>> need("no_such_package.part")
    Traceback (most recent call last):
    ostinato.errors.MissingExtra: no_such_package is not installed; it comes with: pip install 'ostinato[train]'

    Raises:
        MissingExtra: the package is not installed.
    """
    package = module.partition(".")[0]
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != package:
            raise
        raise MissingExtra(extra, package) from error
