"""Reads from the kernel, Open vSwitch and nftables what a plan is made from. Nothing is changed."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator, Mapping

from vte_agent import class_marks, mss_clamp, nft, programs, segmentation
from vte_agent.believing import Believed, Standing
from vte_agent.bridging import guard, openvswitch
from vte_agent.bridging.difference import LinkDevice, Place, Plug
from vte_agent.bridging.openvswitch import BridgeFailed, NoBridge
from vte_agent.bridging.vxlan import LinkDevices, link_device
from vte_agent.goals import SecretOf, Wished, goals_of
from vte_agent.hands import steered_of, ways_by
from vte_agent.nft import NftFailed, NoTable
from vte_agent.planning import (
    Change,
    Plan,
    planned_links,
    planned_routes,
    planned_table,
    planned_tunnels,
    planned_ways,
    waiting_routes,
)
from vte_agent.protocol.members import Member
from vte_agent.protocol.transport import Transport
from vte_agent.protocol.wanted import Wanted
from vte_agent.routing import Router
from vte_agent.tables import names_of
from vte_agent.tunnels.contract import Tunnels
from vte_agent.uplinks import UplinkNow, Uplinks

_TIMEOUT_S = 10.0
_DORMANT = "flags dormant"


def look(
    believed: Believed,
    own: Member,
    uplinks: Uplinks,
    transports: Mapping[Transport, Tunnels],
    place: Place | None,
    secret_of: SecretOf,
) -> Plan:
    """What an agent would change here. Raises TunnelFailed, LinkFailed, RoutingFailed."""
    now, problems = uplinks.read()
    usable = {transport for transport, tunnels in transports.items() if not tunnels.missing()}
    wished = goals_of(believed, own, now, usable, secret_of)
    node, said = f"{own.serial}", [*problems]
    found = [device for tunnels in transports.values() for device in tunnels.found()]
    kernel = LinkDevices()
    devices = kernel.found()
    kernel.close()
    changes = [*planned_tunnels(believed, wished, found, node)]
    links = believed.wanted.links if believed.wanted is not None and believed.is_known else ()
    if links and place is None:
        said.append("links to other bridges are wanted: give --bridge as for run to see what becomes of them")
    try:
        plugs = openvswitch.read(place).plugs if place is not None else dict[str, Plug]()
    except NoBridge as error:
        said.append(str(error))
        place, plugs = None, {}
    except BridgeFailed as error:
        said.append(f"ports of the bridge are not looked at: {error}")
    else:
        changes += planned_links(believed, place, devices, plugs, lambda link: link_device(link, node))
    changes += _routes(believed, own, uplinks, now, wished)
    changes += _tables(believed, uplinks, own, wished, devices, said)
    return Plan(
        believed.generation, believed.standing, tuple(changes), (*said, *believed.problems, *wished.problems)
    )


def _routes(
    believed: Believed, own: Member, uplinks: Uplinks, now: tuple[UplinkNow, ...], wished: Wished
) -> Iterator[Change]:
    wanted = believed.wanted if believed.is_known else None
    devices = {name: goal.spec.device for name, goal in wished.goals.items()}
    sources = uplinks.inside(own.prefixes)
    steered = steered_of(wanted, devices, own, sources, ways_by(now), believed.guarded)
    with Router() as router:
        found = router.devices()
        ways = planned_ways(steered, found)
        todo = router.difference(ways) if steered.is_known else router.addition(ways)
        yield from planned_routes(todo, router.routes, router.rules, steered)
    yield from waiting_routes(steered, found)


def _tables(
    believed: Believed,
    uplinks: Uplinks,
    own: Member,
    wished: Wished,
    devices: Mapping[str, LinkDevice],
    said: list[str],
) -> Iterator[Change]:
    """What would become of the agent's tables; one that it is not known of stays."""
    wanted = believed.wanted if believed.is_known else None
    if believed.names_all and believed.standing is not Standing.NONE:
        links = wanted.links if wanted is not None and believed.standing is not Standing.OUT else ()
        site = guard.Site(uplinks.devices, own.prefixes)
        guarded = guard.Guarded(site, links, guard.anchors_of(links, devices.values()))
        yield from _one(guard.TABLE, "what stays inside tunnels", lambda: guard.rules(guarded), said)
    if wished.goals:
        yield from _one(mss_clamp.TABLE, "segments of TCP", mss_clamp.rules, said)
    if wanted is not None:
        yield from _one(segmentation.TABLE, "who may send what", _filters(wanted), said)
        yield from _one(class_marks.TABLE, "classes of applications", _classes(wanted), said)


def _filters(wanted: Wanted) -> Callable[[], str] | None:
    filters = wanted.filters
    return (lambda: segmentation.compile_filters(filters).body) if filters is not None else None


def _classes(wanted: Wanted) -> Callable[[], str] | None:
    return (lambda: class_marks.rules(wanted.classes)) if wanted.classes else None


def _one(name: str, what: str, body: Callable[[], str] | None, said: list[str]) -> Iterator[Change]:
    try:
        change = planned_table(name, what, _listed(name), _as_listed(name, body()) if body is not None else None)
    except (NftFailed, ValueError) as error:
        said.append(f"table {name} is not looked at: {error}")
        return
    if change is not None:
        yield change


def _listed(name: str) -> str | None:
    """The table that there is and judges, but for what was counted."""
    found = None
    for one in names_of(name):
        with contextlib.suppress(NoTable):
            listed = nft.nft(["-s", "list", "table", "inet", one])
            if found is None or _DORMANT not in listed:
                found = listed.replace(f"table inet {one} {{", f"table inet {name} {{", 1)
    return found


def _as_listed(name: str, body: str) -> str:
    """As the kernel would list a table: made in a network of its own, which is gone a moment later."""
    unshare, program = programs.find("unshare"), programs.find("nft")
    if unshare is None or program is None:
        raise NftFailed(nft.missing() or "unshare is not installed: run 'apt-get install util-linux'")
    words = [unshare, "--net", "sh", "-c", '"$0" -f - && exec "$0" -s list table inet "$1"', program, name]
    table = f"table inet {name} {{\n{body}}}\n"
    try:
        done = subprocess.run(words, input=table, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NftFailed(f"nft could not be run: {error}") from error
    if done.returncode:
        raise NftFailed(" ".join(done.stderr.split())[:200])
    return done.stdout
