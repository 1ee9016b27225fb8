"""Area `overlay`: how tunnels, agents and their control channel bear what befalls them."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any

from benchmarks.meshing.changes import CHANGES, lost, lost_while_mtu_changes
from benchmarks.meshing.changing import Crowd, Reached, crowd
from benchmarks.meshing.costs import BARE, throughputs_mbps
from benchmarks.meshing.filters import policy_changes
from benchmarks.meshing.fitting import TRANSPORTS, crossed
from benchmarks.meshing.full_mesh import full_mesh
from benchmarks.meshing.oscillating import moves
from benchmarks.meshing.revoking import last_packets_ms
from benchmarks.meshing.saturated import saturated
from benchmarks.meshing.silence import brownouts_s, silences_ms
from benchmarks.meshing.storm import storm
from benchmarks.support.areas import Measurement
from benchmarks.support.figure import Better, Figure, note

AGENTS = 1000
BUSY_S, OSCILLATES_S = 600.0, 150.0
RULES, POLICIES = 2000, 21
COST_RULES, COST_ROUNDS, COST_S = (100, 2000), 12, 3.0
SITES, MESHES = 12, 3
MOVED, PUT_OUT, CLASSES = 20, 5, 3
CUTS, BROWNOUTS, REPLACED, REVOKED = 20, 5, 6, 3
_WITHIN_S = 120.0


def reconnect_1000() -> Iterable[Figure]:
    """The gate is killed under 1,000 agents and started again."""
    with tempfile.TemporaryDirectory() as directory:
        seen = storm(Path(directory), AGENTS, _WITHIN_S)
    yield Figure("reconnect_1000", "overlay", seen.back_s, "s", Better.LESS, 20.0)
    yield Figure("reconnect_1000_memory", "overlay", seen.peak_mb, "MB", Better.LESS, 400.0)


def change_1000() -> Iterable[Figure]:
    """One change among 1,000 agents: until each that it concerns has it, at p99.

    A site's uplink gets another address, which is news to those that pass on for all; a site is put out, which all
    others hear; a class is another one, with which every site is told everything anew. Then the controller is
    killed and started again on what it has stored: until all are connected, told anew and up, from the kill. And
    the most memory that its process has had, before the restart or after it.
    """
    with tempfile.TemporaryDirectory() as directory, crowd(Path(directory), AGENTS) as agents:
        agents.wait_settled()
        note(f"change_1000: settled peak_mb={agents.peak_mb():.0f}")
        yield from _reached("change_1000", agents, [agents.moved] * MOVED)
        yield from _reached("change_1000_put_out", agents, [agents.put_out] * PUT_OUT)
        yield from _reached("change_1000_class", agents, [agents.defined] * CLASSES)
        before_mb = agents.peak_mb()
        yield Figure("change_1000_back", "overlay", agents.restart(), "s", Better.LESS, 20.0)
        agents.wait_calm()
        note(f"change_1000: peak_mb={before_mb:.0f} peak_mb_of_the_next={agents.peak_mb():.0f}")
        peak_mb = max(before_mb, agents.peak_mb())
        yield Figure("change_1000_memory", "overlay", peak_mb, "MB", Better.LESS, 400.0)


def _reached(name: str, agents: Crowd, changes: Sequence[Callable[[], Reached]]) -> Iterable[Figure]:
    came_s: list[float] = []
    done_s: list[float] = []
    for change in changes:
        reached = change()
        came_s += reached.came_s
        done_s += reached.done_s
        agents.wait_calm()
    for what, took_s in ((name, came_s), (f"{name}_done", done_s)):
        note(f"{what}: p50_s={statistics.median(took_s):.3f} worst_s={max(took_s):.3f} agents={len(took_s)}")
        p99 = sorted(took_s)[ceil(0.99 * len(took_s)) - 1]
        yield Figure(what, "overlay", p99, "s", Better.LESS, 1.0)


def mesh_12() -> Iterable[Figure]:
    """12 sites that have nothing are told of a tunnel between every two: until all 66 have had a handshake."""
    built = [full_mesh(SITES) for _ in range(MESHES)]
    note(f"mesh_12: tunnels={built[0].tunnels}")
    yield Figure.over("mesh_12", "overlay", [one.shaken_s for one in built], "s", Better.LESS, target=3.0)


def throughput_cost() -> Iterable[Figure]:
    """One TCP flow through a tunnel with agents and their filters at both ends, and a bare one, by turns."""
    found = throughputs_mbps(COST_RULES, COST_ROUNDS, COST_S)
    bare = found.pop(BARE)
    note(f"throughput_cost: bare_mbps={' '.join(f'{one:.0f}' for one in bare)}")
    for rules, runs in found.items():
        note(f"throughput_cost: rules={rules} mbps={' '.join(f'{one:.0f}' for one in runs)}")
        more: dict[str, Any] = {"peer": "bare tunnel", "peer_value": statistics.median(bare), "target_ratio": 0.95}
        yield Figure.over(f"throughput_{rules}_rules", "overlay", runs, "Mbit/s", Better.MORE, **more)


def false_failovers() -> Iterable[Figure]:
    """Two sites have two tunnels, probed at 50 ms x 3, for ten minutes, with all cores saturated."""
    seen = saturated(BUSY_S)
    note(f"false_failovers: worst_late_ms={seen.worst_late_ms:.1f} moves={list(seen.moves)}")
    yield Figure("false_failovers", "overlay", len(seen.moves), "moves", Better.LESS, 0.0)


def policy_change() -> Iterable[Figure]:
    """All of 2,000 rules of a site are replaced by others, in one step."""
    took_s = policy_changes(RULES, POLICIES)
    note(f"policy_change: rules={RULES} runs={POLICIES} worst_ms={max(took_s) * 1e3:.0f}")
    yield Figure("policy_change", "overlay", statistics.median(took_s), "s", Better.LESS, 0.3)


def silent_cut() -> Iterable[Figure]:
    """The uplink in use is cut silently, 50 ms x 3, without a controller; the worst of 20, for each transport."""
    for transport in TRANSPORTS:
        yield _silence(f"silent_cut_{transport}", silences_ms(transport, 50, CUTS), 200.0)


def silent_cut_20ms() -> Iterable[Figure]:
    """The same with probes every 20 ms."""
    for transport in TRANSPORTS:
        yield _silence(f"silent_cut_20ms_{transport}", silences_ms(transport, 20, CUTS), 90.0)


def _silence(name: str, took_ms: list[float], target_ms: float) -> Figure:
    note(f"{name} ms={' '.join(f'{one:.0f}' for one in sorted(took_ms))}")
    return Figure(name, "overlay", max(took_ms), "ms", Better.LESS, target_ms, runs=tuple(took_ms))


def brownout() -> Iterable[Figure]:
    """The tunnel in use begins to lose 5 %, or to take 50 ms more: the sender has left it after."""
    for name, took_s in (
        ("brownout_loss", brownouts_s("wireguard", loss=0.05, runs=BROWNOUTS)),
        ("brownout_delay", brownouts_s("wireguard", delay_ms=50, runs=BROWNOUTS)),
    ):
        yield Figure(name, "overlay", max(took_s), "s", Better.LESS, 3.0, runs=tuple(took_s))


def oscillating() -> Iterable[Figure]:
    """The tunnel in use gets bad and good again every 4 s: the most moves of a route in any minute."""
    seen = moves(OSCILLATES_S)
    note(f"oscillating: seconds={OSCILLATES_S:.0f} moves={list(seen.why)}")
    yield Figure("oscillating", "overlay", seen.in_a_minute, "moves/min", Better.LESS, 1.0)


def replaced() -> Iterable[Figure]:
    """Packets of a 5 ms flow lost while a tunnel follows another, whose ends are told a second apart."""
    for change in CHANGES:
        yield _lost(f"replaced_{change}", lost(change, REPLACED))


def mtu_change() -> Iterable[Figure]:
    """Packets of a 5 ms flow lost while the path begins to swallow long packets."""
    yield _lost("mtu_change", lost_while_mtu_changes())


def _lost(name: str, packets: list[float]) -> Figure:
    return Figure(name, "overlay", sum(packets), "packets", Better.LESS, 0.0, runs=tuple(packets))


def mtu_underlay() -> Iterable[Figure]:
    """Underlays of 1280, 1400, 1500 and 9000 bytes, both transports: how many let 1 MB cross a VXLAN."""
    seen = crossed()
    note(f"mtu_underlay: not={[name for name, came in seen.items() if not came]}")
    yield Figure("mtu_underlay", "overlay", sum(seen.values()), "of 8", Better.MORE, float(len(seen)))


def revocation() -> Iterable[Figure]:
    """From the order to the last packet of a site at any peer; three sites are put out one after the other."""
    took_ms = last_packets_ms(REVOKED + 2)
    yield Figure("revocation", "overlay", max(took_ms), "ms", Better.LESS, 2000.0, runs=tuple(took_ms))


MEASUREMENTS: Mapping[str, Measurement] = {
    "reconnect_1000": reconnect_1000,
    "change_1000": change_1000,
    "mesh_12": mesh_12,
    "throughput_cost": throughput_cost,
    "false_failovers": false_failovers,
    "policy_change": policy_change,
    "silent_cut": silent_cut,
    "silent_cut_20ms": silent_cut_20ms,
    "brownout": brownout,
    "oscillating": oscillating,
    "replaced": replaced,
    "mtu_change": mtu_change,
    "mtu_underlay": mtu_underlay,
    "revocation": revocation,
}
