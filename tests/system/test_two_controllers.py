"""Two controllers on the same switches by mistake: one keeps them, the other says so and touches nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mininet_topos.ovs import run
from mininet_topos.private_ovs import PrivateOvs, add_bridges, bridge_name, private_ovs
from ryu_apps.nameplate import CHECK_S
from tests.system.controller import RunningController, running_controller
from tests.system.waiting import wait_until

DPIDS = (1, 2)
_FLOW = re.compile(r"cookie=(\S+), duration=([\d.]+)s, (table=.*?), n_packets=\d+, n_bytes=\d+, (.*)")
BODY = {"source": "10.0.0.1", "destination": "10.0.0.2", "bandwidth_mbps": 1.0}
HOSTS = {1: ("02000000aa01", "0a000001"), 2: ("02000000aa02", "0a000002")}


@dataclass(frozen=True)
class Shared:
    """Two bridges with a link between them, and two controllers; the first one has the bridges and a stitch."""

    ovs: PrivateOvs
    first: RunningController
    second: RunningController
    stitch: int

    def rules(self) -> dict[str, float]:
        """Every rule of both bridges with how long it is there, unchanged, in seconds."""
        found = {}
        for dpid in DPIDS:
            for line in self.ovs.ofctl("dump-flows", bridge_name(dpid)).splitlines():
                if match := _FLOW.search(line):
                    found[f"{dpid} {match[1]} {match[3]} {match[4]}"] = float(match[2])
        return found

    def ours(self) -> set[str]:
        """The rules of the stitch."""
        return {rule for rule in self.rules() if re.search(rf" 0x4c06\w{{4}}{self.stitch:08x} ", rule)}


def point(ovs: PrivateOvs, *controllers: RunningController) -> None:
    for dpid in DPIDS:
        words = []
        for number, controller in enumerate(controllers):
            words += ["--", f"--id=@c{number}", "create", "Controller"]
            words += [f'target="tcp:127.0.0.1:{controller.of_port}"', "connection_mode=out-of-band"]
            words += ["max_backoff=1000"]
        names = ",".join(f"@c{number}" for number in range(len(controllers)))
        ovs.vsctl(*words, "--", "set", "Bridge", bridge_name(dpid), f"controller=[{names}]")


def ready(controller: RunningController) -> int:
    count: int = controller.get("/health")["installer"]["switches_ready"]
    return count


def reasons(controller: RunningController) -> str:
    return "\n".join(controller.get("/health")["reasons"])


def announce(ovs: PrivateOvs, dpid: int) -> None:
    """Have a host ask for an address, as it does when it comes up."""
    (target,) = ovs.directory.glob("*vswitchd*.ctl")
    mac, ip = HOSTS[dpid]
    frame = f"ffffffffffff{mac}08060001080006040001{mac}{ip}000000000000{ip}"
    run(["ovs-appctl", "-t", str(target), "netdev-dummy/receive", f"h{dpid}-1", frame], ovs.environment)


def hosts(ovs: PrivateOvs, controller: RunningController) -> None:
    def known() -> bool:
        for dpid in DPIDS:
            announce(ovs, dpid)
        if len(controller.links()) < 2:
            return False
        capacities = [{"dpid": end[0], "port": end[1], "capacity_mbps": 10.0} for end in controller.links()]
        controller.api.put("/v1/links/capacities", json=capacities)
        found = controller.api.post("/v1/stitches/check", json=BODY)
        return found.status_code == 200 and bool(found.json()["possible"])

    wait_until(known, 10.0, "both hosts and the link known", poll_s=0.2)


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Shared]:
    with ExitStack() as stack:
        first = stack.enter_context(running_controller(tmp_path / "first"))
        second = stack.enter_context(running_controller(tmp_path / "second"))
        ovs = stack.enter_context(private_ovs())
        add_bridges(ovs, 2, [(1, 2)], host_ports=1)
        point(ovs, first)
        wait_until(lambda: ready(first) == 2, 10.0, lambda: reasons(first))
        hosts(ovs, first)
        yield Shared(ovs, first, second, first.create_stitch("10.0.0.1", "10.0.0.2")["id"])


def stands_by(controller: RunningController) -> bool:
    said = reasons(controller)
    return ready(controller) == 0 and said.count("is kept by another controller") == len(DPIDS)


def test_the_second_stands_by_says_so_and_touches_nothing(shared: Shared) -> None:
    before = wait_until(lambda: settled_rules(shared), 10.0, "rules as old as a second")
    point(shared.ovs, shared.first, shared.second)
    wait_until(lambda: stands_by(shared.second), 10.0, lambda: reasons(shared.second))
    assert "ovs-vsctl set-controller" in reasons(shared.second)
    assert shared.second.log().count("standing_by") == len(DPIDS)
    # set-controller has closed the connection of the first one, too.
    wait_until(lambda: ready(shared.first) == 2, 10.0, lambda: reasons(shared.first))
    refused = shared.second.api.post("/v1/stitches", json=BODY)
    assert refused.status_code == 404, refused.text
    look_again(shared)
    after = shared.rules()
    assert after.keys() == before.keys()
    assert {rule for rule, age_s in after.items() if age_s < before[rule]} == set()
    assert shared.first.stitch(shared.stitch)["state"] == "up"
    assert "kept by another" not in reasons(shared.first)
    assert stands_by(shared.second)


def settled_rules(shared: Shared) -> dict[str, float]:
    rules = shared.rules()
    return rules if min(rules.values()) > 1.0 else {}


def look_again(shared: Shared) -> None:
    """Let both have looked again at whose the switches are; it fails where that makes them change hands."""
    until_s = max(age_of_names(shared).values()) + CHECK_S + 1.0
    wait_until(lambda: max(age_of_names(shared).values()) > until_s, CHECK_S + 5.0, lambda: age_of_names(shared))


def age_of_names(shared: Shared) -> dict[str, float]:
    return {rule: age_s for rule, age_s in shared.rules().items() if "table=5" in rule}


def test_who_is_told_to_take_over_does_once_and_the_other_says_what_became_of_its_stitches(
    shared: Shared, tmp_path: Path
) -> None:
    point(shared.ovs, shared.first, shared.second)
    wait_until(lambda: stands_by(shared.second), 10.0, lambda: reasons(shared.second))
    shared.second.stop()
    with running_controller(tmp_path / "second", "--take-over") as taker:
        point(shared.ovs, shared.first, taker)
        wait_until(lambda: ready(taker) == 2, 10.0, lambda: reasons(taker))
        wait_until(lambda: stands_by(shared.first), 15.0, lambda: reasons(shared.first))
        stitch = wait_until(lambda: failed(shared), 5.0, lambda: shared.first.stitch(shared.stitch))
        # Whichever it notices first: that the switch is another's, or that the other has taken the rules out.
        noticed = ("another controller", "not connected", "probes no longer come through")
        assert any(reason in stitch["reason"] for reason in noticed), stitch
        assert stitch["path"] is None
        wait_until(lambda: not shared.ours(), 5.0, lambda: shared.ours())
        # Nobody takes anything back.
        names = age_of_names(shared)
        look_again(shared)
        assert age_of_names(shared).keys() == names.keys()
        assert ready(taker) == 2 and stands_by(shared.first)
        assert taker.log().count("lost reason") == 0


def failed(shared: Shared) -> dict[str, Any] | None:
    stitch = shared.first.stitch(shared.stitch)
    return stitch if stitch["state"] == "failed" else None


def test_of_two_that_come_at_the_same_moment_each_switch_has_one(tmp_path: Path) -> None:
    with ExitStack() as stack:
        both = [stack.enter_context(running_controller(tmp_path / name)) for name in ("one", "two")]
        ovs = stack.enter_context(private_ovs())
        add_bridges(ovs, 2, [(1, 2)], host_ports=1)
        point(ovs, *both)

        def settled() -> bool:
            kept = sum(ready(controller) for controller in both)
            left = sum(reasons(controller).count("is kept by another controller") for controller in both)
            return (kept, left) == (2, 2)

        wait_until(settled, 20.0, lambda: [reasons(controller) for controller in both])
