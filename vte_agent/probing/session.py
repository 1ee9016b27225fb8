"""One end of the liveness session of one tunnel. Pure: what was heard and what time it is come in as arguments.

Times are seconds of a clock that only goes forward. Each direction is judged on its own: `hears` is whether probes
of the other end come here, `heard` whether ours get there, which only the other end can say; where its probes do
not come here it says so over other tunnels (`told`).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum, StrEnum

from vte_agent.probing.liveness_wire import SEQUENCES, Flag, Heard, Probe, State, after
from vte_agent.protocol.wanted import Liveness

IDLE_FACTOR = 5
"""How much slower an idle tunnel is probed. Both ends count with it, so it is part of the format."""

HOLD_S = 1.0
"""How long a direction that was dead has to do well before it is said to be alive."""

PATIENCE_S = 1.0
"""How long a new session may find nobody before it is dead."""

_SENT_KEPT = 128
_RTT_KEPT = 0.125


class Need(Enum):
    """What this end wants a tunnel for. USED: routes go over it. NEXT: they may. IDLE: no route names it."""

    USED = Flag.USING | Flag.KEEN
    NEXT = Flag.KEEN
    IDLE = Flag.NONE


class Direction(StrEnum):
    """UNKNOWN: too early to say. HELD: it was dead, is well again, and has yet to show that it stays so."""

    UNKNOWN = "unknown"
    DEAD = "dead"
    HELD = "held"
    ALIVE = "alive"


@dataclass(frozen=True)
class Alive:
    """A tunnel as its probes see it.

    heard: towards the other end. hears: from there. fresh: no probe is overdue, so that a tunnel that is about to
    be found dead is not taken for one that is well.
    """

    heard: Direction = Direction.UNKNOWN
    hears: Direction = Direction.UNKNOWN
    fresh: bool = False
    peer_uses: bool = False
    rtt_s: float | None = None
    silent_s: float | None = None


NOTHING_KNOWN = Alive()


class _Held:
    """A direction with its hold-down. It falls at once; it rises at once only the first time."""

    def __init__(self) -> None:
        self.is_well = False
        self.fell = False
        self._well_since_s = 0.0

    def judge(self, is_well: bool, now_s: float) -> None:
        if is_well and not self.is_well:
            self._well_since_s = now_s
        elif self.is_well and not is_well:
            self.fell = True
        self.is_well = is_well

    def state(self, now_s: float, patient: bool) -> Direction:
        if not self.is_well:
            return Direction.UNKNOWN if patient and not self.fell else Direction.DEAD
        held = self.fell and now_s - self._well_since_s < HOLD_S
        return Direction.HELD if held else Direction.ALIVE


class Session:
    """One end of a session. The caller sends `probe` when `due_s` has come, and calls `judge` after it heard all.

    discriminator: of this end, not 0 and no other session's.
    """

    def __init__(self, discriminator: int, liveness: Liveness, now_s: float, need: Need = Need.NEXT) -> None:
        self.discriminator = discriminator
        self.due_s = now_s
        self.has_news = False
        """Something was heard that `judge` should be asked about at once."""
        self._need = need
        self._own_interval_s = liveness.interval_ms / 1e3
        self._multiplier = liveness.multiplier
        self.interval_s = self._own_interval_s
        """What both ends have agreed on: the longer of what either wants."""
        self.peer_uses = False
        """Routes of the other end go over this tunnel, as it last said."""
        self._peer_keen = False
        self._peer_interval_s = self._own_interval_s
        self._born_s = now_s
        self._sequence = 0
        self._slow_left = liveness.multiplier
        self._sent: OrderedDict[int, float] = OrderedDict()
        self._peer: Probe | None = None
        self._heard_at_s = now_s
        self._heard_count = 0
        self._says_heard = False
        self._silent = True
        self._widened_s = 0.0
        self._acked_sent_s: float | None = None
        self._ack_carrier_s = 0.0
        self._rtt_s: float | None = None
        self._count: tuple[int, int] | None = None
        self._out_sent = 0
        self._out_lost = 0
        self._to, self._from = _Held(), _Held()

    @property
    def slow(self) -> bool:
        """Neither end wants the full rate, and the other end has been told so often enough."""
        return self._may_slow() and self._slow_left <= 0

    @property
    def is_well(self) -> bool:
        """Probes get there and come back, as last judged."""
        return self._to.is_well and self._from.is_well

    @property
    def detection_s(self) -> float:
        """How long the other end may be silent: its multiplier of the interval it sends at."""
        if self._peer is None:
            return self._multiplier * self._own_interval_s
        return self._peer.multiplier * self._peer_interval_s

    @property
    def deadline_s(self) -> float:
        """When `judge` can find something new though nothing is heard."""
        if not self._silent:
            return self._heard_at_s + self.detection_s + self._widened_s
        return min(self.due_s, self._told_until_s()) if self._to.is_well else self.due_s

    def need(self, need: Need, now_s: float) -> None:
        """What this end wants the tunnel for from now on; more than before is told to the other end at once."""
        if need == self._need:
            return
        self._need = need
        self.due_s = min(self.due_s, now_s)
        if not self._may_slow():
            self._slow_left = self._multiplier

    def probe(self, now_s: float, others: tuple[Heard, ...] = ()) -> Probe:
        """The probe to send now; `others` is what was heard over the other tunnels to the same end."""
        self._sequence = self._sequence % (SEQUENCES - 1) + 1
        self._sent[self._sequence] = now_s
        if len(self._sent) > _SENT_KEPT:
            self._sent.popitem(last=False)
        step_s = self._step_s
        # Nobody counts on probes that nothing has answered yet, and where many tunnels come up they are many
        # (RFC 5880, 6.8.3); who hears the first answers at once.
        idle = self._peer is None or self._may_slow()
        self._slow_left = self._slow_left - 1 if idle else self._multiplier
        # A timer that was late does not put off those that follow; one that was very late does not send them all.
        self.due_s = self.due_s + step_s if self.due_s + step_s > now_s else now_s + step_s
        peer = self._peer
        return Probe(
            state=State.DOWN if self._silent else State.UP if self._says_heard else State.INIT,
            flags=self._need.value | (Flag.IDLE if idle else Flag.NONE),
            multiplier=self._multiplier,
            interval_us=round(self._own_interval_s * 1e6),
            mine=self.discriminator,
            yours=peer.mine if peer else 0,
            sequence=self._sequence,
            heard_sequence=peer.sequence if peer else 0,
            heard_count=self._heard_count,
            held_s=max(0.0, now_s - self._heard_at_s) if peer else 0.0,
            others=others,
        )

    def last_heard(self, now_s: float) -> Heard | None:
        """What the other tunnels to the same end should tell it of this one."""
        if self._peer is None:
            return None
        return Heard(self._peer.mine, self._peer.sequence, max(0.0, now_s - self._heard_at_s))

    def hear(self, probe: Probe, at_s: float) -> None:
        """A probe came over this tunnel; one that is older than the last is nothing."""
        before = self._peer
        if before and before.mine == probe.mine:
            if after(probe.sequence, before.sequence) <= 0:
                return
        else:
            self._heard_count, self._count = 0, None
        was_silent, was_keen = self._silent, self._peer_keen
        self._says(probe)
        self._peer = probe
        self._heard_at_s = max(self._heard_at_s, at_s)
        self._heard_count = (self._heard_count + 1) % SEQUENCES
        self._silent, self._widened_s = False, 0.0
        said = self._says_heard
        # What it says to an earlier run of this end says nothing of this one.
        knows_us = probe.yours == self.discriminator
        self._says_heard = knows_us and probe.state != State.DOWN
        if knows_us:
            self._acknowledged(probe.heard_sequence, probe.held_s, at_s, self._peer_interval_s)
            self._counted(probe)
        self.has_news |= was_silent or said != self._says_heard
        woken = self._peer_keen and not was_keen
        if woken:
            self._slow_left = self._multiplier
        if was_silent or (woken and self._need is Need.IDLE):
            # News for the other end: it need not wait for our next turn.
            self.due_s = min(self.due_s, at_s)

    def told(self, heard: Heard, at_s: float, carrier_s: float) -> None:
        """The other end says, over another tunnel that is probed every carrier_s, what it heard over this one."""
        self._acknowledged(heard.sequence, heard.held_s, at_s, carrier_s)

    def judge(self, now_s: float, late_s: float = 0.0) -> None:
        """Find out what is alive; all that had come until now_s has been heard.

        late_s: how long our own timer overslept. For as long this machine may not have carried anybody's packets,
        so nobody is dead for not having been heard meanwhile.
        """
        self._widened_s += late_s
        self.has_news = False
        if not self._silent and now_s >= self.deadline_s:
            self._silent = True
            # The other end moves its routes by what we say.
            self.due_s = min(self.due_s, now_s)
        self._from.judge(not self._silent, now_s)
        self._to.judge(self._says_heard if not self._silent else now_s < self._told_until_s(), now_s)

    def alive(self, now_s: float) -> Alive:
        """How it stood when last judged."""
        patient = now_s - self._born_s < max(PATIENCE_S, IDLE_FACTOR * self.detection_s)
        silent_s = now_s - self._heard_at_s if self._peer else None
        overdue_s = 1.5 * self._peer_interval_s + self._widened_s
        return Alive(
            heard=self._to.state(now_s, patient),
            hears=self._from.state(now_s, patient),
            fresh=not self._silent and silent_s is not None and silent_s < overdue_s,
            peer_uses=not self._silent and self.peer_uses,
            rtt_s=self._rtt_s,
            silent_s=silent_s,
        )

    def take_out_counts(self) -> tuple[int, int]:
        """How many of our probes the other end spoke of since last asked, and how many of them it missed."""
        counts = self._out_sent, self._out_lost
        self._out_sent = self._out_lost = 0
        return counts

    def _says(self, probe: Probe) -> None:
        # Once a probe, not each time it is asked for: this is what a node with many tunnels spends its time on.
        self.interval_s = max(self._own_interval_s, probe.interval_us / 1e6)
        self.peer_uses = bool(probe.flags & Flag.USING)
        self._peer_keen = bool(probe.flags & Flag.KEEN)
        self._peer_interval_s = self.interval_s * (IDLE_FACTOR if probe.flags & Flag.IDLE else 1)

    @property
    def _step_s(self) -> float:
        """From one probe to the next."""
        return self.interval_s * (IDLE_FACTOR if self.slow or self._peer is None else 1)

    def _may_slow(self) -> bool:
        if self._need is not Need.IDLE or self._peer is None or self._silent:
            return False
        return not self._peer_keen

    def _acknowledged(self, sequence: int, held_s: float, at_s: float, carrier_s: float) -> None:
        sent_s = self._sent.get(sequence)
        if sent_s is None:
            return
        rtt_s = max(0.0, at_s - sent_s - held_s)
        self._rtt_s = rtt_s if self._rtt_s is None else self._rtt_s + _RTT_KEPT * (rtt_s - self._rtt_s)
        if self._acked_sent_s is None or sent_s >= self._acked_sent_s:
            self._acked_sent_s, self._ack_carrier_s = sent_s, carrier_s

    def _counted(self, probe: Probe) -> None:
        before, self._count = self._count, (probe.heard_sequence, probe.heard_count)
        if before is None:
            return
        sent = after(probe.heard_sequence, before[0])
        came = after(probe.heard_count, before[1])
        if 0 < sent <= _SENT_KEPT and came >= 0:
            self._out_sent += sent
            self._out_lost += max(0, sent - came)

    def _told_until_s(self) -> float:
        """When word over another tunnel of a younger probe of ours is overdue."""
        if self._acked_sent_s is None:
            return 0.0
        usual_s = self._step_s + self._ack_carrier_s + (self._rtt_s or 0.0) + self._widened_s
        return self._acked_sent_s + usual_s + self.interval_s / 2
