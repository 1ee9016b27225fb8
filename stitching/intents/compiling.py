"""From a document to what there has to be: the same document on the same world always comes to the same."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from stitching.changing import as_asked
from stitching.intents.collisions import apart_and_together, same_packets
from stitching.intents.cuts import demands_of, overfull
from stitching.intents.document import Apart, Document, EndBy, Intent, Latency, Rate, Reach, Share, Transfer
from stitching.intents.faults import where
from stitching.intents.requests import (
    RATE_PART,
    SEGMENT_PART,
    latency_request,
    pair_part,
    rate_request,
    share_request,
    transfer_request,
)
from stitching.intents.resolving import Resolved, resolve
from stitching.intents.sides import side_of
from stitching.intents.transfers import place
from stitching.intents.wanted import Key, Note, Rule, Wanted, rule_name
from stitching.intents.world import Progress, World, is_ours
from stitching.match import ICMP, ICMPV6, SCTP, TCP, UDP
from stitching.policy.faults import Fault, Refused
from stitching.stitch import StitchRequest

MOST_PAIRS = 64
"""Stitches of one intent between two networks."""

_PROTOCOLS = {TCP: "tcp", UDP: "udp", SCTP: "sctp", ICMP: "icmp", ICMPV6: "icmpv6"}


def compile_document(document: Document, world: World) -> Wanted:
    """What a document comes to. What is wrong is in `faults` and `conflicts` of the answer, and never raised."""
    compiler = _Compiler(world)
    intents = sorted(document.intents, key=lambda intent: intent.name)
    # Transfers come last: they take what all others leave.
    for intent in sorted(intents, key=lambda intent: isinstance(intent.form, Transfer)):
        compiler.take(intent)
    shared, conflicts = same_packets(compiler.stitches, world.names)
    conflicts += apart_and_together(intents, compiler.ends)
    stitches = {key: request for key, request in compiler.stitches.items() if key not in shared}
    conflicts += overfull(demands_of(((key[0], request) for key, request in stitches.items()), world), world)
    return Wanted(
        stitches,
        compiler.rules,
        shared,
        tuple(compiler.notes),
        tuple(compiler.faults),
        tuple(sorted(conflicts, key=lambda conflict: (conflict.intents, conflict.reason))),
        frozenset(compiler.unresolved),
        frozenset(compiler.progress),
        compiler.progress,
        compiler.vnets,
    )


@dataclass
class _Compiler:
    world: World
    stitches: dict[Key, StitchRequest] = field(default_factory=dict)
    rules: dict[Key, Rule] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    unresolved: set[str] = field(default_factory=set)
    ends: dict[str, tuple[Resolved, ...]] = field(default_factory=dict)
    progress: dict[str, Progress] = field(default_factory=dict)
    vnets: dict[str, frozenset[str]] = field(default_factory=dict)

    def take(self, intent: Intent) -> None:
        """Add what one intent comes to."""
        try:
            ends = tuple(resolve(end, self.world, _field(intent, n)) for n, end in enumerate(intent.ends))
            self.vnets[intent.name] = frozenset(vnet for end in ends for vnet in end.vnets)
            match intent.form:
                case Latency() as latency:
                    self._latency(intent.name, latency, ends)
                case Transfer() as transfer:
                    self._transfer(intent.name, transfer, ends)
                case Apart():
                    self._apart(intent.name, ends)
                case Reach() as reach:
                    self._reach(intent.name, reach, ends)
                case Share() as share:
                    ends = self._share(intent.name, share)
                case Rate() as rate:
                    self.stitches[intent.name, RATE_PART] = rate_request(intent.name, rate)
            self.ends[intent.name] = ends
        except Refused as error:
            self.unresolved.add(intent.name)
            self.faults.append(Fault(where(intent.name), error.field, error.reason, error.remedy))

    def _latency(self, name: str, form: Latency, ends: tuple[Resolved, ...]) -> None:
        pairs = _pairs(ends)
        if len(pairs) > MOST_PAIRS:
            raise Refused(
                "between",
                f"{ends[0]} and {ends[1]} have {len(pairs)} pairs of hosts, and one intent may have {MOST_PAIRS}",
                "name single hosts, or groups that are smaller",
            )
        if not pairs:
            self.notes.append(Note(name, f"there are no two hosts of {ends[0]} and {ends[1]} yet", missed=True))
        for pair in pairs:
            self.stitches[name, pair_part(*pair)] = latency_request(name, form, pair)

    def _transfer(self, name: str, form: Transfer, ends: tuple[Resolved, ...]) -> None:
        for place_in, end in zip(("from", "to"), ends, strict=True):
            if len(end.macs) != 1:
                has = f"{end} has {len(end.macs)} hosts"
                raise Refused(place_in, f"{has}, and data moves from one host to one host", "name a host")
        pair = ends[0].macs[0], ends[1].macs[0]
        if pair[0] == pair[1]:
            raise Refused("to", "it is the host that the data comes from", "name another one")
        hosts = [self.world.network.hosts.get(mac) for mac in pair]
        if hosts[0] is None or hosts[1] is None:
            raise Refused(
                "from" if hosts[0] is None else "to", "this host was not seen yet", "let it send a packet"
            )
        placed = place(name, form, self.world, (hosts[0].dpid, hosts[1].dpid), self._coming())
        self.notes.append(Note(name, placed.words, placed.missed))
        self.progress[name] = placed.progress
        if placed.rate_mbps is not None:
            self.stitches[name, pair_part(*pair)] = transfer_request(name, form, pair, placed.rate_mbps)

    def _share(self, name: str, form: Share) -> tuple[Resolved, ...]:
        """The ends, as far as they share."""
        (one, ours), (other, theirs) = (side_of(part, self.world) for part in form.between)
        if one.vnet == other.vnet:
            raise Refused(
                "between", f"both are in {one.vnet!r}, whose hosts reach each other", "name two networks"
            )
        self.stitches[name, SEGMENT_PART] = share_request(name, form, (one, other))
        return ours, theirs

    def _coming(self) -> list[StitchRequest]:
        """What is wanted and not there yet."""
        there = {
            as_asked(stitch.request)
            for stitch in self.world.stitches
            if is_ours(stitch) and stitch.path is not None
        }
        return [self.stitches[key] for key in sorted(self.stitches) if self.stitches[key] not in there]

    def _apart(self, name: str, ends: tuple[Resolved, ...]) -> None:
        for place_in, end in enumerate(ends):
            for other in ends[place_in + 1 :]:
                if set(end.macs) & set(other.macs):
                    raise Refused("apart", f"{end} and {other} have hosts in common", "name others")
        for source in ends:
            others = [end.selector for end in ends if end is not source]
            self._rule((name, _part(source)), source.selector, others, {"action": "deny"})

    def _reach(self, name: str, form: Reach, ends: tuple[Resolved, ...]) -> None:
        if form.until_s is not None and form.until_s <= self.world.now_s:
            self.notes.append(Note(name, "its time is over"))
            return
        terms: dict[str, Any] = {"action": "allow"}
        if form.application is not None:
            number = form.application.ip_proto
            terms["protocol"] = _PROTOCOLS.get(number or 0, number)
            if form.application.target_port is not None:
                terms["ports"] = [form.application.target_port]
        if form.until_s is not None:
            terms["times"] = [{"until": datetime.fromtimestamp(form.until_s, UTC).isoformat()}]
        self._rule((name, "to"), ends[0].selector, [ends[1].selector], terms)

    def _rule(self, key: Key, source: object, targets: Sequence[object], terms: dict[str, Any]) -> None:
        self.rules[key] = {"name": rule_name(key), "from": source, "to": list(targets), **terms}


def _field(intent: Intent, number: int) -> str:
    if isinstance(intent.form, Latency):
        return "between"
    if isinstance(intent.form, Share):
        return "between"
    return "apart" if isinstance(intent.form, Apart) else ("from", "to")[number]


def _part(end: Resolved) -> str:
    name = end.macs[0].replace(":", "-") if end.by is EndBy.HOST else end.name
    # Short enough for the name of a rule, and another one for each end.
    return f"from-{name}" if len(name) <= 20 else f"from-{name[:11]}-{zlib.crc32(name.encode()):08x}"


def _pairs(ends: tuple[Resolved, ...]) -> list[tuple[str, str]]:
    """Every pair of a host of one end with a host of the other, each once."""
    found: dict[frozenset[str], tuple[str, str]] = {}
    for source in ends[0].macs:
        for target in ends[1].macs:
            if source != target:
                found.setdefault(frozenset((source, target)), (source, target))
    return list(found.values())
