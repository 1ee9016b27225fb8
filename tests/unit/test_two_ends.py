"""Two agents and what a controller passes between them: whatever is lost, late or killed, their ends agree."""

from __future__ import annotations

from ipaddress import IPv4Address

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from vte_agent.protocol.transport import Transport
from vte_agent.protocol.wanted import Endpoint
from vte_agent.tunnels.contract import LocalEnd, PeerEnd, TunnelFailed, TunnelSpec
from vte_agent.tunnels.fake import FakeNetwork
from vte_agent.upkeep import LAST_RETRY_S, Connect, Create, Delete, Goal, Step, Upkeep, Use

NAME, DEVICE, SECRET = "t1-2-v1", "lst", bytes(range(32))
OUTER = {1: IPv4Address("198.18.0.1"), 2: IPv4Address("198.18.0.3")}
INNER = {1: IPv4Address("100.64.0.0"), 2: IPv4Address("100.64.0.1")}


class End:
    """One agent, as far as it has to do with one tunnel."""

    def __init__(self, serial: int, network: FakeNetwork) -> None:
        self.serial, self.network = serial, network
        self.far_serial = 3 - serial
        self.told: LocalEnd | None = None
        """What it was told last of the other end."""
        self.start()

    def start(self) -> None:
        """The agent starts, with what an earlier run has left on the node."""
        self.tunnels = self.network.node(f"n{self.serial}")
        self.upkeep = Upkeep()

    @property
    def local(self) -> LocalEnd | None:
        there = self.upkeep.standing.get(NAME)
        return there.local if there is not None else None

    def round(self, now_s: float, *, wanted: bool = True, works: bool = True) -> None:
        found = self.tunnels.read()
        if NAME in self.upkeep.standing and DEVICE not in found:
            self.upkeep.lost(NAME)
        self.upkeep.want({NAME: self._goal()} if wanted else {}, {self.far_serial}, now_s)
        for _ in range(3):
            for step in self.upkeep.steps(Use(), now_s):
                try:
                    if not works:
                        raise TunnelFailed("it does not work")
                    self.upkeep.done(step, self._carry_out(step))
                except TunnelFailed as error:
                    self.upkeep.failed(step, str(error), now_s)

    def _goal(self) -> Goal:
        peer = None
        if self.told is not None:
            endpoint = Endpoint(address=OUTER[self.far_serial], port=self.told.port)
            peer = PeerEnd(self.told.public_key, SECRET, endpoint if self.serial == 1 else None)
        spec = TunnelSpec(NAME, DEVICE, OUTER[self.serial], INNER[self.serial], INNER[self.far_serial], 1440)
        return Goal(spec, Transport.WIREGUARD, self.far_serial, peer)

    def _carry_out(self, step: Step) -> LocalEnd | None:
        match step:
            case Create(goal):
                return self.tunnels.create(goal.spec)
            case Connect(goal, peer):
                self.tunnels.connect(goal.spec, peer)
            case Delete(device, _, _):
                self.tunnels.delete(device)
        return None


ENDS = st.sampled_from([1, 2])


class TwoEnds(RuleBasedStateMachine):
    """End 2 is behind a NAT that lets it be called once it has spoken; only end 1 knows where to call."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 1000.0
        self.network = FakeNetwork(lambda: self.now_s)
        self.ends = {serial: End(serial, self.network) for serial in (1, 2)}
        self.said: dict[int, LocalEnd | None] = {1: None, 2: None}
        """What the controller was told last by each."""

    @rule(serial=ENDS, wanted=st.booleans(), works=st.booleans())
    def does_what_it_can(self, serial: int, wanted: bool, works: bool) -> None:
        self.ends[serial].round(self.now_s, wanted=wanted, works=works)

    @rule(serial=ENDS)
    def says_what_it_has(self, serial: int) -> None:
        """It is not said to have gone: the last word stays."""
        self.said[serial] = self.ends[serial].local or self.said[serial]

    @rule(serial=ENDS)
    def is_told(self, serial: int) -> None:
        self.ends[serial].told = self.said[3 - serial]

    @rule(serial=ENDS)
    def its_tunnel_dies(self, serial: int) -> None:
        self.network.kill(f"n{serial}", DEVICE)

    @rule(serial=ENDS)
    def its_agent_starts_again(self, serial: int) -> None:
        self.ends[serial].start()

    @rule(serial=ENDS)
    def it_cannot_be_reached(self, serial: int) -> None:
        self.network.cut(OUTER[serial], OUTER[3 - serial])

    @rule(seconds=st.sampled_from([0.25, 1.0, 60.0, 300.0]))
    def time_goes_by(self, seconds: float) -> None:
        self.now_s += seconds

    def teardown(self) -> None:
        """Nothing bad happens any more."""
        for serial in (1, 2):
            self.network.mend(OUTER[serial], OUTER[3 - serial])
        for _ in range(round(LAST_RETRY_S) + 5):
            self.now_s += 1.0
            for serial in (1, 2):
                self.ends[serial].round(self.now_s)
                self.says_what_it_has(serial)
                self.is_told(3 - serial)
        for serial in (1, 2):
            assert self.network.passes(f"n{serial}", DEVICE), self.ends[serial].upkeep


TwoEnds.TestCase.settings = settings(max_examples=60, stateful_step_count=30)
TestTwoEnds = TwoEnds.TestCase
