"""Meters to MeterMods, and meters that a switch reported back to ours."""

from __future__ import annotations

import struct
from typing import Any

from stitching.rules import LEAST_METER, Meter

_VERSION, _METER_MOD = 4, 29
_ADD, _MODIFY, _DELETE = 0, 1, 2
_KBPS, _BURST = 1, 4
_DROP = 1

_HEAD = struct.Struct("!BBHIHHI")
_BAND = struct.Struct("!HHIIxxxx")


def meter_mod(meter: Meter, xid: int, *, remove: bool = False, replace: bool = False) -> bytes:
    """The message that adds a meter, changes the one of its number, or removes it.

    Raises ValueError for a rate or burst of 0.
    """
    if not remove and not (meter.rate_kbps > 0 and meter.burst_kb > 0):
        raise ValueError(f"{meter} needs a rate and a burst above 0: a switch would put its own for a burst of 0")
    band = b"" if remove else _BAND.pack(_DROP, 16, meter.rate_kbps, meter.burst_kb)
    command = _DELETE if remove else _MODIFY if replace else _ADD
    flags = 0 if remove else _KBPS | _BURST
    return _HEAD.pack(_VERSION, _METER_MOD, 16 + len(band), xid, command, flags, meter.meter_id) + band


def read_meter(stats: Any) -> Meter | None:
    """A meter that a switch reported (os-ken's OFPMeterConfigStats), None where its number says it is not ours.

    One of ours that does what a Meter cannot say comes back with no rate, so it equals none.
    """
    if not LEAST_METER <= stats.meter_id < 0xFFFF0000:
        return None
    if stats.flags == _KBPS | _BURST and len(stats.bands) == 1 and stats.bands[0].type == _DROP:
        return Meter(stats.meter_id, stats.bands[0].rate, stats.bands[0].burst_size)
    return Meter(stats.meter_id, 0, 0)
