"""Waiting for the signer, each in a thread of its own: one that hangs holds up nobody else."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from ryu_apps.overlay.signing import requests as ask
from ryu_apps.overlay.signing.client import SignerClient, SignerGone
from ryu_apps.overlay.signing.requests import Refusal
from vte_agent.protocol.members import Roll
from vte_agent.protocol.signed import Signed

log = logging.getLogger("lockstitch.overlay")

MEMBERS_AGAIN_S = 5.0

GATHER_S = 0.5
"""So long a roll waits for those that follow, where nobody is put out and the controllers are the same."""

_RETRY_S = 1.0


class RollWatch:
    """Waits for later rolls in a thread of its own.

    It tells of those that put somebody out, or name other controllers, as soon as the signer has them. One that
    only says what a new member holds waits for others: every agent has to hear each that is told, and sites are
    let in by the hundred.
    """

    def __init__(self, client: SignerClient, tell: Callable[[ask.RollNow], None]) -> None:
        self._client = client
        self._tell = tell
        self._stopping = threading.Event()
        self.problem = ""
        """Why no roll comes; "" where all is well."""

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._run, name="overlay-roll", daemon=True).start()

    def stop(self) -> None:
        """Tell of nothing any more."""
        self._stopping.set()

    def _run(self) -> None:
        known: Signed | None = None
        said: Roll | None = None
        while not self._stopping.is_set():
            try:
                now = self._client.roll(said.epoch if said is not None else None)
                if said is not None:
                    now = self._gathered(now, said)
            except (Refusal, SignerGone) as error:
                if not self.problem:
                    log.warning("signer=%s", error)
                self.problem = str(error)
                self._stopping.wait(_RETRY_S)
                continue
            self.problem = ""
            if now.roll != known and not self._stopping.is_set():
                known, said = now.roll, said_by(now)
                self._tell(now)

    def _gathered(self, now: ask.RollNow, before: Roll) -> ask.RollNow:
        give_up_s = time.monotonic() + GATHER_S
        while _can_wait(roll := said_by(now), before):
            left_s = give_up_s - time.monotonic()
            later = self._client.roll(roll.epoch, left_s) if left_s > 0 else now
            if later.roll == now.roll:
                break
            now = later
        return now


def _can_wait(roll: Roll, before: Roll) -> bool:
    """Whether there is a later roll, and nobody waits for it."""
    same = set(roll.revoked) <= set(before.revoked) and roll.controllers == before.controllers
    return same and roll.epoch > before.epoch


class MembersWatch:
    """Tells who is a member: each few seconds, and soon after it was asked to `look`."""

    def __init__(self, client: SignerClient, tell: Callable[[tuple[Signed, ...]], None]) -> None:
        self._client = client
        self._tell = tell
        self._look = threading.Event()
        self._stopping = False
        self.problem = ""
        """Why nobody is known to have come or gone; "" where all is well."""

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._run, name="overlay-members", daemon=True).start()

    def look(self) -> None:
        """Somebody may have come or gone; returns at once."""
        self._look.set()

    def stop(self) -> None:
        """Tell of nothing any more."""
        self._stopping = True
        self._look.set()

    def _run(self) -> None:
        while not self._stopping:
            # Before it is asked: who comes while it answers may be missing from the answer.
            self._look.clear()
            try:
                members = tuple(self._client.members())
            except (Refusal, SignerGone) as error:
                self.problem = str(error)
            else:
                self.problem = ""
                if not self._stopping:
                    self._tell(members)
            self._look.wait(MEMBERS_AGAIN_S)


def said_by(now: ask.RollNow) -> Roll:
    """What the signer's roll says."""
    return now.roll.open(Roll, [now.policy_key])
