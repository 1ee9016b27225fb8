"""What is promised on each link is told: to whom, how much, and what is left."""

from __future__ import annotations

from typing import Any

import pytest

from stitching.network import node_name
from stitching.vnet import Member, VNet
from tests.unit.test_rest_fake import MACS, Caller, FakeController, api_of, caller_as, problem, red_and_blue


@pytest.fixture
def call() -> Caller:
    return Caller(api_of(FakeController(vnets={**red_and_blue(), "lab": VNet("lab", (Member(MACS[3], "h4"),))})))


def make(call: Caller, source: str, destination: str, mbps: float) -> int:
    body = {"source": source, "destination": destination, "bandwidth_mbps": mbps}
    answer = call("POST", "/v1/stitches", json=body)
    assert answer.status_code == 201, answer.text
    return int(answer.json()["id"])


def get(call: Caller, query: str = "") -> list[dict[str, Any]]:
    answer = call("GET", f"/v1/reservations{query}")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()
    return found


def test_every_link_is_told_with_who_holds_what_of_it(call: Caller) -> None:
    assert all((one["promised_mbps"], one["held"]) == (0.0, []) for one in get(call))
    number = make(call, "h1", "h2", 4.0)
    held = [one for one in get(call) if one["held"]]
    path = call("GET", f"/v1/stitches/{number}").json()["path"]
    assert len(held) == 2 * (len(path) - 1)
    for one in held:
        assert (one["capacity_mbps"], one["promised_mbps"], one["free_mbps"]) == (10.0, 4.0, 6.0)
        assert one["held"] == [{"stitch": number, "mbps": 4.0, "leaving": False}]
    assert len(get(call)) == len(call("GET", "/v1/topology").json()["links"])


def test_they_are_found_by_link_stitch_and_network(call: Caller) -> None:
    first, second = make(call, "h1", "h2", 4.0), make(call, "h2", "h3", 2.0)
    links = get(call, f"?stitch={first}")
    assert links and all({held["stitch"] for held in one["held"]} == {first} for one in links)
    assert all(one["promised_mbps"] >= 4.0 for one in links), "the sums are of all"
    link = links[0]["link"]
    (one,) = get(call, f"?link={link['src_dpid']}:{link['src_port']}")
    assert one["link"] == link
    assert {held["stitch"] for one in get(call, "?vnet=red") for held in one["held"]} == {first, second}
    assert get(call, "?vnet=blue") == []
    problem(call("GET", "/v1/reservations?link=1:2"), 422)


def test_they_come_in_pages(call: Caller) -> None:
    make(call, "h1", "h2", 4.0)
    answer, found = call("GET", "/v1/reservations?limit=3"), []
    found += answer.json()
    while "next" in answer.links:
        answer = call("GET", answer.links["next"]["url"])
        found += answer.json()
    assert found == get(call) and len(found) > 3


def test_a_scope_is_told_what_its_own_stitches_hold_and_nothing_of_the_fabric(call: Caller) -> None:
    number = make(call, "h1", "h2", 4.0)
    own = get(caller_as(call, "viewer", "red"))
    assert own and all({held["stitch"] for held in one["held"]} == {number} for one in own)
    assert {(one["capacity_mbps"], one["promised_mbps"], one["free_mbps"]) for one in own} == {(None, None, None)}
    assert get(caller_as(call, "viewer", "lab")) == []


def test_hosts_are_found_by_label() -> None:
    web = VNet("red", (Member(MACS[0], "h1", ("web", "dmz")), Member(MACS[1], "h2", ("web",))))
    call = Caller(api_of(FakeController(vnets={"red": web})))
    assert [host["name"] for host in call("GET", "/v1/hosts?label=web").json()] == ["h1", "h2"]
    (host,) = call("GET", "/v1/hosts?label=web&label=dmz").json()
    assert (host["name"], host["labels"], host["dpid"]) == ("h1", ["dmz", "web"], node_name(1))
