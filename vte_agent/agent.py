"""The agent of one site: a channel to the controllers, what is believed of it, and hands that make it so.

Without a controller everything goes on by what was believed last, for as long as it takes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from vte_agent.believing import Believer, NotBelieved
from vte_agent.bridging.difference import Place
from vte_agent.bridging.guard import Site
from vte_agent.bridging.keeper import Bridging
from vte_agent.channel import Channel, ChannelState, Listener
from vte_agent.failover import Move
from vte_agent.hands import Hands, Snapshot
from vte_agent.identity import Identity, PairSecrets
from vte_agent.keeping import Keeping
from vte_agent.membership import Membership
from vte_agent.probing.prober import Prober
from vte_agent.protocol.frames import Moved
from vte_agent.protocol.has import Has
from vte_agent.protocol.signed import Signed
from vte_agent.protocol.transport import Transport
from vte_agent.reporting import Reporter
from vte_agent.steering import Steering
from vte_agent.tunnels.contract import Tunnels
from vte_agent.tunnels.devices import Devices
from vte_agent.uplinks import Uplinks

REPORT_EVERY_S = 5.0
"""How often it is said how things are where nothing has changed; a change is said at once."""

LEAST_APART_S = 0.05

_LOOK_EVERY_S = 1.0
_CHANNEL = "the control channel"

_log = logging.getLogger("vte_agent")


class Agent:
    """Runs until it is cancelled. Raises NotSigned, CannotKeep where its state directory is not its own."""

    def __init__(
        self,
        keeping: Keeping,
        identity: Identity,
        membership: Membership,
        uplinks: Uplinks,
        transports: Mapping[Transport, Tunnels],
        *,
        place: Place | None = None,
        build: str = "",
    ) -> None:
        self._keeping = keeping
        self._believer = Believer(membership, keeping)
        own = self._believer.own
        self._transports = transports
        self._steering = Steering(self._moved)
        self._prober = Prober(self._steering.changed)
        self._hands = Hands(
            own,
            uplinks,
            transports,
            PairSecrets(identity, own).of,
            self._prober,
            self._steering,
            Bridging(f"{own.serial}", place, Site(uplinks.devices, own.prefixes)),
            Devices().take_down,
            self._call_soon,
        )
        self._reporter = Reporter(identity, own)
        listener = Listener(self._on_roll, self._on_wanted)
        self._channel = Channel(membership, identity, keeping, listener, build=build)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news = asyncio.Event()
        self._trouble: dict[str, str] = {}
        self._said: Has | None = None
        self._said_s = float("-inf")

    async def run(self, *, keep: bool = False) -> None:
        """Do all there is to do until cancelled; then take everything of ours away, unless it is to be kept."""
        self._loop = asyncio.get_running_loop()
        self._prober.start()
        self._believe()
        self._steering.start(self._prober)
        self._hands.start()
        was_told = False
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._go_on(_CHANNEL, self._channel.run))
                tasks.create_task(self._go_on("reporting", self._report))
                tasks.create_task(self._go_on("looking at what is believed", self._look))
        except asyncio.CancelledError:
            was_told = True
            raise
        finally:
            # What nobody has ended is left to the next run.
            kept = keep or not was_told
            await asyncio.get_running_loop().run_in_executor(None, lambda: self._hands.stop(keep=kept))
            await asyncio.get_running_loop().run_in_executor(None, self._prober.stop)

    async def _go_on(self, what: str, turn: Callable[[], Awaitable[None]]) -> None:
        """Take turns until cancelled; one that fails is named, and the next begins from there."""
        while True:
            try:
                await turn()
            except Exception as error:  # noqa: BLE001  # no fault of ours is a reason to end what runs
                _log.exception("%s failed", what)
                self._trouble[what] = (
                    f"{what} failed ({type(error).__name__}) and is tried again; the log says more"
                )
                self._news.set()
                await asyncio.sleep(_LOOK_EVERY_S)
            else:
                self._trouble.pop(what, None)

    # what controllers say

    def _on_roll(self, signed: Signed) -> None:
        try:
            if self._believer.take_roll(signed):
                self._believe()
        except NotBelieved as error:
            _log.warning("roll refused: %s", error)

    def _on_wanted(self, signed: Signed) -> None:
        try:
            if self._believer.take_wanted(signed):
                _log.info("generation=%d", self._believer.generation)
                self._believe()
        except NotBelieved as error:
            _log.warning("wanted state refused: %s", error)

    def _believe(self) -> None:
        self._hands.want(self._believer.judge())

    async def _look(self) -> None:
        """Rolls and members expire, and disks have room again, without anybody saying so."""
        await asyncio.sleep(_LOOK_EVERY_S)
        self._keeping.flush()
        self._believe()

    # what is said to them

    def _call_soon(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._news.set)

    def _moved(self, moves: Sequence[Move]) -> None:
        """Called from the steering's thread."""
        at_s = time.time()
        said = [
            Moved(at_s=at_s, prefix=str(move.key[0]), class_name=move.key[1], after=move.to, why=move.why[:300])
            for move in moves
        ]
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._say_moved, said)
        self._hands.poke()

    def _say_moved(self, moves: Sequence[Moved]) -> None:
        for moved in moves:
            self._channel.say_moved(moved)
        self._news.set()

    async def _report(self) -> None:
        await self._news.wait()
        self._news.clear()
        snapshot = self._hands.snapshot
        if not snapshot.is_looked and not snapshot.problems:
            return
        has = self._has(snapshot)
        now_s = time.monotonic()
        if self._said is None or _gist(has) != _gist(self._said) or now_s - self._said_s >= REPORT_EVERY_S:
            self._said, self._said_s = has, now_s
            # A controller would take it for a site with nothing in it.
            if snapshot.is_looked:
                self._channel.say_has(has)
        await asyncio.sleep(LEAST_APART_S)

    def _has(self, snapshot: Snapshot) -> Has:
        problems = [*filter(None, [self._channel.problem]), *self._trouble.values()]
        if self._channel.state in (ChannelState.REPLACED, ChannelState.REVOKED, ChannelState.EXPIRED):
            problems.append(f"the control channel is closed: {self._channel.why}")
        if self._channel.state is ChannelState.CONNECTED:
            self._trouble.pop(_CHANNEL, None)
        usable = tuple(transport for transport, tunnels in self._transports.items() if not tunnels.missing())
        routes = self._steering.report()[0]
        return self._reporter.has(snapshot, routes, usable, tuple(problems))

    @property
    def status(self) -> Has | None:
        """What was said last."""
        return self._said


def _gist(has: Has) -> object:
    """What of a report is news: not the counters, and not how quick everything was."""
    tunnels = [(t.name, t.state, t.key, t.port, t.mtu, t.why) for t in has.tunnels]
    return (
        has.generation,
        has.uplinks,
        tunnels,
        [r.model_dump(exclude={"why"}) for r in has.routes],
        has.problems,
        has.bridge,
        has.links,
    )
