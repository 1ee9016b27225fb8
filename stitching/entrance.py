"""Whether packets get as far as a stitch: a switch may have had no room for the rules that let them in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from stitching.kinds import Pair, carried
from stitching.network import node_name
from stitching.rules import Entry, FlowRule, Table
from stitching.stitch import Stitch


def kept_out(stitch: Stitch, missing: Mapping[int, Iterable[Entry]]) -> str | None:
    """What keeps packets of a stitch from it, given what switches have not taken; None where nothing does.

    A probe does not meet these rules: it enters behind them.
    """
    if stitch.path is None:
        return None
    for dpid, entries in missing.items():
        for entry in entries:
            if not isinstance(entry, FlowRule) or entry.table >= Table.STITCH or entry.match.eth_dst_mask:
                continue
            everybodys = entry.match.eth_src is None and dpid in stitch.path.dpids
            if any(_lets_in(entry, pair, everybodys=everybodys) for pair in carried(stitch)):
                return f"switch {node_name(dpid)} has not taken a rule that lets its packets in"
    return None


def _lets_in(rule: FlowRule, pair: Pair, *, everybodys: bool) -> bool:
    source, target = pair
    return (everybodys or rule.match.eth_src == source) and rule.match.eth_dst in (None, target)
