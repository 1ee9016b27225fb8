"""Whether a run was what it was meant to be, or what a busy machine made of it: measured, and judged."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from mininet_topos.emulator import DirectionStats, RelayStats
from mininet_topos.lab import Lab
from mininet_topos.machine import MachineUse, MachineWatch
from mininet_topos.ovs import daemons
from mininet_topos.play_result import LATE_MS, PlayResult

LATE_MOST = 0.01
"""So many packets may leave late, and so many frames may come late out of a link."""

HELD_UP_MOST_MS = 50.0
"""So long may the sender be held up once. What is late leaves in a heap, and the queues of links hold 50 ms."""

UNEXPLAINED_MOST = 0.0005
"""So much of the traffic may be lost elsewhere than on links; runs are compared by losses of some 0.1 %."""

OTHERS_MOST = 1 / 3
"""So much of the processors may others take. The player and the links go first; the controller does not."""


@dataclass(frozen=True)
class Fidelity:
    """What tells a run from what was asked for; shares are of 1.

    late_share: packets that the player sent over 5 ms late; held_up_ms: the latest of them. late_frames_share:
    frames that came over 1 ms late out of an emulated link. unexplained_share: packets that were lost and that no
    link has dropped.
    """

    late_share: float
    held_up_ms: float
    late_frames_share: float
    unexplained_share: float
    machine: MachineUse

    def doubts(self) -> list[str]:
        """Why the run does not count; none where it does."""
        found = []
        if self.late_share > LATE_MOST:
            found.append(f"{self.late_share:.1%} of the packets left over {LATE_MS:g} ms late")
        if self.held_up_ms > HELD_UP_MOST_MS:
            found.append(f"the sender was held up for {self.held_up_ms:.0f} ms")
        if self.late_frames_share > LATE_MOST:
            found.append(f"{self.late_frames_share:.1%} of the frames came out of links over 1 ms late")
        if self.unexplained_share > UNEXPLAINED_MOST:
            found.append(f"{self.unexplained_share:.2%} of the traffic was lost, but not on links")
        machine = self.machine
        taken = machine.others + machine.stolen
        if taken > OTHERS_MOST * machine.processors:
            found.append(f"other programs took {taken:.1f} of {machine.processors} processors")
        return found


class FidelityWatch:
    """Watches one play on a lab. Make it before the play, call `started` when the first packet leaves."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._before = lab.stats()
        self._machine = MachineWatch((os.getpid(), *daemons()))
        self._started_s = time.monotonic()

    def started(self) -> None:
        """Forget what was before."""
        self._machine = MachineWatch((os.getpid(), *daemons()))
        self._started_s = time.monotonic()

    def fidelity(self, traffic: PlayResult) -> Fidelity:
        """What it was, now that the play is over."""
        machine = self._machine.use(time.monotonic() - self._started_s)
        return judged(traffic, self._before, self._lab.stats(), machine)


def judged(traffic: PlayResult, before: RelayStats, after: RelayStats, machine: MachineUse) -> Fidelity:
    """Put together what the player, the links and the machine tell of a play between two readings of the links."""
    pairs = [
        pair
        for old, new in zip(before.links, after.links, strict=True)
        for pair in ((old.a_to_b, new.a_to_b), (old.b_to_a, new.b_to_a))
    ]
    frames = sum(new.frames - old.frames for old, new in pairs)
    late = sum(new.late_frames - old.late_frames for old, new in pairs)
    # Links drop frames of others too, so this is the least that was lost elsewhere.
    elsewhere = max(0, traffic.lost - sum(_dropped(new) - _dropped(old) for old, new in pairs))
    return Fidelity(
        late_share=traffic.late_share,
        held_up_ms=traffic.held_up_ms,
        late_frames_share=late / frames if frames else 0.0,
        unexplained_share=elsewhere / traffic.sent if traffic.sent else 0.0,
        machine=machine,
    )


def _dropped(stats: DirectionStats) -> int:
    return stats.dropped_queue + stats.dropped_loss + stats.dropped_cut + stats.dropped_device
