"""Pages: whatever the limit, following the links gives every item once, in order."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stitching.network import Host
from stitching.stitch import State, Stitch, VmRequest
from stitching.vnet import VNet
from tests.unit.test_rest_fake import (
    MACS,
    NOW_S,
    Caller,
    FakeController,
    api_of,
    caller_as,
    fabric,
    outlook,
    problem,
)


def a_lot() -> FakeController:
    """25 hosts, two of one name, as many virtual networks and stitches."""
    macs = [f"02:00:00:00:01:{n:02x}" for n in range(25)]
    hosts = {mac: Host(mac, 1, n + 20, frozenset({f"10.1.0.{n // 2}"})) for n, mac in enumerate(macs)}
    controller = FakeController(network=replace(fabric(), hosts=hosts))
    controller.vnets = {f"n{n}": VNet(f"n{n}") for n in range(25)}
    for number in range(25):
        state = State.UP if number % 2 else State.FAILED
        controller.add(Stitch(number + 1, VmRequest(MACS[0], MACS[1], 1.0), state, NOW_S, NOW_S))
    return controller


CALL = Caller(api_of(a_lot()))
for _ in range(5):
    caller_as(CALL, "viewer")


def followed(path: str) -> list[list[Any]]:
    pages = []
    while path:
        answer = CALL("GET", path)
        assert answer.status_code == 200, answer.text
        pages.append(answer.json())
        path = answer.links.get("next", {}).get("url", "")
        assert len(pages) < 100
    return pages


@pytest.mark.parametrize("path", ["/v1/hosts", "/v1/vnets", "/v1/stitches", "/v1/tokens"])
@given(limit=st.integers(1, 30))
def test_following_the_links_gives_everything_once_in_order(path: str, limit: int) -> None:
    (everything,) = followed(path)
    pages = followed(f"{path}?limit={limit}")
    assert [item for page in pages for item in page] == everything
    assert all(len(page) == limit for page in pages[:-1]) and 0 < len(pages[-1]) <= limit


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_forecasts_come_in_pages_the_links_first(limit: int) -> None:
    call = Caller(api_of(FakeController(outlook=outlook())))
    whole = call("GET", "/v1/forecasts")
    assert "link" not in whole.headers
    links, demands = [], []
    path = f"/v1/forecasts?limit={limit}&threshold_share=0.8"
    while path:
        answer = call("GET", path)
        links += answer.json()["links"]
        demands += answer.json()["demands"]
        assert len(answer.json()["links"]) + len(answer.json()["demands"]) <= limit
        path = answer.links.get("next", {}).get("url", "")
    assert [one["name"] for one in links] == [one["name"] for one in whole.json()["links"]]
    assert all(one["prob_above"] or one["capacity_mbps"] is None for one in links)
    assert demands == whole.json()["demands"]
    assert len(links) == 2 and len(demands) == 1


def test_the_link_keeps_the_filter() -> None:
    pages = followed("/v1/stitches?state=up&limit=5")
    assert [stitch["id"] for page in pages for stitch in page] == list(range(2, 26, 2))


def test_what_comes_and_goes_meanwhile_neither_repeats_nor_hides_what_stays() -> None:
    controller = a_lot()
    call = Caller(api_of(controller))
    first = call("GET", "/v1/vnets?limit=3")
    assert [vnet["name"] for vnet in first.json()] == ["n0", "n1", "n10"]
    controller.vnets["m"] = VNet("m")
    del controller.vnets["n10"], controller.vnets["n11"]
    assert [vnet["name"] for vnet in call("GET", first.links["next"]["url"]).json()] == ["n12", "n13", "n14"]


def encoded(key: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode()


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "*", "\u00e9", encoded(1), encoded([1.5]), encoded([True]), encoded(["a"]), encoded([1, 2]),
     encoded([[1]]), encoded(None), "W" * 1000],
)  # fmt: skip
def test_a_cursor_that_is_none_of_this_collection_is_a_problem(cursor: str) -> None:
    assert problem(CALL("GET", "/v1/stitches", params={"cursor": cursor}), 422)["field"] == "cursor"


@pytest.mark.parametrize("path", ["/v1/stitches", "/v1/audit"])
def test_a_cursor_beyond_everything_is_no_fault(path: str) -> None:
    for number in (10**400, -(10**400), 1 << 63):
        answer = CALL("GET", path, params={"cursor": encoded([number])})
        assert answer.status_code == 200


@pytest.mark.parametrize("limit", ["0", "-1", "10001", "x", "1e3", "9" * 5000])
def test_a_limit_that_is_none_is_a_problem(limit: str) -> None:
    assert problem(CALL("GET", "/v1/hosts", params={"limit": limit}), 422)["field"] == "limit"


@given(cursor=st.text(max_size=50) | st.binary(max_size=50).map(lambda b: base64.urlsafe_b64encode(b).decode()))
def test_no_cursor_is_more_than_a_problem(cursor: str) -> None:
    for path in ("/v1/hosts", "/v1/vnets", "/v1/stitches", "/v1/tokens", "/v1/audit"):
        assert CALL("GET", path, params={"cursor": cursor}).status_code in (200, 422)


def test_hosts_are_filtered_by_virtual_network() -> None:
    assert len(CALL("GET", "/v1/hosts?vnet=default").json()) == 25
    assert CALL("GET", "/v1/hosts?vnet=n1&vnet=n2").json() == []
