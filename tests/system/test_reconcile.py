"""What others do to the tables of a real switch is put right; what is right, or theirs, stays untouched."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mininet_topos.private_ovs import PrivateOvs, add_bridges, connect, private_ovs
from tests.system.controller import RunningController, running_controller
from tests.system.waiting import wait_until

ONE = "0000000000000001"
_FLOW = re.compile(r"cookie=(\S+), duration=([\d.]+)s, (table=.*?), n_packets=\d+, n_bytes=\d+, (.*)")


@dataclass(frozen=True)
class Bridge:
    """The first bridge, under a controller."""

    ovs: PrivateOvs
    controller: RunningController

    def rules(self) -> dict[str, float]:
        """Every rule with how long it is there, unchanged, in seconds."""
        lines = self.ovs.ofctl("dump-flows", "br1").splitlines()
        found = [match for line in lines if (match := _FLOW.search(line))]
        return {f"{one[1]} {one[3]} {one[4]}": float(one[2]) for one in found}

    def reconcile(self, *, dry_run: bool = False) -> dict[str, Any]:
        answer = self.controller.api.post(f"/v1/switches/{ONE}/reconcile", params={"dry_run": dry_run})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def spoil(self) -> None:
        """Take rules of ours away, change one, and put others' entries beside them."""
        self.ovs.ofctl("del-flows", "br1", "table=3")
        self.ovs.ofctl("mod-flows", "br1", "--strict", "table=2,priority=0,actions=drop")
        self.ovs.ofctl("add-flow", "br1", "cookie=0x77,table=2,priority=9,in_port=1,actions=output:2")
        self.ovs.ofctl("add-group", "br1", "group_id=7,type=all,bucket=output:1")
        self.ovs.ofctl("add-meter", "br1", "meter=5,kbps,band=type=drop,rate=100")
        # Ours by its cookie, and nobody wants it.
        self.ovs.ofctl("add-flow", "br1", f"cookie={0x4C << 56:#x},table=2,priority=8,actions=drop")
        # The same with matches that no rule of ours has, the last of which looks like a nameplate.
        self.ovs.ofctl(
            "add-flow", "br1", f"cookie={0x4C << 56:#x},table=2,priority=7,tcp,tcp_flags=+syn,actions=drop"
        )
        self.ovs.ofctl("add-flow", "br1", f"cookie={0x4C0B << 48:#x},table=2,priority=6,metadata=1/3,actions=drop")


@pytest.fixture
def bridge(tmp_path: Path) -> Iterator[Bridge]:
    with running_controller(tmp_path / "state") as controller, private_ovs() as ovs:
        add_bridges(ovs, 1, [], host_ports=4)
        connect(ovs, 1, f"127.0.0.1:{controller.of_port}")
        wait_until(lambda: controller.get("/health")["installer"]["switches_ready"] == 1, 10.0, "it is ready")
        yield Bridge(ovs, controller)


def test_what_was_done_by_hand_is_put_right_and_nothing_else_is_touched(bridge: Bridge) -> None:
    before = bridge.rules()
    bridge.spoil()
    spoilt = bridge.rules()
    found = bridge.reconcile(dry_run=True)
    assert bridge.rules().keys() == spoilt.keys()
    assert any(
        f"{ONE} (3 missing, 1 wrong, 3 excess)" in reason for reason in bridge.controller.get("/health")["reasons"]
    )
    done = bridge.reconcile()
    counts = {how: found[how]["count"] for how in ("missing", "wrong", "excess")}
    assert counts == {how: done[how]["count"] for how in ("missing", "wrong", "excess")}
    assert counts == {"missing": 3, "wrong": 1, "excess": 3}
    assert any("tcp_flags" in one["match"] for one in found["excess"]["entries"])
    assert done["others"] == {"rules": 1, "groups": 1, "meters": 1}
    after = bridge.rules()
    foreign = [rule for rule in after if rule.startswith("0x77 ")]
    assert after.keys() == {*before, *foreign}
    assert len(foreign) == 1
    assert "group_id=7" in bridge.ovs.ofctl("dump-groups", "br1")
    assert "meter=5 " in bridge.ovs.ofctl("dump-meters", "br1")
    # Those that were right are as old as they were.
    rewritten = {rule for rule, age_s in after.items() if age_s < spoilt.get(rule, 0.0)}
    assert rewritten == set()
    assert {rule for rule in after if rule not in spoilt} == before.keys() - spoilt.keys()
    again = bridge.reconcile()
    assert [again[how]["count"] for how in ("missing", "wrong", "excess")] == [0, 0, 0]


def test_what_was_done_by_hand_is_put_right_without_asking(bridge: Bridge) -> None:
    before = bridge.rules()
    bridge.spoil()
    wait_until(lambda: before.keys() <= bridge.rules().keys(), 20.0, lambda: f"put right: {bridge.rules()}")
    assert "missing=3 wrong=1 excess=3" in bridge.controller.log()
