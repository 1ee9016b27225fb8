"""SARIMAX: ARIMA(2,1,1) around harmonics of day and week and around events, fitted by statsmodels."""

from __future__ import annotations

import warnings

import numpy as np

from forecasting.members.calendar_columns import (
    FIRST_DAY,
    FIRST_EVENT,
    calendar_columns,
    usable_calendar_columns,
)
from forecasting.members.logs import Scale, find_scale
from forecasting.members.member import Member, Sample
from forecasting.panel import BoolArray, FloatArray, Panel
from forecasting.settings import Settings

SHARED = False
ORDER = (2, 1, 1)

# Fewer points than this and the three ARMA coefficients are noise.
LEAST_POINTS = 32
_MOST_MISSING = 0.3

# The likelihood is that of at most a week of five minutes; harmonics and events are looked for in all of this.
_MOST_LIKELIHOOD_POINTS, _MOST_POINTS = 2016, 4096

# What traffic usually looks like. The search for the coefficients starts here and is stopped early on purpose: the
# last steps towards the maximum fit the noise, and days that were not used for the fit are forecast worse by them.
USUAL_AR, USUAL_MA = np.array([0.4, 0.0]), -0.7
_MOST_ITERATIONS = 5

# A root this close to the unit circle is a second difference or a filter that never forgets its start.
_LARGEST_ROOT = 0.995

# Harmonics are thought to have these shares of the spread of the series, an event as much as the spread itself:
# the standard deviations of their priors. A few days hold many hours and tell little of the day.
_HOUR_SHARE, _SEASON_SHARE, _EVENT_SHARE = 0.5, 0.15, 1.0

# For the fit a sample is no further than this many deviations from the median of those around it.
_LARGEST_SPIKE, _SPIKE_WINDOW = 6.0, 13
_MEDIAN_TO_DEVIATION = 1.4826

Fit = tuple[FloatArray, float, FloatArray, float]


class Sarimax:
    """The model as a recursion over all series.

    With x the series on its scale without the calendar's part and d its first difference, the residual is
    e[t] = d[t] - ar1 d[t-1] - ar2 d[t-2] - ma e[t-1], and a forecast puts future residuals to zero (Box and
    Jenkins, Time Series Analysis, ch. 5). Once the first residuals are forgotten this is what the Kalman filter
    gives. A missing sample is filled with its own forecast.
    """

    def __init__(self, arrays: dict[str, np.ndarray], settings: Settings) -> None:
        self._settings = settings
        self._scale = Scale(arrays["unit"], arrays["offset"])
        self._ar1, self._ar2, self._ma = arrays["ar"][:, 0], arrays["ar"][:, 1], arrays["ma"]
        self._calendar, self._limit = arrays["calendar"], arrays["limit"]
        n = self._ma.size
        self._x, self._last = np.full(n, np.nan), np.full(n, np.nan)
        self._d1, self._d2, self._e = np.zeros(n), np.zeros(n), np.zeros(n)

    def step(self, sample: Sample) -> None:
        """Take the samples into the residual recursion."""
        z = self._scale.forward(sample.values)
        self._last = np.where(np.isnan(z), self._last, z)
        x = z - self._calendar @ calendar_columns(np.array([sample.time_s]), self._settings)[0]
        expected = self._x + self._ar1 * self._d1 + self._ar2 * self._d2 + self._ma * self._e
        missing, first = np.isnan(x), np.isnan(self._x)
        x = np.where(missing, expected, x)
        # Before the first sample `expected` is NaN, and there is neither a difference nor a residual.
        self._e = np.where(missing | first, 0.0, x - expected)
        difference = np.where(first, 0.0, x - self._x)
        self._d1, self._d2, self._x = difference, self._d1, x

    def forget(self, series: BoolArray) -> None:
        """Begin anew with the next sample of `series` (n,), without the differences that led there."""
        self._x[series] = np.nan
        self._d1[series] = self._d2[series] = self._e[series] = 0.0

    def forecast(self, times: FloatArray) -> FloatArray:
        """Run the recursion on without residuals; no series leaves its last value by more than it ever ranged."""
        ahead = np.empty((times.size, self._x.size))
        x, d1, d2, noise = self._x, self._d1, self._d2, self._ma * self._e
        for index in range(times.size):
            difference = self._ar1 * d1 + self._ar2 * d2 + noise
            noise = np.zeros_like(noise)
            x = x + difference
            ahead[index] = x
            d1, d2 = difference, d1
        z = ahead.T + self._calendar @ calendar_columns(times, self._settings).T
        last, limit = self._last[:, None], self._limit[:, None]
        return self._scale.backward(last + np.clip(z - last, -limit, limit))


def start(arrays: dict[str, np.ndarray], settings: Settings) -> Member:
    """Start from what `fit` found."""
    return Sarimax(arrays, settings)


def fit(panel: Panel, settings: Settings) -> dict[str, np.ndarray]:
    """Fit every series: `ar` (n, 2) and `ma` (n,) on first differences, `calendar` (n, columns) on the scale.

    Regression on calendar columns with ARIMA errors (Hyndman and Athanasopoulos, ch. 10; Durbin and Koopman, Time
    Series Analysis by State Space Methods). The columns are found by generalised least squares with a prior,
    before and after the ARMA coefficients: as exogenous columns in one likelihood they made the fit several times
    slower.
    Series that cannot be fitted get zeros, that is, last value.
    """
    times, values = panel.times[-_MOST_POINTS:], panel.values[:, -_MOST_POINTS:]
    calendar = calendar_columns(times, settings)
    scale = find_scale(values)
    z = scale.forward(values)
    n, columns = len(z), calendar.shape[1]
    unknown = (np.zeros(2), 0.0, np.zeros(columns), 0.0)
    done = [_fit_one(times, row, calendar, settings) or unknown for row in z]
    return {
        "ar": np.array([ar for ar, _, _, _ in done]).reshape(n, 2),
        "ma": np.array([ma for _, ma, _, _ in done]),
        "calendar": np.array([weights for _, _, weights, _ in done]).reshape(n, columns),
        "limit": np.array([limit for _, _, _, limit in done]),
        "unit": scale.unit,
        "offset": scale.offset,
    }


def _fit_one(times: FloatArray, z: FloatArray, calendar: FloatArray, settings: Settings) -> Fit | None:
    known = np.flatnonzero(np.isfinite(z))
    first = int(known[0]) if known.size else z.size
    if known.size < LEAST_POINTS or known.size < (1.0 - _MOST_MISSING) * (z.size - first):
        return None
    filled = np.interp(times[first:], times[known], z[known])
    spread = float(np.std(filled))
    # A series that only carries rounding errors is constant too.
    if spread <= 1e-9 * float(np.abs(filled).max()):
        return None
    x = _without_spikes(filled, spread)
    span_s = float(times[-1] - times[first]) + settings.step_s
    usable = usable_calendar_columns(span_s, settings, calendar.shape[1])
    shares = np.full(usable.size, _EVENT_SHARE)
    shares[:FIRST_EVENT], shares[:FIRST_DAY] = _SEASON_SHARE, _HOUR_SHARE
    prior = spread * shares * usable
    columns = calendar[first:]
    differences = np.diff(x - columns @ gls(x, columns, prior, USUAL_AR, USUAL_MA))
    arma = _fit_arma(np.where(np.isfinite(z[first + 1 :]), differences, np.nan)[-_MOST_LIKELIHOOD_POINTS:])
    if arma is None:
        return None
    return *arma, gls(x, columns, prior, *arma), float(np.ptp(filled))


def gls(values: FloatArray, columns: FloatArray, prior: FloatArray, ar: FloatArray, ma: float) -> FloatArray:
    """Regress `values` (T,) on `columns` (T, k) with ARIMA(2,1,1) errors: difference, whiten, penalised squares.

    `prior` (k,) is the standard deviation a coefficient is thought to have; it is 0 for columns to leave out.
    """
    answer = np.zeros(prior.size)
    used = np.flatnonzero(prior > 0)
    if used.size == 0:
        return answer
    # Here and not at the top, like statsmodels below: only the worker that fits needs them, and they are large.
    from scipy.signal import lfilter

    numerator, denominator = np.array([1.0, -ar[0], -ar[1]]), np.array([1.0, ma])
    white = lfilter(numerator, denominator, np.diff(np.column_stack([values, columns[:, used]]), axis=0), axis=0)
    # The filter starts from nothing; its first outputs are no residuals.
    white = white[min(8, white.shape[0] // 4) :]
    target, regressors = white[:, 0], white[:, 1:] * prior[used]
    noise = float(np.var(target))
    gram = regressors.T @ regressors + max(noise, 1e-12) * np.eye(used.size)
    answer[used] = np.linalg.solve(gram, regressors.T @ target) * prior[used]
    return answer


def _without_spikes(z: FloatArray, spread: float) -> FloatArray:
    from scipy.ndimage import median_filter

    middle = median_filter(z, _SPIKE_WINDOW, mode="nearest")
    off = z - middle
    deviation = max(_MEDIAN_TO_DEVIATION * float(np.median(np.abs(off))), 0.01 * spread)
    answer: FloatArray = middle + np.clip(off, -_LARGEST_SPIKE * deviation, _LARGEST_SPIKE * deviation)
    return answer


def _fit_arma(differences: FloatArray) -> tuple[FloatArray, float] | None:
    # ARMA(2,1) of first differences, NaN where missing; None when it is not stationary or forgets too slowly.
    from statsmodels.tsa.statespace.sarimax import SARIMAX

    unit = float(np.nanstd(differences))
    if not unit > 0:
        return None
    try:
        with warnings.catch_warnings():
            # What statsmodels warns of (no convergence, above all) is wanted here.
            warnings.simplefilter("ignore")
            # The exact start is a linear system at each of the likelihoods; for one of 2 x 2, LAPACK may wake a
            # thread on every core. A diffuse start differs by the two points that are not counted then.
            model = SARIMAX(
                differences / unit,
                order=(ORDER[0], 0, ORDER[2]),
                concentrate_scale=True,
                initialization="approximate_diffuse",
                loglikelihood_burn=ORDER[0],
            )
            result = model.fit(
                start_params=np.array([*USUAL_AR, USUAL_MA]),
                disp=0,
                maxiter=_MOST_ITERATIONS,
                method="lbfgs",
                cov_type="none",
                low_memory=True,
            )
    except (ValueError, FloatingPointError, np.linalg.LinAlgError):
        return None
    params = np.asarray(result.params, dtype=np.float64)
    if not np.isfinite(params).all():
        return None
    ar, ma = params[:2], float(params[2])
    roots = np.abs(np.roots([1.0, -ar[0], -ar[1]]))
    if max(roots.max(initial=0.0), abs(ma)) > _LARGEST_ROOT:
        return None
    return ar, ma
