"""Who is in a segment now: hosts join and leave as they come and go; addresses that are on both sides do not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from stitching.network import Host, Network, PortId
from stitching.segment import Member, SegmentRequest, SegmentTree
from stitching.vnet import Directory

Contested = Mapping[str, frozenset[str]]
"""Addresses that several hosts claim, with the MACs of all of them."""


@dataclass(frozen=True, slots=True)
class Members:
    """The hosts of both sides, and why others are not among them."""

    sources: tuple[Member, ...]
    targets: tuple[Member, ...]
    left_out: tuple[str, ...]


def members_now(
    request: SegmentRequest,
    network: Network,
    directory: Directory,
    contested: Contested,
    before: SegmentTree | None = None,
) -> Members:
    """Who is in a segment. Of two hosts with one address on different sides the first one stays."""
    there = {member.mac for member in before.members} if before is not None else set()
    candidates = [
        (number, host)
        for host in network.hosts.values()
        if host.port not in network.fabric_ports
        for number, side in enumerate(request.sides)
        if side.takes(host, directory)
    ]
    candidates.sort(key=lambda item: (item[1].mac not in there, item[0], item[1].mac))
    claimed = _by_mac(contested)
    owners: dict[str, tuple[int, Host]] = {}
    taken: tuple[list[Host], list[Host]] = ([], [])
    left_out = []
    for number, host in candidates:
        addresses = sorted(host.ips | claimed.get(host.mac, frozenset()))
        clash = next((ip for ip in addresses if ip in owners and owners[ip][0] != number), None)
        if clash is not None:
            words = (directory.name_of(host), host.mac, request.sides[number].vnet, clash)
            other = owners[clash][1]
            left_out.append(
                "host {} ({}) of {!r} has the address {}".format(*words)
                + f", which {directory.name_of(other)} ({other.mac}) of the other side has"
            )
            continue
        owners.update(dict.fromkeys(addresses, (number, host)))
        taken[number].append(host)
    heard = _ports_by_vnet(network, directory)
    both = zip(taken, request.sides[::-1], strict=True)
    sources, targets = (
        tuple(
            Member(host.mac, host.dpid, host.port_no, host.port in heard[other.vnet])
            for host in sorted(hosts, key=lambda host: host.mac)
        )
        for hosts, other in both
    )
    return Members(sources, targets, tuple(left_out))


def missing_side(request: SegmentRequest, members: Members) -> str | None:
    """What a segment waits for: a side that nobody is on."""
    for side, there in zip(request.sides, (members.sources, members.targets), strict=True):
        if not there:
            part = "" if not side.hosts and not side.subnets else " of those named"
            return f"waits for a host of {side.vnet!r}{part}"
    return None


def _ports_by_vnet(network: Network, directory: Directory) -> dict[str, set[PortId]]:
    ports: dict[str, set[PortId]] = defaultdict(set)
    for host in network.hosts.values():
        ports[directory.vnet_of(host)].add(host.port)
    return ports


def _by_mac(contested: Contested) -> dict[str, frozenset[str]]:
    claims: dict[str, set[str]] = defaultdict(set)
    for ip, macs in contested.items():
        for mac in macs:
            claims[mac].add(ip)
    return {mac: frozenset(ips) for mac, ips in claims.items()}


@dataclass
class AddressBook:
    """Remembers who claimed an address that another host took: the table of hosts gives it to the last one."""

    _claims: dict[str, set[str]] = field(default_factory=dict)

    def follow(self, before: Mapping[str, Host], after: Mapping[str, Host]) -> None:
        """Take in how the hosts changed."""
        owners = {ip: host.mac for host in after.values() for ip in host.ips}
        for mac, host in before.items():
            now = after.get(mac)
            if now is None or now is host:
                continue
            for ip in host.ips - now.ips:
                # One that gives up an address that somebody else had as well claims it no more.
                owner = before.get(owners[ip]) if ip in owners else None
                if ip in owners and (owner is None or ip not in owner.ips):
                    self._claims.setdefault(ip, set()).update((mac, owners[ip]))
        for ip, macs in list(self._claims.items()):
            macs &= after.keys()
            if len(macs) < 2:
                del self._claims[ip]

    @property
    def contested(self) -> Contested:
        """Addresses that several hosts claim, as long as these are there."""
        return {ip: frozenset(macs) for ip, macs in self._claims.items()}


def names(hosts: Iterable[str], most: int = 8) -> str:
    """A list for people."""
    listed = sorted(hosts)
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")
