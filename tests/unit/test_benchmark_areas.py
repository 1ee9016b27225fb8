"""Measurements are chosen by their name, or a part of it; what is not there is an error that says what is."""

from __future__ import annotations

import pytest

from benchmarks import __main__ as command
from benchmarks.support import areas
from benchmarks.support.areas import NoMeasurement, chosen


@pytest.fixture(autouse=True)
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"paths": ("shortest", "pool"), "forecasts": ("period", "period_neural", "refit")}
    monkeypatch.setattr(areas, "measurements", lambda area: dict.fromkeys(names[area], tuple))
    monkeypatch.setattr(command, "area_names", lambda: tuple(names))


def names(only: str | None) -> list[str]:
    return [one.name for one in chosen(("paths", "forecasts"), only)]


def test_all_the_one_or_those_like_it() -> None:
    assert names(None) == ["shortest", "pool", "period", "period_neural", "refit"]
    assert names("period") == ["period"]
    assert names("neural") == ["period_neural"]
    assert names("p") == ["pool", "period", "period_neural"]


def test_what_is_not_measured_is_refused_with_what_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(NoMeasurement, match="nothing is called 'foo'; there is period, period_neural, refit"):
        chosen(("forecasts",), "foo")
    monkeypatch.setattr("sys.argv", ["benchmarks", "forecasts", "--only", "foo"])
    assert command.main() == 1
    assert "there is period, period_neural, refit" in capsys.readouterr().err
