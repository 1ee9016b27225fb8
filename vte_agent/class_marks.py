"""Marks the packets of application classes, in an nftables table of its own; no other table is read or changed.

A packet gets the mark of the first class that matches; the agent's rules then lead it to that class's routes
(routing.py). Bits outside the agent's part of a mark stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vte_agent.marks import BYPASS, MASK, class_mark
from vte_agent.protocol.wanted import Match, WantedClass
from vte_agent.tables import KeptTable, Table

TABLE = "lockstitch_classes"
_OTHERS = 0xFFFFFFFF ^ MASK
_TCP, _UDP, _DCCP, _SCTP, _UDPLITE = 6, 17, 33, 132, 136
_WITH_PORTS = (_TCP, _UDP, _DCCP, _SCTP, _UDPLITE)

_CHAINS = (("forwarded", "filter", "prerouting"), ("own", "route", "output"))
"""Packets that pass through; and those of this machine, which are routed again once they are marked."""


def class_marks() -> KeptTable[tuple[WantedClass, ...]]:
    """The table, as it is to be kept."""
    return KeptTable(Table(TABLE), rules, "classes are not told apart")


def rules(classes: Sequence[WantedClass]) -> str:
    """The table in nftables' own language. Raises ValueError for a number that no class can have."""
    lines = []
    for chain, kind, hook in _CHAINS:
        lines += [f" chain {chain} {{", f"  type {kind} hook {hook} priority mangle; policy accept;"]
        lines.append(f'  meta mark & {MASK:#010x} == {BYPASS:#010x} return comment "outer packets"')
        for wanted in classes:
            mark = f"meta mark set meta mark & {_OTHERS:#010x} | {class_mark(wanted.number):#010x}"
            for match in wanted.matches:
                for condition in _alternatives(match):
                    lines.append(f'  {condition}counter {mark} return comment "class {wanted.name}"')
        lines.append(" }")
    return "\n".join([*lines, ""])


def _alternatives(match: Match) -> Iterator[str]:
    """The conditions of a match: none where no packet can meet them, two where the two families differ."""
    versions = {prefix.version for prefix in (match.source, match.destination) if prefix is not None}
    if len(versions) > 1:
        return
    common = f"meta l4proto {match.protocol} " if match.protocol is not None else ""
    if match.ports is not None:
        first, last = match.ports
        if first > last or match.protocol not in (None, *_WITH_PORTS):
            return
        if match.protocol is None:
            common += f"meta l4proto {{ {', '.join(map(str, _WITH_PORTS))} }} "
        common += f"th dport {first if first == last else f'{first}-{last}'} "
    if not versions and match.dscp is None:
        yield common
        return
    for version in sorted(versions or {4, 6}):
        yield _of_family(match, version) + common


def _of_family(match: Match, version: int) -> str:
    word = "ip" if version == 4 else "ip6"
    conditions = [f"meta nfproto {'ipv4' if version == 4 else 'ipv6'}"]
    if match.source is not None:
        conditions.append(f"{word} saddr {match.source}")
    if match.destination is not None:
        conditions.append(f"{word} daddr {match.destination}")
    if match.dscp is not None:
        conditions.append(f"{word} dscp {match.dscp}")
    return " ".join(conditions) + " "
