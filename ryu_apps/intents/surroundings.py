"""What the intents are held against: the fabric, the virtual networks, the policy and the stitches there are."""

from __future__ import annotations

from collections.abc import Callable

from ryu_apps.intents.transfer_book import TransferBook
from stitching.intents.world import World, groups_of
from stitching.network import Network
from stitching.policy.document import NO_POLICY, Policy
from stitching.policy.ruling import Ruling
from stitching.stitch import Stitch
from stitching.vnet import Directory


class Surroundings:
    """What is known. Each of the methods that take something in says whether that is of any consequence."""

    def __init__(self, transfers: TransferBook, clock: Callable[[], float]) -> None:
        self._transfers = transfers
        self._clock = clock
        self._network: Network | None = None
        self._directory: Directory | None = None
        self._policy: tuple[Policy, float] = (NO_POLICY, 0.0)
        self.stitches: tuple[Stitch, ...] = ()

    @property
    def knows_fabric(self) -> bool:
        """Whether the fabric was told of."""
        return self._network is not None

    @property
    def is_whole(self) -> bool:
        """Whether all was told of that has to be.

        Before it is known who is in a network, stitches of those who seem to be in none would be taken away.
        """
        return self._network is not None and self._directory is not None

    def network(self, network: Network) -> bool:
        """The fabric is this now."""
        known, self._network = self._network or Network(), network
        return known.links.keys() != network.links.keys() or known.hosts.keys() != network.hosts.keys()

    def directory(self, directory: Directory) -> bool:
        """Hosts are in these virtual networks now."""
        known, self._directory = self._directory or Directory.of(()), directory
        return directory != known

    def policy(self, policy: Policy, time_s: float) -> bool:
        """The policy is this now, with the verdicts of that time."""
        before, self._policy = self._policy, (policy, time_s)
        return before != self._policy

    def world(self) -> World:
        """All of it, as documents are compiled with it."""
        network, directory = self._network or Network(), self._directory or Directory.of(())
        policy = self._policy[0]
        return World(
            network,
            directory,
            groups_of(policy, network, directory) if policy.groups else {},
            self._clock(),
            self.stitches,
            self._transfers.expected,
            self._transfers.progress,
        )

    def ruling(self) -> Ruling:
        """What the policy says now."""
        policy, time_s = self._policy
        return Ruling(policy, self._directory or Directory.of(()), time_s)
