"""What the lab of the overlay goes through, act by act, and what is measured in each."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from itertools import permutations

from mininet_topos.overlay.flow import Receiver
from mininet_topos.overlay.lab import OverlayLab
from mininet_topos.overlay.outcome import Outcome
from mininet_topos.waiting import wait_until

SILENCE_MOST_MS = 200.0
REVOKED_MOST_MS = 2000.0

_SETTLE_S = 60.0
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
    silent = [ends for ends in permutations(lab.world.sites, 2) if not lab.pings(*ends)]
    yield Outcome(act, "hosts that do not reach each other", len(silent), "pairs", 0)


def uplink_cut(lab: OverlayLab) -> Iterator[Outcome]:
    """The line that packets take falls silent, and the controller stands still meanwhile."""
    world, act = lab.world, "uplink cut"
    world.wait_settled(within_s=_SETTLE_S)
    with lab.flow("ber", "muc") as there, lab.flow("muc", "ber", 7002) as back:
        taken = world.taken("ber", "muc")
        uplink = next(one["uplink"] for one in world.wanted("ber")["tunnels"] if one["name"] == taken)
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
    # Those that the star served badly for a while, as on a busy machine, have tunnels of their own.
    one, other = next(ends for ends in permutations(world.sites, 2) if _relay(lab, *ends))
    with lab.flow(one, other) as there, lab.flow(other, one, 7002) as back:
        victim, taken = _relay(lab, one, other), world.taken(one, other)
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


def _more(*flows: Receiver) -> None:
    """Wait until packets of each go on coming."""
    seen = {id(flow): len(flow.read()) for flow in flows}
    wait_until(
        lambda: all(len(flow.read()) > seen[id(flow)] + _MORE_PACKETS for flow in flows),
        10,
        lambda: "no packet comes any more",
    )


def _relay(lab: OverlayLab, source: str, target: str) -> str:
    """The compute instance that packets between two sites go by; "" where they go by none."""
    taken = lab.world.taken(source, target)
    found = (tunnel for tunnel in lab.world.ask("/overlay/tunnels") if tunnel["name"] == taken)
    ends = {str(tunnel[end]) for tunnel in found for end in "ab"}
    return next(iter(ends - set(lab.world.sites)), "")
