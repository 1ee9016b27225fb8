"""Make before break: how one version of a tunnel follows another, and how a line follows another.

A tunnel never changes. What is to be another is version n+1, wanted beside n (COMING). When both ends report it UP
it takes over (ACTIVE) and n is LEAVING: it goes once both ends have carried out a plan in which it is not
preferred, say that no route uses it, and the time to drain is over. A line that is wanted no more goes the same
way, once another line between the same sites is up. No part of this waits for ever but the first version of a
line, which is no change, and the memory of addresses that an end may still have.

At each site a few are replaced at a time, the oldest first: on a machine that is busy, where keys are to be young,
all others would wait behind those that are due again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from stitching.overlay.sites import Pair
from stitching.overlay.tunnels import Line, LineState, Phase, Tunnel, TunnelBook, TunnelSpec, line_name, slots
from stitching.overlay.turns import Due, earlier, in_turn, what_changed

UP = "up"


@dataclass(frozen=True, slots=True)
class EndReport:
    """A tunnel as one end has it: its state ("up" or another), and whether a route there uses it now."""

    state: str
    used: bool = False


@dataclass(frozen=True, slots=True)
class SiteReport:
    """What a site has said last: the newest generation it has carried out, and all tunnels it has, by name.

    `ports` are the ports of its bridge that links are plugged into, by the names of the links.
    """

    generation: int
    tunnels: Mapping[str, EndReport] = field(default_factory=lambda: MappingProxyType({}))
    ports: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Replacing:
    """Times in seconds. `key_age_s`: keys older than that are replaced, each line a little earlier, by its name.

    A version that is not up at both ends after `coming_s` is given up, and tried again after `retry_s`, twice
    that, ... at most `retry_most_s`. `leaving_s` is for an end that says nothing: it knows the newer tunnel and
    takes it by itself as soon as the older one is dead. `forbidden_s` is for a tunnel that a rule forbids: it goes
    then even where nothing else leads to the other end. `at_once`: so many of a site's tunnels have another coming
    beside them at a time.
    """

    key_age_s: float = 86_400.0
    at_once: int = 4
    drain_s: float = 5.0
    coming_s: float = 60.0
    retry_s: float = 30.0
    retry_most_s: float = 3_600.0
    leaving_s: float = 3_600.0
    forbidden_s: float = 15.0


@dataclass(frozen=True, slots=True)
class Stepped:
    """The book after a step. `events` are its decisions as an operator would ask about them."""

    book: TunnelBook
    events: tuple[str, ...]


def step(
    book: TunnelBook,
    wanted: Mapping[Line, TunnelSpec],
    reports: Mapping[int, SiteReport],
    now_s: float,
    generation: int,
    *,
    policy: Replacing | None = None,
    departed: Collection[int] = (),
    forbidden: Collection[Pair] = (),
) -> Stepped:
    """One step of all lines. `generation` is the one that plans made from the answer will have.

    `departed` are serials that are no members any more: nobody waits for what they say. `forbidden` are pairs that
    shall have no tunnel, whatever else leads from one to the other.
    """
    run = _Step(
        book, wanted, reports, now_s, generation, policy or Replacing(), frozenset(departed), frozenset(forbidden)
    )
    return run.all()


class _Step:
    def __init__(
        self,
        book: TunnelBook,
        wanted: Mapping[Line, TunnelSpec],
        reports: Mapping[int, SiteReport],
        now_s: float,
        generation: int,
        policy: Replacing,
        departed: frozenset[int],
        forbidden: frozenset[Pair],
    ) -> None:
        self.book, self.wanted, self.reports = book, wanted, reports
        self.now_s, self.generation, self.policy, self.departed = now_s, generation, policy, departed
        self.forbidden = forbidden
        self.events: list[str] = []
        self.due: list[Due] = []
        self.next_slot = book.next_slot
        self.taken = {tunnel.slot for state in book.lines.values() for tunnel in state.tunnels}
        self.n_slots = slots(book.overlay_range)
        pairs_wanted = {line.pair for line in wanted}
        # Pairs that have something up on a line that stays, and those that shall have nothing at all.
        self.carried: set[Pair] = {
            line.pair
            for line, state in book.lines.items()
            if line in wanted and (active := state.of(Phase.ACTIVE)) is not None and self._up(active)
        }
        self.left: Callable[[Line], bool] = lambda line: (
            line.pair not in pairs_wanted or line.pair in self.carried or bool(self.departed & {line.a, line.b})
        )

    def all(self) -> Stepped:
        lines: dict[Line, LineState] = {}
        changed = len(self.book.lines) != len(self.wanted)
        for line, before in self.book.lines.items():
            after = self._line(line, before)
            changed = changed or after is not before
            if after.tunnels or line in self.wanted:
                lines[line] = after
            else:
                changed = True
        for line in self.wanted:
            if line not in self.book.lines:
                changed = True
                lines[line] = self._make(line, LineState(), self.wanted[line], "first")
        for due in in_turn(self.due, lines.values(), self.policy.at_once):
            before = lines[due.line]
            lines[due.line] = self._make(due.line, before, self.wanted[due.line], due.why)
            changed = changed or lines[due.line] is not before
        if not changed and self.next_slot == self.book.next_slot:
            return Stepped(self.book, tuple(self.events))
        book = replace(self.book, lines=MappingProxyType(lines), next_slot=self.next_slot)
        return Stepped(book, tuple(self.events))

    # -- one line

    def _line(self, line: Line, state: LineState) -> LineState:
        state = self._let_go(state)
        spec = None if self.departed & {line.a, line.b} else self.wanted.get(line)
        if spec is None:
            return self._unwanted(line, state)
        return self._start(line, self._settle(state, spec), spec)

    def _let_go(self, state: LineState) -> LineState:
        """Forget what neither end can have; end what has drained, or took too long."""
        kept = []
        for tunnel in state.tunnels:
            if tunnel.phase is Phase.GONE and self._both(tunnel, self._rid):
                continue
            if tunnel.phase is Phase.LEAVING:
                waited = self.now_s - tunnel.since_s
                moved = waited >= self.policy.drain_s and self._both(tunnel, self._moved)
                is_forbidden = tunnel.line.pair in self.forbidden
                most_s = self.policy.forbidden_s if is_forbidden else self.policy.leaving_s
                if moved or waited >= most_s:
                    by_rule = ", and a rule forbids it" if is_forbidden else ""
                    why = "both ends have moved" if moved else f"an end has not moved in {waited:.0f} s{by_rule}"
                    kept.append(self._to(tunnel, Phase.GONE, why))
                    continue
            kept.append(tunnel)
        return (
            state
            if len(kept) == len(state.tunnels)
            and all(one is other for one, other in zip(kept, state.tunnels, strict=True))
            else replace(state, tunnels=tuple(kept))
        )

    def _unwanted(self, line: Line, state: LineState) -> LineState:
        active = state.of(Phase.ACTIVE)
        if active is not None and not self._is_down(active) and not self.left(line):
            return state
        phases = {Phase.COMING: Phase.GONE, Phase.ACTIVE: Phase.LEAVING}
        if self.departed & {line.a, line.b}:
            phases = dict.fromkeys((Phase.COMING, Phase.ACTIVE, Phase.LEAVING), Phase.GONE)
        return self._turn(state, phases, "not wanted any more")

    def _settle(self, state: LineState, spec: TunnelSpec) -> LineState:
        """What comes takes over, or is given up."""
        coming, active = state.of(Phase.COMING), state.of(Phase.ACTIVE)
        if coming is None:
            return state
        if coming.spec != spec:
            return self._turn(state, {Phase.COMING: Phase.GONE}, "another is wanted")
        if self._up(coming):
            state = self._turn(state, {Phase.ACTIVE: Phase.LEAVING}, f"{coming.name} is up at both ends")
            state = self._turn(state, {Phase.COMING: Phase.ACTIVE}, "up at both ends")
            return replace(state, failures=0, retry_at_s=0.0)
        if active is not None and self.now_s - coming.since_s >= self.policy.coming_s:
            state = self._turn(state, {Phase.COMING: Phase.GONE}, "not up at both ends in time")
            wait_s = min(self.policy.retry_s * 2.0 ** min(state.failures, 32), self.policy.retry_most_s)
            return replace(state, failures=state.failures + 1, retry_at_s=self.now_s + wait_s)
        return state

    def _start(self, line: Line, state: LineState, spec: TunnelSpec) -> LineState:
        """Note where another version is needed and none is on its way; two are the most at a time."""
        if state.of(Phase.COMING) is not None:
            return state
        active = state.of(Phase.ACTIVE)
        if active is None:
            # One that was leaving is still there as it was: it need not be made again.
            leaving = state.of(Phase.LEAVING)
            if leaving is None:
                return self._make(line, state, spec, "first")
            back = self._to(leaving, Phase.ACTIVE, "wanted again")
            return replace(state, tunnels=tuple(back if one is leaving else one for one in state.tunnels))
        if state.of(Phase.LEAVING) is not None or self.now_s < state.retry_at_s:
            return state
        is_old = self.now_s - active.made_at_s >= self.policy.key_age_s * earlier(line)
        if active.spec != spec or is_old:
            why = what_changed(active.spec, spec) if active.spec != spec else "its keys are old"
            self.due.append(Due(active.spec == spec, not self._up(active), active.made_at_s, line, why))
        return state

    def _make(self, line: Line, state: LineState, spec: TunnelSpec, why: str) -> LineState:
        slot = self._slot()
        if slot is None:
            name, room = line_name(line), self.book.overlay_range
            self.events.append(f"{name} waits: {room} has no address left; give the overlay a wider range")
            return state
        number = state.number + 1
        made = Tunnel(line, number, spec, slot, self.now_s, Phase.COMING, self.now_s, self.generation, why)
        self.events.append(f"{made.name} comes: {why}")
        return replace(state, number=number, tunnels=(*state.tunnels, made))

    def _slot(self) -> int | None:
        """The next slot in turn that is free: what was used last comes back last."""
        if len(self.taken) >= self.n_slots:
            return None
        slot = self.next_slot % self.n_slots
        while slot in self.taken:
            slot = (slot + 1) % self.n_slots
        self.taken.add(slot)
        self.next_slot = (slot + 1) % self.n_slots
        return slot

    # -- what the ends say

    def _up(self, tunnel: Tunnel) -> bool:
        name = tunnel.name
        for serial in tunnel.line.pair:
            report = self.reports.get(serial)
            end = report.tunnels.get(name) if report is not None else None
            if end is None or end.state != UP:
                return False
        return True

    def _is_down(self, tunnel: Tunnel) -> bool:
        """Whether an end says so. Who says nothing may well use it."""
        said = [report for serial in tunnel.line.pair if (report := self.reports.get(serial)) is not None]
        ends = [report.tunnels.get(tunnel.name) for report in said]
        return any(end is None or end.state != UP for end in ends)

    def _both(self, tunnel: Tunnel, says: Callable[[Tunnel, SiteReport], bool]) -> bool:
        for serial in tunnel.line.pair:
            if serial in self.departed:
                continue
            report = self.reports.get(serial)
            if report is None or report.generation < tunnel.generation or not says(tunnel, report):
                return False
        return True

    @staticmethod
    def _moved(tunnel: Tunnel, report: SiteReport) -> bool:
        end = report.tunnels.get(tunnel.name)
        return end is None or not end.used

    @staticmethod
    def _rid(tunnel: Tunnel, report: SiteReport) -> bool:
        return tunnel.name not in report.tunnels

    def _turn(self, state: LineState, phases: Mapping[Phase, Phase], why: str) -> LineState:
        if not any(tunnel.phase in phases for tunnel in state.tunnels):
            return state
        turned = (self._to(one, phases[one.phase], why) if one.phase in phases else one for one in state.tunnels)
        return replace(state, tunnels=tuple(turned))

    def _to(self, tunnel: Tunnel, phase: Phase, why: str) -> Tunnel:
        self.events.append(f"{tunnel.name} is {phase}: {why}")
        return replace(tunnel, phase=phase, since_s=self.now_s, generation=self.generation, why=why)
