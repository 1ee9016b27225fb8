"""False failovers: two sites probe each other while every core of their machine is busy with something else.

Between them are cables that never fail, so whatever is found dead was only not looked at in time.
`python -m benchmarks.meshing.saturated SECONDS` does it for another time than the benchmark.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.support.figure import MeasurementFailed, note
from mininet_topos.overlay.enclosure import Enclosure, cable

TUNNELS = ("t1", "t2")
BUSY_PER_CORE = 2

_SETTLED_S, _LOOK_S = 20.0, 5.0
_ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


@dataclass(frozen=True)
class Saturated:
    """moves: why routes were moved, at either site. deaths: how often a tunnel was found dead at an end."""

    moves: tuple[str, ...]
    deaths: int
    worst_late_ms: float


def address(tunnel: int, site: int) -> str:
    """Of a site's end of a tunnel; both count from 0."""
    return f"10.202.{tunnel}.{site + 1}"


def prefix(site: int) -> str:
    """What is behind a site."""
    return f"10.201.{site}.0/24"


def saturated(seconds: float) -> Saturated:
    """Have them probe for so long. Raises LabError, MeasurementFailed."""
    with ExitStack() as stack:
        ends = [stack.enter_context(contextlib.closing(Enclosure(f"site{number}"))) for number in (0, 1)]
        for place, tunnel in enumerate(TUNNELS):
            cable(ends[0], tunnel, ends[1], tunnel)
            for number, end in enumerate(ends):
                end.run(["ip", "addr", "add", f"{address(place, number)}/24", "dev", tunnel])
                end.run(["ip", "link", "set", tunnel, "up"])
        sites = [stack.enter_context(_site(end, number)) for number, end in enumerate(ends)]
        _wait_ready(sites)
        before = [site.ask() for site in sites]
        stack.enter_context(_busy())
        worst_late_ms, end_s = 0.0, time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0:
            time.sleep(min(_LOOK_S, left_s))
            worst_late_ms = max(worst_late_ms, *(site.ask()["late_ms"] for site in sites))
        after = [site.ask() for site in sites]
    moves = [why for old, new in zip(before, after, strict=True) for why in new["moves"][len(old["moves"]) :]]
    deaths = sum(new["deaths"] - old["deaths"] for old, new in zip(before, after, strict=True))
    return Saturated(tuple(moves), deaths, worst_late_ms)


class _Site:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise MeasurementFailed("a site's process has ended")
        said: dict[str, Any] = json.loads(line)
        return said


@contextmanager
def _site(end: Enclosure, number: int) -> Iterator[_Site]:
    words = [sys.executable, "-m", "benchmarks.meshing.probed_site", str(number), *TUNNELS]
    process = subprocess.Popen(
        end.enter(words), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=_ENVIRONMENT
    )
    with process:
        yield _Site(process)


def _wait_ready(sites: list[_Site]) -> None:
    give_up_s = time.monotonic() + _SETTLED_S
    while not all(site.ask()["ready"] for site in sites):
        if time.monotonic() > give_up_s:
            raise MeasurementFailed(f"the sites do not hear each other within {_SETTLED_S:g} s")
        time.sleep(0.1)
    # The first moves are those to tunnels that have just come up.
    time.sleep(2.0)


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
    note(f"moves={list(seen.moves)} deaths={seen.deaths} worst_late_ms={seen.worst_late_ms:.1f}")


if __name__ == "__main__":
    main()
