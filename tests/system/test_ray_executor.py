"""The executor over Ray does what a process pool does, on a local cluster of two workers."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forecasting import Forecaster, ForecastingError, Panel
from forecasting.panel import FloatArray
from ryu_apps.forecasts.ray_executor import RayExecutor
from tests.system.waiting import wait_until

ray = pytest.importorskip("ray", reason="the extra 'ray' is not installed")

ROOT = Path(__file__).parents[2]
WITHIN_S = 30.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    # Short: the paths of its sockets may be no longer than 107 bytes.
    directory = tempfile.mkdtemp(prefix="ray", dir="/tmp")
    with pytest.MonkeyPatch.context() as patch:
        # It tells nobody that it runs, asks for a secret of its own and finds the project where we do.
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        patch.setenv("PYTHONPATH", str(ROOT))
        ray.init(
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            object_store_memory=128 * 2**20,
            _node_ip_address="127.0.0.1",
            _temp_dir=directory,
        )
        try:
            yield
        finally:
            ray.shutdown()
            shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def executor(cluster: None) -> Iterator[RayExecutor]:  # noqa: ARG001
    with RayExecutor(retries=1) as started:
        yield started


def power(base: int, exponent: int = 2) -> int:
    return int(base**exponent)


def doubled(values: Any) -> Any:
    values *= 2
    return values


def refuse() -> None:
    raise ForecastingError("not this one")


def die() -> None:
    os._exit(1)


def die_once(marker: str) -> str:
    if not Path(marker).exists():
        Path(marker).touch()
        os._exit(1)
    return "replaced"


def linger(marker: str) -> None:
    Path(marker).touch()
    # In C, as most of a fit is: no interrupt gets there.
    time.sleep(60)


def test_a_fit_on_two_workers_is_the_fit_without(executor: RayExecutor) -> None:
    rng = np.random.default_rng(1)
    values: FloatArray = np.asarray(rng.exponential(size=(40, 200)).cumsum(axis=1), dtype=np.float64)
    panel = Panel(np.arange(0, 12000, 60, dtype=np.float64), values, tuple(f"s{row}" for row in range(40)), 60.0)
    here, there = (Forecaster(6, members=("last", "ewma")) for _ in range(2))
    here.fit(panel)
    there.fit(panel, executor=executor)
    np.testing.assert_array_equal(here.predict().quantiles, there.predict().quantiles)
    there.update([60.0 * 200], values[:, :1])


def test_calls_arguments_results_and_errors_come_through(executor: RayExecutor) -> None:
    assert executor.submit(power, 3, exponent=4).result(WITHIN_S) == 81
    assert list(executor.map(power, range(10), timeout=WITHIN_S)) == [power(base) for base in range(10)]
    values = np.arange(200_000, dtype=np.float64)
    answer = executor.submit(doubled, values).result(WITHIN_S)
    np.testing.assert_array_equal(answer, 2 * np.arange(200_000))
    answer += 1
    with pytest.raises(ForecastingError, match="not this one") as caught:
        executor.submit(refuse).result(WITHIN_S)
    assert type(caught.value) is ForecastingError
    with pytest.raises((AttributeError, TypeError)):
        executor.submit(lambda: 1)


def test_a_worker_that_dies_is_replaced_and_one_that_always_dies_is_told(
    executor: RayExecutor, tmp_path: Path
) -> None:
    doomed = executor.submit(die)
    assert executor.submit(die_once, str(tmp_path / "died")).result(WITHIN_S) == "replaced"
    with pytest.raises(BrokenExecutor):
        doomed.result(WITHIN_S)
    assert executor.submit(power, 2).result(WITHIN_S) == 4


def test_what_has_ended_leaves_nothing_behind(executor: RayExecutor) -> None:
    wait([executor.submit(doubled, np.zeros(100_000)) for _ in range(8)], timeout=WITHIN_S)
    wait_until(lambda: not executor._pending, WITHIN_S, "Ray did not get there")
    free = ray.available_resources
    wait_until(lambda: free().get("CPU") == 2.0, WITHIN_S, "Ray did not get there")
    wait_until(
        lambda: free().get("object_store_memory") == ray.cluster_resources()["object_store_memory"],
        WITHIN_S,
        "Ray did not get there",
    )


def test_shutdown_waits_or_cancels_and_leaves_ray_alone(cluster: None, tmp_path: Path) -> None:  # noqa: ARG001
    waiting = RayExecutor()
    future = waiting.submit(power, 5)
    waiting.shutdown()
    assert future.done() and future.result() == 25
    with pytest.raises(RuntimeError, match="shutdown"):
        waiting.submit(power, 5)
    cancelling = RayExecutor()
    endless = cancelling.submit(linger, str(tmp_path / "runs"))
    wait_until((tmp_path / "runs").exists, WITHIN_S, "Ray did not get there")
    wait_until(lambda: ray.available_resources().get("CPU") == 1.0, WITHIN_S, "Ray does not say that it runs")
    cancelling.shutdown(cancel_futures=True)
    assert endless.cancelled()
    wait_until(lambda: ray.available_resources().get("CPU") == 2.0, WITHIN_S, "Ray did not get there")


def test_without_a_cluster_it_says_what_to_do() -> None:
    if ray.is_initialized():
        ray.shutdown()
    with pytest.raises(ForecastingError, match=r"ray\.init\(\)"):
        RayExecutor()
