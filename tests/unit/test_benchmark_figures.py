"""A figure tells its median, its p95 and of how many runs; its target may be one for the ratio to a peer."""

from __future__ import annotations

import json

from benchmarks.controlling import rule_install
from benchmarks.support.baseline import alarm
from benchmarks.support.figure import Better, Figure


def test_several_runs_are_told_as_median_p95_and_number_and_the_value_stays_one_number() -> None:
    said = json.loads(Figure.over("f", "a", [3.0, 1.0, 2.0, 50.0, 4.0], "ms", Better.LESS, target=5.0).line())
    assert (said["value"], said["median"], said["p95"], said["n"], said["met"]) == (3.0, 3.0, 50.0, 5, True)
    more = Figure.over("f", "a", range(1, 41), "rules/s", Better.MORE)
    assert (more.value, more.p95, more.met) == (20.5, 3, None)
    worst = json.loads(Figure.worst("f", "a", range(1, 21), "ms", Better.LESS, target=18).line())
    assert (worst["value"], worst["median"], worst["met"]) == (19.0, 10.5, False)


def test_a_single_run_says_nothing_of_a_median() -> None:
    said = json.loads(Figure("f", "a", 1.0, "ms", Better.LESS).line())
    assert not {"median", "p95", "n", "target_ratio"} & said.keys()


def test_a_target_for_the_ratio_is_held_against_the_ratio() -> None:
    figure = Figure("f", "a", 100.0, "rules/s", Better.MORE, None, "peer", 110.0, target_ratio=0.9)
    said = json.loads(figure.line())
    assert (said["met"], said["target"], said["target_ratio"]) == (True, None, 0.9)
    assert Figure("f", "a", 80.0, "rules/s", Better.MORE, None, "peer", 110.0, target_ratio=0.9).met is False
    assert Figure("f", "a", 80.0, "rules/s", Better.MORE, target_ratio=0.9).met is None


def test_the_rate_against_bundles_has_its_target() -> None:
    made = vars(rule_install)["_figure"]("rule_install_bundle", [80.0, 90.0, 100.0], "peer", [101.0], 0.9)
    assert (made.target_ratio, made.met, made.runs) == (0.9, False, (80.0, 90.0, 100.0))


def test_a_baseline_of_single_values_still_holds() -> None:
    figure = Figure.over("f", "a", [10.0, 11.0, 12.0], "ms", Better.LESS)
    assert alarm(figure, {"f": {"value": 10.5}}) is None
    assert "ALARM" in (alarm(figure, {"f": {"value": 5.0}}) or "")
