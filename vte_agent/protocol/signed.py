"""Messages with a signature. The very bytes that were signed travel along, as they were."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Annotated, TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import Field, ValidationError

from vte_agent.protocol.base import Message, PublicKey, public_bytes

_M = TypeVar("_M", bound=Message)

_SIGNATURE_CHARS = 88
_MOST_CHARS = 8 << 20


class NotSigned(ValueError):
    """What was said is not signed by whom it has to be, or is not what was expected; the message says which."""


class Signed(Message):
    """The bytes of a message, and an Ed25519 signature (RFC 8032) over its kind and them."""

    kind: Annotated[str, Field(min_length=1, max_length=32)]
    payload: Annotated[str, Field(max_length=_MOST_CHARS)]
    signature: Annotated[str, Field(min_length=_SIGNATURE_CHARS, max_length=_SIGNATURE_CHARS)]

    @classmethod
    def of(cls, message: Message, key: Ed25519PrivateKey) -> Signed:
        """Sign a message."""
        kind, payload = type(message).__name__, message.model_dump_json().encode()
        signature = key.sign(_signed_bytes(kind, payload))
        return cls(
            kind=kind,
            payload=base64.b64encode(payload).decode(),
            signature=base64.b64encode(signature).decode(),
        )

    def open(self, model: type[_M], keys: Iterable[PublicKey]) -> _M:
        """The message, if it is one of this type that one of the keys has signed. Raises NotSigned."""
        if self.kind != model.__name__:
            raise NotSigned(f"a {model.__name__} was expected, this is a {self.kind}")
        try:
            payload, signature = self._decoded()
        except ValueError as error:
            raise NotSigned("the payload or the signature is no base64") from error
        if not any(_verifies(key, signature, _signed_bytes(self.kind, payload)) for key in keys):
            raise NotSigned(f"the {self.kind} is not signed by a key that may say so")
        try:
            return model.model_validate_json(payload)
        except ValidationError as error:
            raise NotSigned(f"what is signed is no {self.kind} that is understood here") from error

    def is_by(self, key: PublicKey) -> bool:
        """Whether a key has signed it, whatever it says."""
        try:
            payload, signature = self._decoded()
        except ValueError:
            return False
        return _verifies(key, signature, _signed_bytes(self.kind, payload))

    def _decoded(self) -> tuple[bytes, bytes]:
        """The payload and the signature. Raises ValueError, as binascii.Error is one."""
        return base64.b64decode(self.payload, validate=True), base64.b64decode(self.signature, validate=True)


class Opened:
    """Remembers what messages said for as long as they are looked at: a signature is verified once."""

    def __init__(self) -> None:
        self._known: dict[tuple[Signed, type[Message], PublicKey], Message | str] = {}
        self._asked: dict[tuple[Signed, type[Message], PublicKey], Message | str] = {}

    def open(self, signed: Signed, model: type[_M], key: PublicKey) -> _M:
        """As `Signed.open`. Raises NotSigned."""
        place = signed, model, key
        found = self._asked.get(place) or self._known.get(place)
        if found is None:
            try:
                found = signed.open(model, [key])
            except NotSigned as error:
                found = str(error)
        self._asked[place] = found
        if not isinstance(found, model):
            raise NotSigned(found)
        return found

    def end_turn(self) -> None:
        """Forget what was not looked at since the last one."""
        self._known, self._asked = self._asked, {}


def _signed_bytes(kind: str, payload: bytes) -> bytes:
    """With the kind, so that no signature over one thing is ever one over another."""
    return b"lockstitch\0" + kind.encode() + b"\0" + payload


def _verifies(key: PublicKey, signature: bytes, data: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public_bytes(key)).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True
