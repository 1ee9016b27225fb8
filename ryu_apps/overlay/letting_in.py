"""A node without a certificate asks to be let in: how often, and what has to fit before the signer is asked."""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from collections.abc import Callable
from concurrent.futures import Executor

from ryu_apps.overlay.authority import Authority, BadCsr, csr_key
from ryu_apps.overlay.signing.client import SignerGone
from ryu_apps.overlay.signing.requests import Admitted, Refusal
from ryu_apps.rest.access.limits import Buckets
from vte_agent.protocol.base import Message, Serial
from vte_agent.protocol.enrollment import Enroll, Enrolled, Refused
from vte_agent.protocol.members import Member

log = logging.getLogger("lockstitch.overlay")

Admit = Callable[[Enroll], Admitted]
"""Asks the signer; may block. Raises Refusal, SignerGone."""

_TRIES_PER_S, _TRIES_AT_ONCE = 0.5, 20.0
_RENEWALS_PER_S, _RENEWALS_AT_ONCE = 1 / 60, 5.0


class LettingIn:
    """Answers each that asks. For one thread."""

    def __init__(self, authority: Authority, admit: Admit) -> None:
        self._authority = authority
        self._admit = admit
        self._tries = Buckets(_TRIES_PER_S, _TRIES_AT_ONCE, time.monotonic)
        self._renewals = Buckets(_RENEWALS_PER_S, _RENEWALS_AT_ONCE, time.monotonic)

    def may_renew(self, serial: Serial) -> bool:
        """Whether an agent does not ask too often."""
        return self._renewals.take(str(serial)) is None

    def too_often(self, address: str) -> Refused | None:
        """What is to be told where too many try from an address; this was one more."""
        wait_s = self._tries.take(address)
        return (
            Refused(reason=f"too many try from {address}; come back in {wait_s} s") if wait_s is not None else None
        )

    async def answer(self, asked: Enroll, address: str, pool: Executor) -> Message:
        """What somebody at this address is told: in, or why not."""
        if (refused := self.too_often(address)) is not None:
            return refused
        try:
            # Before the signer is asked: a token is not used up for a request that comes to nothing.
            csr_key(asked.csr)
            admitted = await asyncio.get_running_loop().run_in_executor(pool, self._admit, asked)
            return self._enrolled(asked, admitted)
        except (BadCsr, Refusal) as error:
            log.warning("address=%s was not let in: %s", address, error)
            return Refused(reason=str(error)[:500])
        except SignerGone as error:
            log.warning("address=%s could not be let in: %s", address, error)
            return Refused(reason="the signer cannot be asked now; come back later with the same token")

    def _enrolled(self, asked: Enroll, admitted: Admitted) -> Enrolled:
        member = member_in(admitted)
        return Enrolled(
            certificate=self._authority.sign_client(asked.csr, member.serial, member.name),
            authority=self._authority.pem,
            member=admitted.member,
            roll=admitted.roll,
        )


def member_in(admitted: Admitted) -> Member:
    """Who was admitted, as the signer says over its own socket."""
    return Member.model_validate_json(base64.b64decode(admitted.member.payload))
