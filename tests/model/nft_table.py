"""A model of the tables that an agent gives to nftables: what becomes of a packet that comes from a tunnel or goes
into one, and which counter counts it. It knows the few words of nftables that the agent says, and no others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from vte_agent.segmentation import Ruleset


@dataclass(frozen=True)
class Sent:
    """A packet; without a protocol it has one that no rule names."""

    source: str
    target: str
    protocol: int = 253
    src_port: int | None = None
    dst_port: int | None = None

    def address(self, which: str) -> IPv4Address | IPv6Address:
        """Its source (`saddr`), or its target."""
        return ip_address(self.source if which == "saddr" else self.target)


@dataclass(frozen=True)
class Judged:
    """Whether it passes, and the rule that counted it with what that does; rule None: nobody did."""

    passes: bool
    rule: tuple[str, bool] | None


class NftTable:
    """One table, as it is after it was loaded."""

    def __init__(self, ruleset: Ruleset) -> None:
        self._counters = ruleset.counters
        self._chains: dict[str, list[str]] = {}
        chain = None
        for line in map(str.strip, ruleset.body.splitlines()):
            if match := re.fullmatch(r"chain (\S+) \{", line):
                chain = self._chains.setdefault(match[1], [])
            elif line == "}":
                chain = None
            elif chain is not None:
                chain.append(line)

    def judge(self, sent: Sent, hook: str = "passing", side: str = "oifname") -> Judged:
        """What becomes of a packet in a base chain; its tunnel is at one side."""
        chain = hook
        while True:
            following = None
            for rule in self._chains[chain]:
                said = _after_conditions(rule, sent, side)
                if said is None:
                    continue
                if (following := _following(said, sent)) is not None:
                    break
                if (judged := self._judged(said, sent)) is not None:
                    return judged
            if following is None:
                return Judged(True, None)
            chain = following

    def _judged(self, said: str, sent: Sent) -> Judged | None:
        """By a rule that is no way on; None: it says nothing about this packet."""
        if match := re.fullmatch(r"counter name (.*?) map \{ (.*?) \} (.*?) vmap \{ (.*?) \}", said):
            port, counters, words, verdicts = match.groups()
            assert port == words
            # A packet that is in the first map only would be counted and go on.
            counter, verdict = (
                next((to for ports, to in _pairs(text) if _is_about(f"{port} {{ {ports} }} ", sent)), None)
                for text in (counters, verdicts)
            )
            assert (counter is None) == (verdict is None)
            return None if counter is None else Judged(verdict == "accept", self._counters[counter.strip('"')])
        if match := re.fullmatch(r"(.*?)(?:counter name (\S+) )?(accept|drop)", said):
            about = _is_about(match[1], sent)
            return Judged(match[3] == "accept", self._counters.get(match[2])) if about else None
        assert re.match(r"ip6? [sd]addr (& \S+ )?vmap ", said), f"{said!r} is not understood"
        return None


def _after_conditions(rule: str, sent: Sent, side: str) -> str | None:
    """What a rule says after the side and the addresses that it is about; None: it is not about this packet."""
    if rule.startswith(("type filter hook", "meta l4proto ipv6-icmp", "icmp type")):
        return None
    if match := re.match(r'(iifname|oifname) (!= )?"ls\*" ', rule):
        if (match[1] == side) == bool(match[2]):
            return None
        rule = rule[match.end() :]
    if match := re.match(r"ip6? (saddr|daddr) \{ (.*?) \} ", rule):
        if not any(sent.address(match[1]) in ip_network(one) for one in match[2].split(", ")):
            return None
        rule = rule[match.end() :]
    return rule


def _following(said: str, sent: Sent) -> str | None:
    """The chain that a rule sends a packet on to."""
    if match := re.fullmatch(r"goto (\S+)", said):
        return match[1]
    if match := re.fullmatch(r"ip6? (saddr|daddr) (?:& (\S+) )?vmap \{ (.*) \}", said):
        _, mask, ways = match.groups()
        pairs = (one.split(" : goto ") for one in ways.split(", "))
        named = ((_prefix(text, mask), to) for text, to in pairs)
        return next((to for prefix, to in named if sent.address(match[1]) in prefix), None)
    return None


def _prefix(text: str, mask: str | None) -> IPv4Network | IPv6Network:
    """A prefix in full, or the first address of one and its mask."""
    return ip_network(f"{text}/{int(ip_address(mask)).bit_count()}" if mask else text)


def _is_about(words: str, sent: Sent) -> bool:
    if not words:
        return True
    if match := re.fullmatch(r"meta l4proto (\d+) ", words):
        return sent.protocol == int(match[1])
    match = re.fullmatch(r"(tcp|udp|sctp|dccp) (sport|dport) \{ (.*) \} ", words)
    assert match, f"{words!r} is not understood"
    port = sent.src_port if match[2] == "sport" else sent.dst_port
    number = {"tcp": 6, "udp": 17, "sctp": 132, "dccp": 33}[match[1]]
    return sent.protocol == number and port is not None and any(a <= port <= b for a, b in _ranges(match[3]))


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for one in text.split(", "):
        what, _, to = one.partition(" : ")
        yield what, to


def _ranges(text: str) -> Iterator[tuple[int, int]]:
    for one in text.split(", "):
        first, _, last = one.partition("-")
        yield int(first), int(last or first)
