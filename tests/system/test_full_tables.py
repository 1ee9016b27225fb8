"""A real switch whose table is full: what does not fit fails by name, leaves nothing, and is tried again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mininet_topos.private_ovs import bridge_name
from stitching import cookie
from stitching.rules import Table
from tests.system.bridges import ENDS, HOSTS, Bridges, bridges_with_hosts
from tests.system.waiting import wait_until

STITCH = {**ENDS, "bandwidth_mbps": 1.0}


@pytest.fixture(scope="module")
def switches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridges]:
    with bridges_with_hosts(tmp_path_factory.mktemp("full") / "state") as running:
        yield running


def make(switches: Bridges, body: dict[str, Any]) -> dict[str, Any]:
    answer = switches.controller.api.post("/v1/stitches", params={"wait_s": 5}, json=body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def of_stitch(switches: Bridges, number: int) -> list[str]:
    only = f"{cookie.OURS | number:#x}/{cookie.STITCH_MASK:#x}"
    return [rule for dpid in HOSTS for rule in switches.rules(dpid, only)]


def comes_up(switches: Bridges, number: int) -> None:
    controller = switches.controller
    wait_until(lambda: controller.stitch(number)["state"] == "up", 15.0, lambda: controller.stitch(number))


def test_a_stitch_that_a_full_table_does_not_take_fails_by_name_and_comes_up_when_there_is_room(
    switches: Bridges,
) -> None:
    ovs, bridge = switches.ovs, bridge_name(2)
    there = len([rule for rule in switches.rules(2) if f"table={int(Table.STITCH)}," in rule])
    ovs.vsctl(
        *("--", "--id=@full", "create", "Flow_Table", f"flow_limit={there}", "overflow_policy=refuse"),
        *("--", "set", "Bridge", bridge, f"flow_tables:{int(Table.STITCH)}=@full"),
    )
    try:
        stitch = make(switches, STITCH)
        assert stitch["state"] == "failed" and stitch["path"] is None
        assert "switch 0000000000000002 refused a rule in table 3" in stitch["reason"]
        assert "TABLE_FULL" in stitch["reason"]
        assert of_stitch(switches, stitch["id"]) == []
    finally:
        ovs.vsctl("clear", "Bridge", bridge, "flow_tables")
    comes_up(switches, stitch["id"])
    switches.controller.delete_stitch(stitch["id"])
    assert of_stitch(switches, stitch["id"]) == []
