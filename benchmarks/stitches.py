"""Area `stitches`: many at once, what dies under them, moves without a gap, a policy that forbids them."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.circuits.at_once import at_once
from benchmarks.circuits.broken_link import broken_link
from benchmarks.circuits.moves import moves
from benchmarks.circuits.policy_change import policy_change
from benchmarks.circuits.restart import restart
from benchmarks.circuits.silence import silence
from benchmarks.support.areas import Measurement

MEASUREMENTS: Mapping[str, Measurement] = {
    "stitches_at_once": at_once,
    "broken_link": broken_link,
    "silence": silence,
    "moves": moves,
    "policy_change": policy_change,
    "restart_10000_rules": restart,
}
