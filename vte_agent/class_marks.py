"""Marks the packets of application classes, in an nftables table of its own; no other table is read or changed.

A packet gets the mark of the first class that matches; the agent's rules then lead it to that class's routes
(routing.py). Bits outside the agent's part of a mark stay as they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from vte_agent import nft
from vte_agent.marks import BYPASS, MASK, class_mark
from vte_agent.protocol.wanted import Match, Prefix, WantedClass

TABLE = "lockstitch_classes"
_FAMILY = "inet"
_OTHERS = 0xFFFFFFFF ^ MASK
_MANGLE = -150
_TCP, _UDP, _DCCP, _SCTP, _UDPLITE = 6, 17, 33, 132, 136
_WITH_PORTS = (_TCP, _UDP, _DCCP, _SCTP, _UDPLITE)

_CHAINS = (("forwarded", "filter", "prerouting"), ("own", "route", "output"))
"""Packets that pass through; and those of this machine, which are routed again once they are marked."""

Json = dict[str, Any]


class MarkingFailed(RuntimeError):
    """The table cannot be read or replaced; the message says why and what to do. The one before still counts."""


def commands(classes: Sequence[WantedClass]) -> list[Json]:
    """What replaces the table in one transaction (libnftables-json(5)); without classes it is taken away."""
    table: Json = {"family": _FAMILY, "name": TABLE}
    # Adding first makes deleting right whether it is there or not.
    replaced: list[Json] = [{"add": {"table": table}}, {"delete": {"table": table}}]
    if not classes:
        return replaced
    replaced.append({"add": {"table": table}})
    for chain, kind, hook in _CHAINS:
        place: Json = {"family": _FAMILY, "table": TABLE, "name": chain, "type": kind, "hook": hook}
        replaced.append({"add": {"chain": place | {"prio": _MANGLE, "policy": "accept"}}})
        replaced.append(_rule(chain, "outer packets", [_is_marked(BYPASS), {"return": None}]))
        for wanted in classes:
            for match in wanted.matches:
                for conditions in _alternatives(match):
                    done = [{"counter": None}, _mark(class_mark(wanted.number)), {"return": None}]
                    replaced.append(_rule(chain, f"class {wanted.name}", [*conditions, *done]))
    return replaced


class ClassMarks:
    """The table in the network namespace that the caller is in."""

    def missing(self) -> str:
        """Why packets cannot be marked on this node, and the remedy; "" where they can."""
        try:
            self._run(["list", "tables"])
        except MarkingFailed as error:
            return str(error)
        return ""

    def apply(self, classes: Sequence[WantedClass]) -> None:
        """These classes and no others, in one transaction. Raises MarkingFailed, and then nothing changed."""
        self._run(["-f", "-"], json.dumps({"nftables": commands(classes)}))

    def clear(self) -> None:
        """Take the table away; nothing happens where there is none. Raises MarkingFailed."""
        self.apply(())

    def packets(self) -> Mapping[str, int]:
        """How many packets each class has had since its table was last replaced. Raises MarkingFailed."""
        found: dict[str, int] = {}
        for entry in json.loads(self._run(["list", "ruleset", _FAMILY]) or "{}").get("nftables", ()):
            rule = entry.get("rule", {})
            kind, _, name = rule.get("comment", "").partition(" ")
            if rule.get("table") == TABLE and kind == "class":
                counted = sum(e["counter"]["packets"] for e in rule["expr"] if "counter" in e)
                found[name] = found.get(name, 0) + counted
        return found

    def _run(self, words: list[str], text: str = "") -> str:
        try:
            return nft.nft(["-j", *words], text)
        except nft.NftFailed as error:
            raise MarkingFailed(str(error)) from error


def _alternatives(match: Match) -> list[list[Json]]:
    """The conditions of a match: none where no packet can meet them, two where the two families differ."""
    versions = {prefix.version for prefix in (match.source, match.destination) if prefix is not None}
    if len(versions) > 1:
        return []
    common: list[Json] = []
    if match.protocol is not None:
        common.append(_equals({"meta": {"key": "l4proto"}}, match.protocol))
    if match.ports is not None:
        first, last = match.ports
        if first > last or match.protocol not in (None, *_WITH_PORTS):
            return []
        if match.protocol is None:
            common.append(_equals({"meta": {"key": "l4proto"}}, {"set": list(_WITH_PORTS)}))
        common.append(_equals(_payload("th", "dport"), first if first == last else {"range": [first, last]}))
    if not versions and match.dscp is None:
        return [common]
    return [[*_of_family(match, version), *common] for version in sorted(versions or {4, 6})]


def _of_family(match: Match, version: int) -> list[Json]:
    header = "ip" if version == 4 else "ip6"
    conditions = [_equals({"meta": {"key": "nfproto"}}, "ipv4" if version == 4 else "ipv6")]
    if match.source is not None:
        conditions.append(_equals(_payload(header, "saddr"), _prefix(match.source)))
    if match.destination is not None:
        conditions.append(_equals(_payload(header, "daddr"), _prefix(match.destination)))
    if match.dscp is not None:
        conditions.append(_equals(_payload(header, "dscp"), match.dscp))
    return conditions


def _prefix(prefix: Prefix) -> Json:
    return {"prefix": {"addr": str(prefix.network_address), "len": prefix.prefixlen}}


def _payload(protocol: str, field: str) -> Json:
    return {"payload": {"protocol": protocol, "field": field}}


def _equals(left: Json, right: object) -> Json:
    return {"match": {"op": "==", "left": left, "right": right}}


def _is_marked(mark: int) -> Json:
    return _equals({"&": [{"meta": {"key": "mark"}}, MASK]}, mark)


def _mark(mark: int) -> Json:
    kept = {"&": [{"meta": {"key": "mark"}}, _OTHERS]}
    return {"mangle": {"key": {"meta": {"key": "mark"}}, "value": {"|": [kept, mark]}}}


def _rule(chain: str, comment: str, expressions: list[Json]) -> Json:
    return {
        "add": {
            "rule": {"family": _FAMILY, "table": TABLE, "chain": chain, "comment": comment, "expr": expressions}
        }
    }
