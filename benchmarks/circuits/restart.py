"""What a crash of the controller costs thousands of stitch rules that carry traffic."""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack

from benchmarks.circuits.ladder import OPTIONS, Ladder, ladder
from benchmarks.circuits.many_flows import ManyFlows
from benchmarks.controlling.lab_flows import FlowAges, flow_ages
from benchmarks.support import proc
from benchmarks.support.controller_process import RunningController, controller, wait_until
from benchmarks.support.figure import Better, Figure, note
from mininet_topos.ovs import run

RULES = 10_000
"""Of stitches, on all switches together; those of default forwarding come on top."""

_AT_ONCE = 100
_FLOWS = 16
_BEFORE_S = 2.0
_AWAY_S = 1.0
_AFTER_S = 3.0
_ARRIVES_S = 1.0
_WITHIN_S = 60.0
_TARGET_S = 5.0
NAME = "restart_10000_rules"
_COOKIE = re.compile(r"cookie=(0x[0-9a-f]+)")
_STITCH_ID = 0xFFFFFFFF
_GROUP = re.compile(r"group_id=(\d+),duration=([\d.]+)s")
_SHOWN = 5
_LOOK_EVERY_S = 0.2
"""Whoever looks all the time does nothing but make the controller answer."""

_SELDOM_S = 0.5


def restart() -> Iterator[Figure]:
    """A kill -9 with 10,000 stitch rules on the switches and traffic on some, and a start with the same state."""
    with ladder() as made, ExitStack() as stack:
        stitches = _make(made)
        before = _ages(made)
        made_flows = [made.ends(number) for number in range(_FLOWS)]
        flows = stack.enter_context(ManyFlows(made.lab.host("he1"), made.lab.host("he2"), made_flows))
        time.sleep(_BEFORE_S)
        killed_s = time.monotonic()
        made.running.kill()
        time.sleep(_AWAY_S)
        second, took_s = _start_again(made, len(stitches), stack)
        time.sleep(_AFTER_S)
        flows.rest()
        time.sleep(_ARRIVES_S)
        since_kill_s = time.monotonic() - killed_s
        rewritten = _rewritten(before, _ages(made), since_kill_s)
        _tell(second, flows, before, killed_s)
        yield Figure(f"{NAME}_lost", "stitches", len(flows.lost_s), "packets", Better.LESS, 0)
        yield Figure(f"{NAME}_rewritten", "stitches", rewritten, "rules", Better.LESS, 0)
        yield Figure(f"{NAME}_reconciled_s", "stitches", took_s, "s", Better.LESS, _TARGET_S)


def _make(made: Ladder) -> list[int]:
    """As many stitches as it takes, a part at a time: how soon they come up is measured elsewhere."""
    stitches: list[int] = []
    while _stitch_rules(flow_ages(made.lab)) < RULES:
        first = len(stitches)
        bodies = [made.body(number, protection="link") for number in range(first, first + _AT_ONCE)]
        answer = made.running.post("/v1/stitches/batch", {"stitches": bodies}, wait="up", wait_s=30)
        stitches += [item["stitch"]["id"] for item in answer["items"]]
    wait_until(lambda: made.states() == {"up"}, _WITHIN_S, "stitches were not all up", _SELDOM_S)
    return stitches


def _stitch_rules(ages: FlowAges) -> int:
    return sum(bool(int(cookie[1], 16) & _STITCH_ID) for _, entry in ages if (cookie := _COOKIE.search(entry)))


def _ages(made: Ladder) -> FlowAges:
    """The ages of all rules of ours and of all groups."""
    ages = flow_ages(made.lab)
    for node in made.lab.topology.nodes:
        bridge = made.lab.bridge(node.name)
        for line in run(["ovs-ofctl", "-O", "OpenFlow13", "dump-group-stats", bridge]).splitlines():
            if (found := _GROUP.search(line)) is not None:
                ages[bridge, f"group {found[1]}"] = float(found[2])
    return ages


def _start_again(made: Ladder, stitches: int, stack: ExitStack) -> tuple[RunningController, float]:
    """The second controller, and the seconds from its start until switches and stitches are as before."""
    start_s = time.monotonic()
    second = stack.enter_context(
        controller(made.state, of_port=made.running.of_port, trigger="off", options=OPTIONS)
    )
    listens_s, cpu_s = time.monotonic() - start_s, [proc.cpu_s(second.pid)]
    switches = len(made.lab.topology.nodes)
    wait_until(
        lambda: second.switches_ready() == switches, _WITHIN_S, "switches were not all ready", _LOOK_EVERY_S
    )
    ready_s = time.monotonic() - start_s
    cpu_s.append(proc.cpu_s(second.pid))
    wait_until(lambda: _proven(second) == stitches, _WITHIN_S, "stitches were not all up again", _LOOK_EVERY_S)
    took_s = time.monotonic() - start_s
    note(
        f"restart listens_s={listens_s:.2f} reconciled_s={ready_s:.2f} proven_s={took_s:.2f} "
        f"cpu_s={cpu_s[0]:.2f},{cpu_s[1]:.2f},{proc.cpu_s(second.pid):.2f} load={os.getloadavg()[0]:.2f}"
    )
    return second, took_s


def _proven(running: RunningController) -> int:
    """How many stitches are up, by a probe that has crossed them since the start."""
    return sum(s["state"] == "up" and s["probe_ms"] is not None for s in running.get("/v1/stitches"))


def _rewritten(before: FlowAges, after: FlowAges, since_kill_s: float) -> int:
    """How many entries are gone, or younger than the kill."""
    gone = before.keys() - after.keys()
    young = {entry for entry, age_s in after.items() if age_s < since_kill_s}
    for bridge, entry in itertools.islice(gone | young, _SHOWN):
        note(f"restart rewrote bridge={bridge} {entry}")
    return len(gone | young)


def _tell(second: RunningController, flows: ManyFlows, before: FlowAges, killed_s: float) -> None:
    installer = second.get("/v1/health")["installer"]
    note(
        f"restart stitch_rules={_stitch_rules(before)} entries={len(before)} "
        f"sent={flows.sent} lost={len(flows.lost_s)} "
        f"in_seconds_after_the_kill={sorted({int(at - killed_s) for at in flows.lost_s})} "
        f"sender_gap_ms={flows.largest_gap_ms:.1f} kept={installer['rules_kept']} "
        f"added={installer['rules_added']} removed={installer['rules_removed']}"
    )
