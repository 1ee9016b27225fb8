"""A member whose certificate expired while no controller was there is in again by itself, and nobody else is."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from ryu_apps.overlay.authority import Authority
from ryu_apps.overlay.gate import Gate
from tests.system.waiting import wait_until
from tests.unit.gate_world import (
    World,
    context_of,
    gate_world,
    identity_serial,
    member_of,
    say,
    stranger,
)
from tests.unit.trust_world import Heard, Site
from vte_agent import membership as members
from vte_agent.channel import Channel, ChannelState, Listener
from vte_agent.coming_back import NotLetBack, come_back
from vte_agent.identity import Identity, csr_of, load_or_make, tls_key
from vte_agent.keeping import Keeping
from vte_agent.protocol.channel import SERVER_NAME, Close
from vte_agent.protocol.enrollment import Challenge, Claim, ClaimFrame, Lapsed, Refused, Renewed
from vte_agent.protocol.frames import FROM_CONTROLLER, Hello, decode, encode
from vte_agent.protocol.signed import Signed

WEEKEND_S = 3 * 86_400.0


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with gate_world(tmp_path_factory.mktemp("overlay")) as made:
        yield made


def let_expire(world: World, directory: Path) -> bytes:
    """As if it had been signed three days ago."""
    keeping, key = Keeping(directory), tls_key()
    membership = members.load(keeping)
    assert membership is not None
    then = Authority(world.authority._directory, clock=lambda: time.time() - WEEKEND_S)
    certificate = then.sign_client(csr_of(key), membership.open().serial, membership.open().name)
    content = members.bundle(key, certificate, world.authority.pem)
    keeping.write(members.CERTIFICATE, content)
    assert members.life_of(content).not_after < time.time()
    return content


def certificate(directory: Path) -> bytes:
    return (directory / members.CERTIFICATE).read_bytes()


@contextlib.contextmanager
def another_gate(world: World, port: int, heard: Heard) -> Iterator[Gate]:
    """Of a controller that has come back."""
    gate = Gate(
        world.authority,
        world.gate._policy_key,
        world.controller.admit,
        heard.listener(),
        member_of=lambda serial: member_of(world.controller, serial),
    )
    gate.start("127.0.0.1", port)
    try:
        gate.publish_roll(world.controller.roll().roll)
        yield gate
    finally:
        gate.stop()


def calling(directory: Path, port: int) -> None:
    """Have a node call its controller at another port."""
    keeping = Keeping(directory)
    membership = members.load(keeping)
    assert membership is not None
    moved = membership.model_copy(update={"controllers": (f"127.0.0.1:{port}",)})
    keeping.write(members.FILE, moved.model_dump_json().encode())


def test_a_site_that_was_alone_for_a_weekend_says_so_and_is_in_again_once_a_controller_is_back(
    world: World,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    directory, heard = world.enroll("alone"), Heard()
    serial = identity_serial(directory)
    with another_gate(world, 0, heard) as gate:
        port = gate.port
    calling(directory, port)
    expired = let_expire(world, directory)
    site = Site.of(directory, world.loop)
    wait_until(lambda: site.channel.state is ChannelState.EXPIRED, 10, lambda: site.states)
    assert site.channel.why.startswith("the certificate has expired, and there is no other: 127.0.0.1")
    with another_gate(world, port, heard) as gate:
        wait_until(lambda: serial in heard.hellos, 30, lambda: site.states)
        assert site.channel.state is ChannelState.CONNECTED and site.channel.problem == ""
        assert gate.problems() == {}
    after = certificate(directory)
    assert members.life_of(after).not_after > time.time() + 3600
    assert expired.partition(b"-----BEGIN CERT")[0] != after.partition(b"-----BEGIN CERT")[0]
    assert f"serial={serial} name=alone address=127.0.0.1 has another certificate" in caplog.text
    assert "the certificate had expired; not_after=" in caplog.text


def test_one_that_is_revoked_stays_out_also_with_an_expired_certificate(world: World) -> None:
    directory = world.enroll("out")
    serial = identity_serial(directory)
    expired = let_expire(world, directory)
    world.operator.revoke(serial)
    wait_until(lambda: world.gate._hosting.is_revoked(serial), 5, "the gate does not know")
    site = Site.of(directory, world.loop)
    wait_until(lambda: site.channel.state is ChannelState.REVOKED, 10, lambda: site.states)
    assert certificate(directory) == expired and serial not in world.gate.connected()


def test_an_expired_certificate_itself_opens_nothing_and_that_is_said_by_name(world: World) -> None:
    directory = world.enroll("late")
    let_expire(world, directory)
    with pytest.raises(ConnectionClosed) as caught:
        world.loop.run(say(world.gate.port, context_of(directory), encode(Hello())))
    assert caught.value.rcvd is not None and caught.value.rcvd.code == Close.EXPIRED
    assert identity_serial(directory) not in world.heard.hellos


def test_a_node_whose_clock_is_behind_believes_the_controller_that_it_has_expired(world: World) -> None:
    directory = world.enroll("slow")
    let_expire(world, directory)
    keeping = Keeping(directory)
    membership = members.load(keeping)
    assert membership is not None

    async def run() -> Channel:
        listener = Listener(lambda _: None, lambda _: None)
        clock_s = time.time() - WEEKEND_S
        channel = Channel(membership, load_or_make(keeping), keeping, listener, clock=lambda: clock_s)
        await channel._one(membership.controllers[0])
        assert channel.state is ChannelState.EXPIRED
        task = asyncio.create_task(channel._one(membership.controllers[0]))
        await asyncio.to_thread(wait_until, lambda: channel.state is ChannelState.CONNECTED, 10, "it stays out")
        task.cancel()
        return channel

    world.loop.run(run())


@pytest.mark.parametrize(
    ("name", "content"), [("without", None), ("empty", b""), ("damaged", b"-----BEGIN CERTIFICATE-----\nx\n")]
)
def test_one_that_has_lost_its_certificate_gets_another(world: World, name: str, content: bytes | None) -> None:
    directory = world.enroll(name)
    Keeping(directory).remove(members.CERTIFICATE)
    if content is not None:
        Keeping(directory).write(members.CERTIFICATE, content)
    site = Site.of(directory, world.loop)
    wait_until(lambda: site.channel.state is ChannelState.CONNECTED, 10, lambda: site.states)


# what a thief may try --------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def at_the_door(world: World) -> AsyncIterator[ClientConnection]:
    async with connect(
        f"wss://127.0.0.1:{world.gate.port}/",
        ssl=stranger(world),
        server_hostname=SERVER_NAME,
        proxy=None,
        compression=None,
    ) as connection:
        yield connection


async def ask(connection: ClientConnection, message: Lapsed | ClaimFrame) -> object:
    await connection.send(encode(message))
    return decode(await asyncio.wait_for(connection.recv(), 5), FROM_CONTROLLER)


def a_claim(own: Identity, serial: int, nonce: str) -> ClaimFrame:
    return ClaimFrame(claim=Signed.of(Claim(serial=serial, nonce=nonce, csr=csr_of(tls_key())), own.identity))


def test_a_claim_counts_once_on_its_own_connection_for_its_own_key_and_member(world: World) -> None:
    directory, other = world.enroll("claiming"), world.enroll("thief")
    serial, own, thief = identity_serial(directory), load_or_make(Keeping(directory)), load_or_make(Keeping(other))
    nobody = Identity(Ed25519PrivateKey.generate(), own.pairing)

    async def run() -> tuple[object, ClaimFrame, list[object]]:
        async with at_the_door(world) as connection:
            challenge = await ask(connection, Lapsed(serial=serial))
            assert isinstance(challenge, Challenge)
            claim = a_claim(own, serial, challenge.nonce)
            good = await ask(connection, claim)
        bad: list[object] = []
        frames: tuple[Callable[[str], ClaimFrame], ...] = (
            lambda _: claim,
            lambda nonce: a_claim(thief, serial, nonce),
            lambda nonce: a_claim(thief, identity_serial(other), nonce),
            lambda nonce: a_claim(nobody, serial, nonce),
            lambda nonce: a_claim(own, identity_serial(other), nonce),
        )
        for frame_of in frames:
            async with at_the_door(world) as connection:
                challenge = await ask(connection, Lapsed(serial=serial))
                assert isinstance(challenge, Challenge)
                bad.append(await ask(connection, frame_of(challenge.nonce)))
        async with at_the_door(world) as connection:
            bad.append(await ask(connection, claim))
        async with at_the_door(world) as connection:
            bad.append(await ask(connection, Lapsed(serial=1 << 40)))
        return good, claim, bad

    good, frame, bad = world.loop.run(run())
    assert isinstance(good, Renewed) and all(isinstance(one, Refused) for one in bad), bad
    # Whoever hears all of it has a certificate for a key that is on the node alone.
    asked = frame.claim.open(Claim, [own.public_identity])
    signed = x509.load_pem_x509_certificate(good.certificate.encode())
    assert signed.public_key() == x509.load_pem_x509_csr(asked.csr.encode()).public_key()


def test_who_asks_too_often_waits_and_others_behind_the_same_address_do_not(world: World) -> None:
    eager, friend = world.enroll("eager"), world.enroll("modest")

    def again(directory: Path) -> bytes:
        keeping = Keeping(directory)
        membership = members.load(keeping)
        assert membership is not None
        return world.loop.run(come_back(membership.controllers[0], membership, load_or_make(keeping)))

    for _ in range(5):
        again(eager)
    with pytest.raises(NotLetBack, match="too often; wait a minute"):
        again(eager)
    assert again(friend)
