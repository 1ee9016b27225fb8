"""Whatever is asked of it, and whatever switch goes away meanwhile: a clear answer, and nothing half done."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from mininet_topos.ovs import vsctl
from mininet_topos.topology import line
from tests.system.controller import Fabric, running_fabric
from tests.system.flows import all_flows, bridges_of_stitch
from tests.system.stalling_proxy import StallingProxy
from tests.system.waiting import wait_until

STRANGER = "10.0.200.200"


@pytest.fixture(scope="module")
def fabric(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fabric]:
    """Three switches in a row: there is one way only, and s2 is on it."""
    with running_fabric(line(3, rate_mbps=10.0), tmp_path_factory.mktemp("bad-input") / "state") as fabric:
        yield fabric


@pytest.fixture
def proxy(fabric: Fabric) -> Iterator[StallingProxy]:
    """Between s2 and the controller."""
    with StallingProxy(fabric.controller.of_port) as proxy:
        try:
            connect_s2(fabric, proxy.address)
            yield proxy
        finally:
            connect_s2(fabric, f"127.0.0.1:{fabric.controller.of_port}")


@pytest.fixture(autouse=True)
def _no_stitches_stay(fabric: Fabric) -> Iterator[None]:
    yield
    for stitch in fabric.controller.get("/stitches"):
        if stitch["state"] != "terminated":
            fabric.controller.delete_stitch(stitch["id"])


def connect_s2(fabric: Fabric, address: str) -> None:
    before = fabric.controller.log().count("switch=0000000000000002 reconciled")
    bridge = fabric.lab.bridge("s2")
    vsctl(
        *("--", "set-controller", bridge, f"tcp:{address}"),
        *("--", "set", "Controller", bridge, "connection_mode=out-of-band", "max_backoff=1000"),
    )
    wait_until(
        lambda: fabric.controller.log().count("switch=0000000000000002 reconciled") > before,
        10.0,
        "s2 connected and its rules were read",
    )
    wait_until(lambda: ready(fabric) == 3, 5.0, "three switches ready")


def ready(fabric: Fabric) -> int:
    count: int = fabric.controller.get("/health")["installer"]["switches_ready"]
    return count


def body(fabric: Fabric, **changes: Any) -> dict[str, Any]:
    ends = {"source": fabric.lab.host("hs1").ip, "destination": fabric.lab.host("hs3").ip}
    return {**ends, "bandwidth_mbps": 2.0, **changes}


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The problem (RFC 9457) in an answer that has to be one."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert "Traceback" not in answer.text and ".py" not in answer.text
    said: dict[str, Any] = answer.json()
    assert said["status"] == status and said["detail"] and said["remedy"], said
    return said


# requests


@pytest.mark.parametrize("field", ["source", "destination"])
def test_an_unknown_host_is_named_with_its_field(fabric: Fabric, field: str) -> None:
    said = problem(fabric.controller.api.post("/v1/stitches", json=body(fabric, **{field: STRANGER})), 404)
    assert said["field"] == field and STRANGER in said["detail"]


def test_an_unknown_virtual_network_is_named(fabric: Fabric) -> None:
    for answer in (
        fabric.controller.api.get("/v1/vnets/purple"),
        fabric.controller.api.delete("/v1/vnets/purple"),
    ):
        assert "purple" in problem(answer, 404)["detail"]


def test_a_bandwidth_that_no_path_has_is_refused_with_the_most_that_works(fabric: Fabric) -> None:
    api = fabric.controller.api
    before = all_flows(fabric.bridges()).keys()
    said = problem(api.post("/v1/stitches", json=body(fabric, bandwidth_mbps=50.0)), 409)
    assert said["field"] == "bandwidth_mbps" and "50" in said["detail"] and "10 is the most" in said["detail"]
    assert all_flows(fabric.bridges()).keys() == before
    # The most that works does work.
    answer = api.post("/v1/stitches", params={"wait_s": 5}, json=body(fabric, bandwidth_mbps=10.0))
    assert (answer.status_code, answer.json()["state"]) == (201, "up")


def test_a_second_stitch_between_the_same_hosts_is_refused_whichever_way_round(fabric: Fabric) -> None:
    ends = body(fabric)
    first = fabric.controller.create_stitch(ends["source"], ends["destination"])
    turned = body(fabric, source=ends["destination"], destination=ends["source"])
    for again in (ends, turned):
        said = problem(fabric.controller.api.post("/v1/stitches", json=again), 409)
        assert said["field"] == "destination" and f"stitch {first['id']}" in said["detail"]
    assert [stitch["id"] for stitch in fabric.controller.get("/stitches?state=up")] == [first["id"]]


def test_two_requests_for_one_stitch_at_the_same_moment_make_one(fabric: Fabric) -> None:
    def post(_: int) -> int:
        return fabric.controller.api.post("/v1/stitches", params={"wait_s": 5}, json=body(fabric)).status_code

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(post, range(8))) == [201] + [409] * 7
    assert len(fabric.controller.get("/stitches?state=up")) == 1


@pytest.mark.parametrize("text", ["", "{", '{"source": }', "[1, 2", "\x00\xff", '"' * 9])
def test_json_that_is_none_is_refused(fabric: Fabric, text: str) -> None:
    headers = {"content-type": "application/json"}
    for method, path in (("POST", "/v1/stitches"), ("PUT", "/v1/vnets/red"), ("PUT", "/v1/links/capacities")):
        answer = fabric.controller.api.request(method, path, content=text.encode("latin-1"), headers=headers)
        problem(answer, 422 if not text else 400)


def test_without_the_right_token_nobody_learns_or_does_anything(fabric: Fabric) -> None:
    url = fabric.controller.api.base_url
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic d3Jvbmc6d3Jvbmc="}):
        with httpx.Client(base_url=url, headers=headers, trust_env=False) as nobody:
            problem(nobody.get("/v1/topology"), 401)
            problem(nobody.post("/v1/stitches", json=body(fabric)), 401)
    assert fabric.controller.get("/stitches?state=up") == []


# a switch that goes away half-way


@pytest.mark.parametrize("moment", ["before its rules arrive", "before it confirms them"])
def test_a_switch_that_vanishes_half_way_leaves_nothing_and_the_stitch_comes_up_when_it_is_back(
    fabric: Fabric, proxy: StallingProxy, moment: str
) -> None:
    bridges, controller = fabric.bridges(), fabric.controller
    before = all_flows(bridges).keys()
    if moment == "before its rules arrive":
        proxy.hold_to_switch = True
    else:
        proxy.hold_from_switch = True
    stitch = controller.api.post("/v1/stitches", json=body(fabric)).json()
    number = stitch["id"]
    assert fabric.path(stitch) == ["s1", "s2", "s3"]
    # Half-way: the ends have rules, and s2 has or has not, but has not said so.
    half_way = {"s1", "s3"} if proxy.hold_to_switch else {"s1", "s2", "s3"}
    wait_until(
        lambda: bridges_of_stitch(bridges, number) == half_way,
        2.0,
        lambda: f"{bridges_of_stitch(bridges, number)}, {controller.stitch(number)}",
    )
    assert controller.stitch(number)["state"] == "establishing"
    proxy.hang_up()

    failed = wait_until(
        lambda: next(iter(controller.get("/stitches?state=failed")), None), 2.0, lambda: controller.stitch(number)
    )
    assert failed["id"] == number and failed["path"] is None
    assert "0000000000000002" in failed["reason"], failed["reason"]
    wait_until(
        lambda: not bridges_of_stitch(bridges, number) & {"s1", "s3"},
        2.0,
        lambda: f"taken back: {bridges_of_stitch(bridges, number)}",
    )
    connected = {key for key in before if key[0] != bridges["s2"]}
    assert {key for key in all_flows(bridges) if key[0] != bridges["s2"]} == connected

    proxy.connect()
    wait_until(lambda: controller.stitch(number)["state"] == "up", 10.0, lambda: controller.stitch(number))
    assert bridges_of_stitch(bridges, number) == {"s1", "s2", "s3"}
    assert fabric.lab.ping("hs1", "hs3")
    controller.delete_stitch(number)
    wait_until(lambda: all_flows(bridges).keys() == before, 2.0, "as it was before")


def test_a_switch_that_is_away_is_named_and_its_stitch_comes_up_when_it_is_back(
    fabric: Fabric, proxy: StallingProxy
) -> None:
    proxy.hang_up()
    controller = fabric.controller
    wait_until(lambda: ready(fabric) == 2, 3.0, "s2 is away")
    answer = controller.api.post("/v1/stitches", params={"wait_s": 5}, json=body(fabric))
    assert answer.status_code == 201, answer.text
    stitch = answer.json()
    assert stitch["state"] == "failed" and "0000000000000002 is not connected" in stitch["reason"]
    assert bridges_of_stitch(fabric.bridges(), stitch["id"]) == set()
    proxy.connect()
    wait_until(
        lambda: controller.stitch(stitch["id"])["state"] == "up", 10.0, lambda: controller.stitch(stitch["id"])
    )
