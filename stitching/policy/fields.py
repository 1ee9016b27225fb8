"""One field of a policy document at a time: what it may be, and what to say where it is not that."""

from __future__ import annotations

import ipaddress
import re
from datetime import datetime
from typing import Any

from stitching.network import PortId
from stitching.policy.document import PROTOCOLS, WITH_PORTS, PortRange
from stitching.policy.faults import Refused
from stitching.policy.ports import LAST_PORT, merged

MOST = 1000
"""Rules, groups, cases or zones of one policy, and items of one list."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._/+-]{0,99}")


def protocol_of(value: object) -> int | None:
    """The number of a protocol from its name or number; None for any. Raises Refused."""
    if value is None or value == "any":
        return None
    if isinstance(value, str):
        if (number := PROTOCOLS.get(value.lower())) is not None:
            return number
        value = int(value) if value.isascii() and value.isdecimal() and len(value) < 4 else value
    if type(value) is not int or not 0 <= value <= 255:
        raise Refused("protocol", f"{value!r} is no protocol", f"say any, {', '.join(PROTOCOLS)}, or 0 to 255")
    return value


def ports_in(value: object, protocol: int | None, field: str = "ports") -> tuple[PortRange, ...]:
    """Ranges of ports from one, or a list: 443, "8000-8099". Raises Refused."""
    if value is None:
        return ()
    if protocol not in WITH_PORTS:
        raise Refused(
            field, "only TCP, UDP and SCTP have ports", "say protocol: tcp (or udp, sctp), or leave it out"
        )
    ranges = [_range(one, field) for one in (value if isinstance(value, list) else [value])]
    if not ranges:
        raise Refused(field, "the list is empty, so it could never match", "name ports, or leave it out for all")
    if len(ranges) > MOST:
        raise Refused(field, f"more than {MOST} ranges", "join them")
    return merged(ranges)


def _range(value: object, field: str) -> PortRange:
    first, dash, last = str(value).replace(" ", "").partition("-")
    try:
        low = int(first)
        high = int(last) if dash else low
    except ValueError:
        raise Refused(field, f"{value!r} is no port", "say 443 or 8000-8099") from None
    if type(value) not in (int, str) or not 1 <= low <= LAST_PORT or not 1 <= high <= LAST_PORT:
        raise Refused(field, f"{value!r} is no port", f"ports are 1 to {LAST_PORT}")
    if low > high:
        raise Refused(field, f"{value!r} is empty", f"say {high}-{low}")
    return low, high


def mapping(value: object, known: frozenset[str] | None, what: str) -> dict[str, Any]:
    """A mapping with no other names than the known ones. Raises Refused."""
    if not isinstance(value, dict):
        raise Refused(what, f"it is {_kind(value)} and has to be a mapping", "see the example in docs/policy.md")
    if len(value) > MOST:
        raise Refused(what, f"more than {MOST} entries", "use fewer")
    for name in value:
        if not isinstance(name, str) or (known is not None and name not in known):
            names = "" if known is None else f"; it may have {', '.join(sorted(known))}"
            raise Refused(str(name), f"there is no such field{names}", "check the spelling, or leave it out")
    return value


def listed(value: object, field: str, most: int = MOST) -> list[Any]:
    """A list that is not too long. Raises Refused."""
    if not isinstance(value, list):
        raise Refused(field, f"it is {_kind(value)} and has to be a list", f"write {field}: [...]")
    if len(value) > most:
        raise Refused(field, f"more than {most} entries", "use fewer")
    return value


def name_in(value: object, field: str) -> str:
    """A name of ours. Raises Refused."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise Refused(field, f"{value!r} is no name", "use up to 100 letters, digits, spaces, and . _ / + -")
    return value


def text_in(value: object, field: str) -> str:
    """Text that is there and not too long. Raises Refused."""
    if not isinstance(value, str) or not value or len(value) > MOST:
        raise Refused(field, f"it is {_kind(value)} and has to be text", f"use up to {MOST} characters")
    return value


def one_of(value: object, choices: tuple[str, ...], field: str) -> str:
    """One of these words. Raises Refused."""
    if not isinstance(value, str) or value not in choices:
        given = "it is missing" if value is None else f"it is {value!r}"
        raise Refused(field, given, f"say {' or '.join(choices)}")
    return value


def address_in(value: object, field: str) -> str:
    """An IP address in normal form. Raises Refused."""
    try:
        return str(ipaddress.ip_address(text_in(value, field)))
    except ValueError:
        raise Refused(field, f"{value!r} is no address", "an address looks like 10.0.0.1") from None


def host_in(value: object, field: str) -> str:
    """The name, MAC or address of a host, in lower case. Raises Refused."""
    text = text_in(value, field).strip().lower()
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return text


def subnet_in(value: object, field: str) -> str:
    """A subnet in normal form. Raises Refused."""
    try:
        return str(ipaddress.ip_network(text_in(value, field)))
    except ValueError:
        raise Refused(
            field, f"{value!r} is no subnet", "a subnet looks like 10.1.0.0/16, without host bits"
        ) from None


def dpid_in(value: object) -> int:
    """A switch from its 16 hex digits. Raises Refused."""
    if not isinstance(value, str) or not re.fullmatch(r"[0-9a-fA-F]{16}", value):
        raise Refused("switches", f"{value!r} is no dpid", "write its 16 hex digits in quotes")
    return int(value, 16)


def port_in(value: object) -> PortId:
    """A port from DPID:PORT. Raises Refused."""
    dpid, _, port_no = value.partition(":") if isinstance(value, str) else ("", "", "")
    if not re.fullmatch(r"[0-9a-fA-F]{16}", dpid) or not re.fullmatch(r"[0-9]{1,10}", port_no):
        raise Refused("encrypted_links", f"{value!r} is no port", "write DPID:PORT, such as 0000000000000001:2")
    return int(dpid, 16), int(port_no)


def _kind(value: object) -> str:
    if isinstance(value, datetime):
        return "a date"
    names = {
        dict: "a mapping",
        list: "a list",
        str: "text",
        int: "a number",
        float: "a number",
        bool: "true or false",
    }
    return "missing" if value is None else names.get(type(value), "something else")
