"""How long a flow is silent when a link or a switch of its protected stitch dies and no controller is there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from statistics import median, quantiles

from benchmarks.circuits.ladder import ladder_with_bfd
from benchmarks.failing.stream import Stream
from benchmarks.support.figure import Better, Figure, MeasurementFailed, note
from mininet_topos.lab import Lab

_ROUNDS = 20
_BEFORE_S = 0.3
_AFTER_S = 0.7
_RECOVERS_S = 4.0
"""BFD takes up to 3 s to come up again."""


def silence() -> Iterator[Figure]:
    """Longest silence of a 1 ms flow, in ms: p95 of 20 cuts of each kind, with the controller killed."""
    with ladder_with_bfd() as made:
        (number,) = made.make(1, protection="node")
        path = made.running.get(f"/v1/stitches/{number}")["path"]
        names = {f"{node.dpid:016x}": node.name for node in made.lab.topology.nodes}
        way = [names[hop["dpid"]] for hop in path]
        made.running.kill()
        lab = made.lab
        links = list(pairwise(way))
        deaths: dict[str, tuple[float, Callable[[int], list[tuple[str, str]]], bool]] = {
            "carrier_loss": (80.0, lambda n: [links[n % len(links)]], False),
            "silent_cut": (80.0, lambda n: [links[n % len(links)]], True),
            "switch_death": (100.0, lambda n: [pair for pair in links if way[1 + n % 3] in pair], True),
        }
        for name, (target_ms, what, silent) in deaths.items():
            silences = [_silence_ms(lab, what(n), silent=silent) for n in range(_ROUNDS)]
            p95 = quantiles(silences, n=20)[-1]
            note(f"{name} p50_ms={median(silences):.1f} most_ms={max(silences):.1f}")
            yield Figure(f"{name}_p95_ms", "stitches", p95, "ms", Better.LESS, target_ms)


def _silence_ms(lab: Lab, links: list[tuple[str, str]], *, silent: bool) -> float:
    with Stream(lab.host("he1"), lab.host("he2")) as stream:
        time.sleep(_BEFORE_S)
        if not stream.arrived:
            raise MeasurementFailed("the flow does not arrive before anything is cut")
        since_s = time.monotonic()
        for one, other in links:
            lab.link(one, other).cut(silent=silent)
        time.sleep(_AFTER_S)
        longest_ms = stream.silence_ms(since_s, time.monotonic())
    for one, other in links:
        lab.link(one, other).restore()
    time.sleep(_RECOVERS_S)
    return longest_ms
