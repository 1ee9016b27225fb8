"""The back-test: no look ahead, the right outcomes beside the right forecasts, and last value beside it all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from itertools import count

import numpy as np
import numpy.typing as npt
import pytest

from forecasting import Forecast, Panel, SettingError
from forecasting.backtest import SCORED_LEVELS, Progress, RollingOrigin, backtest, train_steps
from forecasting.panel import FloatArray

POINTS, HORIZON = 60, 4


class Repeats:
    """Forecasts the last value it was told of; remembers all it was told."""

    def __init__(self, horizon: int = HORIZON, spread: float = 0.0) -> None:
        self.horizon, self.spread = horizon, spread
        self.known: FloatArray = np.zeros((0, 0))
        self.names: tuple[str, ...] = ()
        self.fitted: list[int] = []
        self.executors: list[Executor | None] = []

    def fit(self, panel: Panel, executor: Executor | None = None, progress: Progress | None = None) -> None:
        if progress is not None:
            progress(1, 2)
        self.names, self.known = panel.names, panel.values.copy()
        self.fitted.append(panel.times.size)
        self.executors.append(executor)

    def update(
        self,
        times: npt.ArrayLike,
        values: npt.ArrayLike,
        columns: Mapping[str, npt.ArrayLike] | None = None,  # noqa: ARG002  # it has none
    ) -> None:
        new = np.asarray(values, dtype=np.float64)
        assert np.asarray(times).shape == new.shape[1:]
        self.known = np.concatenate([self.known, new], axis=1)

    def predict(self) -> Forecast:
        mean = np.repeat(np.nan_to_num(self.known[:, -1:]), self.horizon, axis=1)
        levels = np.asarray(SCORED_LEVELS)
        quantiles = mean[..., None] + self.spread * (levels - 0.5)
        return Forecast(
            self.names, 60.0, SCORED_LEVELS, mean, quantiles, np.zeros(len(self.names), dtype=np.bool_)
        )


def panel(*rows: FloatArray) -> Panel:
    values = np.array(rows if rows else [np.arange(POINTS), 10.0 * np.arange(POINTS)], dtype=np.float64)
    times = 60.0 * np.arange(values.shape[1], dtype=np.float64)
    return Panel(times, values, tuple(f"s{row}" for row in range(len(values))), 60.0)


def test_every_forecast_meets_what_came_true_after_it() -> None:
    result = backtest(panel(), Repeats(), RollingOrigin(20, HORIZON, every=3))
    assert result.origins.tolist() == list(range(19, POINTS - HORIZON, 3))
    for place, origin in enumerate(result.origins):
        assert result.actual[0, place].tolist() == [origin + ahead for ahead in range(1, HORIZON + 1)]
        assert result.issued.mean[0, place].tolist() == [origin] * HORIZON
    # A ramp is missed by as much as it rises, and the unit of MASE is what it rises in a step.
    np.testing.assert_allclose(result.scores.mase, np.tile([1.0, 2.0, 3.0, 4.0], (2, 1)))
    np.testing.assert_allclose(result.ratio_to_last(), 1.0)
    assert result.origin_times.tolist() == (60.0 * result.origins).tolist()


def test_nothing_is_known_ahead_and_nothing_is_left_out() -> None:
    forecaster = Repeats()
    seen: list[int] = []
    predict = forecaster.predict

    def spying() -> Forecast:
        seen.append(forecaster.known.shape[1])
        return predict()

    forecaster.predict = spying  # type: ignore[method-assign]
    result = backtest(panel(), forecaster, RollingOrigin(20, HORIZON, every=5))
    assert seen == [origin + 1 for origin in result.origins]
    np.testing.assert_array_equal(forecaster.known, panel().values[:, : seen[-1]])


def test_refits_are_to_all_that_is_known_by_then() -> None:
    forecaster = Repeats()
    result = backtest(panel(), forecaster, RollingOrigin(20, HORIZON, every=5, refit_every=12))
    assert forecaster.fitted == [20, 35, 50] and result.fits == 3


def test_a_day_has_as_many_origins_as_it_has_room_for() -> None:
    assert backtest(panel(), Repeats(), RollingOrigin(20, HORIZON, every=2), day_s=600.0).origins_a_day == 5


def test_last_value_has_its_plain_intervals() -> None:
    rng = np.random.default_rng(3)
    noise = 100.0 + rng.normal(size=4000)
    result = backtest(panel(noise), Repeats(spread=0.01), RollingOrigin(2000, HORIZON, every=2))
    for level, covered in result.last_scores.coverage.items():
        assert np.abs(covered - level).max() < 0.04
    assert (result.scores.coverage[0.95] < 0.1).all()
    assert (result.last_scores.winkler95 < result.scores.winkler95).all()
    assert (result.last_issued.quantiles >= 0).all()


def test_gaps_are_left_out_of_the_scores_and_last_value_looks_past_them() -> None:
    row = np.arange(POINTS, dtype=np.float64)
    row[[29, 33]] = np.nan
    empty = np.full(POINTS, np.nan)
    result = backtest(panel(row, empty), Repeats(), RollingOrigin(20, HORIZON, every=1))
    place = result.origins.tolist().index(29)
    assert result.last_issued.mean[0, place].tolist() == [28.0] * HORIZON
    assert np.isnan(result.actual[0, place]).tolist() == [False, False, False, True]
    assert np.isfinite(result.scores.mase[0]).all() and np.isnan(result.scores.mase[1]).all()
    assert np.isfinite(result.issued.quantiles).all() and np.isfinite(result.last_issued.quantiles).all()


def test_a_constant_series_has_coverage_and_no_mase() -> None:
    result = backtest(panel(np.full(POINTS, 7.0)), Repeats(), RollingOrigin(20, HORIZON))
    assert np.isnan(result.scores.mase).all()
    assert (result.scores.coverage[0.5] == 1.0).all() and (result.last_scores.winkler95 == 0.0).all()
    assert np.isnan(result.ratio_to_last()).all()


def test_medians_are_named_and_as_long_as_the_horizon() -> None:
    medians = backtest(panel(), Repeats(), RollingOrigin(20, HORIZON)).scores.medians()
    assert set(medians) == {
        *("mase", "nmae", "nrmse", "winkler95", "pinball", "worst_day", "worst_day_pooled"),
        *(f"coverage_{level}" for level in (50, 80, 90, 95)),
    }
    assert all(median.shape == (HORIZON,) for median in medians.values())


def test_time_is_told_for_each_kind_of_work() -> None:
    ticks = count()
    result = backtest(
        panel(), Repeats(), RollingOrigin(20, HORIZON, every=5), cpu_clock=lambda: float(next(ticks))
    )
    # Each measured piece of work takes one tick of this clock; an update is of five samples.
    assert (result.cpu.fit_s, result.cpu.update_s, result.cpu.predict_s) == (1.0, 0.2, 1.0)
    assert np.isnan(result.wall.fit_s)


def test_progress_and_executor_are_passed_on() -> None:
    told: list[tuple[int, int]] = []
    fits: list[tuple[int, int]] = []
    forecaster = Repeats()
    with ThreadPoolExecutor(1) as executor:
        backtest(
            panel(),
            forecaster,
            RollingOrigin(20, HORIZON, every=10),
            executor=executor,
            progress=lambda done, of: told.append((done, of)),
            fit_progress=lambda done, of: fits.append((done, of)),
        )
        assert forecaster.executors == [executor]
    assert told == [(done, 4) for done in range(5)] and fits == [(1, 2)]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: RollingOrigin(1, 4), "train_steps is 1"),
        (lambda: RollingOrigin(20, 0), "horizon is 0"),
        (lambda: RollingOrigin(20, 4, every=0), "every is 0"),
        (lambda: RollingOrigin(20, 4, refit_every=0), "refit_every is 0"),
        (lambda: backtest(panel(), Repeats(), RollingOrigin(60, 4)), "leaves none of 60"),
        (lambda: backtest(panel(), Repeats(), RollingOrigin(50, 11)), "choose a shorter horizon"),
        (lambda: backtest(panel(), Repeats(2), RollingOrigin(20, 4)), "looks 2 steps ahead and 4 are tested"),
        (lambda: backtest(panel(), Repeats(), RollingOrigin(20, 4), day_s=0.0), "day_s is 0"),
        (lambda: backtest(panel(np.full(60, np.nan)), Repeats(), RollingOrigin(20, 4)), "no series has a sample"),
        (lambda: train_steps(panel(), share=1.5), "share 1.5"),
        (lambda: train_steps(panel(), share=0.01), "train on more"),
        (lambda: train_steps(panel(), seconds=float("nan")), "training of nan s"),
        (lambda: train_steps(panel()), "one of them"),
    ],
)
def test_what_cannot_be_tested_is_said(make: Callable[[], object], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        make()


def test_training_is_a_share_or_a_time() -> None:
    assert train_steps(panel(), share=0.5) == 30
    assert train_steps(panel(), seconds=600.0) == 10
    assert RollingOrigin(20, 40).origins(60).tolist() == [19]
