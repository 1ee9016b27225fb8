"""Reads when a rule holds."""

from __future__ import annotations

import re
from datetime import datetime
from zoneinfo import ZoneInfo

from stitching.policy.faults import Refused
from stitching.policy.windows import DAY_MIN, DAYS, Once, Weekly, Window

_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])|24:00")


def window(item: object) -> Window:
    """A window: {days, from, until, zone} by the week, or {from, until} as moments. Raises Refused."""
    if not isinstance(item, dict) or not item or not item.keys() <= {"days", "from", "until", "zone"}:
        raise Refused(
            "times", f"{item!r} is no time", "say {days: [mon], from: '08:00', until: '18:00', zone: UTC}"
        )
    if "days" in item or "zone" in item:
        return _weekly(item)
    start_s = moment_s(item["from"], "times") if "from" in item else float("-inf")
    end_s = moment_s(item["until"], "times") if "until" in item else float("inf")
    if start_s >= end_s:
        raise Refused("times", "it ends before it begins", "swap from and until")
    return Once(start_s, end_s)


def moment_s(value: object, field: str) -> float:
    """A moment with its offset from UTC (RFC 3339), in seconds since the epoch. Raises Refused."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        if moment is not None and moment.tzinfo is not None:
            return moment.timestamp()
    except (ValueError, OverflowError):
        pass
    raise Refused(field, f"{value!r} is no moment", "say 2026-03-01T08:00:00+01:00, with the offset or Z")


def _weekly(item: dict[str, object]) -> Weekly:
    days = item.get("days", list(DAYS))
    if not isinstance(days, list) or not days or not all(day in DAYS for day in days):
        raise Refused("times", f"{days!r} are no days", f"choose from [{', '.join(DAYS)}]")
    zone = item.get("zone")
    if not isinstance(zone, str):
        raise Refused("times", "it says no time zone", "add zone: Europe/Berlin, or zone: UTC")
    try:
        ZoneInfo(zone)
    except (ValueError, OSError, KeyError):
        raise Refused(
            "times", f"{zone!r} is no time zone here", "use an IANA name such as Europe/Berlin"
        ) from None
    start_min, end_min = _minute(item.get("from", "00:00")), _minute(item.get("until", "24:00"))
    if start_min == DAY_MIN:
        raise Refused("times", "no day begins at 24:00", "say 00:00")
    if start_min == end_min:
        raise Refused("times", "it ends when it begins", "leave from and until out for whole days")
    return Weekly(frozenset(DAYS.index(str(day)) for day in days), start_min, end_min, zone)


def _minute(value: object) -> int:
    if not isinstance(value, str) or not _CLOCK.fullmatch(value):
        raise Refused("times", f"{value!r} is no time of day", "say 08:00, in quotes where YAML needs them")
    hours, minutes = value.split(":")
    return int(hours) * 60 + int(minutes)
