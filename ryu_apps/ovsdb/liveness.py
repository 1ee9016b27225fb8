"""Which ports BFD says are dead, from the quickest source that tells the truth.

Open vSwitch clears OFPPS_LIVE of a port, and says so in a PORT_STATUS, as soon as its BFD session goes down; its
database says the same about a second later. But LIVE is off as well while a session has never been up: it is
believed only once LIVE was on while the database said `up`.

A link that is only full loses packets of BFD like any others, and its session goes down and up again. One that
does so again and again is not believed until it has been quiet for a while: probes decide then, as without BFD.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from stitching.network import PortId

MOST_DOWNS, QUIET_S = 3, 60.0
"""A port that went down more often than that in so many seconds is not believed."""


@dataclass(slots=True)
class _State:
    """live: what the switch says, None while it is away. up: what the database says, None without BFD."""

    live: bool | None = None
    up: bool | None = None
    trusted: bool = False
    down: bool = False
    dead: bool = False
    downs_s: list[float] = field(default_factory=list)


class Liveness:
    """What is believed of each port. Each method returns whether a port is alive where that changed, else None."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._ports: dict[PortId, _State] = {}

    def port(self, port_id: PortId, live: bool) -> bool | None:
        """The switch says whether a port is live."""
        state = self._ports.setdefault(port_id, _State())
        state.live = live
        return self._judge(state)

    def session(self, port_id: PortId, up: bool | None) -> bool | None:
        """The database says that the session of a port is up or down, or that there is none (None).

        A session that is down is no news by then, and may be up again: trust is lost only where there is none.
        """
        state = self._ports.setdefault(port_id, _State())
        state.up = up
        return self._judge(state)

    def gone(self, dpid: int) -> None:
        """The switch is away. When it is back its sessions may have started anew, so trust does too."""
        for port_id, state in self._ports.items():
            if port_id[0] == dpid:
                state.live, state.trusted, state.down, state.dead = None, False, False, False

    def keep(self, ports: Collection[PortId]) -> None:
        """Forget what the database said of all other ports."""
        for port_id, state in self._ports.items():
            if port_id not in ports:
                state.up, state.trusted, state.down, state.dead = None, False, False, False

    def forget(self, port_id: PortId) -> None:
        """A port is no more."""
        self._ports.pop(port_id, None)

    @property
    def dead(self) -> frozenset[PortId]:
        """The ports that are dead now."""
        return frozenset(port_id for port_id, state in self._ports.items() if state.dead)

    @property
    def trusted(self) -> frozenset[PortId]:
        """The ports whose liveness is watched."""
        return frozenset(port_id for port_id, state in self._ports.items() if state.trusted)

    @property
    def unsteady(self) -> frozenset[PortId]:
        """The ports that went down so often lately that they are not believed."""
        return frozenset(port_id for port_id, state in self._ports.items() if self._is_unsteady(state))

    def _is_unsteady(self, state: _State) -> bool:
        now_s = self._clock()
        state.downs_s = [down_s for down_s in state.downs_s if now_s - down_s < QUIET_S]
        return len(state.downs_s) > MOST_DOWNS

    def _judge(self, state: _State) -> bool | None:
        was_down = state.down
        if state.up is None or state.live is None:
            state.trusted = False
        elif state.up and state.live:
            state.trusted = True
        was_dead = state.dead
        is_down = state.trusted and not state.live
        if is_down and not was_down:
            state.downs_s.append(self._clock())
        state.down = is_down
        state.dead = is_down and (was_dead or not self._is_unsteady(state))
        return None if state.dead == was_dead else not state.dead
