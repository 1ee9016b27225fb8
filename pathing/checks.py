"""What counts as a number: the one way in which arguments of this package are looked at."""

from __future__ import annotations

import math
from numbers import Integral, Real

import numpy as np

from pathing.csr import FloatArray

# What numpy may turn into floats without losing or guessing anything; a list with a None in it has objects.
_REAL_KINDS = "biufO"


def number(value: object) -> float:
    """Give the value as a float, NaN for what is no number or too large for a float: every comparison fails then.

    True is an int, but where a number is asked for it is a mistake.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan


def whole_number(value: object) -> int | None:
    """Give the value as an int, None for what is no whole number; numpy's are, 2.0 and True are not."""
    return int(value) if isinstance(value, Integral) and not isinstance(value, bool) else None


def float_array(values: object) -> FloatArray | None:
    """Give the values as an array of floats, None where they are none: text, complex or ragged; None is NaN."""
    try:
        array = np.asarray(values)
        return np.asarray(array, dtype=np.float64) if array.dtype.kind in _REAL_KINDS else None
    except (TypeError, ValueError, OverflowError):
        return None
