"""False failovers: two sites with tunnels while every core of their machine is busy with something else.

Between them are cables that never fail, so whatever is found dead was only not looked at in time.
`python -m benchmarks.meshing.saturated SECONDS` does it for another time than the benchmark.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.meshing.silence import in_use
from benchmarks.support.figure import note
from mininet_topos.overlay.cabled import Cabled
from mininet_topos.overlay.two_nodes import TwoNodes, two_nodes
from mininet_topos.overlay.underlay import Uplink

BUSY_PER_CORE = 2

_UPLINKS = (Uplink("up0"), Uplink("up1"))
_SETTLED_S, _LOOK_S = 5.0, 5.0


@dataclass(frozen=True)
class Saturated:
    """moves: why routes were moved, at either site."""

    moves: tuple[str, ...]
    worst_late_ms: float


def saturated(seconds: float) -> Saturated:
    """Have them be busy for so long. Raises LabError."""
    with tempfile.TemporaryDirectory() as directory, two_nodes(_UPLINKS, Path(directory) / "log", Cabled) as nodes:
        nodes.want({uplink.name: (uplink.name, "wireguard") for uplink in _UPLINKS})
        in_use(nodes)
        # The first moves are those to tunnels that have just come up.
        time.sleep(_SETTLED_S)
        before = _moves(nodes)
        worst_late_ms, end_s = 0.0, time.monotonic() + seconds
        with _busy():
            while (left_s := end_s - time.monotonic()) > 0:
                time.sleep(min(_LOOK_S, left_s))
                worst_late_ms = max(worst_late_ms, *_late_ms(nodes))
        after = _moves(nodes)
    moved = [why for old, new in zip(before, after, strict=True) for why in new[len(old) :]]
    return Saturated(tuple(moved), worst_late_ms)


def _moves(nodes: TwoNodes) -> list[list[str]]:
    """Why each site has moved its routes so far."""
    return [[str(why) for _, _, _, why in node.ask("moves")] for node in nodes.nodes]


def _late_ms(nodes: TwoNodes) -> list[float]:
    """How late the timers of probes were at worst since the last look, which is each second."""
    return [float(node.ask("report")["host"]["timer_late_ms"]) for node in nodes.nodes]


@contextmanager
def _busy() -> Iterator[None]:
    """Every core has more to do than it can, as ordinary programs have."""
    words = [sys.executable, "-S", "-c", "while True: pass"]
    busy = [subprocess.Popen(words) for _ in range(BUSY_PER_CORE * (os.cpu_count() or 1))]
    try:
        yield
    finally:
        for one in busy:
            one.kill()
            one.wait()


def main() -> None:
    """Say what came of it."""
    seen = saturated(float(sys.argv[1]))
    note(f"moves={list(seen.moves)} worst_late_ms={seen.worst_late_ms:.1f}")


if __name__ == "__main__":
    main()
