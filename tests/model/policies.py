"""Policies of any kind for the hosts of a model fabric."""

from __future__ import annotations

from types import MappingProxyType

from hypothesis import strategies as st

from stitching.match import ICMP, ICMPV6, SCTP, TCP, UDP
from stitching.policy.decision import Flow
from stitching.policy.document import ANY, By, Demands, Group, Policy, Rule, Selector
from stitching.policy.ports import merged
from stitching.policy.windows import Once
from tests.model.fabric import Lab

NOW_S = 1_000.0
EDGES = (1, 2, 22, 80, 443, 1023, 1024, 5000, 32768, 49152, 65535)
"""Ports at which ranges begin and end, so that packets often lie at their borders."""

PROTOCOLS = st.sampled_from([None, TCP, UDP, SCTP, ICMP, ICMPV6, 47])
PORTS = st.sampled_from(sorted({port + step for port in EDGES for step in (-1, 0, 1)} - {0, 65536}))


@st.composite
def policies(draw: st.DrawFn, lab: Lab) -> Policy:
    """Rules over groups, networks and hosts; some demand zones or encryption, some do not hold now."""
    names = [lab.directory.name_of(host) for host in lab.hosts] or ["nobody"]
    one = st.one_of(
        st.sampled_from([Selector(By.VNET, (name,)) for name in ("red", "blue", "default")]),
        st.sampled_from([Selector(By.HOST, (name.lower(),)) for name in names]),
        st.sampled_from([Selector(By.SUBNET, (net,)) for net in ("10.0.0.0/30", "10.0.0.4/31")]),
    )
    group = Group("g", tuple(draw(st.lists(one, max_size=3))))
    ends = st.one_of(st.just((ANY,)), st.just((Selector(By.GROUP, ("g",)),)), one.map(lambda s: (s,)))
    dpids = frozenset(draw(st.sets(st.sampled_from(lab.network.dpids or (1,)))))
    encrypted = frozenset(
        key[:2] for key in draw(st.sets(st.sampled_from(sorted(lab.network.links) or [(0,) * 4])))
    )
    rules = tuple(draw(a_rule(number, ends)) for number in range(draw(st.integers(0, 6))))
    return Policy(rules, MappingProxyType({"g": group}), MappingProxyType({"eu": dpids}), encrypted)


@st.composite
def a_rule(draw: st.DrawFn, number: int, ends: st.SearchStrategy[tuple[Selector, ...]]) -> Rule:
    """A rule called r<number>; some do not hold at NOW_S, or demand zones or encryption."""
    protocol = draw(PROTOCOLS)
    allow = draw(st.booleans())
    demands = Demands()
    if allow and draw(st.integers(0, 3)) == 0:
        demands = Demands(draw(st.booleans()), draw(st.sampled_from([None, frozenset({"eu"})])))
    bounds = draw(st.lists(st.tuples(PORTS, PORTS), max_size=2)) if protocol in (TCP, UDP, SCTP) else []
    windows = draw(st.sampled_from([(), (), (), (Once(0.0, NOW_S),), (Once(NOW_S, NOW_S + 1),)]))
    return Rule(
        f"r{number}",
        draw(ends),
        draw(ends),
        protocol,
        merged((min(pair), max(pair)) for pair in bounds),
        allow,
        demands,
        windows,
    )


@st.composite
def flows(draw: st.DrawFn) -> Flow:
    """Packets of any protocol, with ports where it has some."""
    protocol = draw(PROTOCOLS)
    if protocol not in (TCP, UDP, SCTP):
        return Flow(protocol)
    return Flow(protocol, draw(PORTS), draw(PORTS))
