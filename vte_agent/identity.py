"""The agent's own keys: made on the node, and never anywhere else."""

from __future__ import annotations

import json
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from vte_agent.keeping import CannotKeep, Keeping
from vte_agent.protocol.base import Name, PublicKey, Serial, public_bytes, public_text
from vte_agent.protocol.enrollment import Pem
from vte_agent.protocol.members import Member, TunnelKey
from vte_agent.protocol.signed import Signed

FILE = "identity.json"

_SECRETS_KEPT = 4096


class WeakKey(ValueError):
    """A public key with which every secret would be the same one."""


@dataclass(frozen=True, repr=False)
class Identity:
    """identity signs what this node says; pairing makes a secret with each other node."""

    identity: Ed25519PrivateKey
    pairing: X25519PrivateKey

    @property
    def public_identity(self) -> PublicKey:
        """What others check this node's signatures with."""
        return public_text(self.identity.public_key().public_bytes_raw())

    @property
    def public_pairing(self) -> PublicKey:
        """What others make a secret with."""
        return public_text(self.pairing.public_key().public_bytes_raw())

    def is_of(self, member: Member) -> bool:
        """Whether a member is this node."""
        return (member.identity, member.pairing) == (self.public_identity, self.public_pairing)

    def sign_tunnel_key(self, serial: Serial, tunnel: Name, public_key: PublicKey) -> Signed:
        """Say that a tunnel's key is this node's."""
        return Signed.of(TunnelKey(serial=serial, tunnel=tunnel, public_key=public_key), self.identity)

    def pair_secret(self, own: Member, peer: Member, tunnel: Name) -> bytes:
        """The 32 bytes that this node and a peer both find for a tunnel, and nobody else. Raises WeakKey."""
        return pair_secret(self.pairing, own, peer, tunnel)


class PairSecrets:
    """The secrets of one node with others, each derived once: they are asked for all the time."""

    def __init__(self, identity: Identity, own: Member) -> None:
        self._identity = identity
        self._own = own
        self._known: dict[tuple[int, PublicKey, Name], bytes] = {}

    def of(self, peer: Member, tunnel: Name) -> bytes:
        """See `pair_secret`."""
        key = peer.serial, peer.pairing, tunnel
        if (known := self._known.get(key)) is not None:
            return known
        if len(self._known) >= _SECRETS_KEPT:
            # Tunnels come and go under new names.
            self._known.clear()
        return self._known.setdefault(key, self._identity.pair_secret(self._own, peer, tunnel))


def load_or_make(keeping: Keeping) -> Identity:
    """The identity of a state directory, made at its first use. Raises CannotKeep."""
    kept = keeping.read(FILE)
    if kept is None:
        made = Identity(Ed25519PrivateKey.generate(), X25519PrivateKey.generate())
        keys = {
            "identity": made.identity.private_bytes_raw().hex(),
            "pairing": made.pairing.private_bytes_raw().hex(),
        }
        keeping.write(FILE, json.dumps(keys).encode())
        return made
    try:
        keys = json.loads(kept)
        return Identity(
            Ed25519PrivateKey.from_private_bytes(bytes.fromhex(keys["identity"])),
            X25519PrivateKey.from_private_bytes(bytes.fromhex(keys["pairing"])),
        )
    except (ValueError, TypeError, KeyError):
        # From None: the parser's error shows what it has read.
        raise CannotKeep(
            f"{keeping.path(FILE)} is damaged; put it back from a copy, or remove it and enroll anew"
        ) from None


def pair_secret(pairing: X25519PrivateKey, own: Member, peer: Member, tunnel: Name) -> bytes:
    """HKDF-SHA256 (RFC 5869) over X25519 (RFC 7748), bound to both serials and keys and to the tunnel's name.

    The same at both ends. Raises WeakKey for a peer's key of low order.
    """
    try:
        shared = pairing.exchange(X25519PublicKey.from_public_bytes(public_bytes(peer.pairing)))
    except ValueError:
        raise WeakKey(f"the pairing key of {peer.name} (serial {peer.serial}) is a weak one; revoke it") from None
    ends = sorted((member.serial.to_bytes(8), public_bytes(member.pairing)) for member in (own, peer))
    parts = (b"lockstitch pair", *(part for end in ends for part in end), tunnel.encode())
    info = b"".join(len(part).to_bytes(4) + part for part in parts)
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=info).derive(shared)


def tls_key() -> ec.EllipticCurvePrivateKey:
    """A key for the control channel; each certificate has one of its own."""
    return ec.generate_private_key(ec.SECP256R1())


def tls_key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A key as its file holds it."""
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)


def read_tls_key(pem: str) -> ec.EllipticCurvePrivateKey:
    """The key of such a file. Raises ValueError."""
    key = serialization.load_pem_private_key(pem.encode(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("a key for the control channel is one on P-256")
    return key


def csr_of(key: ec.EllipticCurvePrivateKey) -> Pem:
    """Asks for a certificate; whose it is, the controller knows by itself."""
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()
