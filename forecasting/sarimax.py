"""The fit of one SARIMAX model: ARIMA(2,1,1) around harmonics of the season, by statsmodels."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from forecasting.harmonics import PAIRS, harmonic_pairs, harmonics
from forecasting.panel import FloatArray

ORDER = (2, 1, 1)

# Fewer points than this and the three ARMA coefficients are noise.
LEAST_POINTS = 32

# More points than this cost time and, traffic being what it is, tell of another week.
MOST_POINTS = 2016

_MOST_ITERATIONS = 50
_MOST_MISSING = 0.3

# A root this close to the unit circle is a second difference or a filter that never forgets its start.
_LARGEST_ROOT = 0.9995

# The harmonics are found by least squares that knows the errors are correlated; the first round, before the
# fit has said how, takes what traffic usually looks like.
_USUAL_AR, _USUAL_MA = np.array([0.5, 0.0]), -0.9


class FitStatus(StrEnum):
    """What became of the SARIMAX fit of one series."""

    FITTED = "fitted"
    TOO_SHORT = "too_short"
    CONSTANT = "constant"
    FAILED = "failed"
    NOT_ASKED = "not_asked"


@dataclass(frozen=True, eq=False)
class SarimaxFit:
    """The coefficients of one series; all zero is a random walk, that is, last value.

    `ar` (2,) and `ma` act on first differences; `harmonic` (2 * PAIRS,) is in the unit of the series; `points`
    is how many samples they come from and `coefficients` how many of them are not fixed.
    """

    status: FitStatus
    ar: FloatArray
    ma: float
    harmonic: FloatArray
    points: int
    coefficients: int


def fit_sarimax(times: FloatArray, values: FloatArray, step_s: float, season_s: float | None) -> SarimaxFit:
    """Fit one series of shape (T,), NaN where a sample is missing; never raises, the status says what happened.

    The model is regression on harmonics with ARIMA(2,1,1) errors (Hyndman and Athanasopoulos, Forecasting:
    Principles and Practice, ch. 10; Durbin and Koopman, Time Series Analysis by State Space Methods). Harmonics
    are found by generalised least squares before and after the ARMA coefficients: as exogenous columns in one
    likelihood they made the fit three to four times slower.
    """
    known = np.flatnonzero(np.isfinite(values))
    first = int(known[0]) if known.size else values.size
    first = max(first, values.size - MOST_POINTS)
    y, at = values[first:], times[first:]
    points = int(np.isfinite(y).sum())
    if points < LEAST_POINTS or points < (1.0 - _MOST_MISSING) * y.size:
        return no_fit(FitStatus.TOO_SHORT)
    filled = np.interp(at, at[np.isfinite(y)], y[np.isfinite(y)])
    unit = float(np.std(np.diff(filled)))
    # A series that only carries rounding errors is constant too.
    if unit <= 1e-9 * float(np.abs(filled).max()):
        return no_fit(FitStatus.CONSTANT)
    pairs = harmonic_pairs(float(at[-1] - at[0]) + step_s, step_s, season_s)
    waves = harmonics(at, season_s)[:, : 2 * pairs]
    wave = gls(filled / unit, waves, _USUAL_AR, _USUAL_MA)
    coefficients = _fit_arma(y / unit - waves @ wave)
    if coefficients is None:
        return no_fit(FitStatus.FAILED)
    ar, ma = coefficients
    harmonic = np.zeros(2 * PAIRS)
    harmonic[: 2 * pairs] = gls(filled / unit, waves, ar, ma) * unit
    return SarimaxFit(FitStatus.FITTED, ar, ma, harmonic, points, ORDER[0] + ORDER[2] + 2 * pairs)


def no_fit(status: FitStatus) -> SarimaxFit:
    """Give the coefficients of a random walk, which forecasts the last value."""
    return SarimaxFit(status, np.zeros(2), 0.0, np.zeros(2 * PAIRS), 0, 0)


def gls(values: FloatArray, regressors: FloatArray, ar: FloatArray, ma: float) -> FloatArray:
    """Regress `values` (T,) on `regressors` (T, k) with ARIMA(2,1,1) errors: difference, whiten, least squares."""
    if regressors.shape[1] == 0:
        return np.zeros(0)
    # Here and not at the top, like statsmodels below: only the worker that fits needs them, and they are large.
    from scipy.signal import lfilter

    numerator, denominator = np.array([1.0, -ar[0], -ar[1]]), np.array([1.0, ma])
    white = lfilter(numerator, denominator, np.diff(np.column_stack([values, regressors]), axis=0), axis=0)
    # The filter starts from nothing; its first outputs are no residuals.
    white = white[min(8, white.shape[0] // 4) :]
    answer: FloatArray = np.linalg.lstsq(white[:, 1:], white[:, 0], rcond=None)[0]
    return answer


def _fit_arma(values: FloatArray) -> tuple[FloatArray, float] | None:
    """Fit ARIMA(2,1,1) to values of about unit size; None when it does not converge or is not stationary."""
    from statsmodels.tsa.statespace.sarimax import SARIMAX

    try:
        with warnings.catch_warnings():
            # What statsmodels warns of (poor starting values, no convergence) is decided on below.
            warnings.simplefilter("ignore")
            # The exact start is a linear system at each of hundreds of likelihoods; for one of 2 x 2, LAPACK may
            # wake a thread on every core. A diffuse start differs by the two points that are not counted then.
            model = SARIMAX(
                values,
                order=ORDER,
                simple_differencing=True,
                concentrate_scale=True,
                initialization="approximate_diffuse",
                loglikelihood_burn=ORDER[0],
            )
            result = model.fit(disp=0, maxiter=_MOST_ITERATIONS, method="lbfgs", cov_type="none", low_memory=True)
    except (ValueError, FloatingPointError, np.linalg.LinAlgError):
        return None
    params = np.asarray(result.params, dtype=np.float64)
    if not result.mle_retvals["converged"] or not np.isfinite(params).all():
        return None
    ar, ma = params[:2], float(params[2])
    roots = np.abs(np.roots([1.0, -ar[0], -ar[1]]))
    if max(roots.max(), abs(ma)) > _LARGEST_ROOT:
        return None
    return ar, ma
