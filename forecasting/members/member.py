"""What a member of the pool is: a model that is fitted once and then moved on with samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy.typing as npt

from forecasting.panel import BoolArray, FloatArray, Panel
from forecasting.settings import Settings

Arrays = Mapping[str, npt.NDArray[Any]]
"""What a fit finds: named arrays of plain numbers, small enough to send from a worker to the controller."""


@dataclass(frozen=True, eq=False)
class Sample:
    """All n series at one time.

    `values` (n,) and `columns` (n, c), the optional inputs beside the series in the order of the panel's names
    for them, are NaN where missing.
    """

    time_s: float
    values: FloatArray
    columns: FloatArray


class Member(Protocol):
    """A model in use. Its forecasts are NaN only before the first sample."""

    def step(self, sample: Sample) -> None:
        """Take the samples of the next tick."""

    def forecast(self, times: FloatArray) -> FloatArray:
        """Give the medians (n, H) at `times` (H,), the ticks that follow."""


@runtime_checkable
class Spreading(Protocol):
    """A member that knows how sure it is."""

    def spread(self, times: FloatArray) -> FloatArray:
        """Give half of what it expects between the quantiles 0.1 and 0.9, (n, H), above 0."""


@runtime_checkable
class Forgetting(Protocol):
    """A member that remembers a level, and can be told that a series has another one now."""

    def forget(self, series: BoolArray) -> None:
        """The next sample of `series` (n,) is their new level."""


class Kind(Protocol):
    """The module of a member."""

    SHARED: bool
    """One model for all series: fitted on all of them at once, and its arrays have no axis of series."""

    def fit(self, panel: Panel, settings: Settings) -> Arrays:
        """Fit the series of a panel; arrays have the series as their first axis. Odd series get last value."""

    def start(self, arrays: Arrays, settings: Settings) -> Member:
        """Make the member that these arrays are for."""
