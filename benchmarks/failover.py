"""Area `failover`: what switches do on their own: send traffic around a dead link, keep rates."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.failing.failover import failover, false_alarms
from benchmarks.failing.qos import meter_cap, queue_guarantee
from benchmarks.support.areas import Measurement

MEASUREMENTS: Mapping[str, Measurement] = {
    "failover": failover,
    "false_alarms": false_alarms,
    "meter_cap": meter_cap,
    "queue_guarantee": queue_guarantee,
}
