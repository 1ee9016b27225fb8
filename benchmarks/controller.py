"""Area `controller`: rules, discovery, what watching costs, stitches, a restart."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.controlling.flow_mod_encode import flow_mod_encode
from benchmarks.controlling.restart import restart_keeps_rules
from benchmarks.controlling.rule_install import rule_install
from benchmarks.controlling.scale import scale_200, scale_1000
from benchmarks.controlling.stitch_up import stitch_up
from benchmarks.support.areas import Measurement

MEASUREMENTS: Mapping[str, Measurement] = {
    "flow_mod_encode": flow_mod_encode,
    "rule_install": rule_install,
    "scale_200": scale_200,
    "scale_1000": scale_1000,
    "stitch_up": stitch_up,
    "restart_keeps_rules": restart_keeps_rules,
}
