"""The controller starts its apps with what its settings say."""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from forecasting import Calendar
from ryu_apps.day_predictor import DayPredictor
from ryu_apps.feed import Feed
from ryu_apps.guests.house import House
from ryu_apps.mode import Mode
from ryu_apps.ovsdb.app import Ovsdb
from ryu_apps.predicting.scope import Ahead
from ryu_apps.predictor import Predictor
from ryu_apps.starting import apps
from ryu_apps.starting.settings import Settings
from ryu_apps.store import HistoryStore, StateStore


def started(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> dict[type, dict[str, Any]]:
    """What each app was made with; none of them runs."""
    made: dict[type, dict[str, Any]] = {}

    def instantiate(app: type, **arguments: Any) -> SimpleNamespace:
        made[app] = arguments
        return SimpleNamespace(name=app.__name__, start=lambda: None)

    manager = SimpleNamespace(instantiate=instantiate, uninstantiate=lambda _: None)
    monkeypatch.setattr(apps, "AppManager", SimpleNamespace(get_instance=lambda: manager))
    with contextlib.ExitStack() as stack:
        state, history = StateStore(settings.store_url), HistoryStore(settings.store_url)
        stack.callback(state.close)
        stack.callback(history.close)
        apps.start_apps(settings, state, history, Feed(), stack, House([]))
    return made


def test_both_outlooks_have_the_members_and_the_calendar_of_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    members, calendar = ("last", "ewma"), Calendar(day_s=7200.0, utc_offset_s=3600.0)
    made = started(Settings(tmp_path, members=members, calendar=calendar, trigger=Mode.OFF), monkeypatch)
    for app, ahead in ((Predictor, Ahead.PERIODS), (DayPredictor, Ahead.DAY)):
        assert (made[app]["members"], made[app]["calendar"]) == (members, calendar)
        assert made[app]["scope"].ahead is ahead
    assert made[Predictor]["mode"] is Mode.OFF


def test_the_databases_of_switches_are_touched_only_where_they_are_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert started(Settings(tmp_path, trigger=Mode.OFF), monkeypatch)[Ovsdb]["remotes"] == ()
    given = Settings(tmp_path, trigger=Mode.OFF, ovsdb=("tcp:10.0.0.1:6640",), bfd_ms=50)
    made = started(given, monkeypatch)[Ovsdb]
    assert (made["remotes"], made["bfd_ms"], made["ssl"]) == (given.ovsdb, 50, None)


def test_the_reactive_trigger_has_no_outlook_over_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert DayPredictor not in started(Settings(tmp_path, trigger=Mode.REACTIVE), monkeypatch)
