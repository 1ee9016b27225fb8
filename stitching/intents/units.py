"""Amounts, rates, latencies and applications as people write them."""

from __future__ import annotations

import math
import re

from stitching.application import PROTOCOLS, Application
from stitching.policy.faults import Refused

_NUMBER = re.compile(r"(?P<number>[0-9]{1,15}(\.[0-9]{1,9})?)\s*(?P<unit>[A-Za-z/]*)")
_APPLICATION = re.compile(r"(?P<protocol>[a-z0-9]+)?(/(?P<port>[0-9]{1,5}))?(@(?P<dscp>[0-9]{1,2}))?")

_MBPS = {"": 1.0, "kbit/s": 1e-3, "mbit/s": 1.0, "gbit/s": 1e3, "tbit/s": 1e6}
_MS = {"": 1.0, "us": 1e-3, "ms": 1.0, "s": 1e3}
_MBIT = {"": 8e3, "kb": 8e-3, "mb": 8.0, "gb": 8e3, "tb": 8e6, "mib": 8 * 1.048576, "gib": 8 * 1073.741824}
_SHARE = {"": 0.01}

MOST_MBPS = 1e9
LEAST_MBPS = 1e-6


def mbps_in(value: object, field: str) -> float:
    """A rate in Mbit/s: 5, "5 Mbit/s", "1.5 Gbit/s". Raises Refused."""
    rate = _quantity(value, _MBPS, field, "say 5 Mbit/s, 500 kbit/s or 1 Gbit/s")
    if not LEAST_MBPS <= rate <= MOST_MBPS:
        raise Refused(field, f"{value!r} is no rate of a link", "say more than nothing and up to 1e9 Mbit/s")
    return rate


def ms_in(value: object, field: str) -> float:
    """A time in milliseconds: 10, "10 ms", "0.5 s". Raises Refused."""
    time_ms = _quantity(value, _MS, field, "say 10 ms")
    if not 0 < time_ms <= 3_600_000:
        raise Refused(field, f"{value!r} is no latency", "say more than 0 ms and up to an hour")
    return time_ms


def mbit_in(value: object, field: str) -> float:
    """An amount of data in Mbit: 200 (GB), "200 GB", "1.5 TB", "700 MB". Raises Refused."""
    amount = _quantity(value, _MBIT, field, "say 200 GB, 700 MB or 1.5 TB")
    if not 0 < amount <= 8e12:
        raise Refused(field, f"{value!r} is no amount", "say more than nothing and up to a million TB")
    return amount


def share_in(value: object, field: str) -> float:
    """A share of packets from per cent: 0.1, "0.1 %". Raises Refused."""
    text = value.strip().removesuffix("%").strip() if isinstance(value, str) else value
    share = _quantity(text, _SHARE, field, "say 0.1 %")
    if not 0 <= share <= 1:
        raise Refused(field, f"{value!r} is no share", "say 0 % to 100 %")
    return share


def application_in(value: object, field: str) -> Application:
    """PROTO[/PORT][@DSCP]: tcp/443, udp@46, icmp. Raises Refused."""
    found = _APPLICATION.fullmatch(value.strip().lower()) if isinstance(value, str) and value.strip() else None
    how = "say PROTO[/PORT][@DSCP], such as tcp/443 or udp@46"
    if found is None:
        raise Refused(field, f"{value!r} is no application", how)
    name, port, dscp = found["protocol"], _whole(found["port"]), _whole(found["dscp"])
    number = None if name is None else PROTOCOLS.get(name, _whole(name) if name.isdecimal() else None)
    if name is not None and (number is None or number > 255):
        raise Refused(field, f"{name!r} is no protocol", f"say {', '.join(PROTOCOLS)}, or a number up to 255")
    if port is not None and not 1 <= port <= 65535:
        raise Refused(field, f"{port} is no port", "ports are 1 to 65535")
    if dscp is not None and dscp > 63:
        raise Refused(field, f"{dscp} is no DSCP", "they are 0 to 63")
    try:
        return Application(number, target_port=port, ip_dscp=dscp)
    except ValueError as error:
        raise Refused(field, str(error), how) from error


def application_words(application: Application) -> str:
    """An application as application_in takes it; a port of the first end is told in words."""
    names = {number: name for name, number in PROTOCOLS.items()}
    number = application.ip_proto
    words = "" if number is None else names.get(number, str(number))
    if application.target_port is not None:
        words += f"/{application.target_port}"
    if application.ip_dscp is not None:
        words += f"@{application.ip_dscp}"
    return words + (f" from port {application.source_port}" if application.source_port is not None else "")


def _whole(text: str | None) -> int | None:
    return None if text is None or len(text) > 5 else int(text)


def _quantity(value: object, units: dict[str, float], field: str, how: str) -> float:
    if type(value) in (int, float):
        number = float(value)  # type: ignore[arg-type]  # it is one
        if math.isfinite(number):
            return number * units[""]
    found = _NUMBER.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None or found["unit"].lower() not in units:
        raise Refused(field, f"{value!r} is not understood" if value is not None else "it is missing", how)
    return float(found["number"]) * units[found["unit"].lower()]
