"""From a user's own series to windows of standardised numbers: which columns, which scales, which calendar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import torch
from torch import Tensor

from ostinato.errors import InvalidShape, InvalidType, InvalidValue, ModelFolderError
from ostinato.models.calendar import CYCLES, on_circles, seconds_of
from ostinato.models.forecasting_windows import Scale, Windows
from ostinato.models.reader import WIDEST, Reader


@dataclass(frozen=True)
class Columns:
    """What stands where in the files it learnt from.

    Args:
        targets: what is forecast; several columns are as many series.
        inputs: read beside the target, not known in the future.
        known: known in the future.
        time: of the time stamps; None for rows in order.
        group: names the series of each row; None if each target column is one.
    """

    targets: tuple[str, ...] = ("value",)
    inputs: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    time: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class SeriesForm:
    """How series are read.

    Args:
        columns: of the files it learnt from.
        scales: series → its scale; a series of another name is standardised by what of it is given.
        beside: the scales of the inputs, then of the known columns.
        calendar: cycles of :data:`ostinato.models.calendar.CYCLES` that are read from the time.
        step: seconds between two steps; 0 where there is no time.
        season: steps of a season, for the scores.
        fill, resample: what is done about gaps in files, as in training; None for nothing.

    >>> form = SeriesForm(scales={"sales": Scale(10.0, 2.0)})
    >>> form.windows([8, 9, 11, 12, 14], window=2, horizon=1).past.flatten().tolist()
    [1.0, 2.0]
    """

    columns: Columns = field(default_factory=Columns)
    scales: Mapping[str, Scale] = field(default_factory=dict)
    beside: tuple[Scale, ...] = ()
    calendar: tuple[str, ...] = ()
    step: float = 0.0
    season: int = 1
    fill: str | None = None
    resample: str | None = None

    @property
    def known(self) -> int:
        """How many values are known of every step in advance."""
        return len(self.columns.known) + 2 * len(self.calendar)

    def scale_of(self, series: str | None, values: Tensor) -> Scale:
        """The scale of that series; of a stranger that of its own (T,) values; without a name the only one's."""
        if series is not None and series in self.scales:
            return self.scales[series]
        if series is None and len(self.scales) == 1:
            return next(iter(self.scales.values()))
        return Scale.of(values[values.isfinite()], self.season)

    def windows(
        self, history: Any, *, window: int, horizon: int, future: Any = None, time: Any = None, series: Any = None
    ) -> Windows:
        """The last window of a history, or of each of several; the arguments are those of ``Forecaster.predict``."""
        if not are_several(history):
            return self._window(history, window, horizon, future, time, series)
        count = len(history)
        if count == 0:
            raise InvalidValue("at least one history is needed, got none")
        each = zip(history, _each(future, count), _each(time, count), _each(series, count), strict=True)
        single = [self._window(one, window, horizon, *rest) for one, *rest in each]
        known = [one.known for one in single if one.known is not None]
        return Windows(
            torch.cat([one.past for one in single], dim=1),
            torch.cat(known, dim=1) if known else None,
            torch.cat([one.mean for one in single]),
            torch.cat([one.deviation for one in single]),
        )

    def _window(self, history: Any, window: int, horizon: int, future: Any, time: Any, series: str | None) -> Windows:
        columns, inputs = self.columns, 1 + len(self.columns.inputs)
        if hasattr(history, "columns"):
            if time is None and columns.time in history.columns and len(history):
                time = history[columns.time].tolist()[-1]
            target = series if series in columns.targets else columns.targets[0]
            history = _columns_of(history, (str(target), *columns.inputs, *columns.known))
        values = _numbers(history, "the history", inputs + len(columns.known))
        if len(values) < window:
            raise InvalidValue(f"the history must have {window} rows, the window, or more, got {len(values)}")
        scale = self.scale_of(series, values[:, 0])
        values = values[-window:]
        if not values.isfinite().all():
            raise InvalidValue("the history's last window must be finite, and a value in it is missing or infinite")
        values = standardised(values, (scale, *self.beside))
        known = torch.cat((values[:, inputs:], self._future(future, horizon)))
        if self.calendar:
            steps = torch.arange(1 - window, horizon + 1, dtype=torch.float64)
            known = torch.cat((known, on_circles(self._last(time) + steps * self.step, self.calendar)), dim=1)
        return Windows(
            values[:, :inputs].float().unsqueeze(1),
            known.float().unsqueeze(1) if self.known else None,
            torch.tensor([scale.mean], dtype=torch.float64),
            torch.tensor([scale.deviation], dtype=torch.float64),
        )

    def _future(self, future: Any, horizon: int) -> Tensor:
        """(horizon, known columns) standardised."""
        known = self.columns.known
        if not known:
            if future is not None:
                raise InvalidValue("this model reads nothing that is known in the future; leave future out")
            return torch.zeros(horizon, 0, dtype=torch.float64)
        if future is None:
            raise InvalidValue(
                f"this model reads {', '.join(known)} of the {horizon} steps to come; "
                f"give them as future, ({horizon}, {len(known)})"
            )
        values = _numbers(_columns_of(future, known) if hasattr(future, "columns") else future, "future", len(known))
        if len(values) != horizon or not values.isfinite().all():
            raise InvalidValue(f"future must have {horizon} rows of finite numbers, got {len(values)} rows")
        return standardised(values, self.beside[len(self.columns.inputs) :])

    def _last(self, time: Any) -> float:
        if time is None:
            raise InvalidValue(
                f"this model reads the place in the {' and '.join(self.calendar)}; give time, that of the history's "
                f"last row"
            )
        return seconds_of(time)

    def content(self) -> dict[str, Any]:
        """For JSON."""
        return {
            **asdict(self.columns),
            "calendar": list(self.calendar),
            "step": self.step,
            "season": self.season,
            "fill": self.fill,
            "resample": self.resample,
            "beside": [asdict(scale) for scale in self.beside],
            "scales": [{"series": name, **asdict(scale)} for name, scale in self.scales.items()],
        }

    @classmethod
    def from_content(cls, content: dict[str, Any], read: Reader) -> Self:
        """From what :meth:`content` gave.

        Raises:
            ModelFolderError: an entry is missing, of the wrong type, or out of bounds.
        """
        columns = Columns(
            targets=tuple(read.words(content, "targets")),
            inputs=tuple(read.words(content, "inputs", WIDEST)),
            known=tuple(read.words(content, "known", WIDEST)),
            time=_text_or_none(read, content, "time"),
            group=_text_or_none(read, content, "group"),
        )
        calendar = tuple(read.words(content, "calendar"))
        if not columns.targets:
            raise ModelFolderError(f"{read.path}: targets must name a column")
        if not set(calendar) <= set(CYCLES) or len(set(calendar)) < len(calendar):
            raise ModelFolderError(f"{read.path}: calendar must be of {', '.join(CYCLES)}, got {str(calendar)[:80]!r}")
        beside = tuple(_scale(read, entry) for entry in read.tables(content, "beside", 2 * WIDEST))
        if len(beside) != len(columns.inputs) + len(columns.known):
            raise ModelFolderError(f"{read.path}: beside must hold a scale for each of inputs and known")
        return cls(
            columns,
            {read.text(entry, "series"): _scale(read, entry) for entry in read.tables(content, "scales")},
            beside,
            calendar,
            read.number(content, "step", 0),
            read.whole(content, "season", 1 << 30),
            _text_or_none(read, content, "fill"),
            _text_or_none(read, content, "resample"),
        )


def standardised(values: Tensor, scales: Sequence[Scale]) -> Tensor:
    """(T, I) each column by its scale."""
    columns = [(values[:, i] - scale.mean) / scale.deviation for i, scale in enumerate(scales)]
    return torch.stack(columns, dim=1) if columns else values


def are_several(history: Any) -> bool:
    """Whether these are several histories: a list of frames, tensors or arrays, or three axes."""
    if isinstance(history, Sequence) and not isinstance(history, str):
        return len(history) == 0 or hasattr(history[0], "columns") or getattr(history[0], "ndim", 0) > 0
    return getattr(history, "ndim", 0) == 3


def _each(given: Any, count: int) -> Sequence[Any]:
    if given is None or isinstance(given, str) or not hasattr(given, "__len__"):
        return [given] * count
    if len(given) != count:
        raise InvalidValue(f"what belongs to each of {count} histories must be as many, got {len(given)}")
    return list(given)


def _columns_of(frame: Any, names: Sequence[str]) -> Any:
    if missing := [name for name in names if name not in frame.columns]:
        there = ", ".join(map(str, frame.columns))
        raise InvalidValue(f"the data frame must have the column {missing[0]!r}, got {there}")
    return [list(row) for row in zip(*(frame[name].tolist() for name in names), strict=True)]


def _numbers(given: Any, what: str, width: int) -> Tensor:
    """(T, width) float64."""
    try:
        if type(given).__module__ == "numpy":
            # A copy: torch warns of arrays that cannot be written to, as pandas hands them out.
            given = given.astype("float64")
        values = torch.as_tensor(given, dtype=torch.float64).cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidType(f"{what} must be numbers in rows, got {type(given).__name__}: {error}") from error
    if values.ndim == 1 and width == 1:
        values = values.unsqueeze(1)
    if values.ndim != 2 or values.shape[1] != width:
        raise InvalidShape(f"{what} must be (T, {width}), got {tuple(values.shape)}")
    return values


def _text_or_none(read: Reader, content: dict[str, Any], name: str) -> str | None:
    return None if name in content and content[name] is None else read.text(content, name)


def _scale(read: Reader, entry: dict[str, Any]) -> Scale:
    scale = Scale(read.number(entry, "mean"), read.number(entry, "deviation", 0), read.number(entry, "naive", 0))
    if scale.deviation == 0:
        raise ModelFolderError(f"{read.path}: a deviation must be above 0")
    return scale
