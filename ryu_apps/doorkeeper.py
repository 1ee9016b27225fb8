"""Lets switches in that are ours, and keeps those waiting that another controller keeps."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

from os_ken.controller.handler import MAIN_DISPATCHER

from ryu_apps.events import SwitchTaken
from ryu_apps.nameplate import CHECK_S, Claim, Names, Whose

log = logging.getLogger("lockstitch.channel")


class _Switch(Protocol):
    """What is used of a connection."""

    id: int | None
    claim: Claim | None

    def write_now(self, data: bytes) -> None: ...

    def set_state(self, state: str) -> None: ...

    def close(self) -> None: ...


class Doorkeeper:
    """Asks every switch whose it is before the apps hear of it, and goes on asking. Only on the channel's thread.

    Without names every switch is let in.
    """

    def __init__(self, names: Names | None, taken: Callable[[SwitchTaken], None]) -> None:
        self._names = names
        self._taken = taken

    def lets_in(self, switch: _Switch) -> bool:
        """Whether the apps may know of a switch; if that is not known yet, it is asked, and let in when it is."""
        if self._names is None or switch.id is None:
            return True
        if switch.claim is None:
            switch.claim = Claim(self._names, switch.id)
            switch.write_now(switch.claim.ask(time.monotonic()))
        return switch.claim.whose is Whose.OURS

    def look(self, switch: _Switch, now_s: float) -> bool:
        """Look now and then whether a switch has changed hands. Answers whether it is another's."""
        claim = switch.claim
        if claim is None:
            return False
        if now_s - claim.checked_s > CHECK_S:
            switch.write_now(claim.ask(now_s))
        return claim.whose is Whose.ANOTHERS

    def takes(self, switch: _Switch, message: Any) -> bool:
        """Take a message that says whose a switch is: false where it says something else."""
        claim = switch.claim
        if claim is None or not claim.is_answer(message):
            return False
        before = claim.whose
        switch.write_now(claim.take(message, time.monotonic()))
        if claim.whose is not before:
            self._changed(switch, claim, before)
        return True

    def _changed(self, switch: _Switch, claim: Claim, before: Whose) -> None:
        if claim.whose is Whose.OURS:
            if claim.refused is not None:
                log.warning("switch=%s unnamed reason=%s", switch, claim.refused)
            switch.set_state(MAIN_DISPATCHER)
        elif claim.whose is Whose.ANOTHERS:
            log.error("switch=%s standing_by reason=it %s", switch, claim.why)
        else:
            # What has changed hands starts over, with its ports and its tables as they are then.
            if before is Whose.OURS:
                log.error("switch=%s lost reason=another controller has put its name there", switch)
            switch.close()

    def complaints(self) -> list[str]:
        """For each switch that waits, why."""
        return self._names.complaints() if self._names is not None else []

    def left(self, switch: _Switch) -> None:
        """A connection is over, and the apps know."""
        claim = switch.claim
        if self._names is None or claim is None or claim.whose is Whose.OURS:
            return
        self._names.held.pop(claim.dpid, None)
        if claim.was_taken:
            self._taken(SwitchTaken(claim.dpid))
