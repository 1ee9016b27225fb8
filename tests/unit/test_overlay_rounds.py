"""Round after round the overlay comes up, follows what happens, and stays as it is while nothing does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from stitching.overlay.direct import DirectPolicy
from stitching.overlay.measures import Measured
from stitching.overlay.mesh import MeshPolicy
from stitching.overlay.mesh_rules import PairRule, Say, Selector
from stitching.overlay.replacing import EndReport, Replacing, SiteReport
from stitching.overlay.rounds import Facts, Overlay, OverlayPolicy, Round, next_round
from stitching.overlay.site_plan import SitePlan
from stitching.overlay.sites import Site
from tests.unit.overlay_world import world

STEP_S = 0.5


@dataclass
class Lab:
    """Sites whose agents carry out at once what they are told. dead: pairs between which nothing passes."""

    sites: Mapping[int, Site]
    policy: OverlayPolicy = field(default_factory=OverlayPolicy)
    overlay: Overlay = field(default_factory=Overlay)
    now_s: float = 1000.0
    dead: set[frozenset[int]] = field(default_factory=set)
    slow_ms: dict[frozenset[int], float] = field(default_factory=dict)
    told: dict[int, tuple[int, SitePlan]] = field(default_factory=dict)
    departed: frozenset[int] = frozenset()
    away: dict[int, int] = field(default_factory=dict)

    def run(self, seconds: float) -> list[Round]:
        rounds = []
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            rounds.append(self.round())
            self.now_s += STEP_S
        return rounds

    def round(self) -> Round:
        made = next_round(self.overlay, self._facts(), self.policy, self.now_s)
        self.overlay = made.overlay
        for serial in made.changed:
            if serial in made.overlay.plans and serial not in self.away:
                self.told[serial] = made.overlay.generation, made.overlay.plans[serial]
        return made

    def _facts(self) -> Facts:
        reports, measured = {}, {}
        for serial, (generation, plan) in self.told.items():
            ends = {}
            for end in plan.tunnels:
                pair = frozenset((serial, end.peer))
                has_both = end.peer in self.told and any(
                    one.name == end.name for one in self.told[end.peer][1].tunnels
                )
                is_up = has_both and pair not in self.dead
                ends[end.name] = EndReport("up" if is_up else "down", self._uses(serial, end.name))
                if is_up:
                    measured[end.name] = Measured(self.slow_ms.get(pair, 20.0), 0.1, 0.0, 0.0, self.now_s)
            reports[serial] = SiteReport(generation, ends)
        return Facts(self.sites, reports, measured, departed=self.departed, away=self.away)

    def _uses(self, serial: int, tunnel: str) -> bool:
        """As an agent does: each route takes the first of its tunnels that is up."""
        for group in self.told[serial][1].routes:
            alive = [name for name in group.tunnels if self._alive(serial, name)]
            if alive[:1] == [tunnel]:
                return True
        return False

    def _alive(self, serial: int, tunnel: str) -> bool:
        end = next(one for one in self.told[serial][1].tunnels if one.name == tunnel)
        return frozenset((serial, end.peer)) not in self.dead

    def way(self, src: int, dst: int) -> list[int]:
        """Who a packet meets, by what agents were told; ends where it is lost or goes round."""
        target = self.sites[dst].prefixes[0]
        met, here = [src], src
        while here != dst and len(met) < 6:
            plan = self.told[here][1]
            groups = [g for g in plan.routes if g.class_name is None and any(b == target for b in g.behind)]
            ends = {end.name: end.peer for end in plan.tunnels}
            alive = [name for group in groups for name in group.tunnels if self._alive(here, name)]
            if not alive:
                return met
            here = ends[alive[0]]
            met.append(here)
        return met


def pairs_meet(lab: Lab) -> bool:
    ends = [serial for serial, site in lab.sites.items() if site.prefixes and serial in lab.told]
    return all(lab.way(a, b)[-1] == b for a in ends for b in ends if a != b)


def test_from_nothing_every_site_reaches_every_other_by_the_star() -> None:
    lab = Lab(world(3, 2, n_uplinks=2))
    lab.run(5.0)
    assert pairs_meet(lab)
    assert all(len(lab.way(a, b)) == 3 for a in (3, 4, 5) for b in (3, 4, 5) if a != b)


def test_while_nothing_happens_nobody_is_told_anything() -> None:
    lab = Lab(world(3, 2))
    lab.run(30.0)
    assert not any(made.changed for made in lab.run(120.0))


def test_the_way_over_a_slow_relay_is_left_for_the_other() -> None:
    lab = Lab(world(2, 2))
    lab.run(10.0)
    before = lab.way(3, 4)
    lab.slow_ms = {frozenset((before[1], serial)): 150.0 for serial in (3, 4)}
    lab.run(30.0)
    assert lab.way(3, 4) == [3, 3 - before[1], 4]


def test_a_relay_that_dies_is_gone_round() -> None:
    lab = Lab(world(3, 2))
    lab.run(10.0)
    lab.dead = {frozenset((1, serial)) for serial in (2, 3, 4, 5)}
    lab.run(3.0)
    assert pairs_meet(lab)


def test_a_member_that_leaves_is_no_part_of_any_plan() -> None:
    lab = Lab(world(3, 2))
    lab.run(10.0)
    lab.sites = {serial: site for serial, site in lab.sites.items() if serial != 5}
    lab.departed = frozenset({5})
    del lab.told[5]
    lab.round()
    assert 5 not in lab.overlay.plans
    assert not any(end.peer == 5 for plan in lab.overlay.plans.values() for end in plan.tunnels)
    lab.run(10.0)
    assert pairs_meet(lab)


def test_pairs_that_a_rule_forbids_lose_their_tunnels_soon_even_where_nothing_else_joins_them() -> None:
    lab = Lab(world(2, 1))
    lab.run(10.0)
    rule = PairRule(Selector(name="s3"), Selector(), Say.MUST_NOT)
    lab.policy = OverlayPolicy(mesh=MeshPolicy(rules=(rule,)))
    lab.run(lab.policy.replacing.forbidden_s + 5.0)
    ends = {serial: {end.peer for end in plan.tunnels} for serial, (_, plan) in lab.told.items()}
    assert ends == {1: {2}, 2: {1}, 3: set()}


def test_however_much_changes_while_a_site_is_away_only_what_it_can_have_been_told_is_kept_for_it() -> None:
    everyone = world(4, 2)
    lab = Lab({serial: site for serial, site in everyone.items() if serial != 6})
    lab.run(10.0)
    lab.away = {5: lab.overlay.generation}
    (carried_out,) = lab.overlay.in_force[5]
    made = set()
    for number in range(40):
        lab.sites = {serial: site for serial, site in everyone.items() if serial != 6 or number % 2}
        lab.run(2.0)
        made.add(lab.overlay.in_force[5][-1][0])
        assert lab.overlay.in_force[5][0] == carried_out and len(lab.overlay.in_force[5]) <= 2
    assert len(made) > 20
    lab.away = {}
    lab.told[5] = lab.overlay.generation, lab.overlay.plans[5]
    lab.run(10.0)
    assert pairs_meet(lab) and len(lab.overlay.in_force[5]) == 1


def test_keys_that_grow_old_are_replaced_while_packets_find_their_way_all_the_time() -> None:
    lab = Lab(world(2, 1), replace(OverlayPolicy(), replacing=Replacing(key_age_s=60.0, drain_s=2.0)))
    lab.run(10.0)
    before = {end.name for end in lab.overlay.plans[2].tunnels}
    for _ in range(200):
        lab.run(STEP_S)
        assert pairs_meet(lab)
    after = {end.name for end in lab.overlay.plans[2].tunnels}
    assert before
    assert not before & after


def test_a_pair_that_the_star_serves_badly_gets_tunnels_of_its_own_and_keeps_them() -> None:
    """Nobody has said what uplinks carry, and no class has a limit."""
    policy = DirectPolicy(remove_after_s=60.0, hold_s=30.0)
    lab = Lab(world(4, 2, n_uplinks=2), OverlayPolicy(mesh=MeshPolicy(direct=policy)))
    lab.run(30)
    assert not lab.overlay.mesh.direct.pairs
    lab.slow_ms = {frozenset((hub, site)): 400.0 for hub in (1, 2) for site in (3, 4)}
    lab.run(60)
    # Each of the two is slow to the hubs, so to everybody else too.
    assert lab.overlay.mesh.direct.pairs[3, 4] == "its round trip is 800.2 ms"
    assert (5, 6) not in lab.overlay.mesh.direct.pairs
    assert lab.way(3, 4) == [3, 4]
    lab.run(150)
    assert (3, 4) in lab.overlay.mesh.direct.pairs
    lab.slow_ms = {}
    lab.run(150)
    assert (3, 4) not in lab.overlay.mesh.direct.pairs
