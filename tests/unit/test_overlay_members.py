"""Who is a member is what the signer says, by the signer's own clock."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ryu_apps.overlay.members import Members
from vte_agent.protocol.base import public_text
from vte_agent.protocol.members import Member, Roll
from vte_agent.protocol.signed import Signed

POLICY_KEY = Ed25519PrivateKey.generate()
PUBLIC = public_text(POLICY_KEY.public_key().public_bytes_raw())
NOW_S, DAY_S = 1_800_000_000, 86_400


def a_member(serial: int, not_after: int) -> Signed:
    key = public_text(bytes([serial]) * 32)
    member = Member(serial=serial, name=f"s{serial}", identity=key, pairing=key, not_after=not_after)
    return Signed.of(member, POLICY_KEY)


def a_roll(issued_at: int = NOW_S, revoked: tuple[int, ...] = ()) -> Roll:
    return Roll(epoch=1, issued_at=issued_at, not_after=issued_at + DAY_S, revoked=revoked, controllers=())


def test_who_has_expired_or_is_revoked_is_no_member() -> None:
    members = Members()
    listed = [a_member(1, NOW_S + DAY_S), a_member(2, NOW_S), a_member(3, NOW_S + DAY_S)]
    assert members.take(listed, a_roll(revoked=(3,)), PUBLIC) == frozenset()
    assert set(members.open) == {1}
    assert members.take(listed, a_roll(NOW_S + 2 * DAY_S), PUBLIC) == {1}


def test_a_member_by_another_key_is_none_and_is_named() -> None:
    stranger = Signed.of(a_member(1, NOW_S + DAY_S).open(Member, [PUBLIC]), Ed25519PrivateKey.generate())
    members = Members()
    members.take([stranger, a_member(2, NOW_S + DAY_S)], a_roll(), PUBLIC)
    assert set(members.open) == {2} and "a member is none" in members.problem
