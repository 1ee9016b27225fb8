"""Who belongs to the overlay, as the policy key says it, and which tunnel keys are whose."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from vte_agent.protocol.base import Generation, Message, Name, Prefix, PublicKey, Serial, UnixTime
from vte_agent.protocol.signed import NotSigned, Signed

Label = Annotated[str, Field(min_length=1, max_length=63)]


class Role(StrEnum):
    """A site has prefixes behind it; a relay only passes on what others send each other."""

    SITE = "site"
    RELAY = "relay"


class Member(Message):
    """An agent that was let in.

    Its keys: identity (Ed25519) signs what it says, pairing (X25519) makes a secret with each other member that no
    controller learns. It may lead packets to its prefixes and to no others.
    """

    serial: Serial
    name: Name
    role: Role = Role.SITE
    identity: PublicKey
    pairing: PublicKey
    prefixes: tuple[Prefix, ...] = ()
    labels: Mapping[Label, Label] = {}
    not_after: UnixTime


class Roll(Message):
    """The state of the whole: an agent that knows a later epoch refuses an earlier one.

    revoked members are out whatever else says they are in. controllers are the state keys of those whose `Wanted`
    is carried out. prefixes are what all members hold, neighbours in one; ranges are where tunnels and links have
    their addresses. An agent leads nothing else into tunnels, whatever a controller wants.
    """

    epoch: Generation
    issued_at: UnixTime
    not_after: UnixTime
    revoked: tuple[Serial, ...] = ()
    controllers: tuple[PublicKey, ...]
    prefixes: tuple[Prefix, ...] = ()
    ranges: tuple[Prefix, ...] = ()


class TunnelKey(Message):
    """The public key of one end of one tunnel; its private half was made on the node and stays there."""

    serial: Serial
    tunnel: Name
    public_key: PublicKey


def open_member(signed: Signed, roll: Roll, policy_key: PublicKey, now_s: float) -> Member:
    """A member that is one today. Raises NotSigned."""
    member = signed.open(Member, [policy_key])
    check_member(member, roll, now_s)
    return member


def check_member(member: Member, roll: Roll, now_s: float) -> None:
    """Raises NotSigned for one that is not one today."""
    if member.serial in roll.revoked:
        raise NotSigned(f"member {member.name} (serial {member.serial}) is revoked")
    if member.not_after <= now_s:
        raise NotSigned(f"member {member.name} (serial {member.serial}) has expired")


def open_tunnel_key(signed: Signed, member: Member, tunnel: str) -> PublicKey:
    """The key that a member has for its end of a tunnel. Raises NotSigned."""
    return checked_key(signed.open(TunnelKey, [member.identity]), member, tunnel)


def checked_key(key: TunnelKey, member: Member, tunnel: str) -> PublicKey:
    """The same of what was opened already. Raises NotSigned."""
    if (key.serial, key.tunnel) != (member.serial, tunnel):
        raise NotSigned(f"this is the key of tunnel {key.tunnel} of serial {key.serial}, not of {tunnel}")
    return key.public_key
