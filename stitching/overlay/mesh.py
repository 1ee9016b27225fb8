"""Which sites have tunnels with which: a star of hubs at first, then more and fewer as need be.

Always wanted are the tunnels of every site with each hub, those that a rule demands, and for a critical site a
second way where there is only one hub. Others come and go with forecasts and measurements (direct.py). Nothing is
taken away while somebody who talks over it would be cut off, or a critical site lose its second way.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, product
from types import MappingProxyType

from stitching.overlay import direct as direct_of
from stitching.overlay import hubs as hubs_of
from stitching.overlay.direct import Direct, DirectPolicy, DirectStep
from stitching.overlay.hubs import HubPolicy, Hubs, choose_hubs
from stitching.overlay.mesh_rules import PairRule, Say, must_pairs, rule_for, transport_for
from stitching.overlay.sites import NodeLoad, Pair, Site, Uplink, pair_of
from stitching.overlay.tunnels import Line, TunnelSpec
from stitching.overlay.ways import Reach, ways_apart


@dataclass(frozen=True, slots=True)
class MeshPolicy:
    """`budget`: how many tunnels a site that is no hub has at most; those that it must have it has in any case.

    `lines_per_pair`: over how many pairs of uplinks two sites are joined.
    """

    rules: tuple[PairRule, ...] = ()
    budget: int = 32
    lines_per_pair: int = 2
    hubs: HubPolicy = hubs_of.DEFAULT_POLICY
    direct: DirectPolicy = direct_of.DEFAULT_POLICY


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known now. `demand_mbps`: a high quantile of the forecast of a pair, both ways together.

    `poor`: pairs none of whose ways is good enough for an application, and why. `silent_since_s`: who has said
    nothing, since when. `up`: lines with a tunnel that both ends call up.
    """

    sites: Mapping[int, Site]
    demand_mbps: Mapping[Pair, float] = field(default_factory=lambda: MappingProxyType({}))
    poor: Mapping[Pair, str] = field(default_factory=lambda: MappingProxyType({}))
    loads: Mapping[int, NodeLoad] = field(default_factory=lambda: MappingProxyType({}))
    silent_since_s: Mapping[int, float] = field(default_factory=lambda: MappingProxyType({}))
    up: Collection[Line] = ()


@dataclass(frozen=True, slots=True)
class Made:
    """The lines of two sites by a policy."""

    one: Site
    other: Site
    policy: MeshPolicy
    lines: Mapping[Line, TunnelSpec]


@dataclass(frozen=True, slots=True)
class Mesh:
    """The answer, and what the next one is made from. `lines` are wanted; `why` has the reason for each pair."""

    hubs: Hubs = hubs_of.NO_HUBS
    direct: Direct = direct_of.NO_PAIRS
    lines: Mapping[Line, TunnelSpec] = field(default_factory=lambda: MappingProxyType({}))
    why: Mapping[Pair, str] = field(default_factory=lambda: MappingProxyType({}))
    problems: tuple[str, ...] = ()
    made: Mapping[Pair, Made] = field(default_factory=lambda: MappingProxyType({}), compare=False, repr=False)
    """What was made of pairs, to be taken again for as long as the two sites and the rules are the very same."""


def next_mesh(before: Mesh, situation: Situation, now_s: float, policy: MeshPolicy | None = None) -> Mesh:
    """The mesh from now on."""
    return _Next(before, situation, now_s, policy or MeshPolicy()).mesh()


class _Next:
    def __init__(self, before: Mesh, situation: Situation, now_s: float, policy: MeshPolicy) -> None:
        self.before, self.policy, self.now_s = before, policy, now_s
        self.situation, self.sites = situation, situation.sites
        self.problems: list[str] = []
        self.why: dict[Pair, str] = {}
        self.made: dict[Pair, Made] = {}
        self.hubs = choose_hubs(
            before.hubs, self.sites, situation.loads, situation.silent_since_s, now_s, policy.hubs
        )
        self.up = {line.pair for line in situation.up}
        self.reach = Reach(self.up, self.hubs.transit)

    def mesh(self) -> Mesh:
        self._star()
        self._musts()
        self._second_ways()
        direct = self._direct()
        self._retire()
        lines = {line: spec for pair in self.why for line, spec in self._lines(pair).items()}
        self._say_who_has_one_way(lines)
        if lines == self.before.lines:
            lines = self.before.lines  # type: ignore[assignment]
        why = MappingProxyType(self.why)
        return Mesh(self.hubs, direct, MappingProxyType(dict(lines)), why, tuple(self.problems), self.made)

    # -- what has to be

    def _star(self) -> None:
        for hub, serial in product(self.hubs.now, self.sites):
            if hub != serial:
                self._want(pair_of(hub, serial), f"{self.sites[hub].name} is a hub")
        joined = {serial for pair in self.why for serial in pair}
        for serial, site in self.sites.items():
            if serial not in joined and len(self.sites) > 1:
                self.problems.append(
                    f"{site.name} has a tunnel with no hub: look at its rules, uplinks, transports"
                )

    def _musts(self) -> None:
        for pair in must_pairs(self.policy.rules, self.sites):
            if not self._want(pair, "a rule demands it"):
                one, other = (self.sites[serial].name for serial in pair)
                self.problems.append(
                    f"{one} and {other} must have a tunnel and have no uplinks or transport for it"
                )

        names = {site.name for site in self.sites.values()}
        for rule in self.policy.rules:
            unknown = {end.name for end in (rule.one, rule.other) if end.name is not None} - names
            if rule.say is Say.MUST and unknown:
                self.problems.append(
                    f"a rule demands tunnels with {' and '.join(sorted(unknown))}, and no site is called so"
                )

    def _second_ways(self) -> None:
        """With one hub only, a critical site has tunnels with everyone."""
        if len(self.hubs.now) > 1:
            return
        for serial, site in self.sites.items():
            if site.critical:
                for other in self.sites:
                    if other != serial:
                        self._want(pair_of(serial, other), f"a second way to {site.name}, which is critical")

    def _say_who_has_one_way(self, lines: Iterable[Line]) -> None:
        """Critical sites whose tunnels have not two that differ in uplink and far end: of those up, if any is."""
        critical = {serial for serial, site in self.sites.items() if site.critical}
        if not critical or len(self.sites) < 3:
            return
        up = frozenset(self.situation.up)
        for serial in sorted(critical):
            mine = [line for line in lines if serial in line.pair and (line in up or not up)]
            ends = {(line.uplink_at(serial), line.other(serial)) for line in mine if self._leads_on(line)}
            if not any(one[0] != two[0] and one[1] != two[1] for one, two in combinations(ends, 2)):
                names = ", ".join(sorted(f"{uplink} to {self.sites[far].name}" for uplink, far in ends))
                self.problems.append(
                    f"{self.sites[serial].name} is critical and has {'no way' if not ends else 'one way only'}"
                    f"{f' ({names})' if names else ''}: it needs two uplinks, and two hubs that are up"
                )

    def _leads_on(self, line: Line) -> bool:
        """Whether it leads to more than the site at its other end."""
        return line.a in self.hubs.transit or line.b in self.hubs.transit

    def _want(self, pair: Pair, why: str) -> bool:
        if pair not in self.why and self._lines(pair):
            self.why[pair] = why
        return pair in self.why

    # -- what comes and goes

    def _direct(self) -> Direct:
        step = DirectStep(
            self.before.direct,
            self.situation.demand_mbps,
            self.situation.poor,
            self.now_s,
            self.policy.direct,
        )
        for pair in [pair for pair in step.pairs if not self._possible(pair)]:
            step.forget(pair)
        for pair, why in step.pairs.items():
            self._want(pair, why)
        used = self._used()
        for pair in step.to_add:
            if step.spent:
                break
            if pair in self.why or not self._possible(pair):
                continue
            n_lines = len(self._lines(pair))
            if all(used.get(end, 0) + n_lines <= self.policy.budget for end in pair):
                step.add(pair)
                self.why[pair] = step.pairs[pair]
                for end in pair:
                    used[end] = used.get(end, 0) + n_lines
        for pair in step.to_remove:
            if step.spent:
                break
            always = self.why.get(pair) != step.pairs[pair]
            if always or self._may_go(pair):
                step.remove(pair)
                if not always:
                    del self.why[pair]
                    self.reach.remove(pair)
        return step.after()

    def _used(self) -> dict[int, int]:
        used: dict[int, int] = {}
        for pair in self.why:
            for end in pair:
                if end not in self.hubs.now:
                    used[end] = used.get(end, 0) + len(self._lines(pair))
        return used

    def _may_go(self, pair: Pair) -> bool:
        """Whether the two still talk without it, and over two ways if one is critical and has two now."""
        if not self.reach.has(pair):
            return True
        self.reach.remove(pair)
        talk = self.reach.talk(*pair)
        self.reach.add(pair)
        if not talk or not any(self.sites[end].critical for end in pair):
            return talk
        transit = self.hubs.transit
        lines = [line for line in self.situation.up if {line.a, line.b} <= {*transit, *pair}]
        left = ways_apart((line for line in lines if line.pair != pair), transit, *pair)
        return left >= 2 or left >= ways_apart(lines, transit, *pair)

    # -- hubs that were

    def _retire(self) -> None:
        """Keep the tunnels of a hub that was one until everyone who is up there is up with all the new ones."""
        kept = []
        for old in self.hubs.retiring:
            here = self.reach.of(old) & self.sites.keys()
            # A site that was a hub has to be served by others too, a relay has nothing behind it.
            all_here = here | {old} if here and self.sites[old].prefixes else here
            waits = [serial for serial in all_here if not self._served(serial)]
            if waits:
                kept.append(old)
                names = ", ".join(self.sites[serial].name for serial in sorted(waits)[:3])
                for serial in here:
                    self._want(
                        pair_of(old, serial), f"{names} and {len(waits) - 1} more are not up with all hubs yet"
                    )
        if tuple(kept) != self.hubs.retiring:
            self.hubs = Hubs(self.hubs.now, tuple(kept), self.hubs.changed_s, self.hubs.why)

    def _served(self, serial: int) -> bool:
        if self.hubs.now == (serial,):
            return True
        near = self.reach.of(serial)
        asked = [hub for hub in self.hubs.now if hub != serial and self._possible(pair_of(hub, serial))]
        return bool(asked) and all(hub in near for hub in asked)

    # -- lines

    def _possible(self, pair: Pair) -> bool:
        return pair[0] in self.sites and pair[1] in self.sites and bool(self._lines(pair))

    def _lines(self, pair: Pair) -> Mapping[Line, TunnelSpec]:
        made = self.made.get(pair)
        if made is None:
            one, other = self.sites[pair[0]], self.sites[pair[1]]
            made = self.before.made.get(pair)
            if made is None or made.one is not one or made.other is not other or made.policy is not self.policy:
                rule = rule_for(self.policy.rules, one, other)
                made = Made(one, other, self.policy, _lines_of(one, other, rule, self.policy.lines_per_pair))
            self.made[pair] = made
        return made.lines


def _lines_of(one: Site, other: Site, rule: PairRule, most: int) -> Mapping[Line, TunnelSpec]:
    """The lines two sites are joined by, as many uplinks among them as can be; none where there may be none."""
    transport = transport_for(rule, one, other)
    if rule.say is Say.MUST_NOT or transport is None:
        return {}
    most = max(most, 2) if one.critical or other.critical else most
    return {
        Line(one.serial, mine.name, other.serial, theirs.name, transport): rule.spec
        for mine, theirs in _spread(one.uplinks, other.uplinks, most)
    }


def _spread(mine: Sequence[Uplink], theirs: Sequence[Uplink], most: int) -> Iterable[tuple[Uplink, Uplink]]:
    """Pairs of uplinks that can call each other: each uplink once before any twice."""
    order = [sorted(uplinks, key=lambda uplink: uplink.name) for uplinks in (mine, theirs)]
    left = [
        (one, other)
        for one, other in product(*order)
        if (one.callable or other.callable) and one.address.version == other.address.version
    ]
    uses = {id(uplink): 0 for uplink in (*mine, *theirs)}
    for _ in range(min(most, len(left))):
        counts = [(uses[id(one)], uses[id(other)]) for one, other in left]
        best = left[min(range(len(left)), key=lambda at: (max(counts[at]), sum(counts[at])))]
        left.remove(best)
        for uplink in best:
            uses[id(uplink)] += 1
        yield best
