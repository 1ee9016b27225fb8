"""How long a flow is silent when a link or a switch of its protected stitch dies and no controller is there."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from benchmarks.circuits import sessions
from benchmarks.circuits.ladder import BFD_MS, Ladder, ladder_with_bfd
from benchmarks.failing.stream import Stream
from benchmarks.support.controller_process import wait_until
from benchmarks.support.figure import Better, Figure, note
from mininet_topos.lab import Lab

_ROUNDS = 20
_LOOK_S = 0.1
_AFTER_S = 0.5
"""How long is looked on after a fault: longer than anything that counts."""

_BACK_S = 0.05
"""A flow that arrives in the last part of that, however short it is, has survived."""

_WITHIN_S = 20.0

_Link = tuple[str, str]


@dataclass(frozen=True)
class _Fault:
    """A kind of fault: what dies in its n-th round, and how."""

    name: str
    target_ms: float
    silent: bool
    links: Callable[[int], list[_Link]]


@dataclass(frozen=True)
class _Round:
    """The longest time without an arrival, that between two packets sent, and whether the flow came back."""

    silent_ms: float
    sender_ms: float
    survived: bool


def silence() -> Iterator[Figure]:
    """Longest silence of a 1 ms flow, in ms: p95 of 20 faults of each kind, with the controller killed.

    Each link and each transit switch of the path has its turn. A switch that dies is one whose links all fall
    silent at once.
    """
    with ladder_with_bfd() as made:
        way = _way(made)
        links = list(pairwise(way))
        transit = way[1:-1]
        faults = (
            _Fault("carrier_loss", 80.0, False, lambda n: [links[n % len(links)]]),
            _Fault("silent_cut", 80.0, True, lambda n: [links[n % len(links)]]),
            _Fault("switch_death", 100.0, True, lambda n: _links_of(made.lab, transit[n % len(transit)])),
        )
        made.running.kill()
        with Stream(made.lab.host("he1"), made.lab.host("he2")) as stream:
            for fault in faults:
                rounds = [_suffer(made.lab, stream, links[0], fault, n) for n in range(_ROUNDS)]
                yield from _figures(fault, rounds)


def _way(made: Ladder) -> list[str]:
    """The switches of a new stitch that no single link or switch can bring down."""
    (number,) = made.make(1, protection="node")
    names = {f"{node.dpid:016x}": node.name for node in made.lab.topology.nodes}
    return [names[hop["dpid"]] for hop in made.running.get(f"/v1/stitches/{number}")["path"]]


def _links_of(lab: Lab, switch: str) -> list[_Link]:
    return [(link.a, link.b) for link in lab.topology.links if switch in (link.a, link.b)]


def _suffer(lab: Lab, stream: Stream, first: _Link, fault: _Fault, number: int) -> _Round:
    """Bring a fault on the flow, see what it does, and mend it."""
    wait_until(lambda: sessions.all_up(lab, BFD_MS), _WITHIN_S, "BFD did not come up again")
    wait_until(lambda: _carries(lab, first), _WITHIN_S, "the flow did not come back to its path")
    since_s = time.monotonic()
    links = fault.links(number)
    for link in links:
        lab.link(*link).cut(silent=fault.silent)
    time.sleep(_AFTER_S)
    until_s = time.monotonic()
    for link in links:
        lab.link(*link).restore()
    return _Round(
        stream.silence_ms(since_s, until_s),
        stream.sender_silence_ms(since_s, until_s),
        stream.silence_ms(until_s - _BACK_S, until_s) < 1e3 * _BACK_S,
    )


def _carries(lab: Lab, link: _Link) -> bool:
    """Whether the flow crosses a link now: a cut that it does not feel would say nothing."""
    before = lab.link(*link).stats().a_to_b.frames
    time.sleep(_LOOK_S)
    # One packet a millisecond; BFD sends five in that time.
    return lab.link(*link).stats().a_to_b.frames - before > 0.5 * _LOOK_S * 1e3


def _figures(fault: _Fault, rounds: Sequence[_Round]) -> Iterator[Figure]:
    silences = sorted(one.silent_ms for one in rounds)
    note(
        f"{fault.name} p50_ms={median(silences):.1f} ms={' '.join(f'{one:.0f}' for one in silences)} "
        f"sender_gap_ms={max(one.sender_ms for one in rounds):.1f} load={os.getloadavg()[0]:.2f}"
    )
    survived = sum(one.survived for one in rounds)
    yield Figure.worst(f"{fault.name}_p95_ms", "stitches", silences, "ms", Better.LESS, target=fault.target_ms)
    yield Figure(f"{fault.name}_survived", "stitches", survived, f"of {len(rounds)}", Better.MORE, len(rounds))
