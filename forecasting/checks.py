"""What counts as a number, as a time and as an array of numbers."""

from __future__ import annotations

import math
from typing import TypeGuard

import numpy as np
import numpy.typing as npt

from forecasting.errors import PanelError

LARGEST_TIME_S = 1e12
"""No time is further from 1970, in seconds: whoever gives milliseconds is told so."""

LARGEST_VALUE = 1e150
"""The square of a larger value is no number any more."""


def is_number(value: object) -> TypeGuard[float]:
    """Say whether `value` is one finite number, of Python or NumPy."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def is_whole(value: object) -> TypeGuard[int]:
    """Say whether `value` is a whole number by its type."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def is_time(value: object) -> TypeGuard[float]:
    """Say whether `value` is a time in seconds, not further from 1970 than LARGEST_TIME_S."""
    return is_number(value) and abs(value) <= LARGEST_TIME_S


def as_floats(values: npt.ArrayLike, what: str) -> npt.NDArray[np.float64]:
    """Give `values` as floats, copied only if they are of another type.

    Raises PanelError for text, dates, complex numbers, and rows of unequal length.
    """
    try:
        array = np.asarray(values)
        if array.dtype.kind in "biufO":
            with np.errstate(over="ignore"):
                return array.astype(np.float64, copy=False)
    except (TypeError, ValueError, OverflowError):
        pass
    raise PanelError(f"{what}: not all are real numbers, in rows of one length; give floats, NaN for missing ones")


def check_times(times: npt.NDArray[np.float64], what: str) -> None:
    """Raise PanelError when a time is NaN, infinite, or further from 1970 than LARGEST_TIME_S."""
    if not (np.abs(times) <= LARGEST_TIME_S).all():
        raise PanelError(f"{what} holds NaN or is beyond {LARGEST_TIME_S:g} s; give seconds since 1970")


def check_values(values: npt.NDArray[np.float64], what: str = "values") -> None:
    """Raise PanelError when a value is infinite or its size is above LARGEST_VALUE."""
    # NaN is neither.
    if (np.abs(values) > LARGEST_VALUE).any():
        raise PanelError(
            f"{what} holds infinities or numbers above {LARGEST_VALUE:g}; mark samples that are not known with "
            "NaN, or take a larger unit"
        )
