"""Whom the overlay trusts, by the signer's word, and the gate at which members come in."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ryu_apps.overlay.authority import Authority
from ryu_apps.overlay.gate import Gate, GateError
from ryu_apps.overlay.hosting import GateListener
from ryu_apps.overlay.members import Members
from ryu_apps.overlay.signing.client import SignerClient
from ryu_apps.overlay.signing.requests import RollNow
from ryu_apps.overlay.signing.watching import MembersWatch, RollWatch
from vte_agent.protocol.base import PublicKey
from vte_agent.protocol.members import Roll
from vte_agent.protocol.signed import NotSigned, Signed

log = logging.getLogger("lockstitch.overlay")

GATE_AGAIN_S = 5.0
"""How often a gate is tried to be opened whose port is taken."""


@dataclass(frozen=True)
class Doors:
    """Where the overlay listens for sites, where its signer does, and the addresses by which sites call."""

    host: str
    port: int
    signer: Path
    addresses: tuple[str, ...] = ()

    @property
    def called_at(self) -> tuple[str, ...]:
        """As agents call it: what was given for that, or where it listens."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.addresses or (f"{host}:{self.port}",)


@dataclass(frozen=True)
class _Believed:
    """A roll, whose it is, and what it says."""

    signed: Signed
    policy_key: PublicKey
    roll: Roll


class Trust:
    """The signer's newest roll and list of members, and the gate, which is open once it is known whom to trust.

    hear_roll, hear_members: called by threads of their own with what the signer says; it counts once `take_roll`
    or `take_members` was called with it. All else is for one thread.
    """

    def __init__(
        self,
        doors: Doors,
        authority: Authority,
        listener: GateListener,
        hear_roll: Callable[[RollNow], None],
        hear_members: Callable[[tuple[Signed, ...]], None],
    ) -> None:
        self._doors, self._authority, self._listener = doors, authority, listener
        self._client = SignerClient(doors.signer)
        self._roll_watch = RollWatch(self._client, hear_roll)
        self._members_watch = MembersWatch(self._client, hear_members)
        self._believed: _Believed | None = None
        self._listed: tuple[Signed, ...] | None = None
        self._problems: dict[str, str] = {}
        self._gate_again_s = float("-inf")
        self.members = Members()
        self.gate: Gate | None = None

    def start(self) -> None:
        """Begin to ask the signer."""
        self._roll_watch.start()
        self._members_watch.start()

    def stop(self) -> None:
        """Close the gate, and ask nobody any more."""
        self._roll_watch.stop()
        self._members_watch.stop()
        if self.gate is not None:
            self.gate.stop()

    @property
    def port(self) -> int:
        """Where sites are listened for; 0 while they are not yet."""
        return self.gate.port if self.gate is not None else 0

    @property
    def connected(self) -> frozenset[int]:
        """Whose channel is there."""
        return self.gate.connected() if self.gate is not None else frozenset()

    @property
    def roll(self) -> Roll | None:
        """What the newest roll says; None before the first."""
        return self._believed.roll if self._believed is not None else None

    @property
    def followed(self) -> tuple[PublicKey, ...]:
        """The controllers that sites follow, by the newest roll."""
        return self._believed.roll.controllers if self._believed is not None else ()

    @property
    def ruling(self) -> Signed | None:
        """The newest roll as it was signed; None while it is not known who is a member: all would look gone."""
        return self._believed.signed if self._believed is not None and self._listed is not None else None

    @property
    def problems(self) -> tuple[str, ...]:
        """What keeps sites out, each with its remedy."""
        found = [
            *self._problems.values(),
            self.members.problem,
            self._roll_watch.problem,
            self._members_watch.problem,
        ]
        if self.gate is not None:
            found += [f"serial {serial}: {what}" for serial, what in self.gate.problems().items()]
        return tuple(one for one in found if one)

    def take_roll(self, now: RollNow) -> frozenset[int]:
        """The signer has a roll; returns who has left. Whom it revokes is cut before anything else is done."""
        try:
            roll = now.roll.open(Roll, [now.policy_key])
        except NotSigned as error:
            self._problems["roll"] = f"the signer's roll is none: {error}"
            return frozenset()
        self._problems.pop("roll", None)
        self._believed = _Believed(now.roll, now.policy_key, roll)
        if self.gate is None:
            self.open_gate()
        else:
            self.gate.publish_roll(now.roll)
        self._members_watch.look()
        return self._take()

    def take_members(self, listed: tuple[Signed, ...]) -> frozenset[int]:
        """The signer says who is a member; returns who has left."""
        self._listed = listed
        return self._take()

    def came(self, serial: int) -> None:
        """Somebody has come in; one who is not known yet is asked for."""
        if serial not in self.members.open:
            self._members_watch.look()

    def seen_at(self, serial: int) -> str | None:
        """Where a site's channel is seen to come from."""
        return self.gate.address(serial) if self.gate is not None else None

    def look(self) -> None:
        """Try to open the gate again where it is time to."""
        if time.monotonic() >= self._gate_again_s:
            self._gate_again_s = time.monotonic() + GATE_AGAIN_S
            self.open_gate()

    def open_gate(self) -> None:
        """Listen for sites, once it is known whom to trust."""
        if self.gate is not None or self._believed is None:
            return
        gate = Gate(
            self._authority,
            self._believed.policy_key,
            self._client.admit,
            self._listener,
            member_of=lambda serial: self.members.open.get(serial),
        )
        try:
            gate.start(self._doors.host, self._doors.port)
        except GateError as error:
            self._problems["gate"] = f"{error}; it is tried again: end what listens there"
            return
        self._problems.pop("gate", None)
        self.gate = gate
        gate.publish_roll(self._believed.signed)
        log.info("event=overlay_open port=%d", gate.port)

    def _take(self) -> frozenset[int]:
        """Who is a member by the newest list and the newest roll, whichever came last."""
        if self._listed is None or self._believed is None:
            return frozenset()
        return self.members.take(self._listed, self._believed.roll, self._believed.policy_key)
