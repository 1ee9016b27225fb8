"""Area `overlay`: the control channel of the agents."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from benchmarks.meshing.storm import storm
from benchmarks.support.areas import Measurement
from benchmarks.support.figure import Better, Figure

AGENTS = 1000
_WITHIN_S = 120.0


def reconnect_1000() -> Iterable[Figure]:
    """The gate is killed under 1,000 agents and started again."""
    with tempfile.TemporaryDirectory() as directory:
        seen = storm(Path(directory), AGENTS, _WITHIN_S)
    yield Figure("reconnect_1000", "overlay", seen.back_s, "s", Better.LESS, 20.0)
    yield Figure("reconnect_1000_memory", "overlay", seen.peak_mb, "MB", Better.LESS, 400.0)


MEASUREMENTS: Mapping[str, Measurement] = {"reconnect_1000": reconnect_1000}
