"""What was stored before a restart is read back newest first, within bounds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ryu_apps.events import Rates
from ryu_apps.predicting import recall as module
from ryu_apps.predicting.recall import Past, recall
from ryu_apps.predicting.scope import Scope, day_ahead
from ryu_apps.store import HistoryStore

A, B = ("a", "b"), ("b", "a")
START_S = 1_700_000_100.0
"""On a whole minute."""

HOURS = 3


def scope() -> Scope:
    found = day_ahead(60.0, 86400.0)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A period a minute for three hours, but for ten minutes in the second; b>a sends in the last hour only."""
    url = f"sqlite:///{tmp_path_factory.mktemp('stored') / 'lockstitch.db'}"
    store = HistoryStore(url, waiting=1000)
    for minute in range(1, HOURS * 60 + 1):
        if not 80 < minute <= 90:
            demands = {A: float(minute)} | ({B: 7.0} if minute > 120 else {})
            store.record(Rates(START_S + 60.0 * minute, 60.0, demand_mbps=demands))
    assert store.flush()
    store.close()
    return url


def read(url: str, scope: Scope, now_s: float = START_S + HOURS * 3600.0 + 30.0) -> Past:
    past = recall(url, scope, now_s)
    assert past is not None
    return past


def test_steps_are_means_of_what_was_stored_and_unknown_where_nothing_was(url: str) -> None:
    past = read(url, scope())
    assert past.last_s == START_S + HOURS * 3600.0 and past.values.shape == (2, 36), (
        "nothing from before the first"
    )
    a, b = (past.values[past.pairs.index(pair)] for pair in (A, B))
    expected = np.arange(1.0, 181.0).reshape(36, 5).mean(axis=1)
    expected[16:18] = np.nan
    np.testing.assert_allclose(a, expected)
    np.testing.assert_array_equal(b, [np.nan] * 24 + [7.0] * 12)


def test_only_so_many_demands_are_read_those_that_send_most_now(url: str) -> None:
    past = read(url, replace(scope(), most_pairs=1))
    assert past.pairs == (A,) and past.values.shape == (1, 36)


def test_what_takes_too_long_is_done_without_the_oldest_first(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(np.arange(1000.0))
    monkeypatch.setattr(module, "BUDGET_S", 1.5)
    past = recall(url, scope(), START_S + HOURS * 3600.0, clock=lambda: float(next(ticks)))
    assert past is not None and past.values.shape == (2, 24)
    assert past.values[past.pairs.index(A), -1] == 178.0


def test_nothing_is_read_of_a_time_that_is_not_kept(url: str) -> None:
    assert recall(url, scope(), START_S + 20 * 86400.0) is None


def test_samples_from_the_future_are_not_read(url: str) -> None:
    past = read(url, scope(), START_S + 3600.0)
    assert past.last_s == START_S + 3600.0 and past.values[0, -1] == 58.0
