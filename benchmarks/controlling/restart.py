"""What a crash of the controller costs the stitches that are up."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from benchmarks.controlling.abilene_lab import Pair, abilene_lab, host_pairs, stitch_body
from benchmarks.controlling.lab_flows import FlowAges, flow_ages
from benchmarks.support.controller_process import RunningController, controller, wait_until
from benchmarks.support.figure import Better, Figure, MeasurementFailed, note
from mininet_topos.demand import Demand
from mininet_topos.lab import Lab
from mininet_topos.play_result import PlayResult
from mininet_topos.player import play

_STITCHES = 5
_MBPS = 1.0
_LOAD_MBPS = 0.8
_PLAY_S = 35
_KILL_AT_S = 5.0
_AWAY_S = 2.0
_READY_WITHIN_S = 30.0


def restart_keeps_rules() -> Iterator[Figure]:
    """A kill -9 with five stitches up and carrying packets, then a start with the same state."""
    with abilene_lab() as (first, lab, state), ExitStack() as stack:
        pairs = host_pairs(lab, _STITCHES)
        stitches = [_stitch(first, pair) for pair in pairs]
        restart = _Restart(first, state, lab, stack)
        played = play(lab, _demand(lab, pairs), 1.0, progress=restart.on_progress)
        second = restart.second
        _check_up(second, stitches)
        installer = second.get("/v1/health")["installer"]
        since_kill_s = time.monotonic() - restart.killed_s
        rewritten = _rewritten(restart.left_behind, flow_ages(lab), since_kill_s)
    _tell(played, installer, rewritten)
    written: int = installer["rules_added"] + installer["rules_removed"]
    yield _zero("restart_lost_packets", played.lost, "packets")
    yield _zero("restart_rules_rewritten", max(written, rewritten), "rules")


class _Restart:
    """Kills the controller in the middle of the play and starts it again; the player reports how far it is."""

    def __init__(self, first: RunningController, state: Path, lab: Lab, stack: ExitStack) -> None:
        self.killed_s = 0.0
        self.left_behind: FlowAges = {}
        self._first = first
        self._state = state
        self._lab = lab
        self._stack = stack
        self._second: RunningController | None = None

    @property
    def second(self) -> RunningController:
        """The controller that was started again; raises MeasurementFailed when it never was."""
        if self._second is None:
            raise MeasurementFailed("the traffic ended before the controller was started again")
        return self._second

    def on_progress(self, done_s: float, _total_s: float) -> None:
        """Do what is due. The traffic has its own processes and flows on while this takes its time."""
        if not self.killed_s and done_s >= _KILL_AT_S:
            self.killed_s = time.monotonic()
            self._first.kill()
            self.left_behind = flow_ages(self._lab)
        elif self.killed_s and self._second is None and done_s >= _KILL_AT_S + _AWAY_S:
            self._second = self._start()

    def _start(self) -> RunningController:
        start_s = time.monotonic()
        second = self._stack.enter_context(controller(self._state, of_port=self._first.of_port, trigger="off"))
        n_switches = len(self._lab.topology.nodes)
        wait_until(
            lambda: second.switches_ready() == n_switches, _READY_WITHIN_S, "switches were not all ready again"
        )
        note(f"restart ready_s={time.monotonic() - start_s:.1f} after {_AWAY_S:g} s without a controller")
        return second


def _stitch(running: RunningController, pair: Pair) -> int:
    stitch = running.post("/v1/stitches", stitch_body(pair, _MBPS), wait_s=10)
    if stitch["state"] != "up":
        raise MeasurementFailed(f"stitch {stitch['id']} is {stitch['state']}: {stitch['reason']}")
    number: int = stitch["id"]
    return number


def _demand(lab: Lab, pairs: Sequence[Pair]) -> Demand:
    """A steady flow each way over every stitch, and no other traffic."""
    nodes = lab.topology.node_names
    matrix = np.zeros((len(nodes), len(nodes)))
    for one, other in pairs:
        a, b = nodes.index(one.node), nodes.index(other.node)
        matrix[a, b] = matrix[b, a] = _LOAD_MBPS
    return Demand("restart", np.repeat(matrix[None], _PLAY_S, axis=0), nodes, step_s=1.0)


def _check_up(running: RunningController, stitches: Sequence[int]) -> None:
    """Wait for the stitches: a probe has to cross them first. Raises MeasurementFailed."""

    def up() -> bool:
        return all(running.get(f"/v1/stitches/{number}")["state"] == "up" for number in stitches)

    wait_until(up, _READY_WITHIN_S, "the stitches were not all up again")


def _rewritten(before: FlowAges, after: FlowAges, since_kill_s: float) -> int:
    """How many entries are gone or younger than the kill; one whose actions changed is both, and counts once."""
    gone = before.keys() - after.keys()
    young = [entry for entry, age_s in after.items() if age_s < since_kill_s]
    for bridge, entry in (*gone, *young):
        note(f"restart rewrote bridge={bridge} {entry}")
    return len({(bridge, entry.partition(" actions=")[0]) for bridge, entry in (*gone, *young)})


def _tell(played: PlayResult, installer: dict[str, int], rewritten: int) -> None:
    seconds = [second.second for second in played.seconds if second.lost]
    note(
        f"restart sent={played.sent} lost={played.lost} in_seconds={seconds} late_share={played.late_share:.4f} "
        f"kept={installer['rules_kept']} added={installer['rules_added']} removed={installer['rules_removed']} "
        f"rewritten_by_age={rewritten}"
    )


def _zero(name: str, value: float, unit: str) -> Figure:
    return Figure(name, "controller", value, unit, Better.LESS, 0.0)
