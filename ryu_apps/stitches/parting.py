"""Takes away stitches between hosts that may not be joined any more."""

from __future__ import annotations

from collections.abc import Iterable

from ryu_apps.stitches.life import Life
from ryu_apps.stitches.mending import Mender
from stitching.kinds import fixed_pairs
from stitching.policy.changes import forbidden
from stitching.policy.document import Policy
from stitching.policy.ruling import Ruling
from stitching.stitch import State
from stitching.vnet import Directory, VNet

AT_REST = (State.REQUESTED, State.FAILED)
"""States in which a stitch has no rules on any switch: what is forbidden then never comes to carry."""


class Parter:
    """Follows the policy, and which hosts are in which virtual network."""

    def __init__(self, life: Life, mender: Mender) -> None:
        self._life = life
        self._mender = mender

    def vnets_are(self, vnets: Iterable[VNet]) -> None:
        """Go by these virtual networks."""
        planner = self._life.planner
        planner.vnets_are(Directory.of(vnets))
        if planner.informed:
            self.policy_is(planner.ruling.policy, planner.ruling.time_s)

    def policy_is(self, policy: Policy, time_s: float) -> None:
        """Go by this policy, and by this time, which says what of it is in force."""
        planner = self._life.planner
        planner.ruling = Ruling(policy, planner.directory, time_s, planner.network.encrypted_ports)
        self.part()
        # Paths between two hosts are hurt by the fabric alone.
        self._mender.look_after_all(s for s in self._life.book.active if fixed_pairs(s.request) is None)

    def part(self) -> None:
        """Take away what is forbidden. A host may go to another virtual network also by its address."""
        life = self._life
        active = life.book.active
        for number, reason in list(forbidden(life.planner.ruling, life.planner.network, active)):
            stitch = life.book[number]
            if stitch.state in AT_REST:
                life.end(stitch, State.REJECTED, reason)
            else:
                life.terminate(stitch, reason)
