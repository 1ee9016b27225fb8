"""A member whose certificate has expired gets another one, by its identity: that lasts as long as it is a member.

What it signs is a challenge of its own connection, so what was said once opens nothing again; and whoever hears it
has a certificate for a key that is on the node alone.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from ryu_apps.overlay.authority import Authority, BadCsr
from ryu_apps.rest.access.limits import Buckets
from vte_agent.protocol.base import Serial
from vte_agent.protocol.enrollment import Claim, ClaimFrame, Hex64, Refused, Renewed
from vte_agent.protocol.members import Member
from vte_agent.protocol.signed import NotSigned

log = logging.getLogger("lockstitch.overlay")

_CLAIMS_PER_S, _CLAIMS_AT_ONCE = 20.0, 200.0
"""Of one address, behind which there may be many sites that have all been away for as long."""


class ComingBack:
    """Decides on each claim. For one thread.

    member_of: who is a member with this serial today; may_renew: whether one does not ask too often.
    """

    def __init__(
        self,
        authority: Authority,
        member_of: Callable[[Serial], Member | None],
        may_renew: Callable[[Serial], bool],
        clock: Callable[[], float],
    ) -> None:
        self._authority, self._member_of, self._may_renew = authority, member_of, may_renew
        self._clock = clock
        self._claims = Buckets(_CLAIMS_PER_S, _CLAIMS_AT_ONCE, time.monotonic)

    def why_not(self, serial: Serial, address: str) -> Refused | None:
        """Why one that says it is this member is not challenged; None where it is."""
        wait_s = self._claims.take(address)
        if wait_s is not None:
            return Refused(reason=f"too many come back from {address} at once; come back in {wait_s} s")
        member = self._member_of(serial)
        if member is None:
            return self._refused(serial, address, f"serial {serial} is no member that is known here now")
        if member.not_after <= self._clock():
            return self._refused(
                serial, address, f"the membership of {member.name} has expired; enroll with a new token"
            )
        return None

    def answer(self, frame: ClaimFrame, serial: Serial, nonce: Hex64, address: str) -> Renewed | Refused:
        """Another certificate for who was challenged so, or why not."""
        member = self._member_of(serial)
        try:
            if member is None:
                raise NotSigned(f"serial {serial} is a member no more")
            claim = frame.claim.open(Claim, [member.identity])
            if (claim.serial, claim.nonce) != (serial, nonce):
                raise NotSigned("what is signed is no answer to this challenge")
            if not self._may_renew(serial):
                return Refused(reason="certificates are asked for too often; wait a minute")
            signed = self._authority.sign_client(claim.csr, member.serial, member.name)
        except (NotSigned, BadCsr) as error:
            return self._refused(serial, address, str(error))
        log.info("serial=%d name=%s address=%s has another certificate", serial, member.name, address)
        return Renewed(certificate=signed)

    def _refused(self, serial: Serial, address: str, why: str) -> Refused:
        log.warning("serial=%d address=%s was not let in again: %s", serial, address, why)
        return Refused(reason=why)


def nobody(_: Serial) -> Member | None:
    """Where it is not known who is a member."""
    return None
