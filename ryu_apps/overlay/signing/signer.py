"""What the policy key is for: who is let in, who is put out, and which controllers agents follow."""

from __future__ import annotations

import fnmatch
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from ipaddress import collapse_addresses
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ryu_apps.overlay.signing.ledger import Ledger, RollRow, TokenRow
from ryu_apps.overlay.signing.requests import (
    MEMBERS_AT_ONCE,
    MOST_CARDS,
    Admitted,
    ControllerCard,
    MakeToken,
    MembersPage,
    OpenToken,
    Refusal,
    RollNow,
    TokenMade,
)
from vte_agent.protocol.base import Prefix, PublicKey, Serial, public_text
from vte_agent.protocol.enrollment import Enroll, Token, proof_of
from vte_agent.protocol.members import Member, Role, Roll
from vte_agent.protocol.signed import NotSigned, Signed

ROLL_VALID_S = 24 * 3600
MEMBER_VALID_S = 30 * 86_400
MOST_TOKENS = 1000
"""That are not used yet."""

_TOKENS_KEPT_S = 30 * 86_400
_UNKNOWN = "this token is not one that can be used: it was used, withdrawn or has expired; have a new one made"
_NOBODY = "0" * 64


class Signer:
    """The policy key and its ledger. For one thread. All methods may raise sqlite3.Error, with nothing done."""

    def __init__(
        self,
        ledger: Ledger,
        key: Ed25519PrivateKey,
        clock: Callable[[], float] = time.time,
        *,
        roll_valid_s: int = ROLL_VALID_S,
        member_valid_s: int = MEMBER_VALID_S,
    ) -> None:
        self._ledger = ledger
        self._key = key
        self._clock = clock
        self._roll_valid_s = roll_valid_s
        self._member_valid_s = member_valid_s
        self._checked_epoch = -1
        """Of the roll that is known to say all the ledger says; one of an earlier version may say less."""
        self.policy_key: PublicKey = public_text(key.public_key().public_bytes_raw())

    def make_token(self, wish: MakeToken) -> TokenMade:
        """A new token. Raises Refusal, also where its prefixes are, in part, somebody else's."""
        now_s = self._now_s()
        cards = self._ledger.cards()
        if not cards:
            raise Refusal(
                "no controller is trusted yet, so there is none to go to; have one trusted: "
                "lockstitch signer trust --card CARD"
            )
        if len({card.authority_sha256 for card in cards}) > 1:
            raise Refusal(
                "the trusted controllers have different authorities; give them the same overlay-ca files"
            )
        tokens = self._ledger.open_tokens(now_s)
        if len(tokens) >= MOST_TOKENS:
            raise Refusal(f"there are {MOST_TOKENS} tokens that were not used; withdraw some")
        self._check_prefixes(wish, tokens)
        token = Token(
            id=f"t{secrets.token_hex(8)}",
            secret=secrets.token_hex(32),
            controllers=tuple(address for card in cards for address in card.addresses),
            authority_sha256=cards[0].authority_sha256,
            policy_key=self.policy_key,
            expires_at=int(now_s + wish.valid_s),
        )
        terms = OpenToken(
            id=token.id,
            names=wish.names,
            role=wish.role,
            prefixes=wish.prefixes,
            labels=wish.labels,
            expires_at=token.expires_at,
        )
        with self._ledger.transaction():
            self._ledger.drop_tokens_before(int(now_s) - _TOKENS_KEPT_S)
            self._ledger.add_token(terms, token.secret)
        return TokenMade(id=token.id, token=token.text())

    def tokens(self) -> tuple[OpenToken, ...]:
        """Those that can be used."""
        return tuple(self._ledger.open_tokens(self._now_s()))

    def withdraw(self, token_id: str) -> None:
        """Make a token worthless. Raises Refusal."""
        with self._ledger.transaction():
            if not self._ledger.drop_token(token_id):
                raise Refusal(
                    "there is no such token that was not used (lockstitch signer tokens lists them); whom it let "
                    "in has to be revoked"
                )

    def admit(self, enroll: Enroll) -> Admitted:
        """Let one in, once. The very same request gets the same answer again. Raises Refusal."""
        now_s = self._now_s()
        with self._ledger.transaction():
            row = self._ledger.token(enroll.token_id)
            if row is not None and row.serial is not None:
                return self._again(row, row.serial, enroll)
            if row is None or row.terms.expires_at <= now_s or not _proves(row, enroll):
                raise Refusal(_UNKNOWN)
            if not fnmatch.fnmatchcase(enroll.name, row.terms.names):
                raise Refusal(f"the token is for names like {row.terms.names}, not for {enroll.name}")
            for member, _ in self._ledger.members():
                if member.name == enroll.name:
                    raise Refusal(
                        f"{enroll.name} is a member (serial {member.serial}); revoke it, or take another name"
                    )
                if member.identity == enroll.identity:
                    raise Refusal(f"serial {member.serial} has this identity; remove the state of the agent")
            member = Member(
                serial=self._ledger.next_serial(),
                name=enroll.name,
                role=row.terms.role,
                identity=enroll.identity,
                pairing=enroll.pairing,
                prefixes=row.terms.prefixes,
                labels=row.terms.labels,
                not_after=int(now_s) + self._member_valid_s,
            )
            signed = Signed.of(member, self._key)
            self._ledger.put_member(member, signed)
            self._ledger.use_token(enroll.token_id, _digest(enroll), member.serial)
            # Sites send nothing to prefixes that no roll has.
            roll = self._issue() if member.prefixes else self._current(now_s)
        return Admitted(member=signed, roll=roll.signed)

    def revoke(self, serial: Serial) -> None:
        """Put a member out, for good. Raises Refusal where there is none."""
        with self._ledger.transaction():
            found = self._ledger.member(serial)
            if found is None:
                raise Refusal(f"there is no member with serial {serial}")
            if not found[2]:
                self._ledger.revoke(serial)
                self._issue()

    def trust(self, card: ControllerCard) -> None:
        """Let agents follow a controller. Raises Refusal, also where its tunnels have addresses of sites."""
        with self._ledger.transaction():
            clashes = self._clashes([card.overlay_range], self._taken(self._ledger.open_tokens(self._now_s())))
            if clashes:
                raise Refusal(f"{clashes}: give the controller another --overlay-range")
            others = [one for one in self._ledger.cards() if one.state_key != card.state_key]
            if len(others) >= MOST_CARDS:
                raise Refusal(f"{MOST_CARDS} controllers are trusted; take one out first")
            self._ledger.put_card(card)
            self._issue()

    def distrust(self, state_key: PublicKey) -> None:
        """Let agents follow a controller no more. Raises Refusal where it is not trusted."""
        with self._ledger.transaction():
            if not self._ledger.drop_card(state_key):
                raise Refusal("no controller with this key is trusted")
            self._issue()

    def roll(self) -> RollNow:
        """The roll of today: when half of its time is over, another one."""
        with self._ledger.transaction():
            return RollNow(roll=self._current(self._now_s()).signed, policy_key=self.policy_key)

    @property
    def has_signed_its_ledger(self) -> bool:
        """Whether the roll in force, if there is one, is by this very key."""
        row = self._ledger.roll()
        return row is None or row.signed.is_by(self.policy_key)

    @property
    def epoch(self) -> int:
        """Of the roll in force; -1 before the first."""
        row = self._ledger.roll()
        return row.epoch if row is not None else -1

    def members(self, after: int) -> MembersPage:
        """Members above a serial, each signed anew when a third of its time is left."""
        now_s = self._now_s()
        with self._ledger.transaction():
            found = self._ledger.members(after, MEMBERS_AT_ONCE + 1)
            page = [self._fresh(member, signed, now_s) for member, signed in found[:MEMBERS_AT_ONCE]]
        return MembersPage(members=tuple(page), more=len(found) > MEMBERS_AT_ONCE)

    def _again(self, row: TokenRow, serial: Serial, enroll: Enroll) -> Admitted:
        """The answer to a request that was answered: its asker did not get it. For anybody else it is used."""
        found = self._ledger.member(serial)
        if found is None or found[2] or row.request is None:
            raise Refusal(_UNKNOWN)
        if not hmac.compare_digest(row.request, _digest(enroll)):
            raise Refusal(_UNKNOWN)
        signed = found[1]
        return Admitted(member=signed, roll=self._current(self._now_s()).signed)

    def _fresh(self, member: Member, signed: Signed, now_s: float) -> Signed:
        if member.not_after - now_s > self._member_valid_s / 3:
            return signed
        later = member.model_copy(update={"not_after": int(now_s) + self._member_valid_s})
        signed = Signed.of(later, self._key)
        self._ledger.put_member(later, signed)
        return signed

    def _current(self, now_s: float) -> RollRow:
        row = self._ledger.roll()
        is_fresh = row is not None and row.not_after - now_s > self._roll_valid_s / 2
        return row if row is not None and is_fresh and self._says_all(row) else self._issue()

    def _says_all(self, row: RollRow) -> bool:
        if row.epoch != self._checked_epoch:
            try:
                roll = row.signed.open(Roll, [self.policy_key])
            except NotSigned:
                return False
            if (roll.prefixes, roll.ranges) != (self._held(), self._ranges()):
                return False
            self._checked_epoch = row.epoch
        return True

    def _held(self) -> tuple[Prefix, ...]:
        """What members hold."""
        return _joined(prefix for member, _ in self._ledger.members() for prefix in member.prefixes)

    def _ranges(self) -> tuple[Prefix, ...]:
        """Where controllers give tunnels their addresses."""
        return _joined(card.overlay_range for card in self._ledger.cards())

    def _issue(self) -> RollRow:
        """Another roll, of a later epoch. Within a transaction."""
        now_s = int(self._now_s())
        roll = Roll(
            epoch=self.epoch + 1,
            issued_at=now_s,
            not_after=now_s + self._roll_valid_s,
            revoked=self._ledger.revoked(now_s),
            controllers=tuple(card.state_key for card in self._ledger.cards()),
            prefixes=self._held(),
            ranges=self._ranges(),
        )
        row = RollRow(roll.epoch, roll.issued_at, roll.not_after, Signed.of(roll, self._key))
        self._ledger.put_roll(row)
        self._checked_epoch = row.epoch
        return row

    def _now_s(self) -> float:
        """Never before what was signed last: a clock that was set back revives no token."""
        row = self._ledger.roll()
        return max(self._clock(), row.issued_at if row is not None else 0)

    def _check_prefixes(self, wish: MakeToken, tokens: Iterable[OpenToken]) -> None:
        wanted = list(wish.prefixes)
        if wanted and wish.role is Role.RELAY:
            raise Refusal("a relay has no prefixes, it only passes on; give none, or make it a site")
        for one in wanted:
            for inside in self._ranges():
                if _overlap(one, inside):
                    raise Refusal(f"{one} overlaps {inside}, where tunnels have their addresses; give others")
        for place, one in enumerate(wanted):
            for other in wanted[:place]:
                if _overlap(one, other):
                    raise Refusal(f"{one} and {other} overlap; give each address once")
        clashes = self._clashes(wanted, self._taken(tokens))
        if clashes:
            raise Refusal(f"{clashes}: give other prefixes, or revoke or withdraw those")

    def _taken(self, tokens: Iterable[OpenToken]) -> Iterator[tuple[str, tuple[Prefix, ...]]]:
        """Who has which prefixes, or will have."""
        for member, _ in self._ledger.members():
            yield f"member {member.name} (serial {member.serial})", member.prefixes
        for token in tokens:
            yield f"token {token.id} for {token.names}", token.prefixes

    @staticmethod
    def _clashes(wanted: Iterable[Prefix], taken: Iterable[tuple[str, tuple[Prefix, ...]]]) -> str:
        """Which of these are, in part, somebody's; "" where none is."""
        wanted = list(wanted)
        clashes = [
            f"{one} overlaps {other} of {who}"
            for who, theirs in taken
            for other in theirs
            for one in wanted
            if _overlap(one, other)
        ]
        more = f", and {len(clashes) - 5} more" if len(clashes) > 5 else ""
        return f"{'; '.join(clashes[:5])}{more}"


def _proves(row: TokenRow, enroll: Enroll) -> bool:
    # Computed also where there is no secret: an answer takes as long either way.
    expected = proof_of(
        row.secret or _NOBODY, enroll.token_id, enroll.name, enroll.identity, enroll.pairing, enroll.csr
    )
    return hmac.compare_digest(expected, enroll.proof) and row.secret is not None


def _digest(enroll: Enroll) -> str:
    return hashlib.sha256(enroll.model_dump_json().encode()).hexdigest()


def _joined(prefixes: Iterable[Prefix]) -> tuple[Prefix, ...]:
    """The same addresses in as few prefixes as can be, in order."""
    by_version: dict[int, list[Any]] = {4: [], 6: []}
    for one in prefixes:
        by_version[one.version].append(one)
    return tuple(prefix for ones in by_version.values() for prefix in collapse_addresses(ones))


def _overlap(one: Prefix, other: Prefix) -> bool:
    return one.version == other.version and one.overlaps(other)
