"""What an agent would change on its node if it ran now, by its disk and the kernel; nothing is changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vte_agent.believing import Believed, Standing
from vte_agent.goals import Wished
from vte_agent.protocol.wanted import Transport
from vte_agent.tunnels.contract import Tunnels


@dataclass(frozen=True)
class Change:
    """One device: what is to happen to it ("make", "keep" or "remove"), which tunnel it is of, and why."""

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


def plan(believed: Believed, wished: Wished, transports: Mapping[Transport, Tunnels]) -> Plan:
    """What would change. Raises TunnelFailed where the kernel does not say what there is."""
    found = {device for tunnels in transports.values() for device in tunnels.found()}
    changes = []
    for goal in wished.goals.values():
        device, by = goal.spec.device, f"{goal.transport.value} from {goal.spec.local}"
        there = device in found
        why = f"{by} to serial {goal.serial}" + ("" if goal.peer is not None else ", whose key has not come yet")
        changes.append(Change("keep" if there else "make", device, goal.spec.name, why))
    wanted = {goal.spec.device for goal in wished.goals.values()}
    # Without a roll nobody knows what is wanted: what there is stays until one comes.
    unknown = believed.standing is Standing.NONE
    why = "stays until the signer's roll has come" if unknown else "nobody wants it"
    changes += [Change("keep" if unknown else "remove", device, "", why) for device in sorted(found - wanted)]
    generation = believed.wanted.generation if believed.wanted is not None else 0
    return Plan(generation, believed.standing, tuple(changes), (*believed.problems, *wished.problems))
