"""What callers may send. Anything else is refused: other fields, other types, numbers that are none."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from stitching.vnet import SpoofGuard

Item = TypeVar("Item", str, tuple[str, int])

_MOST_MBPS = 1e9
_LEAST_MBPS = 1e-6
_OFPP_MAX = 0xFFFFFF00

VNET_NAME = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
HOST_NAME = r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$"
LABEL_NAME = r"^[a-z0-9]([a-z0-9._/-]{0,61}[a-z0-9])?$"
_MAC = re.compile(r"([0-9a-f]{2}:){5}[0-9a-f]{2}")


def _dpid(text: str) -> str:
    return text.lower()


def _mac(text: str) -> str:
    mac = text.lower()
    if not _MAC.fullmatch(mac):
        raise ValueError("a MAC address looks like 02:00:00:00:00:01")
    if int(mac[:2], 16) & 1:
        raise ValueError("this is a group address; give the address of one host")
    return mac


def _host_name(text: str) -> str:
    # Hosts are found by name, address or MAC: a name that is an address would hide the host that has it.
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return text
    raise ValueError("a name cannot be an IP address")


def _subnet(text: str) -> str:
    # Normal form, so that two spellings of one subnet are seen to be the same.
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise ValueError(f"not a subnet: {error}; a subnet looks like 10.1.0.0/16") from error


def _end(text: str) -> str:
    text = text.strip()
    if not text:
        raise ValueError("name a host by its name, IP address or MAC")
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return text


def _ip(text: str) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError as error:
        raise ValueError("an address looks like 10.0.0.1 or fd00::1") from error
    if address.is_multicast or address.is_unspecified or address.is_loopback:
        raise ValueError("this is no address of one host")
    return str(address)


Dpid = Annotated[str, Field(pattern=r"^[0-9a-fA-F]{16}$", description="16 hex digits."), AfterValidator(_dpid)]
PortNo = Annotated[int, Field(ge=1, le=_OFPP_MAX)]
PortRef = Annotated[
    str, Field(pattern=r"^[0-9a-fA-F]{16}:[1-9][0-9]{0,9}$", description="DPID:PORT."), AfterValidator(str.lower)
]
Label = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/=-]{0,62}$")]
Ip = Annotated[str, Field(max_length=45), AfterValidator(_ip)]
Mac = Annotated[str, Field(max_length=17), AfterValidator(_mac)]
HostName = Annotated[str, Field(pattern=HOST_NAME), AfterValidator(_host_name)]
VnetName = Annotated[str, Field(pattern=VNET_NAME, description="Lower case letters, digits and dashes, up to 63.")]
Subnet = Annotated[str, Field(max_length=49, description="CIDR, no host bits."), AfterValidator(_subnet)]
End = Annotated[str, Field(max_length=100, description="Name, IP address or MAC."), AfterValidator(_end)]
L4Port = Annotated[int, Field(ge=1, le=65535)]
LabelName = Annotated[str, Field(pattern=LABEL_NAME)]
LabelValue = Annotated[str, Field(max_length=63)]
Mbps = Annotated[float, Field(ge=_LEAST_MBPS, le=_MOST_MBPS, description="Mbit/s; one bit a second at least.")]


class Body(BaseModel):
    """What holds for every body: no other fields, no conversions, no NaN and no infinity."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class CapacityBody(Body):
    """What the link that leaves by this port carries."""

    dpid: Dpid
    port: PortNo
    capacity_mbps: Mbps


class EncryptionBody(Body):
    """Whether the link that leaves by this port is encrypted."""

    dpid: Dpid
    port: PortNo
    encrypted: bool


class HostBody(Body):
    """A host that belongs to a virtual network, what it is called, and what it may use.

    ips: the only addresses it may send from; none are any. port: the only port it may be on.
    """

    name: HostName
    mac: Mac
    labels: Annotated[list[Label], Field(max_length=100)] = []
    ips: Annotated[list[Ip], Field(max_length=16)] = []
    port: PortRef | None = None


class VnetFields(Body):
    """A virtual network but for its name.

    spoof_guard holds its hosts to their own: to declared addresses (declared), to learned ones too (strict), to
    their port only (mac), or to nothing (off).
    """

    hosts: Annotated[list[HostBody], Field(max_length=10_000)] = []
    subnets: Annotated[list[Subnet], Field(max_length=1_000)] = []

    spoof_guard: Annotated[SpoofGuard, Field(strict=False)] = SpoofGuard.DECLARED

    @model_validator(mode="after")
    def _nothing_twice(self) -> VnetFields:
        for what, items in (
            ("MAC", (host.mac for host in self.hosts)),
            ("host name", (host.name.lower() for host in self.hosts)),
            ("address", (ip for host in self.hosts for ip in host.ips)),
            ("subnet", iter(self.subnets)),
        ):
            if (item := _first_repeated(items)) is not None:
                raise ValueError(f"{what} {item} is there twice")
        return self


class NewVnetBody(VnetFields):
    """A virtual network to make."""

    name: VnetName


class VnetBody(VnetFields):
    """What a virtual network is to be. A name may be there, as it is in an answer; it is that of the path."""

    name: VnetName | None = None


def repeated_port(items: Iterable[CapacityBody | EncryptionBody]) -> tuple[str, int] | None:
    """The first port that is named twice, if any."""
    return _first_repeated((item.dpid, item.port) for item in items)


def _first_repeated(items: Iterator[Item]) -> Item | None:
    seen: set[Item] = set()
    for item in items:
        if item in seen:
            return item
        seen.add(item)
    return None
