"""Filters as nftables: a table of our own, which a change replaces in one step.

A packet that comes from a tunnel or goes into one is looked up by its source, then by its destination, then meets
the patterns of the two standings: what it costs does not grow with the number of standings. The machine's own
packets too, where an address of its own is of a standing; its probes and tunnels have others.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from vte_agent import nft
from vte_agent.protocol.filters import Filters, Pattern, RuleCount, Standing

TABLE = "lockstitch_segments"
DEVICES = "ls*"
NO_RULE = "(no rule)"
"""The name under which is counted what nothing was said about."""

_PORTED = {6: "tcp", 17: "udp", 132: "sctp", 33: "dccp"}
_NEIGHBOURS = "{ nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert, packet-too-big }"
_TOO_BIG = "icmp type destination-unreachable icmp code frag-needed"
"""Comes from whoever is on the way, with an address of no standing; without it long packets vanish (RFC 1191)."""

_HOOKS = (("passing", "forward", ("iifname", "oifname"), None), ("arriving", "input", ("iifname",), "daddr"),
          ("leaving", "output", ("oifname",), "saddr"))  # fmt: skip
"""Chain, hook, where the tunnel is, and which address has to be of a standing (None: whatever they are)."""


class NotFiltered(RuntimeError):
    """The filters could not be set or read; those that were there still are. The message says why."""


@dataclass(frozen=True)
class Ruleset:
    """nftables' own language, and which rule of the policy each counter is of."""

    text: str
    counters: Mapping[str, tuple[str, bool]]


def compile_filters(filters: Filters) -> Ruleset:
    """The table that carries filters out. Raises ValueError where standings overlap or one is not there."""
    _check(filters)
    counters: dict[tuple[str, bool], str] = {(NO_RULE, False): "c0"}
    chains: dict[tuple[Pattern, ...], str] = {}
    targets: dict[int, list[tuple[Standing, str]]] = defaultdict(list)
    standings = {standing.id: standing for standing in filters.standings}
    for pair in filters.pairs:
        chain = chains.setdefault(pair.patterns, f"p{len(chains)}")
        targets[pair.source].append((standings[pair.target], chain))
    lines = []
    for patterns, chain in chains.items():
        lines += _chain(chain, [*_decided(patterns, counters), "counter name c0 drop"])
    for source, ways in targets.items():
        lines += _chain(f"s{source}", [*_lookup("daddr", ways), "counter name c0 drop"])
    sources = [(standings[source], f"s{source}") for source in targets]
    always = f"meta l4proto ipv6-icmp icmpv6 type {_NEIGHBOURS} accept", f"{_TOO_BIG} accept"
    lines += _chain("judge", [*always, *_lookup("saddr", sources), "counter name c0 drop"])
    for name, hook, sides, address in _HOOKS:
        which = [""] if address is None else list(_of_standings(filters, address))
        rules = [f'{side} "{DEVICES}" {condition}goto judge' for side in sides for condition in which]
        lines += _chain(name, [f"type filter hook {hook} priority filter; policy accept;", *rules])
    objects = [f" counter {name} {{ }}" for name in counters.values()]
    text = "\n".join(
        [
            f"table inet {TABLE} {{ }}",
            f"delete table inet {TABLE}",
            f"table inet {TABLE} {{",
            *objects,
            *lines,
            "}",
            "",
        ]
    )
    return Ruleset(text, {name: key for key, name in counters.items()})


def _decided(patterns: Sequence[Pattern], counters: dict[tuple[str, bool], str]) -> Iterator[str]:
    """The rules of some patterns; what of the policy is not counted yet gets a counter."""
    for pattern in patterns:
        counter = counters.setdefault((pattern.rule, pattern.allow), f"c{len(counters)}")
        verdict = "accept" if pattern.allow else "drop"
        for match in _matches(pattern):
            yield f"{match}counter name {counter} {verdict}"


def _lookup(address: str, ways: Sequence[tuple[Standing, str]]) -> Iterator[str]:
    for version, word in ((4, "ip"), (6, "ip6")):
        found = [f"{p} : goto {chain}" for to, chain in ways for p in to.prefixes if p.version == version]
        if found:
            yield f"{word} {address} vmap {{ {', '.join(found)} }}"


def _of_standings(filters: Filters, address: str) -> Iterator[str]:
    for version, word in ((4, "ip"), (6, "ip6")):
        known = [f"{p}" for standing in filters.standings for p in standing.prefixes if p.version == version]
        if known:
            yield f"{word} {address} {{ {', '.join(known)} }} "


def _chain(name: str, body: Sequence[str]) -> list[str]:
    return [f" chain {name} {{", *(f"  {line}" for line in body), " }"]


def _matches(pattern: Pattern) -> Iterator[str]:
    """The ways to say which packets a pattern is about; each ends in a blank where there is anything to say."""
    if pattern.protocol is None:
        yield ""
        return
    word = _PORTED.get(pattern.protocol)
    if not pattern.ports or word is None:
        yield f"meta l4proto {pattern.protocol} "
        return
    ports = ", ".join(f"{first}-{last}" if last > first else f"{first}" for first, last in pattern.ports)
    yield f"{word} {'sport' if pattern.reply else 'dport'} {{ {ports} }} "


def _check(filters: Filters) -> None:
    known = {standing.id for standing in filters.standings}
    if len(known) < len(filters.standings):
        raise ValueError("two standings have the same number")
    pairs = Counter((pair.source, pair.target) for pair in filters.pairs)
    for (source, target), times in pairs.items():
        if times > 1:
            raise ValueError(f"standings {source} and {target} are a pair twice")
        if missing := {source, target} - known:
            raise ValueError(f"there is no standing {min(missing)}")
    _check_overlap(filters.standings)
    for pair in filters.pairs:
        for pattern in pair.patterns:
            for first, last in pattern.ports:
                if first > last:
                    raise ValueError(f"rule {pattern.rule!r}: ports {first}-{last} are none")


def _check_overlap(standings: Sequence[Standing]) -> None:
    """Sorted by where they begin, a prefix that overlaps another lies right behind one that it overlaps."""
    for version in (4, 6):
        spans = sorted(
            (int(p.network_address), int(p.broadcast_address), str(p))
            for standing in standings
            for p in standing.prefixes
            if p.version == version
        )
        furthest, whose = -1, ""
        for first, last, text in spans:
            if first <= furthest:
                raise ValueError(f"{text} and {whose} overlap")
            furthest, whose = last, text


class Segmentation:
    """The table on this node. counts go on across changes; they begin with the agent."""

    def __init__(self) -> None:
        self._counters: Mapping[str, tuple[str, bool]] = {}
        self._before: Counter[tuple[str, bool]] = Counter()

    def missing(self) -> str:
        """Why filters cannot be had on this node, and the remedy; "" where they can."""
        return nft.missing()

    def apply(self, filters: Filters) -> None:
        """From now on these hold, all at once. Raises NotFiltered; what held before holds on then."""
        try:
            ruleset = compile_filters(filters)
        except ValueError as error:
            raise NotFiltered(f"the filters make no sense: {error}") from error
        before = self._read()
        _nft(["-f", "-"], ruleset.text)
        self._before = before
        self._counters = ruleset.counters

    def remove(self) -> None:
        """Take the table away; nothing is filtered then."""
        self._before = self._read()
        self._counters = {}
        _nft(["-f", "-"], f"table inet {TABLE} {{ }}\ndelete table inet {TABLE}\n")

    def counts(self) -> tuple[RuleCount, ...]:
        """What each rule has decided on so far. Raises NotFiltered."""
        return tuple(
            RuleCount(rule=rule, allow=allow, packets=packets)
            for (rule, allow), packets in sorted(self._read().items())
        )

    def _read(self) -> Counter[tuple[str, bool]]:
        total = Counter(self._before)
        if not self._counters:
            return total
        for name, packets in _parse_counters(_nft(["-j", "list", "counters", "table", "inet", TABLE])):
            if (key := self._counters.get(name)) is not None:
                total[key] += packets
        return total


def _parse_counters(text: str) -> Iterator[tuple[str, int]]:
    try:
        for part in json.loads(text)["nftables"]:
            if "counter" in part:
                yield str(part["counter"]["name"]), int(part["counter"]["packets"])
    except (ValueError, KeyError, TypeError) as error:
        raise NotFiltered("nft answered something that is not understood; is its version 1.0 or newer?") from error


def _nft(words: Sequence[str], text: str = "") -> str:
    try:
        return nft.nft(words, text)
    except nft.NftFailed as error:
        raise NotFiltered(str(error)) from error
