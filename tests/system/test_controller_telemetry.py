"""What the counters of real switches say becomes load in Mbit/s and, in time, a forecast."""

from __future__ import annotations

import time
from collections.abc import Iterator
from statistics import fmean
from typing import Any

import pytest

from mininet_topos.topology import line
from tests.system.controller import Fabric, pause_until, running_fabric
from tests.system.streams import Stream
from tests.system.waiting import wait_until

PACKETS_PER_S = 400
FRAME_BYTES = 1250
"""4 Mbit/s."""


@pytest.fixture(scope="module")
def fabric(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fabric]:
    state = tmp_path_factory.mktemp("telemetry") / "state"
    with running_fabric(line(3, rate_mbps=10.0), state, "--period", "0.2") as fabric:
        yield fabric


def test_a_flow_shows_as_load_on_the_links_of_its_way_and_becomes_a_forecast(fabric: Fabric) -> None:
    assert fabric.lab.ping("hs1", "hs3")
    on_the_way = [fabric.ends("s1", "s2"), fabric.ends("s2", "s3")]
    way_back = [fabric.ends("s3", "s2"), fabric.ends("s2", "s1")]
    with Stream(fabric.lab.host("hs1"), fabric.lab.host("hs3"), PACKETS_PER_S, FRAME_BYTES) as stream:
        started_s = time.monotonic()

        def loads() -> tuple[list[float], list[float]]:
            """What the API says of the way there and of the way back."""
            links = fabric.controller.links()
            there, back = ([links[ends]["load_mbps"] or 0.0 for ends in way] for way in (on_the_way, way_back))
            return there, back

        def right() -> bool:
            sent_mbps = stream.sent_bytes * 8e-6 / (time.monotonic() - started_s)
            there, back = loads()
            return all(abs(mbps - sent_mbps) <= 0.2 * sent_mbps for mbps in there) and max(back) < 0.1

        # At first nothing is sent and nothing is said to be.
        wait_until(lambda: stream.sent > PACKETS_PER_S, 10.0, "a second's packets are sent")
        wait_until(right, 10.0, lambda: f"said there, said back: {loads()}")
        # It stays so. A busy machine sends by fits and starts, of which one look catches one or the other.
        said, now_s, sent_bytes = [], time.monotonic(), stream.sent_bytes
        for moment in range(20):
            pause_until(now_s + 0.1 * moment)
            said.append(loads())
        sent_mbps = (stream.sent_bytes - sent_bytes) * 8e-6 / (time.monotonic() - now_s)
        for link in range(len(on_the_way)):
            assert fmean(there[link] for there, _ in said) == pytest.approx(sent_mbps, rel=0.2), said
        assert max(mbps for _, back in said for mbps in back) < 0.1, said

        used = fabric.controller.links()[on_the_way[0]]
        assert used["utilisation"] == pytest.approx(used["load_mbps"] / 10.0)
        forecast = wait_until(lambda: expected(fabric), 20.0, lambda: fabric.controller.get("/forecasts"))
    assert forecast["mean_mbps"][0] == pytest.approx(4.0, rel=0.3)
    assert [quantile["level"] for quantile in forecast["quantiles"]] == sorted(
        quantile["level"] for quantile in forecast["quantiles"]
    )


def expected(fabric: Fabric) -> dict[str, Any] | None:
    """What the first link of the way is forecast to carry, once there is a forecast that has seen the flow."""
    forecasts = fabric.controller.get("/forecasts")
    for link in forecasts["links"]:
        if (link["src_dpid"], link["src_port"]) == fabric.ends("s1", "s2")[:2] and link["mean_mbps"][0] > 2.8:
            found: dict[str, Any] = link
            return found
    return None


def test_the_process_that_fits_does_not_outlive_a_killed_controller(fabric: Fabric) -> None:
    controller = fabric.controller
    assert fabric.lab.ping("hs1", "hs3")
    wait_until(lambda: "fit=done" in controller.log(), 40.0, "a process that fits")
    assert len(controller.session()) > 1
    controller.kill9()
    try:
        wait_until(lambda: not controller.session(), 5.0, lambda: f"still there: {controller.session()}")
    finally:
        controller.kill_session()
        controller.restart()


def test_after_a_restart_a_day_ahead_is_forecast_from_what_was_stored(fabric: Fabric) -> None:
    controller = fabric.controller
    assert fabric.lab.ping("hs1", "hs3")
    controller.stop()
    controller.restart()
    day = wait_until(lambda: ready_day(fabric), 180.0, lambda: controller.log_tail())
    assert (day["step_s"], day["steps"]) == (300.0, list(range(12, 289, 12)))
    assert {link["name"] for link in day["links"]} == {
        f"{ends[0]}:{ends[1]}" for ends in controller.links()
    } and day["demands"]
    assert "outlook=day step_s=300 horizon_s=86400" in controller.log()


def ready_day(fabric: Fabric) -> dict[str, Any] | None:
    """The outlook over a day, once there is one."""
    found: dict[str, Any] = fabric.controller.get("/forecasts?ahead=day")
    return found if found["ready"] and found["links"] else None
