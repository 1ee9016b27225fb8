"""What all messages have in common."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from functools import cache, lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator

PROTOCOL_VERSION = 1

_KEY_BYTES = 32
_MOST_KNOWN = 1 << 16
_MOST_TEXT = 64
MOST_PREFIXES = 16_384
"""Of one list."""
_NO_PREFIX = "a prefix is an address, a slash and a length"


def _is_key(text: str) -> str:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("a key is 32 bytes in base64") from error
    # The last character has bits to spare: only one spelling of each key is taken.
    if len(raw) != _KEY_BYTES or base64.b64encode(raw).decode() != text:
        raise ValueError("a key is 32 bytes in base64")
    return text


_known_prefix = lru_cache(_MOST_KNOWN)(ip_network)
_known_text = lru_cache(_MOST_KNOWN)(str)


def _prefix(said: object) -> IPv4Network | IPv6Network:
    """The same object for the same text: a thousand sites name the same prefixes, each time they say something."""
    if isinstance(said, IPv4Network | IPv6Network):
        return said
    if not isinstance(said, str) or len(said) > _MOST_TEXT:
        raise ValueError(_NO_PREFIX)
    return _known_prefix(said)


Prefix = Annotated[
    IPv4Network | IPv6Network,
    PlainValidator(_prefix),
    PlainSerializer(_known_text, return_type=str, when_used="json"),
]


class PrefixList(tuple[IPv4Network | IPv6Network, ...]):
    """Prefixes whose text is known: a site of a thousand is told of all others whenever anything changes."""

    text: str

    @classmethod
    def spelled(cls, prefixes: Iterable[IPv4Network | IPv6Network], text: str) -> Self:
        """These, which are spelled so: with commas between."""
        made = cls(prefixes)
        made.text = text
        return made


def how_many(said: object) -> int:
    """How many prefixes there are, as a message says them."""
    if isinstance(said, str):
        return said.count(",") + 1 if said else 0
    return len(said) if isinstance(said, tuple | list) else 0


def _prefixes(said: object) -> tuple[IPv4Network | IPv6Network, ...]:
    if isinstance(said, PrefixList):
        return said
    # Before any is looked at: each takes its time, and a frame has room for many.
    if how_many(said) > MOST_PREFIXES:
        raise ValueError(f"there are more than {MOST_PREFIXES} prefixes")
    if isinstance(said, str):
        texts = said.split(",") if said else ()
        if any(map(_MOST_TEXT.__lt__, map(len, texts))):
            raise ValueError(_NO_PREFIX)
        return tuple(map(_known_prefix, texts))
    if isinstance(said, tuple | list):
        return tuple(map(_prefix, said))
    raise ValueError("prefixes are a text, with commas between")


def _prefixes_text(prefixes: tuple[IPv4Network | IPv6Network, ...]) -> str:
    return prefixes.text if isinstance(prefixes, PrefixList) else ",".join(map(_known_text, prefixes))


Prefixes = Annotated[
    tuple[IPv4Network | IPv6Network, ...],
    PlainValidator(_prefixes),
    PlainSerializer(_prefixes_text, return_type=str, when_used="json"),
]
"""As many as there are sites, or more; in JSON one text."""

Name = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$")]
Generation = Annotated[int, Field(ge=0, lt=1 << 63)]
Serial = Annotated[int, Field(ge=1, lt=1 << 63)]
UnixTime = Annotated[int, Field(ge=0, lt=1 << 40)]
"""Seconds since 1970, UTC."""

PublicKey = Annotated[str, Field(min_length=44, max_length=44), AfterValidator(_is_key)]
"""An Ed25519 or X25519 public key in base64, as WireGuard's tools write it."""

Count = Annotated[int, Field(ge=0, lt=1 << 63)]
Share = Annotated[float, Field(ge=0, le=1)]
Milliseconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@cache
def _fields_of(kind: type[BaseModel]) -> set[str]:
    return set(kind.model_fields)


class Message(BaseModel):
    """A message, or a part of one: unknown fields are refused, and what was read does not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def model_post_init(self, _: object) -> None:
        """Which fields were said is asked nowhere: all of a kind share a set, or a crowd's would take 15 MB."""
        object.__setattr__(self, "__pydantic_fields_set__", _fields_of(type(self)))


def public_bytes(key: PublicKey) -> bytes:
    """The 32 bytes of a key."""
    return base64.b64decode(key)


def public_text(raw: bytes) -> PublicKey:
    """A key as messages carry it."""
    return base64.b64encode(raw).decode()
