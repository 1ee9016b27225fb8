"""The control channel over real TLS, with the signer in a process of its own."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import signal
import socket
import sqlite3
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from ipaddress import IPv4Network, ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets import frames
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from ryu_apps.overlay import authority as authority_module
from ryu_apps.overlay.authority import Authority
from ryu_apps.overlay.gate import Gate
from ryu_apps.overlay.signing.client import SignerClient, SignerGone
from ryu_apps.overlay.signing.requests import ControllerCard, MakeToken, Refusal
from ryu_apps.overlay.signing.watching import said_by
from tests.system.waiting import wait_until
from tests.unit.gate_world import (
    STATE_KEY,
    World,
    answers,
    context_of,
    gate_world,
    identity_serial,
    say,
    signer_process,
    stranger,
)
from tests.unit.trust_world import Site, an_enroll, identity, public, spellings, wanted_for
from vte_agent import membership as members
from vte_agent.believing import Believer
from vte_agent.channel import ChannelState
from vte_agent.enrolling import NotEnrolled, enroll
from vte_agent.goals import goals_of
from vte_agent.hands import Snapshot
from vte_agent.identity import Identity, csr_of, load_or_make, tls_key
from vte_agent.keeping import Keeping
from vte_agent.protocol.base import Message
from vte_agent.protocol.channel import SERVER_NAME, Close
from vte_agent.protocol.enrollment import Enrolled, Refused, Token
from vte_agent.protocol.frames import FROM_CONTROLLER, Hello, Moved, RollFrame, decode, encode
from vte_agent.protocol.has import Has, RouteReport
from vte_agent.protocol.members import Member, Roll
from vte_agent.protocol.signed import Signed
from vte_agent.protocol.transport import Transport
from vte_agent.protocol.wanted import WantedTunnel
from vte_agent.reporting import Reporter
from vte_agent.tunnels.contract import TunnelFailed
from vte_agent.tunnels.fake import FakeNetwork
from vte_agent.upkeep import Failure, Standing
from vte_agent.uplinks import UplinkNow

BAD = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with gate_world(tmp_path_factory.mktemp("overlay")) as made:
        yield made


def test_a_node_joins_with_a_token_and_is_told_what_is_wanted(world: World) -> None:
    site = world.join("ber")
    serial = site.believer.own.serial
    wait_until(lambda: site.believer.judge().standing == "current", 5, lambda: site.refused)
    world.want(site, 3)
    wait_until(lambda: site.believer.generation == 3, 5, lambda: site.refused)
    world.loop.call(site.channel.say_has, Has(generation=3))
    world.loop.call(site.channel.say_moved, Moved(at_s=1.0, prefix="10.0.0.0/8"))
    wait_until(lambda: serial in world.heard.has and world.heard.moved, 5, "nothing was heard")
    assert world.heard.has[serial].generation == 3
    assert {path.stat().st_mode & 0o077 for path in site.keeping.path("x").parent.iterdir()} == {0}


def test_a_token_is_used_once_also_by_two_at_the_same_time(world: World) -> None:
    token = world.token()
    results = [
        world.loop.begin(enroll(token, f"twin{n}", Keeping(world.directory / f"twin{n}"))) for n in range(4)
    ]
    outcomes = [one.exception(15) for one in results]
    assert outcomes.count(None) == 1
    assert all("was used, withdrawn or has expired" in str(one) for one in outcomes if one is not None)


def test_a_withdrawn_or_expired_token_is_refused_by_name(world: World) -> None:
    token = world.token()
    world.operator.withdraw(token.id)
    with pytest.raises(NotEnrolled, match="refuses: this token is not one that can be used"):
        world.enroll("late", token)
    with pytest.raises(NotEnrolled, match="has expired, or this clock is ahead"):
        world.enroll("late", token.model_copy(update={"expires_at": int(time.time())}))


def test_who_was_refused_with_a_wrong_secret_is_let_in_with_the_right_one(world: World) -> None:
    token = world.token()
    with pytest.raises(NotEnrolled, match="refuses: this token is not one that can be used"):
        world.enroll("late", token.model_copy(update={"secret": "00" * 32}))
    world.enroll("late", token)


def test_where_one_controller_says_come_back_later_the_next_one_is_asked(world: World) -> None:
    def later(_: object) -> Any:
        raise SignerGone("it is away")

    gate = Gate(world.authority, world.gate._policy_key, later)
    gate.start("127.0.0.1", 0)
    try:
        token = world.token()
        busy = f"127.0.0.1:{gate.port}"
        with pytest.raises(NotEnrolled, match=f"{busy}: it refuses: the signer cannot be asked now; come back"):
            world.enroll("hasty", token.model_copy(update={"controllers": (busy,)}))
        world.enroll("hasty", token.model_copy(update={"controllers": (busy, *token.controllers)}))
    finally:
        gate.stop()


@pytest.mark.parametrize(
    ("host", "why"),
    [("127.0.0.1", "nobody listens there"), ("no.such.host.invalid", "not known|resolution|resolve")],
)
def test_where_no_controller_is_reached_it_is_said_what_to_look_at(world: World, host: str, why: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"{host}:{free.getsockname()[1]}"
    with pytest.raises(NotEnrolled, match=f"{address}: .*({why}).*`lockstitch overlay card`.*--overlay"):
        world.enroll("lost", world.token().model_copy(update={"controllers": (address,)}))


def test_with_another_authority_nothing_is_sent(world: World, tmp_path: Path) -> None:
    """The real gate, under a token that names another authority; and one that only shows the right certificate."""
    with (
        bytes_in_the_clear() as sent,
        pytest.raises(NotEnrolled, match="not the controller that the token is for"),
    ):
        world.enroll("ams", world.token().model_copy(update={"authority_sha256": "ab" * 32}))
    assert sent == []
    impostor = Authority(tmp_path)
    files = impostor.server_files()
    files.certificate.write_text(files.certificate.read_text() + world.authority.pem)
    gate = Gate(impostor, world.gate._policy_key, world.controller.admit)
    gate.start("127.0.0.1", 0)
    try:
        token = world.token().model_copy(update={"controllers": (f"127.0.0.1:{gate.port}",)})
        with (
            bytes_in_the_clear() as sent,
            pytest.raises(NotEnrolled, match=r"CERTIFICATE_VERIFY_FAILED|certificate verify failed"),
        ):
            world.enroll("ams", token)
        assert sent == []
    finally:
        gate.stop()


def test_a_member_cannot_pass_for_a_controller(world: World) -> None:
    """Its certificate is of the same authority, but for a client."""
    directory = world.enroll("mim")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(directory / members.CERTIFICATE)
    link = members.client_context(world.authority.pem)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = link.wrap_bio(incoming, outgoing, server_hostname=SERVER_NAME)
    two = server.wrap_bio(outgoing, incoming, server_side=True)

    def shake_hands() -> None:
        for end in (one, two, one, two):
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()

    with pytest.raises(ssl.SSLCertVerificationError, match="unsuitable certificate purpose"):
        shake_hands()


def test_a_certificate_of_another_authority_opens_nothing(world: World, tmp_path: Path) -> None:
    directory = world.enroll("foreign")
    keeping = Keeping(directory)
    other = Authority(tmp_path)
    membership = members.load(keeping)
    assert membership is not None
    key = tls_key()
    content = members.bundle(key, other.sign_client(csr_of(key), 1, "ber"), other.pem)
    keeping.write(members.CERTIFICATE, content)
    with pytest.raises((OSError, WebSocketException)):
        world.loop.run(say(world.gate.port, context_of(directory), encode(Hello())))


def test_a_revoked_one_is_cut_at_once_and_its_certificate_opens_nothing(world: World) -> None:
    victim, friend = world.join("victim"), world.join("friend")
    serial = victim.believer.own.serial
    world.want(friend, 1, world.member(serial))
    wait_until(lambda: serial in friend.believer.judge().peers, 5, lambda: friend.refused)
    begun_s = time.monotonic()
    world.operator.revoke(serial)
    wait_until(lambda: victim.channel.state is ChannelState.REVOKED, 2, lambda: victim.states)
    wait_until(lambda: serial not in friend.believer.judge().peers, 2, "a peer that is revoked")
    assert time.monotonic() - begun_s < 2
    with pytest.raises(ConnectionClosed) as caught:
        world.loop.run(say(world.gate.port, context_of(victim.keeping.path("x").parent), encode(Hello())))
    assert caught.value.rcvd is not None and caught.value.rcvd.code == Close.REVOKED
    assert serial not in world.gate.connected()


def test_an_expired_certificate_is_cut_and_one_in_time_renewed_with_another_key(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(authority_module, "CLIENT_VALID", timedelta(seconds=2))
        patched.setattr(authority_module, "_SKEW", timedelta(seconds=30))
        directory, silent = world.enroll("renewing"), world.enroll("silent")
    before = (directory / members.CERTIFICATE).read_bytes()
    site = Site.of(directory, world.loop)
    wait_until(lambda: (directory / members.CERTIFICATE).read_bytes() != before, 5, lambda: site.states)
    after = (directory / members.CERTIFICATE).read_bytes()
    assert members.life_of(after).not_after > time.time() + 3600
    assert before.partition(b"-----BEGIN CERT")[0] != after.partition(b"-----BEGIN CERT")[0]
    with pytest.raises((OSError, WebSocketException)):
        # Until it is cut; or not let in, where it has taken that long to get here.
        world.loop.run(say(world.gate.port, context_of(silent), encode(Hello()), answers=9))
    wait_until(lambda: time.time() > members.life_of(before).not_after + 1, 5, "time stands still")
    assert site.channel.state is ChannelState.CONNECTED and site.channel.problem == ""


def test_of_two_with_one_identity_the_newer_one_stays_and_both_are_told_of(world: World) -> None:
    site = world.join("double")
    serial = site.believer.own.serial
    other = Site.of(site.keeping.path("x").parent, world.loop)
    wait_until(lambda: site.channel.state is ChannelState.REPLACED, 5, lambda: site.states)
    assert other.channel.state is ChannelState.CONNECTED
    assert f"another agent came as serial {serial}" in site.channel.why
    wait_until(lambda: serial in world.gate.problems(), 5, "no problem is named")
    assert f"two agents have the identity of double (serial {serial})" in world.gate.problems()[serial]
    assert serial not in {gone for gone, _ in world.heard.gone}
    world.operator.revoke(serial)
    wait_until(lambda: serial not in world.gate.problems(), 5, "what was wrong with who is out is still named")


def test_one_that_comes_back_before_its_old_connection_is_missed_is_no_double(world: World) -> None:
    directory = world.enroll("roaming")
    serial = identity_serial(directory)

    async def vanish() -> None:
        channel = await connect(
            f"wss://127.0.0.1:{world.gate.port}/",
            ssl=context_of(directory),
            server_hostname=SERVER_NAME,
            proxy=None,
        )
        await channel.send(encode(Hello()))
        await asyncio.wait_for(channel.recv(), 5)
        # Like one whose address has changed: nothing is read and nothing said any more.
        channel.transport.pause_reading()
        again = await say(world.gate.port, context_of(directory), encode(Hello()))
        assert again
        channel.transport.abort()

    world.loop.run(vanish())
    assert serial not in world.gate.problems()


def test_who_is_replaced_by_one_that_never_says_hello_is_gone_with_it(world: World) -> None:
    """Otherwise a dead hub would be there for ever."""
    site = world.join("dying")
    serial, directory = site.believer.own.serial, site.keeping.path("x").parent

    async def come_and_go() -> None:
        async with connect(
            f"wss://127.0.0.1:{world.gate.port}/",
            ssl=context_of(directory),
            server_hostname=SERVER_NAME,
            proxy=None,
        ):
            await asyncio.to_thread(
                wait_until, lambda: site.channel.state is ChannelState.REPLACED, 5, "it is not replaced"
            )
            assert serial not in {gone for gone, _ in world.heard.gone}

    world.loop.run(come_and_go())
    wait_until(lambda: serial in {gone for gone, _ in world.heard.gone}, 5, "nobody is told that it is gone")
    assert serial not in world.gate.connected()


def test_who_comes_too_often_is_turned_away_and_others_are_not(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, friend = world.enroll("restless"), world.enroll("patient")
    monkeypatch.setattr(world.gate._hosting._comings, "_burst", 3.0)
    for _ in range(3):
        world.loop.run(say(world.gate.port, context_of(directory), encode(Hello())))
    with pytest.raises(ConnectionClosed, match="you come too often; come back in 2 s"):
        world.loop.run(say(world.gate.port, context_of(directory), encode(Hello()), answers=9))
    world.loop.run(say(world.gate.port, context_of(friend), encode(Hello())))


def test_routes_that_stay_are_said_once_on_each_connection_and_known_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = world.join("steady")
    serial = site.believer.own.serial
    left_out: list[bool] = []

    def spoken(message: Message) -> str:
        if isinstance(message, Has):
            left_out.append(message.routes_stay)
        return encode(message)

    monkeypatch.setattr("vte_agent.channel.encode", spoken)
    # So many that it takes several pieces to say them.
    every = tuple(IPv4Network((0x0A000000 + (number << 8), 24)) for number in range(4_000))
    routes = (RouteReport(prefixes=every, tunnel="t"),)

    def report(generation: int) -> None:
        has = Has(generation=generation, routes=routes, transports=(Transport.WIREGUARD,))
        world.loop.call(site.channel.say_has, has)
        wait_until(
            lambda: world.heard.has.get(serial, Has(generation=0)).generation == generation, 10, "not heard"
        )
        assert world.heard.has[serial].routes == routes and not world.heard.has[serial].routes_stay

    report(1)
    report(2)
    assert left_out == [False, True]
    world.gate._call(lambda: asyncio.ensure_future(world.gate._hosting.agents[serial].connection.close()))
    wait_until(lambda: world.heard.hellos.count(serial) == 2, 10, lambda: site.states)
    wait_until(lambda: len(left_out) == 3, 10, lambda: site.states)
    report(3)
    assert left_out[2:] == [False, True]


def test_who_is_cut_while_it_is_told_much_hears_all_of_it_and_why_it_is_cut(world: World) -> None:
    directory = world.enroll("slow-and-out")
    serial = identity_serial(directory)
    # More than the sockets between have room for.
    much = Signed(kind="Wanted", payload="A" * 7_000_000, signature="A" * 88)

    async def be_slow() -> tuple[int, str]:
        async with connect(
            f"wss://127.0.0.1:{world.gate.port}/",
            ssl=context_of(directory),
            server_hostname=SERVER_NAME,
            proxy=None,
            compression=None,
            max_queue=1,
            max_size=1 << 24,
        ) as channel:
            await channel.send(encode(Hello()))
            await channel.recv()
            world.gate.send_wanted(serial, lambda: much)
            sending = world.gate._hosting.agents[serial].sending
            while not sending.locked():
                await asyncio.sleep(0.01)
            await asyncio.to_thread(world.operator.revoke, serial)
            while serial in world.gate._hosting.agents:
                await asyncio.sleep(0.01)
            told = len(await asyncio.wait_for(channel.recv(), 10))
            with pytest.raises(ConnectionClosed) as caught:
                await asyncio.wait_for(channel.recv(), 10)
            assert caught.value.rcvd is not None and caught.value.rcvd.code == Close.REVOKED
            return told, caught.value.rcvd.reason

    told, why = world.loop.run(be_slow())
    assert told > 7_000_000 and why == f"serial {serial} is revoked"


def test_only_the_newest_wanted_state_waits_for_an_agent(world: World) -> None:
    """One that does not read costs one frame of each kind."""
    site = world.join("slow")
    agent = world.gate._hosting.agents[site.believer.own.serial]
    roll = world.controller.roll().roll
    made = []

    def state(generation: int) -> Signed:
        made.append(generation)
        return wanted_for(agent.serial, roll, STATE_KEY, generation)

    for generation in range(1, 300):
        world.gate.send_wanted(agent.serial, partial(state, generation))
    wait_until(lambda: site.believer.generation == 299, 5, lambda: site.refused[-3:])
    assert agent.wanted is None and len(made) < 299


def test_a_state_that_cannot_be_made_ends_one_channel_and_is_told_in_the_log(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    site, friend = world.join("unlucky"), world.join("lucky")
    serial = site.believer.own.serial

    def broken() -> Signed:
        raise RuntimeError("there is no such plan")

    world.gate.send_wanted(serial, broken)
    wait_until(lambda: world.heard.hellos.count(serial) == 2, 10, lambda: site.states)
    assert "cannot be told what it shall have" in world.gate.problems()[serial]
    assert "there is no such plan" in caplog.text and f"serial={serial}" in caplog.text
    assert world.heard.hellos.count(friend.believer.own.serial) == 1


def test_replayed_and_older_states_are_refused(world: World) -> None:
    site = world.join("replayed")
    old = world.want(site, 1)
    wait_until(lambda: site.believer.generation == 1, 5, lambda: site.refused)
    old_roll = world.controller.roll().roll
    world.want(site, 2)
    wait_until(lambda: site.believer.generation == 2, 5, lambda: site.refused)
    world.gate.send_wanted(site.believer.own.serial, lambda: old)
    wait_until(lambda: any("generation 1 is not above 2" in one for one in site.refused), 5, lambda: site.refused)
    world.operator.revoke(identity_serial(world.enroll("gone")))
    wait_until(
        lambda: site.keeping.read(members.ROLL_FILE) != old_roll.model_dump_json().encode(), 5, "no new roll"
    )
    world.gate._call(lambda: _push_roll(world.gate, site.believer.own.serial, old_roll))
    wait_until(lambda: any("is older than" in one for one in site.refused), 5, lambda: site.refused)


def _push_roll(gate: Gate, serial: int, roll: Signed) -> None:
    gate._hosting.agents[serial].roll = encode(RollFrame(roll=roll))
    gate._hosting.agents[serial].news.set()


def test_a_controller_whose_database_was_changed_cannot_insert_a_peer(world: World) -> None:
    """Whoever can write the controller's database has its state key sign what it likes."""
    site, friend = world.join("honest"), world.join("neighbour")
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE members (member TEXT)")
    database.executemany(
        "INSERT INTO members VALUES (?)", [(one.model_dump_json(),) for one in world.controller.members()]
    )
    mine = Ed25519PrivateKey.generate()
    intruder = friend.membership.open().model_copy(
        update={"serial": 999, "name": "intruder", "identity": public(mine)}
    )
    true = friend.membership.member
    swapped = true.model_copy(update={"payload": base64.b64encode(intruder.model_dump_json().encode()).decode()})
    database.execute("DELETE FROM members WHERE member NOT LIKE ?", (f"%{true.signature}%",))
    for forged in (swapped, Signed.of(intruder, STATE_KEY), Signed.of(intruder, mine)):
        database.execute("INSERT INTO members VALUES (?)", (forged.model_dump_json(),))
    rows = database.execute("SELECT member FROM members").fetchall()
    database.close()
    assert len(rows) == 4
    world.want(site, 1, *(Signed.model_validate_json(row[0]) for row in rows))
    wait_until(lambda: site.believer.generation == 1, 5, lambda: site.refused)
    believed = site.believer.judge()
    assert set(believed.peers) == {friend.believer.own.serial}
    assert sum("the Member is not signed by a key that may say so" in one for one in believed.problems) == 3
    # Nor can it have the signer do it: neither by a roll of its own, nor by a token.
    with pytest.raises(Refusal):
        world.controller.admit(
            an_enroll(world.token(), "x", identity(world.directory / "x")).model_copy(update={"proof": "0" * 64})
        )
    for question in (lambda: world.controller.make_token(MakeToken()), lambda: world.controller.revoke(1)):
        with pytest.raises(Refusal, match="no request that may be made here"):
            question()


def test_what_an_agent_may_not_say_ends_its_channel_alone(world: World) -> None:
    directory, friend = world.enroll("rude"), world.join("polite")
    serial = identity_serial(directory)
    for text in ("{", encode(Has(generation=1)), encode(Hello()) + "x", b"\xff\x00"):
        with pytest.raises(ConnectionClosed) as caught:
            world.loop.run(say(world.gate.port, context_of(directory), text, answers=9))
        assert caught.value.rcvd is not None and caught.value.rcvd.code in (Close.REFUSED, 1007)
    with pytest.raises(ConnectionClosed):
        world.loop.run(say(world.gate.port, context_of(directory), encode(Hello()), encode(Hello()), answers=9))
    said = encode(Hello()), encode(Has(generation=1, routes_stay=True))
    with pytest.raises(ConnectionClosed, match="the first report on a channel says all routes"):
        world.loop.run(say(world.gate.port, context_of(directory), *said, answers=9))
    assert serial in world.gate.problems()
    assert friend.channel.state is ChannelState.CONNECTED


def test_without_a_certificate_only_a_token_is_heard(world: World) -> None:
    for text in (encode(Hello()), encode(Has(generation=1)), "{}", b"\x00", "x" * 60_000):
        (answer,) = world.loop.run(say(world.gate.port, stranger(world), text))
        assert isinstance(decode(answer, FROM_CONTROLLER), Refused)
    with pytest.raises(ConnectionClosed) as caught:
        world.loop.run(say(world.gate.port, stranger(world), "x" * 70_000))
    assert caught.value.sent is not None and caught.value.rcvd is not None and caught.value.rcvd.code == 1009


def test_a_csr_that_cannot_be_signed_does_not_use_the_token_up(world: World) -> None:
    token, own = world.token(), identity(world.directory / "csr")
    bad = an_enroll(token, "csr", own).model_copy(update={"csr": "nothing"})
    (answer,) = world.loop.run(say(world.gate.port, stranger(world), encode(bad)))
    assert decode(answer, FROM_CONTROLLER) == Refused(reason="this is no certificate request (PKCS #10, PEM)")
    (answer,) = world.loop.run(say(world.gate.port, stranger(world), encode(an_enroll(token, "csr", own))))
    assert isinstance(decode(answer, FROM_CONTROLLER), Enrolled)


def test_who_tries_too_often_has_to_wait(world: World) -> None:
    gate = Gate(world.authority, world.gate._policy_key, world.controller.admit)
    gate.start("127.0.0.1", 0)

    async def try_often() -> list[str]:
        answers = [(await say(gate.port, stranger(world), "{}"))[0] for _ in range(25)]
        return [decode(one, FROM_CONTROLLER).reason for one in answers]  # type: ignore[attr-defined]

    try:
        reasons = world.loop.run(try_often())
    finally:
        gate.stop()
    assert "no type" in reasons[0] and "too many try from 127.0.0.1; come back in" in reasons[-1]


@BAD
@given(data=st.binary(max_size=400))
def test_garbage_on_the_port_of_the_gate_hurts_nobody(world: World, data: bytes) -> None:
    with socket.create_connection(("127.0.0.1", world.gate.port)) as link:
        link.sendall(data)
    raw = members.client_context(world.authority.pem)
    with (
        socket.create_connection(("127.0.0.1", world.gate.port)) as link,
        raw.wrap_socket(link, server_hostname=SERVER_NAME) as tls,
    ):
        tls.sendall(data)


def test_after_all_the_garbage_a_node_can_join(world: World) -> None:
    assert world.join("after").channel.state is ChannelState.CONNECTED


@BAD
@given(
    data=st.binary(max_size=400) | st.text(max_size=200).map(lambda text: (text + "\n").encode()),
    door=st.sampled_from(["controller", "operator"]),
)
def test_garbage_on_the_sockets_of_the_signer_hurts_nobody(world: World, data: bytes, door: str) -> None:
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(5)
        link.connect(str(world.signer / f"{door}.sock"))
        link.sendall(data + b"\n")
        link.shutdown(socket.SHUT_WR)
        answer = link.makefile("rb").read()
    assert answer.startswith(b'{"refused"')
    assert world.controller.roll()


def test_a_request_without_end_and_too_many_of_them_are_refused(world: World) -> None:
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(5)
        link.connect(str(world.signer / "controller.sock"))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            link.sendall(b"x" * 200_000)
        with contextlib.suppress(ConnectionResetError):
            assert b"at most" in link.makefile("rb").read()
    with contextlib.ExitStack() as stack:
        links = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(40)]
        for link in links:
            link.settimeout(5)
            link.connect(str(world.signer / "controller.sock"))
        assert b"too many connections" in links[-1].makefile("rb").read()
        # The operator's door is another one.
        assert world.operator.roll()
    wait_until(lambda: answers(world.controller), 5, "the signer does not recover")


def test_who_waits_for_a_later_roll_has_it_as_soon_as_somebody_with_a_prefix_is_let_in(world: World) -> None:
    before = said_by(world.controller.roll()).epoch
    prefix = ip_network("10.77.0.0/24")
    began_s = time.monotonic()
    with ThreadPoolExecutor() as threads:
        later = threads.submit(world.controller.roll, before)
        world.enroll("holder", world.token(prefixes=(prefix,)))
        now = later.result(10)
    roll = now.roll.open(Roll, [now.policy_key])
    assert prefix in roll.prefixes and time.monotonic() - began_s < 10


@contextlib.contextmanager
def bytes_in_the_clear() -> Iterator[list[bytes]]:
    """What is given to TLS to be sent, at either end in this process."""
    sent: list[bytes] = []

    class Recording(ssl.SSLObject):
        def write(self, data: Any) -> int:
            count = super().write(data)
            sent.append(bytes(memoryview(data)[:count]))
            return count

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ssl.SSLContext, "sslobject_class", Recording)
        # What clients send is masked (RFC 6455, section 5.3); here neither end does it.
        patched.setattr(frames, "apply_mask", lambda data, _: bytes(data))
        yield sent


def with_tunnels(site: Site, own: Identity, far: Identity, peer: Signed, world: World) -> tuple[Has, list[bytes]]:
    """A tunnel of each transport is wanted to another site; what is reported of them, and what is private there.

    The secret of WireGuard's is the preshared key, that of IPsec's the PSK of IKEv2 as charon is given it. What
    charon derives of that never leaves its process.
    """
    me, other = site.believer.own, peer.open(Member, [site.membership.policy_key])
    tunnels = tuple(
        WantedTunnel(
            name=f"t-{transport.value}",
            peer=other.serial,
            transport=transport,
            uplink="wan",
            address=ip_address("100.96.0.0"),
            peer_address=ip_address("100.96.0.1"),
            peer_key=far.sign_tunnel_key(other.serial, f"t-{transport.value}", far.public_pairing),
        )
        for transport in Transport
    )
    more = {"peers": (peer,), "tunnels": tunnels}
    state = wanted_for(me.serial, world.controller.roll().roll, STATE_KEY, 2, **more)
    world.gate.send_wanted(me.serial, lambda: state)
    wait_until(lambda: site.believer.generation == 2, 5, lambda: site.refused)
    uplink = UplinkNow("wan", 1, "eth0", 1, ip_address("192.0.2.1"), None, 1500)
    goals = goals_of(
        *(site.believer.judge(), me, [uplink], set(Transport)), lambda one, name: own.pair_secret(me, one, name)
    ).goals
    standing, private = {}, [own.pairing.exchange(far.pairing.public_key())]
    for name, goal in goals.items():
        assert goal.peer is not None and goal.peer.secret == far.pair_secret(other, me, name)
        node, device = FakeNetwork().node("here"), goal.spec.device
        standing[name] = Standing(goal, node.create(goal.spec), goal.peer)
        private.append(goal.peer.secret)
        logging.getLogger("vte_agent").debug("tunnel=%s device=%s goal=%r", name, device, goal)
    assert len(private) == 1 + len(Transport) == len({*private})
    failures = {name: Failure(f"{TunnelFailed(repr(there.peer))}", 1, 0.0) for name, there in standing.items()}
    return Reporter(own, me).has(Snapshot(2, standing, failures), (), tuple(Transport)), private


def test_no_private_key_crosses_the_channel_or_gets_into_a_log(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with bytes_in_the_clear() as sent:
        token = world.token()
        directory = world.enroll("secretive", token)
        first = (directory / members.CERTIFICATE).read_bytes()
        site = Site.of(directory, world.loop)
        wait_until(lambda: site.believer.own.serial in world.heard.hellos, 5, lambda: site.states)
        world.want(site, 1)
        wait_until(lambda: site.believer.generation == 1, 5, lambda: site.refused)
        own, other = load_or_make(Keeping(directory)), world.enroll("other", world.token())
        far = load_or_make(Keeping(other))
        peer = Believer(members.load(Keeping(other)), Keeping(other)).own.serial  # type: ignore[arg-type]
        has, private = with_tunnels(site, own, far, world.member(peer), world)
        world.loop.call(site.channel.say_has, has)
        wait_until(lambda: site.believer.own.serial in world.heard.has, 5, "no report")
        assert len(world.heard.has[site.believer.own.serial].tunnels) == len(Transport)
    said = b"".join(sent)
    assert b'"Enroll"' in said and b'"Enrolled"' in said and b'"WantedFrame"' in said and b'"Has"' in said
    secrets = [
        *private,
        own.identity.private_bytes_raw(),
        own.pairing.private_bytes_raw(),
        token.secret.encode(),
        bytes.fromhex(token.secret),
    ]
    for content in (
        first,
        world.authority._key_path.read_bytes(),
        (world.directory / "controller/overlay-server.key").read_bytes(),
    ):
        key: Any = serialization.load_pem_private_key(content, None)
        secrets.append(key.private_numbers().private_value.to_bytes(32))
        der = key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        secrets.append(der)
    logged = (world.directory / "signer.log").read_bytes() + caplog.text.encode()
    assert b"admitted=secretive" in logged
    for secret in secrets:
        for spelling in spellings(secret):
            assert spelling not in said
            assert spelling not in logged
    assert b"PRIVATE KEY" not in said + logged


def test_while_the_signer_is_gone_nobody_is_let_in_and_the_token_stays_good(world: World, tmp_path: Path) -> None:
    with signer_process(tmp_path / "s") as process:
        operator = SignerClient(tmp_path / "s/operator.sock")
        client = SignerClient(tmp_path / "s/controller.sock", timeout_s=0.5)
        gate = Gate(world.authority, client.roll().policy_key, client.admit)
        gate.start("127.0.0.1", 0)
        try:
            address = f"127.0.0.1:{gate.port}"
            operator.trust(
                ControllerCard(
                    state_key=public(STATE_KEY), authority_sha256=world.authority.sha256, addresses=(address,)
                )
            )
            token = Token.read(operator.make_token(MakeToken()).token)
            process.send_signal(signal.SIGSTOP)
            with pytest.raises(
                NotEnrolled, match="the signer cannot be asked now; come back later with the same token"
            ):
                world.loop.run(enroll(token, "ber", Keeping(tmp_path / "a")))
            process.send_signal(signal.SIGCONT)
            wait_until(lambda: answers(client), 5, "it does not go on")
            # What was asked was done when it went on; this node is told so when it asks again, and no other.
            with pytest.raises(NotEnrolled, match="was used"):
                world.loop.run(enroll(token, "ber", Keeping(tmp_path / "b")))
            membership = world.loop.run(enroll(token, "ber", Keeping(tmp_path / "a")))
            assert membership.open().serial == 1
        finally:
            gate.stop()
    with pytest.raises(SignerGone, match="start it"):
        client.roll()
