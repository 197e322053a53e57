"""The ``.ts`` format of the UEA and sktime archives: one sequence a line, channels between colons, the target last.

::

    @univariate false
    @dimensions 2
    @equalLength false
    @classLabel true yes no
    @data
    1.0,2.0,3.0:0.1,0.2,0.3:yes
    4.0,5.0:0.4,0.5:no

A.J. Bagnall et al., "The UEA multivariate time series classification archive", 2018.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ostinato.data.files import text_lines
from ostinato.errors import DataError

TRUTH = {"true": True, "false": False}


@dataclass(frozen=True)
class TsHeader:
    """What stands above ``@data``."""

    dimensions: int | None = None
    labels: tuple[str, ...] | None = None
    """The classes; None where the file holds none."""
    regression: bool = False
    """Whether a number stands at the end of each line."""

    @property
    def has_target(self) -> bool:
        """Whether the last part of a line is its target."""
        return self.labels is not None or self.regression


@dataclass(frozen=True)
class TsFile:
    """The sequences of a ``.ts`` file, each (T, I) float32 with NaN for a missing value, and their targets."""

    series: list[Tensor]
    targets: list[str] | list[float] | None
    channels: list[str]
    lines: list[int]
    """The line each sequence stands in, counted from 1."""
    header: TsHeader


def read_ts(path: str | os.PathLike[str]) -> tuple[list[Tensor], list[str] | list[float] | None, list[str]]:
    """The sequences of a ``.ts`` file, their labels (or target numbers, or None) and the channels' names.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile("w", suffix=".ts") as file:
    ...     _ = file.write("@classLabel true a b\\n@data\\n1,2,3:4,5,6:a\\n7,8:9,?:b\\n"); file.flush()
    ...     series, labels, channels = read_ts(file.name)
    >>> [tuple(one.shape) for one in series], labels, channels
    ([(3, 2), (2, 2)], ['a', 'b'], ['dim_0', 'dim_1'])

    Raises:
        DataError: the file breaks the format; the message names the line.
    """
    file = parse_ts(Path(path))
    return file.series, file.targets, file.channels


def parse_ts(path: Path) -> TsFile:
    """Everything that a ``.ts`` file says.

    Raises:
        DataError: as ``read_ts``.
    """
    lines = enumerate(text_lines(path), start=1)
    header = _header(path, lines)
    series: list[Tensor] = []
    texts: list[str] = []
    numbers: list[int] = []
    dimensions = header.dimensions
    for number, line in lines:
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        where = f"{path}, line {number:,}"
        parts = line.split(":")
        if header.has_target:
            texts.append(parts.pop().strip())
        if dimensions is None:
            dimensions = len(parts)
        if len(parts) != dimensions or not parts:
            raise DataError(
                f"{where} has {len(parts)} channels, and {'@dimensions says' if header.dimensions else 'others have'} "
                f"{dimensions}; channels stand between colons" + (", the target after the last" * header.has_target)
            )
        series.append(_sequence(parts, where))
        numbers.append(number)
    if not series:
        raise DataError(f"{path} has no sequences after @data")
    names = [f"dim_{index}" for index in range(dimensions or 0)]
    return TsFile(series, _targets(header, texts, numbers, path), names, numbers, header)


def _header(path: Path, lines: Iterator[tuple[int, str]]) -> TsHeader:
    """Reads up to ``@data``."""
    facts: dict[str, list[str]] = {}
    for number, line in lines:
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if not words[0].startswith("@"):
            raise DataError(f"{path}, line {number:,} must start with @ or #, or come after @data; is it a .ts file?")
        name = words[0][1:].lower()
        if name == "data":
            return _understood(facts, path)
        facts[name] = words[1:]
    raise DataError(f"{path} has no @data line; is it a .ts file?")


def _understood(facts: dict[str, list[str]], path: Path) -> TsHeader:
    if _flag(facts, "timestamps", path):
        raise DataError(
            f"{path} has time stamps in its sequences (@timeStamps true), which are not read; leave them out"
        )
    dimensions = facts.get("dimensions", facts.get("dimension"))
    if dimensions is not None and not (len(dimensions) == 1 and dimensions[0].isdecimal() and int(dimensions[0]) > 0):
        raise DataError(f"{path}: @dimensions must be a whole number from 1, got {' '.join(dimensions)!r}")
    count = None if dimensions is None else int(dimensions[0])
    if count is None and _flag(facts, "univariate", path):
        count = 1
    labels = tuple(facts["classlabel"][1:]) if _flag(facts, "classlabel", path) else None
    return TsHeader(count, labels, _flag(facts, "targetlabel", path))


def _flag(facts: dict[str, list[str]], name: str, path: Path) -> bool:
    words = facts.get(name)
    if words is None:
        return False
    if not words or words[0].lower() not in TRUTH:
        raise DataError(f"{path}: @{name} must be true or false, got {' '.join(words)!r}")
    return TRUTH[words[0].lower()]


def _sequence(parts: list[str], where: str) -> Tensor:
    """(T, I) of one line."""
    channels = []
    for index, part in enumerate(parts):
        try:
            channels.append([float(cell) for cell in part.replace("?", "nan").split(",")])
        except ValueError:
            cell = next(cell for cell in part.split(",") if not _is_number(cell))
            raise DataError(
                f"{where}, channel {index}: {cell.strip()[:40]!r} is not a number (? is a missing one)"
            ) from None
    lengths = {len(channel) for channel in channels}
    if len(lengths) > 1:
        raise DataError(
            f"{where}: all channels of a sequence must be of one length, got {', '.join(map(str, sorted(lengths)))}"
        )
    return torch.tensor(channels, dtype=torch.float32).T.contiguous()


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace("?", "nan"))
    except ValueError:
        return False
    return True


def _targets(header: TsHeader, texts: list[str], lines: list[int], path: Path) -> list[str] | list[float] | None:
    if header.labels is not None:
        for text, line in zip(texts, lines, strict=True):
            if header.labels and text not in header.labels:
                raise DataError(
                    f"{path}, line {line:,} has the label {text[:40]!r}, which @classLabel does not name; "
                    f"it names {', '.join(header.labels[:12])}"
                )
        return texts
    if not header.regression:
        return None
    for text, line in zip(texts, lines, strict=True):
        if not _is_number(text) or text == "?":
            raise DataError(f"{path}, line {line:,}: the target {text[:40]!r} is not a number")
    return [float(text) for text in texts]
