"""A controller is killed and started again: its agents come back by themselves, each at little cost.

How soon a thousand are back is measured by `python -m benchmarks overlay`; that says most of the machine.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.meshing.storm import storm

AGENTS = 100
MOST_MB = 400.0
MOST_CPU_S = 20.0
"""Of a thousand."""


def test_agents_that_lost_their_controller_all_at_once_come_back(tmp_path: Path) -> None:
    """Each is back when it has been sent its wanted state again."""
    seen = storm(tmp_path, AGENTS, within_s=60.0)
    assert seen.cpu_s < MOST_CPU_S * AGENTS / 1000
    # What it takes to run at all is no agent's share.
    assert seen.peak_mb < 100 + (MOST_MB - 100) * AGENTS / 1000
