"""What a switch holds to OpenFlow 1.3 bytes and back: flow rules, groups and meters.

os-ken's encoder makes some 13,000 FlowMods a second and would be the limit of the installer; these few structs
make many times as many. The tests hold every byte against os-ken's decoder.
"""

from ryu_apps.wire.bundles import bundle_add, bundle_commit, bundle_discard, bundle_open
from ryu_apps.wire.entries import change
from ryu_apps.wire.errors import error_words
from ryu_apps.wire.fields import read_match
from ryu_apps.wire.flows import flow_mod, read_flow, read_stray, removal_of_all
from ryu_apps.wire.groups import ALIVE, group_mod, read_group
from ryu_apps.wire.meters import meter_mod, read_meter
from ryu_apps.wire.packets import probe_in
from ryu_apps.wire.requests import barrier, groups, meters, our_flows, packet_out, rule_count
from ryu_apps.wire.stats import FlowStats, OFPFlowStatsReply, Unreadable, flow_stats, is_flow_stats, message

__all__ = [
    "ALIVE",
    "FlowStats",
    "OFPFlowStatsReply",
    "Unreadable",
    "barrier",
    "bundle_add",
    "bundle_commit",
    "bundle_discard",
    "bundle_open",
    "change",
    "error_words",
    "flow_mod",
    "flow_stats",
    "group_mod",
    "groups",
    "is_flow_stats",
    "message",
    "meter_mod",
    "meters",
    "our_flows",
    "packet_out",
    "probe_in",
    "read_flow",
    "read_group",
    "read_match",
    "read_meter",
    "read_stray",
    "removal_of_all",
    "rule_count",
]
