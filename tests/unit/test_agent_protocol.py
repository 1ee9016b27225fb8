"""Messages between controller and agents: only what was signed by whom it has to be is believed."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from vte_agent.protocol.base import public_text
from vte_agent.protocol.enrollment import BadToken, Token, proof_of
from vte_agent.protocol.frames import FROM_AGENT, FROM_CONTROLLER, FROM_STRANGER, BadFrame, Hello, decode, encode
from vte_agent.protocol.members import Member, Roll, TunnelKey, open_member, open_tunnel_key
from vte_agent.protocol.signed import NotSigned, Signed

NOW_S = 1_000.0
AT_THE_GATE = {**FROM_AGENT, **FROM_STRANGER}


def public(key: Ed25519PrivateKey) -> str:
    return public_text(key.public_key().public_bytes_raw())


POLICY, OTHER, IDENTITY = (Ed25519PrivateKey.generate() for _ in range(3))
MEMBER = Member(serial=7, name="ber", identity=public(IDENTITY), pairing=public(OTHER), not_after=2_000)
ROLL = Roll(epoch=3, issued_at=900, not_after=3_000, controllers=(public(OTHER),))


def test_a_member_is_one_that_the_policy_key_has_signed() -> None:
    assert open_member(Signed.of(MEMBER, POLICY), ROLL, public(POLICY), NOW_S) == MEMBER
    with pytest.raises(NotSigned, match="not signed by a key"):
        open_member(Signed.of(MEMBER, OTHER), ROLL, public(POLICY), NOW_S)


def test_a_revoked_or_expired_member_is_none() -> None:
    signed = Signed.of(MEMBER, POLICY)
    with pytest.raises(NotSigned, match="revoked"):
        open_member(signed, ROLL.model_copy(update={"revoked": (7,)}), public(POLICY), NOW_S)
    with pytest.raises(NotSigned, match="expired"):
        open_member(signed, ROLL, public(POLICY), 2_000.0)


def test_a_signature_over_one_kind_of_message_is_none_over_another() -> None:
    signed = Signed.of(MEMBER, POLICY)
    with pytest.raises(NotSigned, match="not signed by a key"):
        signed.model_copy(update={"kind": "Roll"}).open(Roll, [public(POLICY)])
    with pytest.raises(NotSigned, match="expected"):
        signed.open(Roll, [public(POLICY)])


@given(place=st.integers(0, 10_000), char=st.sampled_from("ABCxyz019+/="))
def test_no_byte_of_what_was_signed_can_be_another(place: int, char: str) -> None:
    signed = Signed.of(MEMBER, POLICY)
    text = signed.payload
    place %= len(text)
    changed = text[:place] + char + text[place + 1 :]
    if changed == text:
        return
    with pytest.raises(NotSigned):
        signed.model_copy(update={"payload": changed}).open(Member, [public(POLICY)])


def test_a_tunnel_key_counts_for_its_member_and_its_tunnel_alone() -> None:
    key = TunnelKey(serial=7, tunnel="t1.1", public_key=public(OTHER))
    assert open_tunnel_key(Signed.of(key, IDENTITY), MEMBER, "t1.1") == public(OTHER)
    for signer, tunnel in ((IDENTITY, "t1.2"), (OTHER, "t1.1")):
        with pytest.raises(NotSigned):
            open_tunnel_key(Signed.of(key, signer), MEMBER, tunnel)
    with pytest.raises(NotSigned, match="serial 8"):
        open_tunnel_key(Signed.of(key.model_copy(update={"serial": 8}), IDENTITY), MEMBER, "t1.1")


def token() -> Token:
    return Token(
        id="t1",
        secret="ab" * 32,
        controllers=("10.0.0.1:6690",),
        authority_sha256="cd" * 32,
        policy_key=public(POLICY),
        expires_at=2_000,
    )


def test_a_token_is_one_word_and_never_shown_when_it_is_damaged() -> None:
    word = token().text()
    assert Token.read(f" {word}\n") == token()
    assert " " not in word
    with pytest.raises(BadToken) as caught:
        Token.read(word[:-9])
    assert word[30:50] not in str(caught.value)
    assert caught.value.__suppress_context__


@given(st.text(max_size=60))
def test_any_other_word_is_no_token(text: str) -> None:
    for word in (text, f"lockstitch-site-1.{text}"):
        with pytest.raises(BadToken):
            Token.read(word)


def test_a_proof_is_for_these_keys_and_this_name_alone() -> None:
    a, b = public(OTHER), public(IDENTITY)
    proofs = {
        proof_of("ab" * 32, "t1", "ber", a, b, "csr"),
        proof_of("ab" * 32, "t1", "be", a, b, "rcsr"),
        proof_of("ab" * 32, "t1b", "er", a, b, "csr"),
        proof_of("ab" * 32, "t1", "ber", b, a, "csr"),
        proof_of("cd" * 32, "t1", "ber", a, b, "csr"),
    }
    assert len(proofs) == 5


def test_a_frame_is_read_as_what_it_was() -> None:
    assert decode(encode(Hello(build="1")), FROM_AGENT) == Hello(build="1")
    with pytest.raises(BadFrame, match="no type"):
        decode(encode(Hello()), FROM_CONTROLLER)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.one_of(
        st.binary(max_size=200),
        _JSON.map(json.dumps),
        st.builds(
            lambda kind, body: json.dumps({"type": kind, "body": body}), st.sampled_from([*AT_THE_GATE]), _JSON
        ),
    )
)
def test_whatever_comes_is_a_message_or_a_bad_frame(data: bytes | str) -> None:
    try:
        message = decode(data, AT_THE_GATE)
    except BadFrame:
        return
    assert decode(encode(message), AT_THE_GATE) == message
