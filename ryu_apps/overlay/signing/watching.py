"""Waiting for the signer, each in a thread of its own: one that hangs holds up nobody else."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from ryu_apps.overlay.signing import requests as ask
from ryu_apps.overlay.signing.client import SignerClient, SignerGone
from ryu_apps.overlay.signing.requests import Refusal
from vte_agent.protocol.members import Roll
from vte_agent.protocol.signed import Signed

log = logging.getLogger("lockstitch.overlay")

MEMBERS_AGAIN_S = 5.0

_RETRY_S = 1.0


class RollWatch:
    """Waits for later rolls in a thread of its own, and tells of each as soon as the signer has it."""

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
        epoch: int | None = None
        while not self._stopping.is_set():
            try:
                now = self._client.roll(epoch)
            except (Refusal, SignerGone) as error:
                if not self.problem:
                    log.warning("signer=%s", error)
                self.problem = str(error)
                self._stopping.wait(_RETRY_S)
                continue
            self.problem = ""
            if now.roll != known and not self._stopping.is_set():
                known, epoch = now.roll, epoch_of(now)
                self._tell(now)


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


def epoch_of(now: ask.RollNow) -> int:
    """The epoch of the signer's roll."""
    return now.roll.open(Roll, [now.policy_key]).epoch
