"""Area `overlay`: the control channel of the agents, and what their probes make of a busy machine."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from benchmarks.meshing.filters import policy_changes
from benchmarks.meshing.saturated import saturated
from benchmarks.meshing.storm import storm
from benchmarks.support.areas import Measurement
from benchmarks.support.figure import Better, Figure, note

AGENTS = 1000
BUSY_S = 600.0
RULES, CHANGES = 2000, 21
_WITHIN_S = 120.0


def reconnect_1000() -> Iterable[Figure]:
    """The gate is killed under 1,000 agents and started again."""
    with tempfile.TemporaryDirectory() as directory:
        seen = storm(Path(directory), AGENTS, _WITHIN_S)
    yield Figure("reconnect_1000", "overlay", seen.back_s, "s", Better.LESS, 20.0)
    yield Figure("reconnect_1000_memory", "overlay", seen.peak_mb, "MB", Better.LESS, 400.0)


def false_failovers() -> Iterable[Figure]:
    """Two sites probe each other at 50 ms x 3 for ten minutes, with all cores saturated."""
    seen = saturated(BUSY_S)
    note(f"false_failovers: deaths={seen.deaths} worst_late_ms={seen.worst_late_ms:.1f} moves={list(seen.moves)}")
    yield Figure("false_failovers", "overlay", len(seen.moves), "moves", Better.LESS, 0.0)


def policy_change() -> Iterable[Figure]:
    """All of 2,000 rules of a site are replaced by others, in one step."""
    took_s = policy_changes(RULES, CHANGES)
    note(f"policy_change: rules={RULES} runs={CHANGES} worst_ms={max(took_s) * 1e3:.0f}")
    yield Figure("policy_change", "overlay", statistics.median(took_s), "s", Better.LESS, 0.3)


MEASUREMENTS: Mapping[str, Measurement] = {
    "reconnect_1000": reconnect_1000,
    "false_failovers": false_failovers,
    "policy_change": policy_change,
}
