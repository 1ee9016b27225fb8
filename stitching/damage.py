"""What the fabric has done to the path of a stitch."""

from __future__ import annotations

from dataclasses import dataclass

from stitching.network import LinkKey, Network, link_name, port_name, reverse
from stitching.stitch import Protection, StitchPath, VmRequest


@dataclass(frozen=True, slots=True)
class Damage:
    """Why a path is not what it should be.

    path_gone: something of the path itself is gone, and not only of its backup. lost: packets have no way left.
    """

    reason: str
    path_gone: bool = False
    lost: bool = False


def path_damage(request: VmRequest, path: StitchPath, network: Network) -> Damage | None:
    """What is wrong with the path of a stitch between two hosts, None where nothing is."""
    if (moved := _moved(request, path, network)) is not None:
        return Damage(moved, path_gone=True, lost=True)
    both_ways = request.both_ways or path.backup is not None
    gone = first_gone(path.links, network, both_ways=both_ways)
    if path.backup is None:
        if gone is not None:
            return Damage(gone_words(gone), path_gone=True, lost=True)
        wanting = request.protection is not Protection.NONE and path.links
        return Damage("it is not protected") if wanting else None
    spare_gone = first_gone(path.backup.links, network, both_ways=request.both_ways)
    if gone is not None and spare_gone is not None:
        return Damage(
            f"{gone_words(gone)}, and so is {gone_words(spare_gone)} of its backup", path_gone=True, lost=True
        )
    if gone is not None:
        return Damage(f"{gone_words(gone)}: it runs on its backup and is not protected", path_gone=True)
    if spare_gone is not None:
        return Damage(f"{gone_words(spare_gone)} of its backup: it is not protected")
    return None


def first_gone(links: tuple[LinkKey, ...], network: Network, *, both_ways: bool) -> LinkKey | None:
    """The first of these links that is not there any more."""
    for key in links:
        for needed in (key, reverse(key)) if both_ways else (key,):
            if needed not in network.links:
                return needed
    return None


def gone_words(key: LinkKey) -> str:
    """That a link is gone, for people."""
    return f"link {link_name(key)} is gone"


def _moved(request: VmRequest, path: StitchPath, network: Network) -> str | None:
    first, last = path.hops[0], path.hops[-1]
    ends = (
        (request.source_mac, (first.dpid, first.in_port)),
        (request.target_mac, (last.dpid, last.out_port)),
    )
    for mac, port in ends:
        host = network.hosts.get(mac)
        if host is not None and host.port != port:
            return f"host {mac} moved to {port_name(host.port)}"
    return None
