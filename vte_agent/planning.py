"""What an agent would change on its node if it ran now, by its disk and the kernel; nothing is changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vte_agent.believing import Believed, Standing
from vte_agent.bridging.difference import LinkDevice
from vte_agent.bridging.vxlan import link_device
from vte_agent.goals import Wished
from vte_agent.protocol.transport import Transport
from vte_agent.tunnels.contract import Tunnels
from vte_agent.tunnels.devices import device_name


@dataclass(frozen=True)
class Change:
    """One device: what is to happen to it ("make", "keep" or "remove"), which tunnel or link it is of, and why."""

    what: str
    device: str
    tunnel: str
    why: str


@dataclass(frozen=True)
class Plan:
    """The changes; generation of the wanted state that they are for (0: there is none); what stands in the way."""

    generation: int
    standing: Standing
    changes: tuple[Change, ...]
    problems: tuple[str, ...]

    @property
    def is_done(self) -> bool:
        """Whether nothing would change."""
        return all(change.what == "keep" for change in self.changes)


def planned_links(believed: Believed, node: str, there: Mapping[str, LinkDevice]) -> tuple[Change, ...]:
    """What would happen to the links of the bridge; `there` are their devices."""
    known = believed.wanted if believed.is_known and believed.standing is not Standing.OUT else None
    links = known.links if known is not None else ()
    wanted = {link_device(link, node): link for link in links}
    changes = [
        Change(
            "keep" if device in there else "make", device, link.name, f"a link from {link.local} to {link.remote}"
        )
        for device, link in wanted.items()
    ]
    left = sorted(there.keys() - wanted.keys())
    return (*changes, *(_surplus(believed, one, there[one].name) for one in left))


def plan(
    believed: Believed,
    wished: Wished,
    transports: Mapping[Transport, Tunnels],
    node: str,
    links: tuple[Change, ...] = (),
) -> Plan:
    """What would change at a node (its serial). Raises TunnelFailed where the kernel says not what there is."""
    found = {device for tunnels in transports.values() for device in tunnels.found()}
    changes = []
    for goal in wished.goals.values():
        device, by = goal.spec.device, f"{goal.transport.value} from {goal.spec.local}"
        there = device in found
        why = f"{by} to serial {goal.serial}" + ("" if goal.peer is not None else ", whose key has not come yet")
        changes.append(Change("keep" if there else "make", device, goal.spec.name, why))
    wanted = {goal.spec.device for goal in wished.goals.values()}
    banned = {device_name(name, node): name for name in believed.banned}
    for device in sorted(found - wanted):
        if device in banned:
            changes.append(Change("remove", device, banned[device], "whom it leads to is revoked"))
        else:
            changes.append(_surplus(believed, device, ""))
    return Plan(believed.generation, believed.standing, (*changes, *links), (*believed.problems, *wished.problems))


def _surplus(believed: Believed, device: str, name: str) -> Change:
    if believed.names_all:
        return Change("remove", device, name, "nobody wants it")
    return Change("keep", device, name, "stays until it is known what is wanted")
