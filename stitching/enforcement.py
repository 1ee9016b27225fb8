"""What can hold a stitch to its rate at a port: a meter, a queue, or nothing, and why.

What is not known does not count: a promise that nothing enforces is worse than none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum


class Enforced(Enum):
    """By what a rate is enforced."""

    METER = "meter"
    QUEUE = "queue"
    NONE = "none"


class Promise(Enum):
    """What is promised: no more than the rate, or no less."""

    CAP = "cap"
    GUARANTEE = "guarantee"


@dataclass(frozen=True, slots=True)
class MeterFacts:
    """What a switch said of its meters (OFPMP_METER_FEATURES)."""

    most: int
    kbps: bool
    drop: bool
    burst: bool


@dataclass(frozen=True, slots=True)
class QueueFacts:
    """What is known of the queues of a port. None is unknown.

    obeyed: the datapath puts packets where set_queue says. settable: OVSDB of its switch answers and nobody else's
    QoS is on the port. filterable: a filter can be set where the port lives. Reasons say why not.
    """

    obeyed: bool | None = None
    settable: bool | None = None
    filterable: bool | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is known of a datapath and one of its ports. counted: None as long as no traffic has told."""

    meters: MeterFacts | None = None
    meters_used: int = 0
    queues: QueueFacts = field(default_factory=QueueFacts)
    counted: bool | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """What enforces a promise, and the reason in words."""

    by: Enforced
    reason: str


def choose(promise: Promise, facts: Facts) -> Choice:
    """What enforces a cap or a guarantee, given what is known.

    A cap is a meter's work, a queue's where there is no meter; a guarantee is a queue's alone. A queue whose
    counters stood still while its traffic flowed enforces nothing, whatever the switch accepted.
    """
    queue = _by_queue(facts)
    if promise is Promise.GUARANTEE:
        return queue
    meter = _by_meter(facts)
    if meter.by is Enforced.METER:
        return meter
    if queue.by is Enforced.QUEUE:
        return Choice(Enforced.QUEUE, f"{queue.reason} ({meter.reason})")
    return Choice(Enforced.NONE, f"{meter.reason}; {queue.reason}")


def _by_meter(facts: Facts) -> Choice:
    meters = facts.meters
    if meters is None:
        return Choice(Enforced.NONE, "the switch has not said what meters it has")
    if meters.most == 0 or not (meters.kbps and meters.drop):
        return Choice(Enforced.NONE, "the switch has no meters that drop above a rate in kbit/s")
    if facts.meters_used >= meters.most:
        return Choice(Enforced.NONE, f"all {meters.most} meters of the switch are taken")
    if not meters.burst:
        return Choice(Enforced.METER, "a meter, with the burst of the switch's own choice")
    return Choice(Enforced.METER, "a meter that drops what is above the rate")


def _by_queue(facts: Facts) -> Choice:
    queues = facts.queues
    if not queues.settable:
        words = queues.reason or "no OVSDB given for this switch, so no queue can be set"
        return Choice(Enforced.NONE, words)
    if not queues.obeyed and not queues.filterable:
        ignored = "the userspace datapath ignores set_queue" if queues.obeyed is False else (
            "it is not known whether the datapath obeys set_queue"
        )  # fmt: skip
        why = queues.reason or "no filter can be set where the port lives"
        return Choice(Enforced.NONE, f"{ignored}, and {why}")
    if facts.counted is False:
        return Choice(Enforced.NONE, "the queue's counters stand still while its traffic flows")
    how = "set_queue" if queues.obeyed else "a DSCP filter on the port"
    seen = "its counters grow" if facts.counted else "not yet seen to count"
    return Choice(Enforced.QUEUE, f"an HTB queue by {how}, {seen}")


BURST_MS = 300
"""How long a meter's bucket lasts at its rate.

A policer lets TCP have only what fits the bucket between two of its drops: measured on a userspace datapath with
1 ms of round-trip time at 10 Mbit/s, a bucket of 10 ms gives TCP 8 % of the rate, 50 ms 31 %, 100 ms 58 %, 200 ms
96 % and 300 ms 97 %; at 2 to 50 Mbit/s 300 ms gives 97 to 99 %. More is of no use to TCP and is felt by others: a
sender that was silent may send the whole bucket at line rate.
"""

LEAST_BURST_KBIT = 120
"""Ten full frames: the window TCP begins with."""


def burst_kbit(rate_mbps: float) -> int:
    """The burst_size, in kbit, of a meter band that drops above rate_mbps and lets TCP have it; ValueError.

    It has to be sent with OFPMF_BURST. Without the flag Open vSwitch takes a whole second's worth.
    """
    if not 0 < rate_mbps < float("inf"):
        raise ValueError(f"rate_mbps={rate_mbps} must be above 0")
    return max(LEAST_BURST_KBIT, math.ceil(rate_mbps * BURST_MS))
