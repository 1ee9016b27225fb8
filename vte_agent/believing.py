"""What the agent believes of what controllers tell it, and remembers so that nothing old comes back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, TypeVar

from pydantic import Field, ValidationError

from vte_agent.held import Allowed, allowed
from vte_agent.keeping import Keeping
from vte_agent.membership import ROLL_FILE, Membership
from vte_agent.protocol.base import Generation, Message, Name, Prefix, PublicKey, Serial
from vte_agent.protocol.members import Member, Roll, TunnelKey, check_member, checked_key
from vte_agent.protocol.signed import NotSigned, Opened, Signed
from vte_agent.protocol.wanted import Wanted, WantedTunnel

_M = TypeVar("_M", bound=Message)

WANTED_FILE = "wanted.json"
ACCEPTED_FILE = "accepted.json"
HIGHEST_FILE = "highest.json"
GUARDED_FILE = "guarded.json"

MOST_GUARDED = 16_384
"""Prefixes that are kept from leaving in the clear; a state that would make them more is refused."""

_CLOCK_BEHIND_S = 60.0


class NotBelieved(ValueError):
    """What came is not carried out; the message says why."""


class Older(NotBelieved):
    """It was signed by whom it has to be, before something that is known."""


class Standing(StrEnum):
    """How things are with the roll. EXPIRED: what runs goes on, nobody new is taken. OUT: this node is revoked."""

    NONE = "none"
    CURRENT = "current"
    EXPIRED = "expired"
    OUT = "out"


class _Accepted(Message):
    """Who was accepted by a current roll: who stays when it expires. tunnels: to whom each led."""

    peers: tuple[Serial, ...] = ()
    tunnels: Mapping[Name, Serial] = {}


class _Highest(Message):
    """The latest that was taken: apart, as nothing older counts even where that itself is damaged."""

    epoch: Generation = 0
    generation: Generation = 0


class _Guarded(Message):
    """All prefixes that were ever wanted over tunnels."""

    prefixes: Annotated[tuple[Prefix, ...], Field(max_length=MOST_GUARDED)] = ()


@dataclass(frozen=True)
class Believed:
    """What is to be carried out now. keys: the other end's, by tunnel; a tunnel without one still waits for it.

    wanted None: it is not known what is wanted, and what there is stays; but for tunnels that are `banned`, which
    are known to lead to somebody who is revoked. It is without what no controller may want (held.py). tunnels are
    those of `wanted` that lead to accepted peers.
    guarded: prefixes that never leave but by tunnels. seen: the highest generation that was ever taken.
    """

    standing: Standing
    wanted: Wanted | None
    peers: Mapping[Serial, Member] = field(default_factory=dict)
    tunnels: tuple[WantedTunnel, ...] = ()
    keys: Mapping[Name, PublicKey] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    guarded: frozenset[Prefix] = frozenset()
    banned: frozenset[Name] = frozenset()
    seen: Generation = 0

    @property
    def is_known(self) -> bool:
        """Whether it is known what is wanted; where not, routes, classes and filters stay as they are."""
        return self.wanted is not None and self.standing is not Standing.NONE

    @property
    def names_all(self) -> bool:
        """Whether there shall be no tunnels and links but these: one that is out has none, whatever is wanted."""
        return self.is_known or self.standing is Standing.OUT

    @property
    def generation(self) -> Generation:
        """Of what is carried out; where that is not known the highest there was, for controllers to go beyond."""
        return self.wanted.generation if self.wanted is not None else self.seen


class Believer:
    """Judges rolls and wanted states. For one thread; what it cannot store it goes by all the same."""

    def __init__(self, membership: Membership, keeping: Keeping, clock: Callable[[], float] = time.time) -> None:
        """Takes up what was believed when the agent ended. Raises NotSigned, CannotKeep."""
        self._policy_key = membership.policy_key
        self._own = membership.open()
        self._keeping = keeping
        self._clock = clock
        self._roll: Roll | None = None
        self._wanted: Wanted | None = None
        self._signed_wanted: Signed | None = None
        self._trouble: dict[str, str] = {}
        self._inner_roll = ""
        self._kept: dict[str, Message] = {}
        self._opened = Opened()
        self._allowed: tuple[Wanted, Roll, Allowed] | None = None
        self._ranges_then: tuple[Prefix, ...] = ()
        """Where tunnels have had their addresses since it was taken: what runs goes on with another roll."""
        self._accepted = self._read(ACCEPTED_FILE, _Accepted())
        self._highest = self._read(HIGHEST_FILE, _Highest())
        self._guarded = frozenset(self._read(GUARDED_FILE, _Guarded()).prefixes)
        self._resume()

    @property
    def own(self) -> Member:
        """The member that it belongs to."""
        return self._own

    @property
    def generation(self) -> Generation:
        """Of the wanted state that is held; 0 where none is."""
        return self._wanted.generation if self._wanted is not None else 0

    def take_roll(self, signed: Signed) -> bool:
        """Take a roll; whether it is another one than before. Raises NotBelieved.

        One that has expired is taken where it is a later one: whom it revokes is out, and nobody new comes in.
        """
        try:
            roll = signed.open(Roll, [self._policy_key])
        except NotSigned as error:
            raise NotBelieved(str(error)) from error
        known = self._roll
        if roll.epoch < self._highest.epoch:
            raise Older(f"a roll of epoch {roll.epoch} is older than {self._highest.epoch}, which is known")
        if known is not None and roll.epoch == known.epoch:
            if roll != known:
                raise NotBelieved(
                    f"there are two rolls of epoch {roll.epoch}: the signer's ledger went back in time"
                )
            return False
        self._roll = roll
        self._ranges_then = tuple(dict.fromkeys((*self._ranges_then, *roll.ranges)))
        if self._wanted is None:
            self._take_up_wanted(roll)
        self._know(epoch=roll.epoch, prefixes=self._routed())
        self._remember()
        self._put(ROLL_FILE, signed)
        return True

    def take_wanted(self, signed: Signed) -> bool:
        """Take a wanted state; whether it is another one than before. Raises NotBelieved."""
        if self._roll is None:
            raise NotBelieved("no roll has come yet that says which controllers to follow")
        if signed == self._signed_wanted:
            return False
        try:
            wanted = signed.open(Wanted, self._roll.controllers)
        except NotSigned as error:
            raise NotBelieved(str(error)) from error
        if wanted.serial != self._own.serial:
            raise NotBelieved(f"this is the wanted state of serial {wanted.serial}, not of {self._own.serial}")
        highest = self._highest.generation
        # The very one that was taken last is taken again where it was lost.
        if wanted.generation < highest or wanted.generation == self.generation:
            raise Older(f"generation {wanted.generation} is not above {highest}, which was taken")
        prefixes = {prefix for route in wanted.routes for prefix in route.prefixes}
        # Whether a member has them: by a later roll one may.
        if len(self._guarded | prefixes) > MOST_GUARDED:
            raise NotBelieved(
                f"more than {MOST_GUARDED} prefixes have been wanted over tunnels; "
                "'vte-agent clean' forgets those that are not any more"
            )
        self._wanted, self._signed_wanted, self._ranges_then = wanted, signed, self._roll.ranges
        # Before the state itself: whatever becomes of that, what it has raised holds.
        self._know(generation=wanted.generation, prefixes=self._routed())
        self._remember()
        self._put(WANTED_FILE, signed)
        self._inner_roll = ""
        try:
            self.take_roll(wanted.roll)
        except Older:
            # No fault: this state was written before the roll that is known, by which it is judged.
            pass
        except NotBelieved as error:
            self._inner_roll = f"the roll in the wanted state: {error}"
        return True

    def judge(self) -> Believed:
        """What is to be carried out, by the roll and the time as they are now."""
        self._keeping.flush()
        problems = [*self._trouble.values(), *self._keeping.problems, *filter(None, [self._inner_roll])]
        standing, now_s = self._standing(), self._now_s()
        if standing is Standing.EXPIRED:
            problems.append(
                "the roll has expired: what runs goes on, nobody new is accepted; "
                "look whether the controller reaches its signer, and at this clock"
            )
        if standing is Standing.OUT:
            problems.append(
                f"this node (serial {self._own.serial}) is revoked; enroll it anew if it is to come back"
            )
        if self._clock() < now_s - _CLOCK_BEHIND_S:
            problems.append("this clock is behind what the signer has signed already; put it right")
        guarded, seen = self._guarded, self._highest.generation
        found = self._judged()
        wanted = found.wanted if found is not None else None
        problems += found.problems if found is not None else ()
        if wanted is None and (seen or WANTED_FILE in self._trouble):
            problems.append(
                "what is wanted of this node is not known: all stays as it is until a controller that the signer "
                "trusts says it"
            )
        if standing in (Standing.NONE, Standing.OUT) or wanted is None or self._roll is None:
            revoked = self._roll.revoked if self._roll is not None else ()
            banned = {name for name, serial in self._accepted.tunnels.items() if serial in revoked}
            return Believed(
                standing,
                wanted,
                problems=tuple(problems),
                guarded=guarded,
                banned=frozenset(banned),
                seen=seen,
            )
        peers = self._peers(wanted, self._roll, standing, now_s, problems)
        tunnels, keys = [], {}
        for tunnel in wanted.tunnels:
            peer = peers.get(tunnel.peer)
            if peer is None:
                problems.append(f"tunnel {tunnel.name} leads to serial {tunnel.peer}, who is not accepted")
                continue
            if tunnel.peer_key is not None:
                try:
                    key = self._opened.open(tunnel.peer_key, TunnelKey, peer.identity)
                    keys[tunnel.name] = checked_key(key, peer, tunnel.name)
                except NotSigned as error:
                    problems.append(f"tunnel {tunnel.name}: {error}")
                    continue
            tunnels.append(tunnel)
        self._opened.end_turn()
        accepted = tuple(sorted(peers)) if standing is Standing.CURRENT else self._accepted.peers
        self._accept(_Accepted(peers=accepted, tunnels={tunnel.name: tunnel.peer for tunnel in tunnels}))
        return Believed(standing, wanted, peers, tuple(tunnels), keys, tuple(problems), guarded=guarded, seen=seen)

    def _judged(self) -> Allowed | None:
        """What is wanted, as far as any controller may want it; None where it is not known what is."""
        wanted, roll, before = self._wanted, self._roll, self._allowed
        if wanted is None or roll is None:
            return None
        if before is None or before[0] is not wanted or before[1] is not roll:
            self._allowed = before = wanted, roll, allowed(wanted, roll, self._own, self._ranges_then)
        return before[2]

    def _routed(self) -> Iterable[Prefix]:
        """The prefixes that are led into tunnels now."""
        found = self._judged()
        if found is None:
            return ()
        return {prefix for route in found.wanted.routes for prefix in route.prefixes}

    def _peers(
        self, wanted: Wanted, roll: Roll, standing: Standing, now_s: float, problems: list[str]
    ) -> dict[Serial, Member]:
        peers: dict[Serial, Member] = {}
        for place, signed in enumerate(wanted.peers):
            try:
                member = self._opened.open(signed, Member, self._policy_key)
                check_member(member, roll, now_s)
            except NotSigned as error:
                problems.append(f"peer {place + 1} of {len(wanted.peers)} is not accepted: {error}")
                continue
            if member.serial == self._own.serial:
                problems.append("this node itself is among its peers, and left out")
            elif standing is Standing.EXPIRED and member.serial not in self._accepted.peers:
                problems.append(f"{member.name} (serial {member.serial}) is new and waits for a current roll")
            else:
                peers[member.serial] = member
        return peers

    def _standing(self) -> Standing:
        if self._roll is None:
            return Standing.NONE
        if self._own.serial in self._roll.revoked:
            return Standing.OUT
        return Standing.CURRENT if self._now_s() < self._roll.not_after else Standing.EXPIRED

    def _know(self, *, epoch: Generation = 0, generation: Generation = 0, prefixes: Iterable[Prefix] = ()) -> None:
        known = self._highest
        self._highest = _Highest(epoch=max(epoch, known.epoch), generation=max(generation, known.generation))
        self._guarded = self._guarded.union(prefixes)

    def _remember(self) -> None:
        ordered = sorted(self._guarded, key=lambda one: (one.version, one.network_address.packed, one.prefixlen))
        for name, content in ((HIGHEST_FILE, self._highest), (GUARDED_FILE, _Guarded(prefixes=tuple(ordered)))):
            if content != self._kept.get(name):
                self._kept[name] = content
                self._put(name, content)

    def _accept(self, accepted: _Accepted) -> None:
        if accepted != self._accepted:
            self._accepted = accepted
            self._put(ACCEPTED_FILE, accepted)

    def _put(self, name: str, content: Message) -> None:
        self._keeping.put(name, content.model_dump_json().encode())
        self._trouble.pop(name, None)

    def _now_s(self) -> float:
        """Not before the latest time that was signed: a clock that was set back revives nothing."""
        return max(self._clock(), float(self._roll.issued_at) if self._roll is not None else 0.0)

    def _read(self, name: str, default: _M) -> _M:
        kept = self._keeping.read(name)
        if kept is None:
            return default
        try:
            self._kept[name] = found = type(default).model_validate_json(kept)
            return found
        except ValidationError:
            self._trouble[name] = f"{self._keeping.path(name)} was damaged; begun anew"
            return default

    def _resume(self) -> None:
        """Take up what was stored: signed by the same keys as what comes."""
        roll = self._stored(ROLL_FILE, Roll, [self._policy_key])
        if roll is None:
            return
        self._roll = roll[1]
        self._know(epoch=self._roll.epoch)
        self._take_up_wanted(self._roll)

    def _take_up_wanted(self, roll: Roll) -> None:
        """The stored wanted state, where it counts; where not, it stays unknown what is wanted."""
        stored = self._stored(WANTED_FILE, Wanted, roll.controllers)
        if stored is None or stored[1].serial != self._own.serial:
            return
        self._signed_wanted, self._wanted = stored
        if self.generation < self._highest.generation:
            self._trouble[WANTED_FILE] = (
                f"{self._keeping.path(WANTED_FILE)} has generation {self.generation}, and "
                f"{self._highest.generation} was taken: the disk did not keep that"
            )
        self._know(generation=self.generation, prefixes=self._routed())

    def _stored(self, name: str, model: type[_M], keys: Iterable[PublicKey]) -> tuple[Signed, _M] | None:
        kept = self._keeping.read(name)
        self._trouble.pop(name, None)
        if kept is None:
            return None
        try:
            signed = Signed.model_validate_json(kept)
            return signed, signed.open(model, keys)
        except (ValidationError, NotSigned) as error:
            why = str(error) if isinstance(error, NotSigned) else "it is damaged"
            self._trouble[name] = f"{self._keeping.path(name)} is not taken up: {why}"
            return None
