"""What the lab of the overlay goes through, act by act, and what is measured in each."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from itertools import permutations

from mininet_topos.overlay.flow import Receiver
from mininet_topos.overlay.growing import Growth, grow, tell_capacities
from mininet_topos.overlay.lab import OverlayLab
from mininet_topos.overlay.outcome import Outcome
from mininet_topos.overlay.sender import Rate
from mininet_topos.waiting import NotInTime, wait_until

SILENCE_MOST_MS = 200.0
REVOKED_MOST_MS = 2000.0
PASSED_ON_MOST_MBPS = 2.0
"""Probes of all tunnels take about 1; either way that were not straight would make it more than 6."""
FULL_MOST = 99.0
"""In percent: at 100 a line drops what comes next."""

_MUCH = Rate(6.0, 6.0)
"""More than the 5 Mbit/s for which two sites are given tunnels of their own."""

_GROWTH = Growth(first=0.5, last=1.1, within_s=75.0)
"""Slowly enough for what is measured each 5 s: the forecast knows no trend yet."""

_SETTLE_S = 60.0
_JOINED_S, _STRAIGHT_S = 90.0, 150.0
"""A route that has moved a moment ago stays for a minute; where tunnels seem to die, for two."""
_DECIDED_S = 12.0
"""The controller looks ahead each 5 s, and the site takes a moment."""
_LOOK_S = 0.25
"""All agents are asked: oftener, that alone would keep a small machine busy."""
_MORE_PACKETS = 100
_GONE_S = 10.0

Act = Callable[[OverlayLab], Iterator[Outcome]]


def star(lab: OverlayLab) -> Iterator[Outcome]:
    """Sites find each other by way of the two compute instances."""
    lab.start()
    began_s = time.monotonic()
    lab.world.wait_settled(within_s=_SETTLE_S)
    act, took_s = "star", time.monotonic() - began_s
    yield Outcome(act, f"{len(lab.world.ask('/overlay/tunnels'))} tunnels are up after", took_s, "s")
    yield Outcome(act, "hosts that do not reach each other", len(lab.unreached()), "pairs", 0)


def mesh(lab: OverlayLab) -> Iterator[Outcome]:
    """Two sites send each other much, and are given tunnels of their own."""
    world, act = lab.world, "mesh"
    world.wait_settled(within_s=_SETTLE_S)
    with lab.flow("ber", "muc", rate=_MUCH) as there, lab.flow("muc", "ber", 7002, _MUCH) as back:
        began_s = time.monotonic()
        wait_until(
            lambda: _read(there, back) and _straight(lab, "ber", "muc"),
            _JOINED_S,
            lambda: f"only a star: {world.describe()}",
            _LOOK_S,
        )
        yield Outcome(act, "two sites that send much are joined after", time.monotonic() - began_s, "s")
        wait_until(
            lambda: _read(there, back) and _ends(lab, "ber", "muc") == _ends(lab, "muc", "ber") == {"ber", "muc"},
            _STRAIGHT_S,
            lambda: f"not straight: {world.route_why('ber', 'muc')}; {world.route_why('muc', 'ber')}",
            _LOOK_S,
        )
        yield Outcome(act, "their packets go straight after", time.monotonic() - began_s, "s")
        passed_on, since_s = _sent_by_relays(lab), time.monotonic()
        _more(there, back, packets=1000)
        mbps = 8e-6 * (_sent_by_relays(lab) - passed_on) / (time.monotonic() - since_s)
        yield Outcome(act, "what compute instances still pass on", mbps, "Mbit/s", PASSED_ON_MOST_MBPS)
        yield Outcome(act, "packets lost, both ways together", there.lost() + back.lost(), "", 0)


def congestion(lab: OverlayLab) -> Iterator[Outcome]:
    """What two sites send grows beyond what their uplink carries, and leaves it before it is full."""
    world, act = lab.world, "congestion"
    world.wait_settled(within_s=_SETTLE_S)
    tell_capacities(world, "ber", "muc")
    with suppress(NotInTime):
        # For what was sent a moment ago it may find the line too narrow now, and come back to it later.
        stays = _for_a_while(lambda: _on_fibre(lab), _DECIDED_S)
        wait_until(stays, _STRAIGHT_S, world.describe, _LOOK_S)
    grown = grow(world, "ber", "muc", lambda rate: lab.flow("ber", "muc", rate=rate), _GROWTH)
    left = f"{grown.uplink} in its fullest second until it was left ({grown.why or 'never'})"
    yield Outcome(act, left, 100 * grown.fullest, "%", FULL_MOST)
    yield Outcome(act, "sent in the end, of what it carries", 100 * _GROWTH.last, "%")
    yield Outcome(act, "packets lost", max(grown.lost, grown.dropped), "", 0)


def _on_fibre(lab: OverlayLab) -> bool:
    """Whether packets go straight, by the quicker line; on a busy machine they may have left it for a while."""
    return lab.world.leaves_by("ber", "muc") == "fibre" and _ends(lab, "ber", "muc") == {"ber", "muc"}


def uplink_cut(lab: OverlayLab) -> Iterator[Outcome]:
    """The line that packets take falls silent, and the controller stands still meanwhile."""
    world, act = lab.world, "uplink cut"
    world.wait_settled(within_s=_SETTLE_S)
    with lab.flow("ber", "muc") as there, lab.flow("muc", "ber", 7002) as back:
        taken = world.taken("ber", "muc")
        uplink = world.leaves_by("ber", "muc")
        world.signal_controller(signal.SIGSTOP)
        try:
            world.underlay.link("ber", uplink).cut()
            wait_until(lambda: world.taken("ber", "muc") not in (taken, None), 5, lambda: "the route stays")
            yield from _silences(act, there, back)
        finally:
            world.signal_controller(signal.SIGCONT)
            world.underlay.link("ber", uplink).restore()


def instance_killed(lab: OverlayLab) -> Iterator[Outcome]:
    """The compute instance that packets go by loses its power; later it comes back."""
    world, act = lab.world, "compute instance killed"
    world.wait_settled(within_s=_SETTLE_S)
    one, other = "ham", "ber"
    with lab.flow(one, other) as there, lab.flow(other, one, 7002) as back:
        victim = wait_until(lambda: _relay(lab, one, other), 10, world.describe, _LOOK_S)
        taken = world.taken(one, other)
        world.power_off(victim)
        _more(there, back)
        wait_until(lambda: world.taken(one, other) not in (taken, None), 5, lambda: "the route stays")
        yield from _silences(act, there, back)
        began_s = time.monotonic()
        world.power_on(victim)
        world.wait_settled(within_s=_SETTLE_S)
        yield Outcome(act, "it is back with all tunnels after", time.monotonic() - began_s, "s")


def keys_rotated(lab: OverlayLab) -> Iterator[Outcome]:
    """New keys are ordered, and all tunnels are made anew beside those there are."""
    world, act = lab.world, "key rotation"
    world.wait_settled(within_s=_SETTLE_S)
    before = {tunnel["name"]: tunnel for tunnel in world.ask("/overlay/tunnels")}
    with ExitStack() as stack:
        # Not over the radio, where some are lost anyway.
        ends = (("ber", "muc"), ("muc", "ber"))
        flows = [stack.enter_context(lab.flow(*each, 7001 + number)) for number, each in enumerate(ends)]
        began_s = time.monotonic()
        world.call("POST", "/overlay/rekey")
        wait_until(
            lambda: not before.keys() & {name for node in world.nodes for name in world.up(node)},
            150,
            lambda: f"not all are made anew: {world.describe()}",
            _LOOK_S,
        )
        took_s = time.monotonic() - began_s
        _more(*flows)
        yield Outcome(act, "packets lost, both ways together", sum(one.lost() for one in flows), "", 0)
        yield Outcome(act, f"{len(before)} tunnels have new keys after", took_s, "s")


def revoked(lab: OverlayLab) -> Iterator[Outcome]:
    """A site is put out, and no packet of it gets anywhere any more."""
    world, act, site = lab.world, "revocation", "ham"
    world.wait_settled(within_s=_SETTLE_S)
    serial = next(one["serial"] for one in world.ask("/overlay/sites") if one["name"] == site)
    others = [name for name in world.sites if name != site]
    with ExitStack() as stack:
        flows = {
            ends: stack.enter_context(lab.flow(*ends, 7001 + number))
            for number, ends in enumerate(permutations(world.sites, 2))
        }
        gone = set(world.up(site))
        began_s = time.time()
        world.operator.revoke(serial)
        peers = [name for name in world.nodes if name != site]
        wait_until(
            lambda: not gone & {name for peer in peers for name in world.up(peer)},
            _GONE_S,
            lambda: f"{site} still has tunnels: {world.describe()}",
        )
        between = [flow for ends, flow in flows.items() if site not in ends]
        _more(*between)
        last_s = max(one.at_s for ends, flow in flows.items() if site in ends for one in flow.read())
        yield Outcome(act, "its last packet at any peer after", (last_s - began_s) * 1e3, "ms", REVOKED_MOST_MS)
        lost = sum(flow.lost() for flow in between)
        yield Outcome(act, f"packets lost between {' and '.join(others)}", lost, "", 0)


ACTS: Mapping[str, Act] = {
    "a star of sites is built": star,
    "two sites send each other much": mesh,
    "what they send grows beyond an uplink": congestion,
    "an uplink is cut": uplink_cut,
    "a compute instance is killed": instance_killed,
    "all keys are replaced": keys_rotated,
    "a site is put out": revoked,
}
"""In order, with what goes on."""


def tell(lab: OverlayLab, report: Callable[[str], None]) -> Iterator[Outcome]:
    """Go through all acts; `report` is told which begins. Raises LabError."""
    for what, act in ACTS.items():
        report(what)
        yield from act(lab)
    yield Outcome("all acts", "packets that crossed the internet unencrypted", lab.world.ear.heard(), "", 0)


def _silences(act: str, there: Receiver, back: Receiver) -> Iterator[Outcome]:
    _more(there, back)
    silence_ms = max(there.longest_silence_s(), back.longest_silence_s()) * 1e3
    yield Outcome(act, "longest silence of a 5 ms flow, either way", silence_ms, "ms", SILENCE_MOST_MS)
    yield Outcome(act, "packets lost, both ways together", there.lost() + back.lost(), "")


def _more(*flows: Receiver, packets: int = _MORE_PACKETS) -> None:
    """Wait until packets of each go on coming."""
    seen = {id(flow): len(flow.read()) for flow in flows}
    wait_until(
        lambda: all(len(flow.read()) > seen[id(flow)] + packets for flow in flows),
        10,
        lambda: "no packet comes any more",
    )


def _read(*flows: Receiver) -> bool:
    """Take in what has come: sockets keep only so much."""
    return all(flow.read() for flow in flows)


def _ends(lab: OverlayLab, source: str, target: str) -> set[str]:
    """The ends of the tunnel that packets between two sites leave by; empty while that is not known."""
    taken = lab.world.taken(source, target)
    return {str(one[end]) for one in lab.world.ask("/overlay/tunnels") if one["name"] == taken for end in "ab"}


def _for_a_while(is_so: Callable[[], bool], seconds: float) -> Callable[[], bool]:
    """Whether it has been so for so long, each time it was asked."""
    since_s: float | None = None

    def has_been() -> bool:
        nonlocal since_s
        now_s = time.monotonic()
        since_s = (now_s if since_s is None else since_s) if is_so() else None
        return since_s is not None and now_s - since_s >= seconds

    return has_been


def _relay(lab: OverlayLab, source: str, target: str) -> str:
    """The compute instance that packets between two sites go by; "" where they go by none."""
    return next(iter(_ends(lab, source, target) - set(lab.world.sites)), "")


def _straight(lab: OverlayLab, one: str, other: str) -> bool:
    """Whether two sites have tunnels of their own, all of them up."""
    found = [tunnel for tunnel in lab.world.ask("/overlay/tunnels") if {tunnel["a"], tunnel["b"]} == {one, other}]
    return bool(found) and all(tunnel["up"] for tunnel in found)


def _sent_by_relays(lab: OverlayLab) -> int:
    """What compute instances have sent, in bytes."""
    nodes = [node for node in lab.world.nodes.values() if node.prefix is None]
    lines = [lab.world.underlay.link(node.name, uplink.name) for node in nodes for uplink in node.uplinks]
    return sum(line.stats().a_to_b.bytes for line in lines)
