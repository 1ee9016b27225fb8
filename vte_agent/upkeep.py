"""From the tunnels that are there to those that are wanted: which step is next for each.

A tunnel that is wanted no more goes only when nothing uses it, at this end and the other. One whose peer is no
member any more goes at once, whatever still uses it.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace

from vte_agent.protocol.transport import Transport
from vte_agent.tunnels.contract import LocalEnd, PeerEnd, TunnelSpec

DRAIN_S = 10.0
"""A tunnel that the other end still uses is kept for so long once it is wanted no more."""

FIRST_RETRY_S, LAST_RETRY_S = 1.0, 30.0
"""What failed is tried again after twice as long each time."""


@dataclass(frozen=True)
class Goal:
    """A tunnel that is wanted, by its name in `spec`. peer None: the other end has not said its key yet."""

    spec: TunnelSpec
    transport: Transport
    serial: int
    peer: PeerEnd | None


@dataclass(frozen=True)
class Standing:
    """A tunnel that is there: made (local), and told who its other end is (peer) or not yet.

    unwanted_s: since when it has not been wanted; None while it is.
    """

    goal: Goal
    local: LocalEnd
    peer: PeerEnd | None = None
    unwanted_s: float | None = None


@dataclass(frozen=True)
class Create:
    """Make this end."""

    goal: Goal


@dataclass(frozen=True)
class Connect:
    """Say who the other end is, or where it is now."""

    goal: Goal
    peer: PeerEnd


@dataclass(frozen=True)
class Delete:
    """Take it away."""

    device: str
    name: str
    transport: Transport


Step = Create | Connect | Delete


@dataclass(frozen=True)
class Use:
    """Which tunnels something goes through: our own routes, and what other ends say of theirs."""

    ours: Set[str] = frozenset()
    theirs: Set[str] = frozenset()


@dataclass(frozen=True)
class Failure:
    """What went wrong with a tunnel last, how often in a row, and when it is tried again."""

    why: str
    times: int
    again_s: float


@dataclass
class Upkeep:
    """What there is of each tunnel. Times are seconds of one monotonic clock."""

    standing: dict[str, Standing] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)
    _goals: Mapping[str, Goal] = field(default_factory=dict)
    _members: Set[int] = frozenset()
    _cut: set[str] = field(default_factory=set)

    def want(self, goals: Mapping[str, Goal], members: Set[int], now_s: float) -> None:
        """From now on these tunnels are wanted, and peers of these serials are members."""
        self._goals, self._members = dict(goals), frozenset(members)
        for name, there in self.standing.items():
            if name in goals:
                self.standing[name] = replace(there, unwanted_s=None)
            elif there.unwanted_s is None:
                self.standing[name] = replace(there, unwanted_s=now_s)

    @property
    def goals(self) -> Mapping[str, Goal]:
        """What is wanted."""
        return self._goals

    def cut(self, names: Set[str]) -> None:
        """Nothing gets through these any more: they are made anew, where they are wanted again."""
        self._cut |= names & self.standing.keys()

    def forbidden(self, now_s: float) -> list[Delete]:
        """What must not be, and is to go before anything else is done or asked."""
        return [gone for gone in self._forbidden() if self._may_try(gone.name, now_s)]

    def steps(self, use: Use, now_s: float) -> list[Step]:
        """What can be done now. Deletions of what must not be come first, those of what is merely over last."""
        forbidden = self._forbidden()
        going = {gone.name for gone in forbidden}
        over = [
            _gone(name, there)
            for name, there in self.standing.items()
            if name not in self._goals and name not in going and self._is_drained(there, use, now_s)
        ]
        going |= {gone.name for gone in over}
        steps = [*forbidden, *self._forward(going), *over]
        # What failed and needs not be done any more has not failed.
        for name in self.failures.keys() - {_name(step) for step in steps}:
            del self.failures[name]
        return [step for step in steps if self._may_try(_name(step), now_s)]

    def _forbidden(self) -> list[Delete]:
        found = []
        for name, there in self.standing.items():
            goal = self._goals.get(name)
            # A tunnel never changes; who says otherwise has lost its memory, and this is another tunnel.
            is_another = goal is not None and (goal.serial != there.goal.serial or not _is_same(goal, there.goal))
            if name in self._cut or there.goal.serial not in self._members or is_another:
                found.append(_gone(name, there))
        return found

    def _forward(self, going: Set[str]) -> list[Step]:
        creating: list[Step] = []
        connecting: list[Step] = []
        for name, goal in self._goals.items():
            if goal.serial not in self._members or name in going:
                continue
            there = self.standing.get(name)
            if there is None:
                creating.append(Create(goal))
            elif goal.peer is not None and (goal.peer, goal.spec) != (there.peer, there.goal.spec):
                connecting.append(Connect(goal, goal.peer))
        # Who failed before does not keep others waiting.
        creating.sort(key=lambda step: self._times(_name(step)))
        return [*connecting, *creating]

    def _times(self, name: str) -> int:
        failure = self.failures.get(name)
        return 0 if failure is None else failure.times

    def _is_drained(self, there: Standing, use: Use, now_s: float) -> bool:
        name = there.goal.spec.name
        waited_s = now_s - there.unwanted_s if there.unwanted_s is not None else 0.0
        return name not in use.ours and (name not in use.theirs or waited_s >= DRAIN_S)

    def _may_try(self, name: str, now_s: float) -> bool:
        failure = self.failures.get(name)
        return failure is None or now_s >= failure.again_s

    def done(self, step: Step, local: LocalEnd | None = None) -> None:
        """A step was carried out; `local` is what a Create has made."""
        self.failures.pop(_name(step), None)
        match step:
            case Create(goal):
                if local is None:
                    raise ValueError("a tunnel was made, but not which end it has")
                self.standing[goal.spec.name] = Standing(goal, local)
            case Connect(goal, peer):
                there = self.standing[goal.spec.name]
                self.standing[goal.spec.name] = replace(there, goal=goal, peer=peer)
            case Delete(_, name):
                self.lost(name)

    def failed(self, step: Step, why: str, now_s: float) -> None:
        """A step went wrong; it is tried again later."""
        before = self.failures.get(_name(step))
        times = 1 if before is None else before.times + 1
        pause_s = min(LAST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(times - 1, 10))
        self.failures[_name(step)] = Failure(why, times, now_s + pause_s)

    def lost(self, name: str) -> None:
        """Its device or process has gone: it is made anew if it is still wanted."""
        self.standing.pop(name, None)
        self._cut.discard(name)


def _gone(name: str, there: Standing) -> Delete:
    return Delete(there.goal.spec.device, name, there.goal.transport)


def _is_same(one: Goal, other: Goal) -> bool:
    """Whether it is the same tunnel; the address that it leaves from (DHCP) and its MTU may become others."""
    same = replace(one.spec, local=other.spec.local, mtu=other.spec.mtu)
    return (same, one.transport) == (other.spec, other.transport)


def _name(step: Step) -> str:
    match step:
        case Create(goal) | Connect(goal):
            return goal.spec.name
        case Delete(_, name):
            return name
