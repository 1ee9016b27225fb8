"""What is missing on a node for an agent to do its work, and the remedy for each."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vte_agent import membership as members
from vte_agent import nft
from vte_agent.bridging import openvswitch
from vte_agent.bridging.difference import Place
from vte_agent.bridging.openvswitch import BridgeFailed
from vte_agent.descriptors import allowed
from vte_agent.dialling import dial
from vte_agent.keeping import CannotKeep, Keeping
from vte_agent.protocol.transport import Transport
from vte_agent.tunnels.contract import Tunnels
from vte_agent.uplinks import Uplinks

_CAP_NET_ADMIN = 12
_TIMEOUT_S = 3.0

_TUNNELS = 1000
"""What a hub of a few hundred sites has."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. what_to_do: "" where all is there. is_needed: nothing goes without it."""

    what: str
    found: str
    what_to_do: str = ""
    is_needed: bool = True

    @property
    def is_well(self) -> bool:
        """Whether nothing has to be done."""
        return not (self.what_to_do and self.is_needed)


def examine(
    state: Path,
    uplinks: Uplinks | None,
    transports: Mapping[Transport, Tunnels],
    controllers: Sequence[str] = (),
    place: Place | None = None,
) -> Iterator[Finding]:
    """Look at everything, one after the other."""
    yield rights()
    yield _descriptors()
    lacking = {transport: tunnels.missing() for transport, tunnels in transports.items()}
    for transport, missing in lacking.items():
        # One of them is enough, unless the controller wants the other.
        what, needed = f"transport {transport.value}", all(lacking.values())
        how = "not there" if missing else f"there, {transports[transport].carrier()}"
        yield Finding(what, how, missing, is_needed=needed)
    missing = nft.missing()
    yield Finding("nftables", "not there" if missing else "there", missing)
    yield from _kernel()
    if uplinks is not None:
        found, problems = uplinks.read()
        for uplink in found:
            way = f"by {uplink.gateway}" if uplink.gateway is not None else "without a gateway"
            yield Finding(f"uplink {uplink.name}", f"{uplink.device}, {uplink.address} {way}, MTU {uplink.mtu}")
        for problem in problems:
            yield Finding("uplink", problem, "set the device up, or run the agent with another one")
    if place is not None:
        yield _bridge(place)
    yield from _membership(state)
    for address in controllers:
        yield _reach(address)


def rights() -> Finding:
    """Whether this process may change the network."""
    status = Path("/proc/self/status").read_text()
    effective = next((int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff")), 0)
    if effective >> _CAP_NET_ADMIN & 1:
        return Finding("rights", "may change the network (CAP_NET_ADMIN)")
    return Finding("rights", "may not change the network", "run as root, or give it CAP_NET_ADMIN")


def _descriptors() -> Finding:
    files, tunnels = allowed()
    remedy = "" if tunnels >= _TUNNELS else "allow more: LimitNOFILE=65536 for the service, ulimit -Hn for a shell"
    return Finding("open files", f"{files} at most, enough for {tunnels} tunnels", remedy, is_needed=False)


def _kernel() -> Iterator[Finding]:
    wanted: list[tuple[str, str, Callable[[str], bool], str]] = [
        (
            "packets are forwarded",
            "net/ipv4/ip_forward",
            lambda text: text == "1",
            "sysctl -w net.ipv4.ip_forward=1",
        ),
        (
            "answers may come in by another uplink",
            "net/ipv4/conf/all/rp_filter",
            lambda text: text != "1",
            "sysctl -w net.ipv4.conf.all.rp_filter=2",
        ),
    ]
    for what, name, is_well, remedy in wanted:
        try:
            text = Path("/proc/sys", name).read_text().strip()
        except OSError as error:
            yield Finding(what, f"{name} cannot be read", f"{error.strerror}")
            continue
        yield Finding(what, f"{name.replace('/', '.')} = {text}", "" if is_well(text) else remedy)


def _bridge(place: Place) -> Finding:
    try:
        found = openvswitch.read(place)
    except BridgeFailed as error:
        return Finding(f"bridge {place.bridge}", "cannot be joined to others", str(error))
    return Finding(f"bridge {place.bridge}", f"datapath id {found.dpid:016x}, {len(found.plugs)} links")


def _membership(state: Path) -> Iterator[Finding]:
    if not state.is_dir():
        yield Finding("membership", f"there is no {state}", "vte-agent enroll")
        return
    try:
        keeping = Keeping(state, looking=True)
        membership = members.load(keeping)
    except CannotKeep as error:
        yield Finding("state directory", "of no use", str(error))
        return
    yield _room(state)
    if membership is None:
        yield Finding("membership", "none yet", "vte-agent enroll")
        return
    own = membership.open()
    left_s = own.not_after - time.time()
    yield Finding(
        "membership",
        f"{own.name}, serial {own.serial}, for another {left_s / 86400:.0f} days",
        "" if left_s > 0 else "it is over: have a token made, remove the state directory, enroll anew",
    )
    try:
        life = members.life_of(keeping.read(members.CERTIFICATE) or b"")
    except ValueError:
        yield Finding("certificate", "damaged", "remove the state directory and enroll anew")
        return
    left_s = life.not_after - time.time()
    remedy = "let it reach the controller: a running agent is given another by itself (not where it is revoked)"
    found = f"for another {left_s / 3600:.1f} hours" if left_s > 0 else f"over for {-left_s / 3600:.1f} hours"
    yield Finding("certificate", found, "" if left_s > 0 else remedy)


def _room(state: Path) -> Finding:
    disk = os.statvfs(state)
    free_mb = disk.f_bavail * disk.f_frsize / 1e6
    return Finding("disk", f"{free_mb:.0f} MB free at {state}", "" if free_mb > 10 else "make room: 10 MB do")


def _reach(address: str) -> Finding:
    try:
        asyncio.run(asyncio.wait_for(dial(address), _TIMEOUT_S)).close()
    except (OSError, TimeoutError) as error:
        return Finding(
            f"controller {address}",
            f"cannot be reached: {str(error) or 'no answer in time'}",
            "look whether it runs, and at firewalls on the way; tunnels go on without it",
        )
    return Finding(f"controller {address}", "can be reached")
