"""Filters as nftables: a table of our own, which a change replaces in one step.

A packet that comes from a tunnel or goes into one is looked up by its source, then by its destination, then by
its port among the patterns of the two standings: what it costs grows neither with standings nor with patterns,
except where patterns of calls and of answers take turns. The machine's own packets too, where an address of its
own is of a standing. At its other addresses, as those of tunnels and uplinks, nobody reaches anything through a
tunnel but what tunnels themselves need: probes, links, and ICMP.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2s
from itertools import groupby
from typing import NamedTuple

from vte_agent.bridging.vxlan import PORT as LINK_PORT
from vte_agent.port_ranges import first_of
from vte_agent.probing.sockets import LIVENESS_PORT, MTU_PORT, REFLECTOR_PORT, SENDER_PORT
from vte_agent.protocol.filters import Filters, Pattern, Standing

TABLE = "lockstitch_segments"
DEVICES = "ls*"
NO_RULE = "(no rule)"
"""The name under which is counted what nothing was said about."""

TO_MACHINE = "(to the machine itself)"
"""The name for what wanted something of the machine that tunnels do not need, at an address of no standing."""

_NAME_BYTES = 8
_MASKS_MOST = 2
_PORTED = {6: "tcp", 17: "udp", 132: "sctp", 33: "dccp"}
_NEIGHBOURS = "{ nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert, packet-too-big }"
_TOO_BIG = "icmp type destination-unreachable icmp code frag-needed"
"""Comes from whoever is on the way, with an address of no standing; without it long packets vanish (RFC 1191)."""

_NEEDED_PORTS = ", ".join(map(str, (LIVENESS_PORT, REFLECTOR_PORT, SENDER_PORT, MTU_PORT, LINK_PORT)))
"""Of UDP. Which links may send is for a table of its own to say (bridging/guard.py)."""

_NEEDED_ICMP = "{ echo-request, echo-reply, destination-unreachable, time-exceeded, parameter-problem }"
_NEEDED_ICMP6 = _NEEDED_ICMP.replace("{", "{ packet-too-big, nd-neighbor-solicit, nd-neighbor-advert,")


@dataclass(frozen=True)
class Ruleset:
    """The table in nftables' own language, and which rule of the policy each counter is of."""

    body: str
    counters: Mapping[str, tuple[str, bool]]


class _Verdict(NamedTuple):
    """By the counter of a rule, and in nftables' words."""

    counter: str
    word: str

    def __str__(self) -> str:
        return f"counter name {self.counter} {self.word}"


def compile_filters(filters: Filters) -> Ruleset:
    """The table that carries filters out. Raises ValueError where standings overlap or one is not there."""
    _check(filters)
    counters: dict[str, tuple[str, bool]] = {}
    nothing = str(_Verdict(_counted(NO_RULE, False, counters), "drop"))
    chains: dict[tuple[Pattern, ...], str] = {}
    targets: dict[int, list[tuple[Standing, str]]] = defaultdict(list)
    standings = {standing.id: standing for standing in filters.standings}
    for pair in filters.pairs:
        chain = chains.setdefault(pair.patterns, f"p{len(chains)}")
        targets[pair.source].append((standings[pair.target], chain))
    lines = []
    for patterns, chain in chains.items():
        lines += _chain(chain, [*_decided(patterns, counters), nothing])
    for source, ways in targets.items():
        lines += _chain(f"s{source}", [*_lookup("daddr", ways), nothing])
    sources = [(standings[source], f"s{source}") for source in targets]
    always = f"meta l4proto ipv6-icmp icmpv6 type {_NEIGHBOURS} accept", f"{_TOO_BIG} accept"
    lines += _chain("judge", [*always, *_lookup("saddr", sources), nothing])
    needed = (
        f"udp dport {{ {_NEEDED_PORTS} }} accept",
        f"icmp type {_NEEDED_ICMP} accept",
        f"meta l4proto ipv6-icmp icmpv6 type {_NEEDED_ICMP6} accept",
    )
    lines += _chain("machine", [*needed, str(_Verdict(_counted(TO_MACHINE, False, counters), "drop"))])
    # What has nothing to do with tunnels, as what carries them, meets one rule.
    to_own, from_own = (
        [f"{where}goto judge" for where in _of_standings(filters, address)] for address in ("daddr", "saddr")
    )
    for name, hook, rules in (
        ("passing", "forward", [f'{side} "{DEVICES}" goto judge' for side in ("iifname", "oifname")]),
        ("arriving", "input", [f'iifname != "{DEVICES}" accept', *to_own, "goto machine"]),
        ("leaving", "output", [f'oifname != "{DEVICES}" accept', *from_own]),
    ):
        lines += _chain(name, [f"type filter hook {hook} priority filter; policy accept;", *rules])
    objects = [f" counter {name} {{ }}" for name in counters]
    return Ruleset("\n".join([*objects, *lines, ""]), counters)


def _decided(patterns: Sequence[Pattern], counters: dict[str, tuple[str, bool]]) -> Iterator[str]:
    """The rules of some patterns, protocol by protocol. Ports are looked up: many patterns cost what few do."""
    verdicts = [
        _Verdict(_counted(one.rule, one.allow, counters), "accept" if one.allow else "drop") for one in patterns
    ]
    decided: dict[int, list[tuple[Pattern, _Verdict]]] = defaultdict(list)
    last = []
    for one, verdict in zip(patterns, verdicts, strict=True):
        if one.protocol is None:
            last = [str(verdict)]
            break
        if one.protocol in _PORTED or not one.ports:
            decided[one.protocol].append((one, verdict))
    for protocol, ways in decided.items():
        yield from _of_protocol(protocol, ways)
    yield from last


def _of_protocol(protocol: int, decided: Sequence[tuple[Pattern, _Verdict]]) -> Iterator[str]:
    # Calls and answers are asked for other ports, and what comes first is asked first.
    for side, run in groupby(decided, lambda one: _side(one[0])):
        if not side:
            _, verdict = next(run)
            yield f"meta l4proto {protocol} {verdict}"
            return
        found = first_of((one.ports, verdict) for one, verdict in run)
        spans = [f"{first}-{last}" if last > first else f"{first}" for (first, last), _ in found]
        asked = f"{_PORTED[protocol]} {side}"
        if len({verdict for _, verdict in found}) == 1:
            yield f"{asked} {{ {', '.join(spans)} }} {found[0][1]}"
            continue
        names, words = (
            ", ".join(f"{span} : {said}" for span, said in zip(spans, column, strict=True))
            for column in zip(*((f'"{verdict.counter}"', verdict.word) for _, verdict in found), strict=True)
        )
        yield f"counter name {asked} map {{ {names} }} {asked} vmap {{ {words} }}"


def _side(pattern: Pattern) -> str:
    """Which port of a packet a pattern asks for; "" for none."""
    return ("sport" if pattern.reply else "dport") if pattern.ports else ""


def _counted(rule: str, allow: bool, counters: dict[str, tuple[str, bool]]) -> str:
    """The name of a rule's counter, which it has in every table: counts go on when it is replaced."""
    name = f"c{blake2s(f'{allow} {rule}'.encode(), digest_size=_NAME_BYTES).hexdigest()}"
    counters[name] = rule, allow
    return name


def _lookup(address: str, ways: Sequence[tuple[Standing, str]]) -> Iterator[str]:
    """Where a packet goes on by an address of it: no two of the prefixes overlap."""
    for version, word in ((4, "ip"), (6, "ip6")):
        found = [(prefix, chain) for to, chain in ways for prefix in to.prefixes if prefix.version == version]
        masks = sorted({prefix.netmask for prefix, _ in found})
        if len(masks) > _MASKS_MOST:
            yield f"{word} {address} vmap {{ {', '.join(f'{prefix} : goto {chain}' for prefix, chain in found)} }}"
            continue
        # Of one length they are found by a hash, which takes a fraction of what the search among spans does.
        for mask in masks:
            named = [f"{one.network_address} : goto {chain}" for one, chain in found if one.netmask == mask]
            yield f"{word} {address} & {mask} vmap {{ {', '.join(named)} }}"


def _of_standings(filters: Filters, address: str) -> Iterator[str]:
    for version, word in ((4, "ip"), (6, "ip6")):
        known = [f"{p}" for standing in filters.standings for p in standing.prefixes if p.version == version]
        if known:
            yield f"{word} {address} {{ {', '.join(known)} }} "


def _chain(name: str, body: Sequence[str]) -> list[str]:
    return [f" chain {name} {{", *(f"  {line}" for line in body), " }"]


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
