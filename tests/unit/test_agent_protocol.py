"""Messages between controller and agents: only what was signed by whom it has to be is believed."""

from __future__ import annotations

import contextlib
import json
from ipaddress import IPv4Network, IPv6Network, ip_network

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from vte_agent.protocol.base import PrefixList, public_text
from vte_agent.protocol.base import _known_prefix as known_prefix
from vte_agent.protocol.enrollment import BadToken, Token, proof_of
from vte_agent.protocol.filters import Standing
from vte_agent.protocol.frames import (
    FROM_AGENT,
    FROM_CONTROLLER,
    FROM_STRANGER,
    PIECE,
    BadFrame,
    Hello,
    decode,
    encode,
    pieces,
)
from vte_agent.protocol.has import MOST_ROUTES, Has, RouteReport
from vte_agent.protocol.members import Member, Roll, TunnelKey, open_member, open_tunnel_key
from vte_agent.protocol.signed import NotSigned, Signed
from vte_agent.protocol.wanted import WantedRoute

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


NETWORKS = st.one_of(
    st.ip_addresses(v=4).map(lambda address: ip_network((address, 24), strict=False)),
    st.ip_addresses(v=6).map(lambda address: ip_network((address, 48), strict=False)),
)


@given(st.lists(NETWORKS, min_size=1, max_size=5))
def test_prefixes_are_one_text_and_are_read_as_they_were(prefixes: list[IPv4Network | IPv6Network]) -> None:
    route = WantedRoute(prefixes=tuple(prefixes), tunnels=("t",))
    said = route.model_dump_json()
    assert json.loads(said)["prefixes"].split(",") == [str(prefix) for prefix in prefixes]
    assert WantedRoute.model_validate_json(said) == route
    spelled = PrefixList.spelled(prefixes, ",".join(map(str, prefixes)))
    assert WantedRoute(prefixes=spelled, tunnels=("t",)).model_dump_json() == said


@given(st.text(min_size=1, max_size=30) | st.lists(st.text(max_size=5), min_size=1, max_size=3))
def test_texts_that_are_no_prefixes_are_refused(said: object) -> None:
    with contextlib.suppress(ValueError):
        assert Standing.model_validate({"id": 1, "prefixes": said}).prefixes
    with pytest.raises(ValueError, match="a prefix is an address"):
        Standing.model_validate({"id": 1, "prefixes": "10.0.0.0/8," + "1" * 65})


@pytest.mark.parametrize("said", [7, None, True, {}, {"10.0.0.0/8": 1}, b"10.0.0.0/8"])
def test_what_is_no_list_is_none_of_prefixes(said: object) -> None:
    with pytest.raises(ValueError, match="prefixes are a text"):
        Standing.model_validate({"id": 1, "prefixes": said})


@pytest.mark.parametrize("n_routes", [1, 30])
@pytest.mark.parametrize("is_text", [True, False])
def test_more_prefixes_than_there_may_be_are_refused_before_any_is_looked_at(n_routes: int, is_text: bool) -> None:
    """A frame has room for hundreds of thousands, which would keep all others waiting for seconds."""
    texts = [f"10.{n >> 8}.{n & 255}.0/24" for n in range(MOST_ROUTES // n_routes + 1)]
    said = {"prefixes": ",".join(texts) if is_text else texts, "tunnel": "t"}
    frame = json.dumps({"type": "Has", "body": {"generation": 1, "routes": [said] * n_routes}})
    before = known_prefix.cache_info()
    with pytest.raises(BadFrame):
        decode(frame, FROM_AGENT)
    assert known_prefix.cache_info() == before


REPORTS = st.builds(
    lambda generation, tunnels: Has(
        generation=generation,
        routes=tuple(
            RouteReport(prefixes=(ip_network(f"10.{number}.0.0/16"),), tunnel=tunnel)
            for number, tunnel in enumerate(tunnels)
        ),
    ),
    st.integers(0, 3),
    st.lists(st.sampled_from(["a", "b", None]), max_size=2),
)


@given(st.lists(REPORTS, max_size=6))
def test_reports_that_leave_out_what_stays_say_all_of_it(reports: list[Has]) -> None:
    before = heard = None
    for report in reports:
        said = report.after(before)
        assert said.routes_stay == (before is not None and before.routes == report.routes)
        crossed = decode(encode(said), FROM_AGENT)
        assert isinstance(crossed, Has)
        before, heard = report, crossed.whole(heard)
        assert heard == report


def test_the_first_report_says_all_routes_and_none_says_them_and_leaves_them_out() -> None:
    with pytest.raises(ValueError, match="the first report on a channel says all routes"):
        Has(generation=1, routes_stay=True).whole(None)
    route = RouteReport(prefixes=(ip_network("10.0.0.0/8"),), tunnel=None)
    with pytest.raises(ValueError, match="either said or those of the report before"):
        Has(generation=1, routes=(route,), routes_stay=True)


@given(st.integers(0, 3 * PIECE))
def test_the_pieces_of_a_text_are_that_text(length: int) -> None:
    text = "".join(chr(97 + place % 26) for place in range(length))
    found = list(pieces(text))
    assert "".join(found) == text and all(0 < len(piece) <= PIECE for piece in found)
