"""Rules like those of a busy edge switch, as values, for os-ken and for ovs-ofctl."""

from __future__ import annotations

from stitching import cookie
from stitching.cookie import Kind
from stitching.match import Match
from stitching.rules import FlowRule, Output, Table

PORTS = 4
"""The switch's ports that rules send to, numbered from 1."""

_PRIORITY = 100


def edge_rules(n_rules: int, first: int = 0) -> tuple[FlowRule, ...]:
    """Half of them segmentation rules (a pair of hosts), half next hops to hosts, numbered from `first`."""
    rules = []
    for number in range(first, first + n_rules):
        source, target = _mac(0x02, number), _mac(0x06, number)
        if number % 2:
            pair = Match(eth_src=source, eth_dst=target)
            rules.append(FlowRule(Table.SEGMENT, _PRIORITY, pair, (), Table.STITCH, cookie.pack(Kind.SEGMENT)))
        else:
            out = (Output(1 + number % PORTS),)
            hop = Match(eth_dst=target)
            rules.append(FlowRule(Table.FORWARD, _PRIORITY, hop, out, None, cookie.pack(Kind.FORWARD)))
    return tuple(rules)


def ofctl_line(rule: FlowRule) -> str:
    """One of these rules as ovs-ofctl reads it."""
    match = rule.match
    words = [f"cookie={rule.cookie:#x}", f"table={rule.table:d}", f"priority={rule.priority}"]
    words += [f"dl_src={match.eth_src}"] if match.eth_src is not None else []
    words += [f"dl_dst={match.eth_dst}"] if match.eth_dst is not None else []
    actions = [f"output:{action.port_no}" for action in rule.actions if isinstance(action, Output)]
    actions += [f"goto_table:{rule.goto:d}"] if rule.goto is not None else []
    return f"{','.join(words)},actions={','.join(actions)}"


def _mac(prefix: int, number: int) -> str:
    return ":".join(f"{byte:02x}" for byte in bytes([prefix, 0]) + number.to_bytes(4, "big"))
