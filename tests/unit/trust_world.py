"""A signer, a gate and agents, as the tests of the control channel hold them."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.meshing.loop import Loop
from ryu_apps.overlay.authority import Authority
from ryu_apps.overlay.hosting import GateListener
from ryu_apps.overlay.signing.ledger import Ledger
from ryu_apps.overlay.signing.requests import ControllerCard, MakeToken
from ryu_apps.overlay.signing.signer import Signer
from vte_agent import membership as members
from vte_agent.believing import Believer, NotBelieved
from vte_agent.channel import Channel, ChannelState, Listener
from vte_agent.identity import Identity, csr_of, load_or_make, tls_key
from vte_agent.keeping import Keeping
from vte_agent.membership import Membership
from vte_agent.protocol.base import public_text
from vte_agent.protocol.enrollment import Enroll, Token, proof_of
from vte_agent.protocol.frames import Hello, Moved
from vte_agent.protocol.has import Has
from vte_agent.protocol.signed import Signed
from vte_agent.protocol.wanted import Wanted

T = TypeVar("T")


def public(key: Ed25519PrivateKey) -> str:
    return public_text(key.public_key().public_bytes_raw())


@dataclass
class Clock:
    """Says what it is told."""

    now_s: float = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now_s


def card(state_key: Ed25519PrivateKey, sha256: str = "ab" * 32, address: str = "127.0.0.1:1") -> ControllerCard:
    return ControllerCard(state_key=public(state_key), authority_sha256=sha256, addresses=(address,))


def make_signer(directory: Path, clock: Clock, key: Ed25519PrivateKey | None = None) -> Signer:
    return Signer(Ledger(directory / "ledger.db"), key or Ed25519PrivateKey.generate(), clock)


def an_enroll(token: Token, name: str, own: Identity) -> Enroll:
    csr = csr_of(tls_key())
    parts = (token.id, name, own.public_identity, own.public_pairing, csr)
    return Enroll(
        token_id=token.id,
        name=name,
        identity=own.public_identity,
        pairing=own.public_pairing,
        csr=csr,
        proof=proof_of(token.secret, *parts),
    )


def identity(directory: Path) -> Identity:
    return load_or_make(Keeping(directory))


def token_of(signer: Signer, **wish: Any) -> Token:
    return Token.read(signer.make_token(MakeToken(**wish)).token)


def wanted_for(serial: int, roll: Signed, key: Ed25519PrivateKey, generation: int = 1, **more: Any) -> Signed:
    return Signed.of(Wanted(generation=generation, serial=serial, roll=roll, **more), key)


def spellings(secret: bytes) -> Iterator[bytes]:
    """As what a secret may stand in a text or in a file."""
    yield secret
    yield secret.hex().encode()
    yield secret.hex().upper().encode()
    # As Python shows bytes, and JSON that.
    shown = repr(secret)[2:-1]
    yield shown.encode()
    yield json.dumps(shown)[1:-1].encode()
    # Whatever stands before it: base64 has three places where it can begin.
    for before in range(3):
        for encode_it in (base64.b64encode, base64.urlsafe_b64encode):
            text = encode_it(bytes(before) + secret)
            yield text[4 : len(text) - 4]


def a_channel(directory: Path, *controllers: str, chance: random.Random | None = None) -> Channel:
    """A channel that has a certificate and nobody to talk to."""
    authority, keeping = Authority(directory), Keeping(directory / "agent")
    key, policy = tls_key(), Ed25519PrivateKey.generate()
    keeping.write(
        members.CERTIFICATE, members.bundle(key, authority.sign_client(csr_of(key), 1, "ber"), authority.pem)
    )
    membership = Membership(
        controllers=controllers or ("127.0.0.1:1",),
        authority=authority.pem,
        policy_key=public(policy),
        member=Signed.of(Has(generation=0), policy),
    )
    listener = Listener(lambda _: None, lambda _: None)
    return Channel(membership, load_or_make(keeping), keeping, listener, chance=chance)


@dataclass
class Site:
    """An agent without tunnels: it believes and remembers what it was told."""

    keeping: Keeping
    membership: Membership
    believer: Believer
    channel: Channel
    refused: list[str] = field(default_factory=list)
    states: list[tuple[ChannelState, str]] = field(default_factory=list)

    @classmethod
    def of(cls, directory: Path, loop: Loop) -> Site:
        keeping = Keeping(directory)
        membership = members.load(keeping)
        assert membership is not None

        async def make() -> Site:
            listener = Listener(
                lambda signed: site.take(site.believer.take_roll, signed),
                lambda signed: site.take(site.believer.take_wanted, signed),
                lambda state, why: site.states.append((state, why)),
            )
            channel = Channel(membership, load_or_make(keeping), keeping, listener)
            site = cls(keeping, membership, Believer(membership, keeping), channel)
            return site

        site = loop.run(make())
        loop.begin(site.channel.run())
        return site

    def take(self, act: Any, signed: Signed) -> None:
        try:
            act(signed)
        except NotBelieved as error:
            self.refused.append(str(error))


@dataclass
class Heard:
    """What a gate told."""

    hellos: list[int] = field(default_factory=list)
    has: dict[int, Has] = field(default_factory=dict)
    moved: list[tuple[int, Moved]] = field(default_factory=list)
    gone: list[tuple[int, str]] = field(default_factory=list)

    def listener(self) -> GateListener:
        def hello(serial: int, _: Hello) -> None:
            self.hellos.append(serial)

        return GateListener(
            hello,
            self.has.__setitem__,
            lambda serial, moved: self.moved.append((serial, moved)),
            lambda serial, why: self.gone.append((serial, why)),
        )
