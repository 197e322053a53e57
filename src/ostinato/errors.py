"""Every exception Ostinato raises, so that one ``except`` can name exactly what to catch.

::

    OstinatoError
    ├── InvalidValue    (also ValueError)    an argument of the right type, with a value outside the rule
    ├── InvalidType     (also TypeError)     an argument of the wrong type
    ├── InvalidShape    (also RuntimeError)  tensors whose sizes, dtypes or devices do not fit together
    ├── CellError       (also TypeError)     a cell whose ``step`` breaks the contract of ``Cell``
    ├── EngineError     (also RuntimeError)  an engine was asked for that cannot run this call
    ├── MissingExtra    (also ImportError)   an optional package is not installed; names the command that installs it
    ├── DataError       (also ValueError)    a file that cannot be learnt from: empty, too short, not UTF-8
    ├── ModelFolderError (also ValueError)   a model folder that is truncated, newer, or not to be trusted
    └── TrainingError   (also RuntimeError)  training could not go on; the last good checkpoint is kept

Where ``torch.nn`` makes the same check, the second base is the exception ``torch.nn`` raises, so a program that
catches torch's keeps working. A message gives the rule, the value that came, and the way out.
"""

from __future__ import annotations


class OstinatoError(Exception):
    """The root: catches everything that Ostinato itself raises."""


class InvalidValue(OstinatoError, ValueError):
    """An argument has the right type and a value outside the rule."""


class InvalidType(OstinatoError, TypeError):
    """An argument has the wrong type."""


class InvalidShape(OstinatoError, RuntimeError):
    """Tensors do not fit together: sizes, dtypes or devices."""


class CellError(OstinatoError, TypeError):
    """A cell's ``step`` breaks the contract of :class:`ostinato.Cell`."""


class EngineError(OstinatoError, RuntimeError):
    """The engine asked for cannot run this call."""


class MissingExtra(OstinatoError, ImportError):
    """An optional package is missing.

    >>> raise MissingExtra("train", "lightning")
    Traceback (most recent call last):
    ostinato.errors.MissingExtra: lightning is not installed; it comes with: pip install 'ostinato[train]'
    """

    def __init__(self, extra: str, package: str) -> None:
        super().__init__(f"{package} is not installed; it comes with: pip install 'ostinato[{extra}]'")


class DataError(OstinatoError, ValueError):
    """A file cannot be learnt from."""


class ModelFolderError(OstinatoError, ValueError):
    """A model folder is truncated, of a newer version, or not to be trusted."""


class TrainingError(OstinatoError, RuntimeError):
    """Training could not go on; the last good checkpoint is kept."""
