"""What a token that is confined to some virtual networks sees and may touch: what is theirs as a whole."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import replace

from ryu_apps.rest.access.roles import Principal, listed
from ryu_apps.rest.fabric import Fabric
from ryu_apps.rest.problems import Kind, Problem
from stitching.stitch import Stitch, VmRequest
from stitching.vnet import DEFAULT_VNET, Directory, Member, VNet


def sees_host(who: Principal, fabric: Fabric, mac: str) -> bool:
    """Whether a host, by MAC, belongs to a virtual network of the caller."""
    return who.scope is None or fabric.vnet_of(mac) in who.scope


def sees_stitch(who: Principal, fabric: Fabric, stitch: Stitch) -> bool:
    """Whether both ends of a stitch do."""
    request = stitch.request
    if isinstance(request, VmRequest):
        return all(sees_host(who, fabric, mac) for mac in (request.source_mac, request.target_mac))
    return who.scope is None or who.scope.issuperset(request.vnets)


def fabric_within(who: Principal, fabric: Fabric) -> Fabric:
    """The fabric with the hosts and names of the caller alone: where one is not found, others are named."""
    if who.scope is None:
        return fabric
    hosts = {mac: host for mac, host in fabric.network.hosts.items() if sees_host(who, fabric, mac)}
    vnets = [vnet for name, vnet in fabric.directory.vnets.items() if name in who.scope]
    return replace(fabric, network=replace(fabric.network, hosts=hosts), directory=Directory.of(vnets))


def check_vnet(who: Principal, name: str) -> None:
    """Raise a 403 problem where a virtual network is none of the caller's."""
    if who.scope is not None and name not in who.scope:
        raise _forbidden(who, f"the virtual network {name!r}", "name")


def check_claims(who: Principal, wanted: VNet, fabric: Fabric) -> None:
    """Raise a 403 problem where a virtual network would take a host or a subnet that is not the caller's to give.

    What no virtual network claims is that of `default`. A part of a subnet that is the caller's is too.
    """
    if who.scope is None:
        return
    for place, member in enumerate(wanted.members):
        if not sees_host(who, fabric, member.mac):
            owner = DEFAULT_VNET if fabric.vnet_of(member.mac) == DEFAULT_VNET else "another one"
            raise _forbidden(who, f"the host {member.mac}, which is in {owner}", f"hosts[{place}].mac")
        _check_declared(who, member, fabric, f"hosts[{place}]")
    for place, subnet in enumerate(wanted.subnets):
        if not _may_claim(who.scope, subnet, fabric.directory.vnets.values()):
            raise _forbidden(who, f"the subnet {subnet}", f"subnets[{place}]")


def _check_declared(who: Principal, member: Member, fabric: Fabric, field: str) -> None:
    """Addresses are held against all other hosts, and labels open what the policy allows them."""
    known = fabric.directory.member(member.mac)
    if set(member.labels) - set(known.labels if known is not None else ()):
        raise _forbidden(
            who, f"a new label of {member.name!r}, to which the policy may give rights", f"{field}.labels"
        )
    for ip in set(member.ips) - set(known.ips if known is not None else ()):
        user = fabric.network.host_by_ip(ip)
        theirs = user is not None and not sees_host(who, fabric, user.mac)
        if theirs or not _may_claim(who.scope or frozenset(), ip, fabric.directory.vnets.values()):
            raise _forbidden(who, f"the address {ip}", f"{field}.ips")


def _may_claim(scope: frozenset[str], subnet: str, vnets: Iterable[VNet]) -> bool:
    wanted = ipaddress.ip_network(subnet)
    claimed = [
        (vnet.name, network) for vnet in vnets for network in map(ipaddress.ip_network, vnet.subnets)
        if network.version == wanted.version and network.overlaps(wanted)
    ]  # fmt: skip
    if any(name not in scope for name, _ in claimed):
        return False
    inside = any(wanted.subnet_of(network) for _, network in claimed)  # type: ignore[arg-type]  # of one version
    return inside or DEFAULT_VNET in scope


def check_priority(who: Principal, priority: int) -> None:
    """Raise a 403 problem where a stitch would be more important than the caller may have one.

    It would take the place of stitches of others, also of those that the caller does not see.
    """
    if priority > who.max_priority:
        raise Problem(
            Kind.FORBIDDEN,
            f"priority {priority} is above {who.max_priority}, the greatest of the token {who.name!r}: "
            "it could displace stitches of others",
            field="priority",
            remedy=f"ask for {who.max_priority} or less, or use a token for more; an admin makes one with "
            f"`lockstitch token create --max-priority {priority}`",
        )


def _forbidden(who: Principal, what: str, field: str) -> Problem:
    return Problem(
        Kind.FORBIDDEN,
        f"{what} is not within the scope of the token {who.name!r}, which is {listed(who.scope or frozenset())}",
        field=field,
        remedy="use a token without a scope, or one whose scope has it; an admin makes one",
    )
