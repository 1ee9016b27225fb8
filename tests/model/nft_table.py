"""A model of the tables that an agent gives to nftables: what becomes of a packet that comes from a tunnel or goes
into one, and which counter counts it. It knows the few words of nftables that the agent says, and no others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

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
                if match := re.fullmatch(r"(.*?)(?:counter name (\S+) )?(accept|drop)", said):
                    if _is_about(match[1], sent):
                        return Judged(match[3] == "accept", self._counters.get(match[2]))
                else:
                    assert " vmap " in said, f"{said!r} is not understood"
            if following is None:
                return Judged(True, None)
            chain = following


def _after_conditions(rule: str, sent: Sent, side: str) -> str | None:
    """What a rule says after the side and the addresses that it is about; None: it is not about this packet."""
    if rule.startswith(("type filter hook", "meta l4proto ipv6-icmp", "icmp type")):
        return None
    if match := re.match(r'(iifname|oifname) "ls\*" ', rule):
        if match[1] != side:
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
    if match := re.fullmatch(r"ip6? (saddr|daddr) vmap \{ (.*) \}", said):
        ways = (one.split(" : goto ") for one in match[2].split(", "))
        return next((to for prefix, to in ways if sent.address(match[1]) in ip_network(prefix)), None)
    return None


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


def _ranges(text: str) -> Iterator[tuple[int, int]]:
    for one in text.split(", "):
        first, _, last = one.partition("-")
        yield int(first), int(last or first)
