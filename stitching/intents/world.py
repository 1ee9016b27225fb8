"""What intents are compiled on: the fabric and its names, what is free, what is expected, what was carried."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from stitching.kinds import links_to_reserve
from stitching.network import Host, LinkKey, Network
from stitching.policy.decision import means, party_of
from stitching.policy.document import Policy
from stitching.stitch import ENDED, Stitch
from stitching.vnet import Directory

ORIGIN = "intent"
"""The origin of stitches that intents made; nobody else can give a stitch this one."""

NAME_LABEL, PART_LABEL = "intent", "part"
"""The labels by which a stitch says which part of which intent it is."""

Labels = tuple[tuple[str, str], ...]
"""Those of a stitch: (name, value), in order of name."""


@dataclass(frozen=True, eq=False)
class Expected:
    """What links are expected to carry: mbps[i, k] is of link_keys[i] in the step that ends (k+1) steps after."""

    after_s: float
    step_s: float
    link_keys: tuple[LinkKey, ...]
    mbps: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Progress:
    """How a transfer goes in the window that ends at deadline_s: what was carried, and what is planned.

    It runs from begin_s to end_s, at rate_mbps where it has a stitch. Times are seconds since the epoch.
    """

    deadline_s: float
    carried_mbit: float = 0.0
    begin_s: float | None = None
    end_s: float | None = None
    rate_mbps: float | None = None


@dataclass(frozen=True)
class World:
    """Everything beside the document that decides what is wanted.

    groups are the MACs of hosts by group; progress is by the name of a transfer.
    """

    network: Network = field(default_factory=Network)
    directory: Directory = field(default_factory=lambda: Directory.of(()))
    groups: Mapping[str, frozenset[str]] = field(default_factory=lambda: MappingProxyType({}))
    now_s: float = 0.0
    stitches: tuple[Stitch, ...] = ()
    expected: Expected | None = None
    progress: Mapping[str, Progress] = field(default_factory=lambda: MappingProxyType({}))

    @cached_property
    def free_mbps(self) -> Mapping[LinkKey, float]:
        """What each link of known capacity has left beside stitches that are of no intent."""
        return self._free(stitch for stitch in self.stitches if not is_ours(stitch))

    @cached_property
    def hosts(self) -> Mapping[str, Host]:
        """Every host that is known or declared, by MAC."""
        return hosts_in(self.network, self.directory)

    @cached_property
    def names(self) -> Mapping[str, str]:
        """What people call every host, by MAC."""
        return {mac: self.directory.name_of(host) for mac, host in self.hosts.items()}

    @cached_property
    def members(self) -> Mapping[str, tuple[str, ...]]:
        """The MACs of the hosts of every virtual network that has any, in order."""
        found: dict[str, list[str]] = defaultdict(list)
        for mac in sorted(self.hosts):
            found[self.directory.vnet_of(self.hosts[mac])].append(mac)
        return {vnet: tuple(macs) for vnet, macs in found.items()}

    def free_beside(self, intent: str, leaving: Collection[Labels] = ()) -> Mapping[LinkKey, float]:
        """The same beside all stitches but those of one intent, and those of intents that have these labels."""

        def counts(stitch: Stitch) -> bool:
            labels = stitch.request.labels
            return not is_ours(stitch) or ((NAME_LABEL, intent) not in labels and labels not in leaving)

        return self._free(filter(counts, self.stitches))

    def _free(self, stitches: Iterable[Stitch]) -> Mapping[LinkKey, float]:
        links = self.network.links.items()
        free = {key: link.capacity_mbps for key, link in links if link.capacity_mbps is not None}
        for stitch in stitches:
            if stitch.path is None or stitch.state in ENDED:
                continue
            for key in links_to_reserve(stitch.request, stitch.path):
                if key in free:
                    free[key] = max(0.0, free[key] - stitch.request.bandwidth_mbps)
        return free


def is_ours(stitch: Stitch) -> bool:
    """Whether an intent made this stitch."""
    return stitch.request.origin == ORIGIN


def hosts_in(network: Network, directory: Directory) -> dict[str, Host]:
    """Every host that is known or declared, by MAC; one that was not seen is on port 0 of switch 0."""
    declared = {m.mac: Host(m.mac, 0, 0) for vnet in directory.vnets.values() for m in vnet.members}
    return {**declared, **network.hosts}


def groups_of(policy: Policy, network: Network, directory: Directory) -> dict[str, frozenset[str]]:
    """The MACs of the hosts that each group of a policy means."""
    parties = [party_of(host, directory) for host in hosts_in(network, directory).values()]
    return {
        name: frozenset(party.mac for party in parties if means(group.selectors, party))
        for name, group in policy.groups.items()
    }
