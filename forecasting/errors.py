"""The errors of this package: each names what is wrong and says what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class ForecastingError(Exception):
    """Base of every error this package raises on purpose."""


class PanelError(ForecastingError, ValueError):
    """Samples of the wrong shape, on an uneven clock, or infinite."""


class SettingError(ForecastingError, ValueError):
    """A horizon, level, member or season that no forecast can be made with."""


class StoredError(ForecastingError, ValueError):
    """Bytes that are no forecaster, are damaged, or were written by another release."""


class NoHistory(ForecastingError):
    """A forecaster was asked for something before it was given any series."""


class UnknownSeries(ForecastingError, LookupError):
    """No series of that name; `name` is the name asked for, `close` the names like it."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        self.name = name
        self.close = tuple(get_close_matches(str(name), [str(one) for one in known], n=3))
        hint = f" (did you mean {', '.join(repr(close) for close in self.close)}?)" if self.close else ""
        super().__init__(f"unknown series {name!r}{hint}; `names` lists those there are")

    def __reduce__(self) -> tuple[type[UnknownSeries], tuple[str, tuple[str, ...]]]:
        """From one process to another: as it was made."""
        return type(self), (self.name, self.close)
