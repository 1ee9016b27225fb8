"""The signer alone decides who is a member: once for each token, without overlaps, and when it is over."""

from __future__ import annotations

import sqlite3
import tempfile
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ryu_apps.overlay.signing import __main__ as process
from ryu_apps.overlay.signing.home import InUse, SignerError, opened
from ryu_apps.overlay.signing.requests import (
    CONTROLLER,
    OPERATOR,
    Admit,
    Admitted,
    BadRequest,
    Done,
    MakeToken,
    Refusal,
    TokenMade,
    Trust,
    read_answer,
    read_request,
)
from ryu_apps.overlay.signing.signer import MEMBER_VALID_S, ROLL_VALID_S, Signer
from tests.unit.trust_world import Clock, an_enroll, card, identity, make_signer, public, token_of
from vte_agent.identity import Identity
from vte_agent.protocol.base import Message
from vte_agent.protocol.enrollment import Token
from vte_agent.protocol.members import Member, Role, Roll
from vte_agent.protocol.signed import Signed

CONTROLLER_KEY = Ed25519PrivateKey.generate()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def signer(tmp_path: Path, clock: Clock) -> Signer:
    signer = make_signer(tmp_path, clock)
    signer.trust(card(CONTROLLER_KEY))
    return signer


def roll_of(signer: Signer) -> Roll:
    return signer.roll().roll.open(Roll, [signer.policy_key])


def member_of(signer: Signer, signed: Signed) -> Member:
    return signed.open(Member, [signer.policy_key])


def test_a_token_lets_one_node_in_as_it_says(signer: Signer, tmp_path: Path, clock: Clock) -> None:
    prefix = IPv4Network("10.1.0.0/16")
    token = token_of(signer, names="ber-*", prefixes=(prefix,), labels={"zone": "eu"})
    own = identity(tmp_path / "a")
    admitted = signer.admit(an_enroll(token, "ber-1", own))
    member = member_of(signer, admitted.member)
    assert (member.name, member.role, member.prefixes, member.labels) == (
        "ber-1", Role.SITE, (prefix,), {"zone": "eu"},
    )  # fmt: skip
    assert own.is_of(member) and member.not_after == int(clock.now_s) + MEMBER_VALID_S
    with pytest.raises(Refusal, match="was used, withdrawn or has expired"):
        signer.admit(an_enroll(token, "ber-2", identity(tmp_path / "b")))
    assert signer.tokens() == ()


def test_whoever_did_not_get_the_answer_gets_it_again_and_nobody_else(signer: Signer, tmp_path: Path) -> None:
    token, own = token_of(signer), identity(tmp_path / "a")
    asked = an_enroll(token, "ber", own)
    assert signer.admit(asked).member == signer.admit(asked).member
    # The secret is gone, so a proof that was seen on its way must not vouch for another CSR.
    with pytest.raises(Refusal):
        signer.admit(asked.model_copy(update={"csr": an_enroll(token, "ber", own).csr}))
    signer.revoke(1)
    with pytest.raises(Refusal):
        signer.admit(asked)


def test_a_used_secret_is_no_longer_on_the_disk(signer: Signer, tmp_path: Path) -> None:
    token = token_of(signer)
    assert token.secret.encode() in (tmp_path / "ledger.db").read_bytes()
    signer.admit(an_enroll(token, "ber", identity(tmp_path / "a")))
    assert not [path for path in tmp_path.glob("ledger*") if token.secret.encode() in path.read_bytes()]


@pytest.mark.parametrize("field", ["name", "identity", "pairing", "csr", "proof", "token_id"])
def test_a_proof_is_for_all_that_is_asked(signer: Signer, tmp_path: Path, field: str) -> None:
    token, other = token_of(signer), token_of(signer)
    asked = an_enroll(token, "ber", identity(tmp_path / "a"))
    theirs = an_enroll(other, "ams", identity(tmp_path / "b"))
    with pytest.raises(Refusal):
        signer.admit(asked.model_copy(update={field: getattr(theirs, field)}))
    assert len(signer.tokens()) == 2


def test_an_expired_or_withdrawn_token_lets_nobody_in(signer: Signer, tmp_path: Path, clock: Clock) -> None:
    token, other = token_of(signer, valid_s=60), token_of(signer)
    signer.withdraw(other.id)
    clock.now_s += 61
    for one in (token, other):
        with pytest.raises(Refusal, match="expired"):
            signer.admit(an_enroll(one, "ber", identity(tmp_path / "a")))
    with pytest.raises(Refusal, match="no such token"):
        signer.withdraw("t0")


def test_a_clock_that_goes_back_revives_no_token(signer: Signer, tmp_path: Path, clock: Clock) -> None:
    token = token_of(signer, valid_s=60)
    clock.now_s += ROLL_VALID_S
    signer.roll()
    clock.now_s -= ROLL_VALID_S
    with pytest.raises(Refusal, match="expired"):
        signer.admit(an_enroll(token, "ber", identity(tmp_path / "a")))


def test_names_and_keys_are_taken_once(signer: Signer, tmp_path: Path) -> None:
    own = identity(tmp_path / "a")
    with pytest.raises(Refusal, match=r"names like ber-\*, not for ams"):
        signer.admit(an_enroll(token_of(signer, names="ber-*"), "ams", own))
    signer.admit(an_enroll(token_of(signer), "ams", own))
    with pytest.raises(Refusal, match=r"ams is a member \(serial 1\); revoke it"):
        signer.admit(an_enroll(token_of(signer), "ams", identity(tmp_path / "b")))
    with pytest.raises(Refusal, match="serial 1 has this identity"):
        signer.admit(an_enroll(token_of(signer), "fra", own))
    signer.revoke(1)
    assert member_of(signer, signer.admit(an_enroll(token_of(signer), "ams", own)).member).serial == 2


@pytest.mark.parametrize("prefix", ["100.96.5.0/24", "100.64.0.0/10", "0.0.0.0/0"])
def test_where_tunnels_have_their_addresses_no_site_has_any(signer: Signer, prefix: str) -> None:
    with pytest.raises(Refusal, match=r"overlaps 100\.96\.0\.0/12, where tunnels have their addresses"):
        signer.make_token(MakeToken(prefixes=(IPv4Network(prefix),)))


def test_a_relay_gets_no_prefixes(signer: Signer, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="a relay has no prefixes"):
        signer.make_token(MakeToken(role=Role.RELAY, prefixes=(IPv4Network("10.1.0.0/16"),)))
    admitted = signer.admit(an_enroll(token_of(signer, role=Role.RELAY), "r", identity(tmp_path)))
    assert member_of(signer, admitted.member).role is Role.RELAY


def test_overlapping_prefixes_are_refused_by_the_names_of_both(signer: Signer, tmp_path: Path) -> None:
    token = token_of(signer, names="ber", prefixes=(IPv4Network("10.1.0.0/16"),))
    inner = MakeToken(prefixes=(IPv4Network("10.1.2.0/24"),))
    with pytest.raises(
        Refusal, match=rf"10.1.2.0/24 overlaps 10.1.0.0/16 of token {token.id} for ber: give other"
    ):
        signer.make_token(inner)
    signer.admit(an_enroll(token, "ber", identity(tmp_path / "a")))
    with pytest.raises(Refusal, match=r"10.1.2.0/24 overlaps 10.1.0.0/16 of member ber \(serial 1\)"):
        signer.make_token(inner)
    with pytest.raises(Refusal, match="overlap; give each address once"):
        signer.make_token(MakeToken(prefixes=(IPv6Network("fd00::/8"), IPv6Network("fd00:1::/32"))))
    signer.revoke(1)
    assert signer.make_token(inner)


def test_who_is_revoked_is_on_the_next_roll(signer: Signer, tmp_path: Path, clock: Clock) -> None:
    signer.admit(an_enroll(token_of(signer), "ber", identity(tmp_path / "a")))
    before = roll_of(signer)
    signer.revoke(1)
    after = roll_of(signer)
    assert (before.revoked, after.revoked) == ((), (1,)) and after.epoch > before.epoch
    signer.revoke(1)
    assert roll_of(signer) == after
    with pytest.raises(Refusal, match="no member with serial 9"):
        signer.revoke(9)
    assert signer.members(0).members == ()
    # Once the membership has run out by itself there is nothing left to revoke.
    clock.now_s += MEMBER_VALID_S + 1
    assert roll_of(signer).revoked == ()


def test_a_roll_is_issued_anew_before_it_expires_and_members_too(
    signer: Signer, tmp_path: Path, clock: Clock
) -> None:
    signer.admit(an_enroll(token_of(signer), "ber", identity(tmp_path / "a")))
    first = roll_of(signer)
    clock.now_s += ROLL_VALID_S / 2 - 1
    assert roll_of(signer) == first
    clock.now_s += 2
    second = roll_of(signer)
    assert second.epoch == first.epoch + 1 and second.not_after > first.not_after
    clock.now_s += MEMBER_VALID_S
    page = signer.members(0)
    assert [member_of(signer, one).not_after for one in page.members] == [int(clock.now_s) + MEMBER_VALID_S]


def test_agents_follow_the_controllers_that_were_trusted(signer: Signer) -> None:
    other = Ed25519PrivateKey.generate()
    signer.trust(card(other))
    assert set(roll_of(signer).controllers) == {public(CONTROLLER_KEY), public(other)}
    signer.distrust(public(other))
    assert roll_of(signer).controllers == (public(CONTROLLER_KEY),)
    with pytest.raises(Refusal, match="no controller with this key"):
        signer.distrust(public(other))
    signer.trust(card(other, sha256="cd" * 32))
    with pytest.raises(Refusal, match="different authorities"):
        signer.make_token(MakeToken())


def test_without_a_controller_there_is_no_token(tmp_path: Path, clock: Clock) -> None:
    with pytest.raises(Refusal, match="no controller is trusted yet"):
        make_signer(tmp_path, clock).make_token(MakeToken())


def test_all_of_it_is_there_after_a_restart(tmp_path: Path, clock: Clock) -> None:
    home = tmp_path / "signer"
    with opened(home, clock) as signer:
        signer.trust(card(CONTROLLER_KEY))
        token = token_of(signer, prefixes=(IPv4Network("10.1.0.0/16"),))
        signer.admit(an_enroll(token_of(signer), "ber", identity(tmp_path / "a")))
        before = signer.policy_key, signer.roll(), signer.members(0)
        with pytest.raises(InUse, match="another signer uses"), opened(home, clock):
            pass
    with opened(home, clock) as signer:
        assert before == (signer.policy_key, signer.roll(), signer.members(0))
        signer.admit(an_enroll(token, "ams", identity(tmp_path / "b")))
    assert {path.name: path.stat().st_mode & 0o777 for path in home.iterdir()} == {
        "policy.key": 0o600, "ledger.db": 0o600, "lock": 0o600,
    }  # fmt: skip


@pytest.mark.parametrize("name", ["", "policy.key"])
def test_a_directory_that_others_can_read_is_refused_with_the_remedy(
    tmp_path: Path, clock: Clock, name: str
) -> None:
    with opened(tmp_path / "s", clock):
        pass
    (tmp_path / "s" / name).chmod(0o755)
    with (
        pytest.raises(SignerError, match=r"can be used by others; run: chown .* chmod"),
        opened(tmp_path / "s", clock),
    ):
        pass


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("policy.key", b"x", "damaged"),
        ("policy.key", None, "is gone"),
        ("ledger.db", b"x" * 5000, "cannot be used"),
    ],
)
def test_a_damaged_directory_is_named_and_nothing_made_anew(
    tmp_path: Path, clock: Clock, name: str, content: bytes | None, says: str
) -> None:
    with opened(tmp_path / "s", clock):
        pass
    path = tmp_path / "s" / name
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with pytest.raises(SignerError, match=rf"{says}.*put it back"), opened(tmp_path / "s", clock):
        pass


def test_a_key_that_was_put_beside_the_ledger_of_another_is_refused_with_the_remedy(
    tmp_path: Path, clock: Clock
) -> None:
    home = tmp_path / "s"
    with opened(home, clock) as signer:
        signer.trust(card(CONTROLLER_KEY))
        roll = signer.roll()
    own = (home / "policy.key").read_bytes()
    (home / "policy.key").write_bytes(Ed25519PrivateKey.generate().private_bytes_raw())
    with (
        pytest.raises(SignerError, match=r"not the key that .*ledger\.db is of; put it back"),
        opened(home, clock),
    ):
        pass
    (home / "policy.key").write_bytes(own)
    with opened(home, clock) as signer:
        assert signer.roll() == roll


def test_a_roll_that_is_not_understood_is_replaced(signer: Signer, tmp_path: Path, clock: Clock) -> None:
    class Roll(Message):
        said_otherwise: int = 1

    epoch = signer.epoch
    row = signer._ledger.roll()
    assert row is not None
    with signer._ledger.transaction():
        signer._ledger.put_roll(replace(row, signed=Signed.of(Roll(), signer._key)))
    again = make_signer(tmp_path, clock, signer._key)
    assert again.has_signed_its_ledger and roll_of(again).epoch == epoch + 1
    assert again.admit(an_enroll(token_of(again), "ber", identity(tmp_path / "a")))


def test_what_cannot_be_written_is_not_done(signer: Signer, tmp_path: Path) -> None:
    token, own = token_of(signer), identity(tmp_path / "a")
    asked = an_enroll(token, "ber", own)
    roll = signer.roll()
    with sqlite3.connect(tmp_path / "ledger.db") as other:
        other.execute("PRAGMA busy_timeout = 0")
        signer._ledger._db.execute("PRAGMA busy_timeout = 0")
        other.execute("BEGIN IMMEDIATE")
        for act in (lambda: signer.admit(asked), lambda: signer.revoke(1), lambda: signer.make_token(MakeToken())):
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                act()
        other.execute("ROLLBACK")
    assert signer.roll() == roll
    assert signer.admit(asked)


@given(st.binary(max_size=300) | st.text(max_size=200).map(str.encode))
def test_any_other_bytes_are_a_bad_request(data: bytes) -> None:
    for kinds in (CONTROLLER, OPERATOR):
        with pytest.raises(BadRequest):
            read_request(data, kinds)
    with pytest.raises((BadRequest, Refusal)):
        read_answer(b'{"x":' + data, Done)


def test_what_the_operator_may_do_the_controller_may_not() -> None:
    for line in (b'{"op":"token"}', b'{"op":"revoke","serial":1}', b'{"op":"tokens"}'):
        assert read_request(line, OPERATOR)
        with pytest.raises(BadRequest):
            read_request(line, CONTROLLER)
    with pytest.raises(BadRequest) as caught:
        read_request(b'{"op":"roll","secret":"s3cret"}', CONTROLLER)
    assert "s3cret" not in str(caught.value)


class Life(RuleBasedStateMachine):
    """Tokens, admissions, revocations and time in any order: no address is ever two members'."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.directory = tempfile.TemporaryDirectory()
        self.signer = make_signer(Path(self.directory.name), self.clock)
        # What a crash would lose is of no matter here, and a busy disk takes its time.
        self.signer._ledger._db.execute("PRAGMA synchronous = OFF")
        self.signer.trust(card(CONTROLLER_KEY))
        self.tokens: list[Token] = []
        self.admitted: dict[int, str] = {}
        self.used: set[str] = set()
        self.epoch = -1
        self.count = 0

    def teardown(self) -> None:
        self.directory.cleanup()

    @rule(third=st.integers(0, 3), length=st.sampled_from([15, 16, 24]), valid_s=st.sampled_from([60.0, 3600.0]))
    def make(self, third: int, length: int, valid_s: float) -> None:
        prefix = ip_network((f"10.{third}.0.0", length), strict=False)
        try:
            self.tokens.append(token_of(self.signer, prefixes=(prefix,), valid_s=valid_s))
        except Refusal:
            return

    @precondition(lambda self: self.tokens)
    @rule(which=st.integers(0, 50))
    def admit(self, which: int) -> None:
        token = self.tokens[which % len(self.tokens)]
        self.count += 1
        fits = token.id not in self.used and token.expires_at > self.clock.now_s
        try:
            asked = an_enroll(
                token, f"n{self.count}", Identity(Ed25519PrivateKey.generate(), X25519PrivateKey.generate())
            )
            member = member_of(self.signer, self.signer.admit(asked).member)
        except Refusal:
            assert not fits
            return
        assert fits and member.serial not in self.admitted
        self.used.add(token.id)
        self.admitted[member.serial] = member.name

    @precondition(lambda self: self.admitted)
    @rule(which=st.integers(0, 50))
    def revoke(self, which: int) -> None:
        serial = sorted(self.admitted)[which % len(self.admitted)]
        self.signer.revoke(serial)
        del self.admitted[serial]
        assert serial in roll_of(self.signer).revoked

    @rule(later_s=st.sampled_from([1.0, 61.0, ROLL_VALID_S * 0.6]))
    def wait(self, later_s: float) -> None:
        self.clock.now_s += later_s

    @invariant()
    def no_address_is_two_members(self) -> None:
        found = [member_of(self.signer, one) for one in self.signer.members(0).members]
        assert {one.serial: one.name for one in found} == self.admitted
        nets = [net for one in found for net in one.prefixes]
        assert not [(a, b) for i, a in enumerate(nets) for b in nets[:i] if a.overlaps(b)]

    @invariant()
    def the_roll_is_current_and_never_goes_back(self) -> None:
        roll = roll_of(self.signer)
        assert roll.epoch >= self.epoch and roll.not_after > self.clock.now_s
        self.epoch = roll.epoch


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=30, stateful_step_count=20)


def test_a_signer_without_a_network_answers_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request, answer = tmp_path / "request", tmp_path / "answer"

    def ask(question: Message, of: str) -> tuple[int, bytes]:
        request.write_text(question.model_dump_json())
        answer.unlink(missing_ok=True)
        arguments = ["signing", "--state", tmp_path / "s", "--answer", request, answer, "--of", of]
        monkeypatch.setattr("sys.argv", [str(one) for one in arguments])
        code = process.main()
        return code, answer.read_bytes() if answer.exists() else b""

    assert ask(Trust(card=card(CONTROLLER_KEY)), "operator") == (0, b"{}\n")
    token = Token.read(read_answer(ask(MakeToken(), "operator")[1], TokenMade).token)
    own = identity(tmp_path / "a")
    code, said = ask(Admit(enroll=an_enroll(token, "ber", own)), "controller")
    member = read_answer(said, Admitted).member.open(Member, [token.policy_key])
    assert (code, member.serial, own.is_of(member)) == (0, 1, True)
    assert answer.stat().st_mode & 0o777 == 0o600
    with pytest.raises(Refusal, match="was used"):
        read_answer(ask(Admit(enroll=an_enroll(token, "ams", own)), "controller")[1], Admitted)
    assert ask(MakeToken(), "controller") == (1, b"")


def let_in(signer: Signer, directory: Path, name: str, *prefixes: str) -> Admitted:
    token = token_of(signer, prefixes=tuple(ip_network(one) for one in prefixes))
    return signer.admit(an_enroll(token, name, identity(directory / name)))


def test_the_roll_says_what_members_hold_and_where_tunnels_have_their_addresses(
    signer: Signer, tmp_path: Path
) -> None:
    def said() -> tuple[list[str], list[str]]:
        roll = roll_of(signer)
        return [f"{one}" for one in roll.prefixes], [f"{one}" for one in roll.ranges]

    assert said() == ([], ["100.96.0.0/12"])
    admitted = let_in(signer, tmp_path, "ber", "10.1.0.0/24", "2001:db8:1::/48")
    assert admitted.roll == signer.roll().roll and said()[0] == ["10.1.0.0/24", "2001:db8:1::/48"]
    let_in(signer, tmp_path, "muc", "10.1.1.0/24")
    assert said()[0] == ["10.1.0.0/23", "2001:db8:1::/48"]
    epoch = signer.epoch
    let_in(signer, tmp_path, "relay")
    assert signer.epoch == epoch, "who has no prefix is no news to anybody's routes"
    signer.revoke(1)
    assert said()[0] == ["10.1.1.0/24"]
    other = card(Ed25519PrivateKey.generate())
    signer.trust(other.model_copy(update={"overlay_range": ip_network("172.20.0.0/16")}))
    assert said()[1] == ["100.96.0.0/12", "172.20.0.0/16"]
    with pytest.raises(Refusal, match=r"172.20.3.0/24 overlaps 172.20.0.0/16, where tunnels have their addresses"):
        token_of(signer, prefixes=(ip_network("172.20.3.0/24"),))
    signer.distrust(other.state_key)
    assert said()[1] == ["100.96.0.0/12"]
    with pytest.raises(Refusal, match=r"overlaps 10.1.1.0/24 of member muc \(serial 2\): give the controller ano"):
        signer.trust(other.model_copy(update={"overlay_range": ip_network("10.0.0.0/8")}))


def test_a_roll_of_a_version_that_did_not_say_what_members_hold_is_replaced(
    signer: Signer, tmp_path: Path, clock: Clock
) -> None:
    let_in(signer, tmp_path, "ber", "10.1.0.0/24")
    epoch = signer.epoch
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Signer, "_held", lambda _: ())
        signer.distrust(card(CONTROLLER_KEY).state_key)
    again = make_signer(tmp_path, clock, signer._key)
    assert [f"{one}" for one in roll_of(again).prefixes] == ["10.1.0.0/24"] and again.epoch == epoch + 2
    assert roll_of(again).epoch == again.epoch == epoch + 2
