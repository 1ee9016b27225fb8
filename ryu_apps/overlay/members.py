"""Who is a member, by what the signer said last."""

from __future__ import annotations

from collections.abc import Iterable

from vte_agent.protocol.base import PublicKey
from vte_agent.protocol.members import Member, Roll
from vte_agent.protocol.signed import NotSigned, Opened, Signed


class Members:
    """All members by serial: as the policy key signed them (`signed`), and what that says (`open`)."""

    def __init__(self) -> None:
        self.signed: dict[int, Signed] = {}
        self.open: dict[int, Member] = {}
        self.problem = ""
        """Of what was listed last; "" where all is well."""
        self._opened = Opened()

    def take(self, listed: Iterable[Signed], roll: Roll, policy_key: PublicKey) -> frozenset[int]:
        """These and no others, but for those that the roll revokes and who have expired; returns who has left.

        Who had expired when the signer made the roll has: its clock counts, not that of this machine.
        """
        self.problem = ""
        signed, members = {}, {}
        for one in listed:
            try:
                member = self._opened.open(one, Member, policy_key)
            except NotSigned as error:
                self.problem = f"a member is none: {error}"
                continue
            if member.serial not in roll.revoked and member.not_after > roll.issued_at:
                signed[member.serial], members[member.serial] = one, member
        self._opened.end_turn()
        left = self.open.keys() - members.keys()
        self.signed, self.open = signed, members
        return frozenset(left)
