"""Whether a policy can be accepted: names that mean somebody, rules that can match, cases that come out right."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from stitching.network import Host
from stitching.policy import ports
from stitching.policy.decision import Flow, Party, Verdict, decide, party_of
from stitching.policy.document import ANY, By, Case, CaseEnd, Policy, PortRange, Rule, Selector
from stitching.policy.faults import Fault
from stitching.policy.ruling import rule_number
from stitching.vnet import DEFAULT_VNET, Directory

EPHEMERAL_PORT = 49_152
"""The source port of a call whose source port is not told (the first of RFC 6335's dynamic ones)."""


@dataclass(frozen=True, slots=True)
class CaseResult:
    """How a case came out; verdict None where an end of it means nobody, for the reason in `problem`."""

    case: Case
    verdict: Verdict | None
    problem: str | None = None

    @property
    def passed(self) -> bool:
        """Whether it is what was expected."""
        return self.verdict is not None and self.verdict.allowed == self.case.allowed

    @property
    def fault(self) -> Fault:
        """What to tell of one that failed."""
        where = f"case {self.case.number}"
        if self.verdict is None:
            return Fault(where, "from, to", str(self.problem), "name a host of a virtual network, or an address")
        wanted, got = ("allow", "deny") if self.case.allowed else ("deny", "allow")
        by = self.verdict.rule if self.verdict.by_default else f"rule {self.verdict.rule!r}"
        return Fault(where, "expect", f"expected {wanted}, got {got} by {by}", "change the rule, or the case")


def faults_of(policy: Policy, directory: Directory) -> list[Fault]:
    """What must not be: names that mean nobody, and rules whose counters could not be told apart."""
    faults = [*_strangers(policy, directory)]
    numbers: dict[int, str] = {}
    for rule in policy.rules:
        other = numbers.setdefault(rule_number(rule.name), rule.name)
        if other != rule.name:
            reason = f"its checksum is that of {other!r}"
            faults.append(Fault(f"rule {rule.name!r}", "name", reason, "rename one of them"))
    return faults


def warnings_of(policy: Policy) -> list[Fault]:
    """Rules that can never match, and answers that an earlier rule stops."""
    return [*_shadowed(policy), *_stopped_replies(policy)]


def run_cases(
    policy: Policy, directory: Directory, hosts: Mapping[str, Host], time_s: float
) -> tuple[CaseResult, ...]:
    """How each case of a policy comes out; those that name no time are asked for time_s."""
    return tuple(_run(case, policy, directory, hosts, time_s) for case in policy.cases)


def _run(case: Case, policy: Policy, directory: Directory, hosts: Mapping[str, Host], time_s: float) -> CaseResult:
    ends = []
    for end in (case.source, case.target):
        party = _party(end, directory, hosts)
        if party is None:
            return CaseResult(case, None, f"nobody is called {end.host!r}")
        ends.append(party)
    flow = Flow(case.protocol, None if case.port is None else EPHEMERAL_PORT, case.port)
    at_s = time_s if case.at_s is None else case.at_s
    return CaseResult(case, decide(policy, ends[0], ends[1], flow, at_s))


def _party(end: CaseEnd, directory: Directory, hosts: Mapping[str, Host]) -> Party | None:
    if end.host is None:
        host = Host("", 0, 0, frozenset({end.ip} if end.ip else ()))
        vnet = end.vnet or directory.vnet_of(host)
        return Party("", end.ip or "", vnet, frozenset(end.labels), host.ips)
    member = directory.member_called(end.host) or directory.member(end.host)
    owner = member.mac if member is not None else directory.declared_owner(end.host)
    for mac, host in hosts.items():
        if mac in (owner, end.host) or (owner is None and end.host in host.ips):
            return party_of(host, directory)
    if owner is not None:
        return party_of(Host(owner, 0, 0), directory)
    try:
        return party_of(Host("", 0, 0, frozenset({str(ipaddress.ip_address(end.host))})), directory)
    except ValueError:
        return None


def _strangers(policy: Policy, directory: Directory) -> Iterator[Fault]:
    uses: list[tuple[str, str, Selector]] = [
        *(
            (f"group {group.name!r}", "members", one)
            for group in policy.groups.values()
            for one in group.selectors
        ),
        *((f"rule {rule.name!r}", "from", one) for rule in policy.rules for one in rule.source),
        *((f"rule {rule.name!r}", "to", one) for rule in policy.rules for one in rule.target),
    ]
    for where, field, selector in uses:
        value = selector.value[0] if selector.value else ""
        if selector.by is By.VNET and value != DEFAULT_VNET and value not in directory.vnets:
            known = ", ".join(sorted(directory.vnets)[:8]) or "none yet"
            reason = f"there is no virtual network {value!r}"
            yield Fault(where, field, reason, f"make it first, or name one of: {known}")
        if selector.by is By.HOST and not _is_address(value) and directory.member_called(value) is None:
            reason = f"no member of a virtual network is called {value!r}"
            yield Fault(where, field, reason, "add it to one, or give its MAC or IP address")


def _is_address(text: str) -> bool:
    if re.fullmatch(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", text):
        return True
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _shadowed(policy: Policy) -> Iterator[Fault]:
    for number, rule in enumerate(policy.rules):
        covering = [before for before in policy.rules[:number] if _covers(policy, before, rule)]
        if not covering:
            continue
        left: tuple[PortRange, ...] = rule.ports or ((0, ports.LAST_PORT),)
        for before in covering:
            left = () if not before.ports else ports.without(left, before.ports)
        if not left:
            names = " and ".join(repr(before.name) for before in covering)
            reason = f"it never matches: {names} before it cover{'s' if len(covering) == 1 else ''} all of it"
            yield Fault(f"rule {rule.name!r}", "order", reason, "move it up, or take it out")


def _stopped_replies(policy: Policy) -> Iterator[Fault]:
    for number, rule in enumerate(policy.rules):
        if not rule.allow:
            continue
        back = Rule(rule.name, rule.target, rule.source, rule.protocol, windows=rule.windows)
        for before in policy.rules[:number]:
            if not before.allow and not before.ports and _covers(policy, before, back):
                reason = f"{before.name!r} before it stops the answers to what it allows"
                yield Fault(f"rule {rule.name!r}", "order", reason, "move it up")


def _covers(policy: Policy, before: Rule, rule: Rule) -> bool:
    """Whether one rule is about all that another is about, their ports aside."""
    if before.protocol not in (None, rule.protocol) or before.windows not in ((), rule.windows):
        return False
    ends = ((before.source, rule.source), (before.target, rule.target))
    return all(_includes(policy.expand(wide), policy.expand(narrow)) for wide, narrow in ends)


def _includes(wide: tuple[Selector, ...], narrow: tuple[Selector, ...]) -> bool:
    return ANY in wide or (bool(narrow) and set(narrow) <= set(wide))
