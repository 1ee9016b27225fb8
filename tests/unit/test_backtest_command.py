"""`lockstitch backtest` and the fan charts: what they print, write and draw, and how they fail."""

from __future__ import annotations

import io
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from rich.progress import Progress
from typer.testing import CliRunner

import forecasting
from forecasting import MEMBERS, NEURAL, Forecaster
from ryu_apps import cli
from ryu_apps.forecasts import commands
from ryu_apps.forecasts.fan import fan_of, time_unit
from ryu_apps.forecasts.showing import Phases
from ryu_apps.forecasts.tables import duration
from ryu_apps.forecasts.terminal import fan_chart

PNG = b"\x89PNG\r\n"
LEVELS = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)
# Simple members: these tests are of the command, and take as long as the fits do.
QUICK = ("--members", "last,ewma", "--season", "none")


def lockstitch(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(cli.app, [str(argument) for argument in arguments], env={"COLUMNS": "120"})
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.output


def failed(*arguments: object) -> str:
    """The line that tells what is wrong."""
    shown = lockstitch("backtest", *arguments, code=1)
    assert shown.startswith("error: ") and shown.count("\n") == 1
    return shown


@pytest.fixture
def series(tmp_path: Path) -> Path:
    """Two noisy levels, one of them with a negative value, at five minutes."""
    rng = np.random.default_rng(4)
    rows = 100.0 + 5.0 * rng.normal(size=(400, 2))
    rows[7, 1] = -4.0
    file = tmp_path / "series.csv"
    lines = (f"{300 * at},{a:.3f},{b / 2:.3f}" for at, (a, b) in enumerate(rows))
    file.write_text("time,large,small\n" + "\n".join(lines) + "\n")
    return file


def written(file: Path, *arguments: object) -> Any:
    out = file.with_suffix(".json")
    lockstitch("backtest", file, *QUICK, *arguments, "--json", out)
    return json.loads(out.read_text())


# backtest ------------------------------------------------------------------------------------------------


def test_the_table_has_every_score_with_last_value_beside_it(series: Path) -> None:
    shown = lockstitch("backtest", series, *QUICK)
    for name in (
        "MASE",
        "NRMSE",
        "Winkler 95 %",
        "pinball",
        *(f"coverage {level} %" for level in (50, 80, 90, 95)),
    ):
        row = next(line for line in shown.splitlines() if name in line)
        assert len(re.findall(r"\d+\.\d{3}", row)) == 4, row
    assert "5 min ahead" in shown and "1 h ahead" in shown and shown.count("last value ") >= 2
    assert "2 series, trained on 16.7 h" in shown and "Fit " in shown and "update and predict" in shown
    assert "note: 1 negative values count as missing" in shown
    assert "the median of each series' own ratio" in shown
    assert "own ratio" not in lockstitch("backtest", series, *QUICK, "--column", "large")


def test_json_has_every_step_of_every_series(series: Path) -> None:
    answer = written(series, "--horizon", "6", "--every", "5", "--train", "16h")
    assert (answer["train_steps"], answer["horizon"], answer["origins"]) == (192, 6, 41)
    for who in ("forecast", "last_value"):
        assert all(len(scored) == 6 for scored in answer["medians"][who].values())
    assert [one["name"] for one in answer["by_series"]] == ["large", "small"]
    # Averages beat last value on noise around a level.
    assert answer["medians"]["ratio_to_last"][0] < 0.95
    assert abs(answer["medians"]["forecast"]["coverage_80"][0] - 0.8) < 0.15
    assert answer["seconds"]["cpu"]["fit"] > 0 and answer["settings"]["members"] == ["last", "ewma"]


def test_columns_and_the_largest_are_chosen(series: Path) -> None:
    assert [one["name"] for one in written(series, "--column", "small")["by_series"]] == ["small"]
    assert [one["name"] for one in written(series, "--top", "1")["by_series"]] == ["large"]


def test_workers_give_the_same_scores(series: Path) -> None:
    alone, together = written(series), written(series, "--workers", "2")
    assert alone["medians"] == together["medians"]


def test_the_picture_is_drawn(series: Path, tmp_path: Path) -> None:
    for horizon, columns in ((1, ("--column", "small")), (12, ())):
        out = tmp_path / f"{horizon}.png"
        lockstitch("backtest", series, *QUICK, *columns, "--horizon", horizon, "--plot", out)
        assert out.read_bytes().startswith(PNG)


def test_a_gap_at_the_end_a_constant_and_an_empty_series_are_scored_and_drawn(tmp_path: Path) -> None:
    file = tmp_path / "odd.csv"
    rows = (f"{60 * at},5,{'' if at > 60 else at % 7},{9 if at > 110 else ''}" for at in range(120))
    file.write_text("time,constant,gone,late\n" + "\n".join(rows))
    shown = lockstitch("backtest", file, *QUICK, "--plot", tmp_path / "odd.svg")
    assert "nan" not in shown and (tmp_path / "odd.svg").stat().st_size > 1000
    answer = written(file)
    assert answer["by_series"][0]["mase"] == [None] * 12


def test_each_phase_is_a_line_where_there_is_no_terminal(series: Path) -> None:
    result = CliRunner().invoke(cli.app, ["backtest", str(series), *QUICK])
    assert result.stderr == "fitting 2 series to 200 steps\nforecasting from 16 origins\n"
    assert "fitting" not in result.stdout


def test_bars_go_on_while_it_fits_and_while_it_forecasts() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with Progress(console=console, auto_refresh=False) as progress:
        phases = Phases(progress)
        phases.start(40, 200)
        phases.fitted(3, 6)
        assert [(task.description, task.completed, task.total) for task in progress.tasks] == [("fitting", 3, 6)]
        phases.fitted(6, 6)
        phases.forecast(0, 9)
        phases.forecast(4, 9)
        phases.fitted(1, 6)
        assert [(task.completed, task.total) for task in progress.tasks] == [(1, 6), (4, 9)]


def test_refits_are_as_often_as_asked_for(series: Path) -> None:
    assert written(series)["fits"] == 1
    answer = written(series, "--refit", "8h")
    assert answer["fits"] == 2 and answer["settings"]["refit"] == "8h"
    shown = lockstitch("backtest", series, *QUICK, "--refit", "8h")
    assert "refitted every 8 h" in shown and "2 fits" in shown


def test_a_share_may_be_a_percentage(series: Path) -> None:
    assert written(series, "--train", "60%")["train_steps"] == written(series, "--train", "0.6")["train_steps"]


def test_matrices_without_times_are_as_far_apart_as_said(tmp_path: Path) -> None:
    file = tmp_path / "tm.npz"
    np.savez(file, tm=np.random.default_rng(1).exponential(size=(60, 2, 2)))
    assert written(file, "--step", "1min", "--every", "3")["step_s"] == 60.0


def test_a_worst_day_takes_twenty_forecasts_a_day(series: Path) -> None:
    few, many = (written(series, "--season", "1d", "--every", str(every)) for every in (24, 6))
    medians = few["medians"]["forecast"]
    assert medians["worst_day"] == [None] * 12 and medians["coverage_95"][0] is not None
    assert any("20 forecasts a day" in note for note in few["notes"])
    assert many["medians"]["forecast"]["worst_day"][0] is not None
    assert not any("a day" in note for note in many["notes"])


def test_events_outside_the_file_are_told(series: Path, tmp_path: Path) -> None:
    events = tmp_path / "events.csv"
    events.write_text("start_utc,end_utc,kind\n36000,39600,match\n2020-01-01,2020-01-02,match\n")
    answer = written(series, "--events", events)
    assert (answer["settings"]["events"], answer["settings"]["events_within"]) == (2, 1)
    assert "1 of 2 events lie in the file's time" in answer["notes"]
    shown = lockstitch("backtest", series, *QUICK, "--events", events)
    assert ", 1 events" in shown and "note: 1 of 2 events lie" in shown


def test_help_names_the_models_there_are() -> None:
    shown = " ".join(re.sub(r"[│\n]", " ", lockstitch("backtest", "--help")).split())
    assert f"Default: {','.join(MEMBERS)}; also {','.join(NEURAL)} (extra neural)." in shown


def test_events_are_taken_from_their_file(series: Path, tmp_path: Path) -> None:
    events = tmp_path / "events.csv"
    events.write_text("start_utc,end_utc,kind\n1970-01-01 10:00,1970-01-01 11:00,match\n")
    assert written(series, "--events", events)["settings"]["events"] == 1
    events.write_text("start_utc,end_utc,kind\n1970-01-01 10:00,1970-01-01 09:00,match\n")
    assert "ends before it starts" in failed(series, "--events", events)


def test_seed_and_season_are_those_of_the_forecaster(series: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Forecaster] = []

    def forecaster(*arguments: Any, **options: Any) -> Forecaster:
        made.append(Forecaster(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(forecasting, "Forecaster", forecaster)
    lockstitch("backtest", series, "--members", "last,ewma", "--seed", "7", "--season", "2h")
    assert [(one.seed, one.calendar.day_s, one.members) for one in made] == [(7, 7200.0, ("last", "ewma"))]


@pytest.mark.parametrize(("arguments", "said"), [
    (("--members", "last,oracle"), "--members: members ('last', 'oracle'): choose from"),
    (("--members", ""), "--members: members ('',): choose from"),
    (("--members", ","), "--members: members ('',): choose from"),
    (("--horizon", "300"), "choose a shorter horizon"),
    (("--train", "60d"), "train on fewer"),
    (("--train", "0.001"), "train on more"),
    (("--column", "medium"), "it has large, small"),
    (("--json", "/nowhere/out.json"), "cannot be written"),
    (("--events", "nowhere.csv"), "nowhere.csv: cannot be read"),
])  # fmt: skip
def test_what_cannot_be_done_is_one_line(series: Path, arguments: tuple[str, ...], said: str) -> None:
    assert said in failed(series, *arguments)


@pytest.mark.parametrize(("arguments", "said"), [
    (("--train", "soon"), "write it like 7d"),
    (("--train", "1.5"), "no share between 0 and 1"),
    (("--train", "nan"), "no share between 0 and 1"),
    (("--train", "150%"), "no share between 0 and 1"),
    (("--season", "0d"), "write it like 7d"),
    (("--refit", "daily"), "write it like 7d"),
    (("--step", "0s"), "write it like 7d"),
    (("--plot", "out.txt"), "ends in none of"),
    (("--horizon", "0"), "--horizon"),
])  # fmt: skip
def test_what_is_wrong_with_an_option_is_said_at_once(arguments: tuple[str, ...], said: str) -> None:
    shown = lockstitch("backtest", "nosuch.csv", *arguments, code=2)
    assert said in " ".join(re.sub(r"[│\n]", " ", shown).split())


def test_a_file_that_is_not_there_is_named() -> None:
    assert "nosuch.csv: cannot be read" in failed("nosuch.csv")


def test_more_than_fits_in_memory_is_refused_before_it_starts(
    series: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "MOST_BYTES", 1000)
    assert "forecast less often" in failed(series)


def test_times_are_said_as_people_do() -> None:
    said = {
        300: "5 min",
        3600: "1 h",
        5400: "90 min",
        604800: "7 d",
        3695400: "42.8 d",
        0.5: "0.5 s",
        288: "288 s",
    }
    assert {seconds: duration(seconds) for seconds in said} == {**said, 288: "4.8 min"}
    assert [time_unit(span)[1] for span in (60, 600, 20_000, 400_000)] == ["seconds", "minutes", "hours", "days"]


# fan charts ----------------------------------------------------------------------------------------------


def quantiles(steps: int = 12, level: float = 100.0) -> Any:
    return level + np.outer(np.array([-2, -1.2, -0.7, 0, 0.7, 1.2, 2]), 5 * np.sqrt(np.arange(1, steps + 1)))


def test_the_terminal_chart_is_eighty_columns_of_plain_text() -> None:
    history = 100 + np.sin(np.arange(36))
    shown = fan_chart(fan_of("s1 to s2", 300.0, history, LEVELS, quantiles(), unit="Mbit/s"))
    lines = shown.split("\n")
    assert max(len(line) for line in lines) == 80 and len(lines) == 21
    assert "\x1b" not in shown and "s1 to s2" in lines[0] and "now" in shown
    assert all(mark in shown for mark in "·░▒━")
    assert lines[-1] == "Mbit/s by hours from now:  ▚ measured  ━ median  · 95%  ░ 80%  ▒ 50%"
    assert "\x1b[" in fan_chart(fan_of("", 300.0, history, LEVELS, quantiles()), colour=True)


@pytest.mark.parametrize(("past", "steps"), [(16, 8), (60, 8), (16, 1), (0, 3)])
def test_there_is_a_tick_after_now(past: int, steps: int) -> None:
    shown = fan_chart(fan_of("", 1.0, np.arange(past), LEVELS, quantiles(steps)))
    assert re.search(r"\+\d", shown.split("\n")[-2])


@pytest.mark.parametrize("history", [[], [math.nan], [3.0], [0.0] * 50, [1.0, math.nan, 3.0], [1e300, 2.0]])
def test_odd_series_are_drawn_too(history: list[float], tmp_path: Path) -> None:
    picture = pytest.importorskip("ryu_apps.forecasts.picture")
    for curves in (quantiles(), quantiles(1), 0 * quantiles(), quantiles(level=1e12)):
        fan = fan_of("$odd_{", 1.0, history, LEVELS, curves, actual=[5.0, math.nan][: curves.shape[1]])
        assert len(fan_chart(fan).split("\n")) == 21
    picture.fan_picture(tmp_path / "odd.png", fan)
    assert (tmp_path / "odd.png").read_bytes().startswith(PNG)


def test_only_bands_that_the_levels_reach_are_shown() -> None:
    fan = fan_of("", 1.0, [], (0.1, 0.5, 0.9), np.array([[1.0], [2.0], [4.0]]))
    assert list(fan.bands) == [0.8, 0.5] and fan.median.tolist() == [2.0]
    low, high = fan.bands[0.5]
    assert low[0] == pytest.approx(1.375) and high[0] == pytest.approx(3.25)


@pytest.mark.parametrize("option", ["--json", "--plot"])
def test_what_is_read_is_not_overwritten(tmp_path: Path, series: Path, option: str) -> None:
    file = tmp_path / "series.png"
    file.write_bytes(series.read_bytes())
    events = tmp_path / "events.png"
    events.write_text("start_utc,end_utc,kind\n")
    assert "would be overwritten" in lockstitch("backtest", file, *QUICK, option, file, code=2)
    assert "would be overwritten" in lockstitch("backtest", series, "--events", events, option, events, code=2)
    assert file.read_bytes() == series.read_bytes()
