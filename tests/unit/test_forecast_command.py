"""`lockstitch forecast`: the fullest first, no more than fits a screen; a wrong option is told at once."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from ryu_apps import cli
from ryu_apps.forecasts import asking, outlook

STEPS = 8


def series(name: str, mbps: float | None, **fields: Any) -> dict[str, Any]:
    return {
        "name": name,
        "mean_mbps": [mbps] * STEPS,
        "quantiles": [{"level": level, "mbps": [mbps] * STEPS} for level in (0.05, 0.5, 0.95)],
        "dst_dpid": "2" * 16,
        "dst_port": 1,
        "recent_mbps": [float(at) for at in range(60)],
        "prob_above": [0.25] * STEPS,
        "cold": False,
        **fields,
    }


def answer(*links: dict[str, Any], demands: int = 0) -> dict[str, Any]:
    return {
        "ready": True,
        "made": "2026-09-21T14:13:20Z",
        "age_s": 3.2,
        "samples": 42,
        "step_s": 1.0,
        "steps": list(range(1, STEPS + 1)),
        "threshold_share": 0.9,
        "links": list(links),
        "demands": [series(f"d{at}", float(at)) for at in range(demands)],
        "alarms": [],
        "outcomes": 0,
    }


def lines(shown: dict[str, Any], *, every_step: bool = False) -> list[str]:
    console = Console(width=80, record=True)
    with console.capture() as caught:
        for table in outlook.tables(shown, every_step=every_step):
            console.print(table)
    return caught.get().splitlines()


def names(shown: list[str]) -> list[str]:
    return [found[1] for line in shown if (found := re.match(r"│ (\w+) +│", line))]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the controller was asked, which has one link."""
    queries: list[dict[str, Any]] = []

    def call(*_: object, query: dict[str, Any]) -> dict[str, Any]:
        queries.append(query)
        return answer(series("busy", 5.0, capacity_mbps=10.0))

    monkeypatch.setattr(asking, "call", call)
    return queries


Lockstitch = Callable[..., str]


@pytest.fixture
def lockstitch(tmp_path: Path, asked: list[dict[str, Any]]) -> Lockstitch:
    def run(*arguments: object, code: int = 0) -> str:
        given = ["forecast", "--state", str(tmp_path), *map(str, arguments)]
        result = CliRunner().invoke(cli.app, given, env={"COLUMNS": "80"})
        assert result.exit_code == code, result.output
        assert code == 0 or asked == []
        return " ".join(re.sub(r"[│\n]", " ", result.output).split()) if code else result.output

    return run


def test_the_fullest_links_come_first_and_those_of_unknown_capacity_last() -> None:
    shown = lines(
        answer(
            series("unknown", 90.0, capacity_mbps=None),
            series("large", 50.0, capacity_mbps=1000.0),
            series("small", 9.0, capacity_mbps=10.0),
            series("gone", None, capacity_mbps=10.0),
        )
    )
    assert names(shown) == ["small", "large", "unknown", "gone"]
    assert "Links at their fullest in the next 8 s" in shown[1] and "90%" in next(
        line for line in shown if "small" in line
    )


def test_it_is_said_when_it_was_made_and_what_of_it_is_a_guess() -> None:
    sure, guess = series("sure", 5.0), series("guess", 9.0, cold=True)
    shown = lines(answer(sure, guess))
    assert shown[0] == "made 3 s ago, at 2026-09-21T14:13:20Z, of 42 samples"
    assert any(line.startswith("│ guess ? ") for line in shown) and any(
        line.startswith("│ sure  ") for line in shown
    )
    assert "? a guess: there are too few samples" in "\n".join(shown)
    assert any(line.startswith("│ guess ? ") for line in lines(answer(guess), every_step=True))
    assert "guess" not in "\n".join(lines(answer(sure)))


def test_alarms_and_what_came_true_are_tables() -> None:
    shown = lines(
        answer(series("busy", 5.0))
        | {
            "alarms": [{"time": "2026-09-21T14:13:20Z", "series": "a>b", "surprise_bits": 33.4}],
            "outcomes": 9,
            "came_true": [{"interval": 0.8, "demands": 0.79, "links": 0.61}],
        }
    )
    rows = [re.findall(r"[^│ ]+", line) for line in shown]
    assert ["2026-09-21T14:13:20Z", "a>b", "33"] in rows and ["80%", "79%", "61%"] in rows


def test_a_table_fits_a_screen_and_says_how_many_more_there_are() -> None:
    shown = lines(answer(demands=28))
    assert names(shown)[:2] == ["d27", "d26"] and len(names(shown)) == outlook.MOST_ROWS and len(shown) < 31
    assert shown[-1] == "and 8 more that will be less full; --all shows every one at every step"
    assert not any("more" in line for line in lines(answer(demands=20)))


def test_all_are_shown_at_every_step_when_asked_for() -> None:
    shown = lines(answer(demands=28), every_step=True)
    assert len(names(shown)) == 28 and sum("+8" in line for line in shown) == 28


def test_a_link_has_its_short_name_and_a_chart_of_two_horizons_of_the_past(
    lockstitch: Lockstitch, asked: list[dict[str, Any]]
) -> None:
    shown = lockstitch("--link", "a:4", "--share", "80%")
    assert asked == [{"threshold_share": 0.8, "ahead": "periods", "link": "000000000000000a:4"}]
    assert shown.count("+8") >= 1 and "-15" in shown and "-20" not in shown and "+5" in shown.splitlines()[-2]


@pytest.mark.parametrize(("arguments", "said"), [
    (("--link", "1"), "16 hex digits and a number, like 0000000000000001:2"),
    (("--link", "x:1"), "--link"),
    (("--link", "12345678901234567:1"), "is no link"),
    (("--link", "1:-1"), "is no link"),
    (("--share", "90"), "90 is no share of a capacity; give a number above 0"),
    (("--share", "nan"), "--share"),
    (("--share", "0"), "--share"),
    (("--link", "1:1", "--plot", "x.gif"), "x.gif ends in none of .png, .svg, .pdf"),
    (("--plot", "x.png"), "name one link to draw"),
])  # fmt: skip
def test_what_is_wrong_with_an_option_is_said_before_anybody_is_asked(
    lockstitch: Lockstitch, arguments: tuple[str, ...], said: str
) -> None:
    assert said in lockstitch(*arguments, code=2)


def test_the_picture_of_a_link_is_drawn(lockstitch: Lockstitch, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    lockstitch("--link", "1:1", "--plot", tmp_path / "link.png")
    assert (tmp_path / "link.png").read_bytes().startswith(b"\x89PNG")
    lockstitch("--link", "1:1", "--plot", tmp_path / "link.svg")
    drawn = (tmp_path / "link.svg").read_text()
    assert "FillBetweenPolyCollection" in drawn and drawn.count('id="line2d_') > 10, "bands, lines and ticks"
