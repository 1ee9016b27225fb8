"""What the agent does to its node, on a network in memory: tunnels, probes, routes, filters as wanted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tests.system.waiting import wait_until
from tests.unit.fake_nft import FakeNft
from vte_agent import class_marks, mss_clamp, segmentation
from vte_agent import hands as hands_module
from vte_agent.believing import Believed, Standing
from vte_agent.filtering import Filtering
from vte_agent.goals import goals_of
from vte_agent.hands import Hands, Snapshot
from vte_agent.identity import Identity
from vte_agent.marks import UPLINKS, outer_mark
from vte_agent.probing.session import Alive, Direction
from vte_agent.probing.sockets import ProbeFailed
from vte_agent.probing.tunnel_probes import ProbedTunnel, TunnelHealth
from vte_agent.protocol.filters import Filters
from vte_agent.protocol.filters import Standing as FilterStanding
from vte_agent.protocol.has import BridgeReport, LinkReport, TunnelState
from vte_agent.protocol.members import Member, Role, Roll
from vte_agent.protocol.signed import Signed
from vte_agent.protocol.transport import Transport
from vte_agent.protocol.wanted import Endpoint, Match, Wanted, WantedClass, WantedLink, WantedRoute, WantedTunnel
from vte_agent.reporting import Reporter
from vte_agent.route_tables import UplinkWay
from vte_agent.segmentation import NO_RULE, TO_MACHINE, compile_filters
from vte_agent.steering import Steered
from vte_agent.tunnels.contract import LocalEnd, TunnelFailed, TunnelSpec
from vte_agent.tunnels.fake import FakeNetwork
from vte_agent.uplinks import UplinkNow

SIGNER = Ed25519PrivateKey.generate()
KEYS = {serial: Identity(Ed25519PrivateKey.generate(), X25519PrivateKey.generate()) for serial in (1, 2)}
OUTER = {1: IPv4Address("198.18.0.1"), 2: IPv4Address("198.18.0.3")}
FAR = ip_network("10.2.0.0/24")
INSIDE = IPv4Address("10.1.0.7")
ROLL = Signed.of(Roll(epoch=1, issued_at=0, not_after=1, controllers=()), SIGNER)
QUIET = TunnelHealth(Alive(hears=Direction.DEAD))
FILTERS = Filters()
OTHERS = Filters(standings=(FilterStanding(id=1, prefixes=(FAR,)),))


def member(serial: int) -> Member:
    own = KEYS[serial]
    return Member(
        serial=serial,
        name=f"n{serial}",
        role=Role.SITE,
        identity=own.public_identity,
        pairing=own.public_pairing,
        prefixes=(ip_network(f"10.{serial}.0.0/24"),),
        not_after=1 << 39,
    )


def uplink(serial: int, number: int = 1) -> UplinkNow:
    return UplinkNow(f"up{number}", number, f"eth{number}", number, OUTER[serial], None, 1500)


def tunnel(name: str = "t", **changed: Any) -> WantedTunnel:
    plain = WantedTunnel(
        name=name,
        peer=2,
        transport=Transport.WIREGUARD,
        uplink="up1",
        address=IPv4Address("100.96.0.0"),
        peer_address=IPv4Address("100.96.0.1"),
    )
    return plain.model_copy(update=changed)


def believed(
    *tunnels: WantedTunnel, keys: Mapping[str, str] | None = None, filters: Filters | None = None, **more: Any
) -> Believed:
    route = (WantedRoute(prefixes=(FAR,), tunnels=tuple(one.name for one in tunnels)),) if tunnels else ()
    wanted = Wanted(generation=7, serial=1, roll=ROLL, tunnels=tunnels, routes=route, filters=filters)
    peers = {"peers": {2: member(2)}, "tunnels": tunnels, "keys": keys or {}, **more}
    return Believed(Standing.CURRENT, wanted, **peers)


class FakeUplinks:
    def __init__(self) -> None:
        self.now: tuple[UplinkNow, ...] = (uplink(1),)

    def read(self) -> tuple[tuple[UplinkNow, ...], tuple[str, ...]]:
        return self.now, ()

    def inside(self, prefixes: tuple[object, ...]) -> tuple[IPv4Address, ...]:
        return (INSIDE,) if prefixes == member(1).prefixes else ()


class FakeProber:
    def __init__(self) -> None:
        self.probed: dict[str, ProbedTunnel] = {}
        self.healths: dict[str, TunnelHealth] = {}
        self.most: dict[str, int] = {}
        self.refuses: set[str] = set()
        self.on_ask: Callable[[str], None] = lambda _: None

    def add(self, tunnel: ProbedTunnel) -> None:
        self.on_ask("add")
        if tunnel.name in self.refuses:
            raise ProbeFailed("too many open files")
        self.probed[tunnel.name] = tunnel

    def remove(self, name: str) -> None:
        self.probed.pop(name, None)
        self.on_ask("remove")

    def search_mtu(self, most: Mapping[str, int]) -> None:
        self.most = dict(most)

    def health(self) -> Mapping[str, TunnelHealth]:
        self.on_ask("health")
        return {name: self.healths.get(name, QUIET) for name in self.probed}

    def take_worst_late_s(self) -> float:
        return 0.001


class FakeSteering:
    def __init__(self) -> None:
        self.steered = Steered()
        self.stopped = False
        self.leads = threading.Event()
        self.leads.set()

    def want(self, steered: Steered) -> None:
        self.steered = steered

    def leads_out(self, uplinks: tuple[UplinkWay, ...], within_s: float) -> bool:
        assert self.steered.uplinks == uplinks
        return self.leads.wait(within_s)

    def report(self) -> tuple[tuple[Any, ...], tuple[str, ...]]:
        return (), ()

    def stop(self) -> None:
        self.stopped = True


class FakeBridging:
    """Keeps what it was told, and calls it done."""

    bridge = BridgeReport(name="br0", dpid=7)
    problems: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.wanted: tuple[WantedLink, ...] | None = None
        self.links: tuple[LinkReport, ...] = ()
        self.cleared = self.is_closed = False

    def want(self, links: tuple[WantedLink, ...] | None, _now_s: float) -> None:
        if links is not None:
            self.wanted = links
            self.links = tuple(LinkReport(name=one.name, port=3) for one in links)

    def close(self) -> None:
        self.is_closed = True

    def clear(self) -> tuple[str, ...]:
        self.cleared = True
        return ()


class Bench:
    """The hands of node 1, and what they have hold of; node 2 is there for its tunnels' other ends."""

    def __init__(self, nft: FakeNft) -> None:
        self.nft = nft
        self.network = FakeNetwork()
        self.own, self.far = self.network.node("n1"), self.network.node("n2")
        self.uplinks, self.prober, self.steering = FakeUplinks(), FakeProber(), FakeSteering()
        self.bridging = FakeBridging()
        self.cut: list[str] = []
        self.hands = Hands(
            member(1),
            cast(Any, self.uplinks),
            {Transport.WIREGUARD: self.own},
            lambda peer, name: KEYS[1].pair_secret(member(1), peer, name),
            cast(Any, self.prober),
            cast(Any, self.steering),
            cast(Any, self.bridging),
            self.cut.append,
        )
        self.hands.start()

    def want(self, wanted: Believed) -> None:
        self.hands.want(wanted)

    def until(self, holds: Callable[[Snapshot], object]) -> Snapshot:
        def looks() -> Snapshot | None:
            now = self.hands.snapshot
            return now if holds(now) else None

        return wait_until(looks, 5, lambda: self.hands.snapshot)

    def another_round(self) -> None:
        """One that began after this was called has ended."""
        for _ in range(2):
            before = self.hands.snapshot
            self.hands.poke()
            self.until(lambda now, before=before: now is not before)  # type: ignore[misc]

    def far_key(self, name: str = "t") -> str:
        """Node 2 makes its end."""
        wished = goals_of(
            replace(believed(tunnel(name, peer=1)), peers={1: member(1)}),
            member(2),
            (uplink(2),),
            {Transport.WIREGUARD},
            lambda peer, text: KEYS[2].pair_secret(member(2), peer, text),
        )
        key = self.far.create(wished.goals[name].spec).public_key
        assert key
        return key


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    made = Bench(FakeNft(monkeypatch))
    yield made
    made.hands.stop(keep=False)


def test_a_tunnel_is_made_first_and_connected_probed_and_used_once_the_other_end_has_said_its_key(
    bench: Bench,
) -> None:
    bench.want(believed(tunnel()))
    made = bench.until(lambda now: "t" in now.standing)
    assert made.standing["t"].peer is None and not bench.prober.probed
    assert made.generation == 7
    endpoint = Endpoint(address=OUTER[2], port=9)
    bench.want(believed(tunnel(endpoint=endpoint), keys={"t": bench.far_key()}))
    connected = bench.until(lambda now: now.standing["t"].peer is not None)
    assert connected.standing["t"].peer.endpoint == endpoint  # type: ignore[union-attr]
    device = connected.standing["t"].goal.spec.device
    assert bench.prober.probed["t"].device == device
    assert bench.steering.steered.devices == {"t": device}
    assert bench.steering.steered.local == member(1).prefixes
    assert bench.steering.steered.sources == (INSIDE,)


def test_a_tunnel_that_is_gone_is_made_anew(bench: Bench) -> None:
    bench.want(believed(tunnel(), keys={"t": bench.far_key()}))
    before = bench.until(lambda now: "t" in bench.prober.probed and "t" in now.standing)
    bench.network.kill("n1", before.standing["t"].goal.spec.device)
    after = bench.until(lambda now: "t" in now.standing and now.standing["t"].local != before.standing["t"].local)
    assert after.standing["t"].peer is not None


def test_who_is_no_member_any_more_has_no_tunnel_and_no_probe(bench: Bench) -> None:
    bench.want(believed(tunnel(), keys={"t": bench.far_key()}))
    bench.until(lambda _: "t" in bench.prober.probed)
    bench.want(believed(peers={}))
    bench.until(lambda now: not now.standing)
    assert not bench.own.found() and not bench.prober.probed


def hangs(_: str) -> None:
    raise ProbeFailed("it does not answer")


def test_who_is_no_member_any_more_is_cut_off_before_the_prober_is_asked_which_may_hang(bench: Bench) -> None:
    bench.want(believed(tunnel(), keys={"t": bench.far_key()}))
    bench.until(lambda _: "t" in bench.prober.probed)
    asks, told = threading.Event(), threading.Event()
    left: list[bool] = []

    def first_hangs(what: str) -> None:
        if asks.is_set():
            left.append(bool(bench.own.found()))
        asks.set()
        told.wait(5)
        hangs(what)

    bench.prober.on_ask = first_hangs
    assert asks.wait(5)
    bench.want(believed(peers={}))
    told.set()
    wait_until(lambda: len(left) >= 2, 5, "it is not asked again")
    assert not any(left)


@pytest.mark.parametrize(
    ("healths", "stays"),
    [
        ({"t": TunnelHealth(Alive(hears=Direction.ALIVE, peer_uses=True))}, True),
        ({"t": TunnelHealth(Alive(hears=Direction.UNKNOWN))}, True),
        ({"t": TunnelHealth(Alive(hears=Direction.ALIVE))}, False),
    ],
)
@pytest.mark.parametrize("fails", [False, True])
def test_a_tunnel_that_the_other_end_may_still_use_stays_whether_or_not_the_prober_answers(
    bench: Bench, healths: dict[str, TunnelHealth], stays: bool, fails: bool
) -> None:
    bench.want(believed(tunnel(), tunnel("u"), keys={"t": bench.far_key(), "u": bench.far_key("u")}))
    bench.prober.healths = healths
    bench.until(lambda now: now.healths.get("t") == healths["t"])
    if fails:
        bench.prober.on_ask = hangs
        bench.until(lambda now: "it does not answer" in now.problems)
    bench.want(believed(tunnel("u"), keys={"u": bench.far_key("u")}))
    bench.another_round()
    assert ("t" in bench.hands.snapshot.standing) is stays


def test_what_the_prober_said_last_is_reported_for_a_moment_where_it_does_not_answer(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hands_module, "LAST_WORD_S", 3.0)
    up = TunnelHealth(Alive(heard=Direction.ALIVE, hears=Direction.ALIVE))
    bench.prober.healths = {"t": up}
    bench.want(believed(tunnel(), keys={"t": bench.far_key()}))
    bench.until(lambda now: now.healths == {"t": up})
    bench.prober.on_ask = hangs
    assert bench.until(lambda now: "it does not answer" in now.problems).healths == {"t": up}
    assert bench.until(lambda now: not now.healths).problems


def test_a_tunnel_that_a_new_prober_cannot_take_up_is_named_and_tried_again(bench: Bench) -> None:
    bench.want(believed(tunnel(), keys={"t": bench.far_key()}))
    bench.until(lambda now: "t" in now.healths)
    bench.prober.refuses = {"t"}
    del bench.prober.probed["t"]
    now = bench.until(lambda now: now.problems)
    assert now.problems == ("not probed: 1 tunnels, of which t: too many open files",)
    bench.prober.refuses = set()
    assert not bench.until(lambda now: "t" in now.healths).problems


def test_what_an_earlier_run_left_and_nobody_wants_is_taken_away_once_that_is_known(bench: Bench) -> None:
    wished = goals_of(believed(tunnel("old")), member(1), (uplink(1),), {Transport.WIREGUARD}, lambda *_: b"")
    bench.own.create(wished.goals["old"].spec)
    bench.want(Believed(Standing.NONE, None))
    bench.until(lambda now: now.uplinks)
    assert bench.own.found()
    bench.want(believed())
    bench.until(lambda now: now.generation == 7)
    assert not bench.own.found()


@pytest.mark.parametrize("standing", [Standing.NONE, Standing.CURRENT, Standing.EXPIRED])
def test_while_it_is_not_known_what_is_wanted_all_stays_but_what_leads_to_who_is_revoked(
    bench: Bench, standing: Standing
) -> None:
    names = ("kept", "revoked")
    wished = goals_of(
        believed(*map(tunnel, names)), member(1), (uplink(1),), {Transport.WIREGUARD}, lambda *_: bytes(32)
    )
    for name in names:
        bench.own.create(wished.goals[name].spec)
    bench.nft.tables[segmentation.TABLE] = left = compile_filters(FILTERS).body
    bench.want(Believed(standing, None, guarded=frozenset({FAR}), banned=frozenset({"revoked"}), seen=5))
    now = bench.until(lambda now: now.uplinks)
    assert bench.own.found() == {wished.goals["kept"].spec.device}
    assert now.generation == 5 and bench.nft.body(segmentation.TABLE) == left and bench.bridging.wanted is None
    assert not bench.steering.steered.is_known and bench.steering.steered.guarded == {FAR}
    # One that is out has nothing to keep, whatever else is known; what it guards stays guarded.
    bench.want(Believed(Standing.OUT, None, guarded=frozenset({FAR})))
    bench.until(lambda now: now.generation == 0)
    assert not bench.own.found() and bench.bridging.wanted == ()
    assert not bench.steering.steered.is_known and bench.steering.steered.guarded == {FAR}


class Slow:
    """Making a tunnel of such a name takes until it is let go, and fails then."""

    def __init__(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[str] = []
        self.entered, self.let_go = threading.Event(), threading.Event()
        self._create, self._delete = bench.own.create, bench.own.delete
        monkeypatch.setattr(bench.own, "create", self.create)
        monkeypatch.setattr(bench.own, "delete", self.delete)

    def create(self, spec: TunnelSpec) -> LocalEnd:
        self.done.append(f"create {spec.name}")
        if not spec.name.startswith("slow"):
            return self._create(spec)
        self.entered.set()
        self.let_go.wait(10)
        raise TunnelFailed("it does not come up")

    def delete(self, device: str) -> None:
        self.done.append("delete")
        self._delete(device)


def test_a_revoked_peer_is_cut_while_tunnels_that_do_not_come_up_keep_the_hands_busy(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = bench.far_key()
    bench.want(believed(tunnel(), keys={"t": key}))
    device = bench.until(lambda now: "t" in now.standing and now.standing["t"].peer).standing["t"].goal.spec.device
    slow = Slow(bench, monkeypatch)
    slows = [tunnel(f"slow{number}", peer=3) for number in range(4)]
    both = {2: member(2), 3: member(2).model_copy(update={"serial": 3})}
    bench.want(believed(tunnel(), *slows, keys={"t": key}, peers=both))
    assert slow.entered.wait(5)
    began_s = time.monotonic()
    bench.want(believed(*slows, peers={3: both[3]}))
    wait_until(lambda: bench.cut == [device], 5, "it is not cut")
    assert time.monotonic() - began_s < 1
    assert slow.done == ["create slow0"] and bench.own.found() == {device}
    slow.let_go.set()
    bench.until(lambda now: "t" not in now.standing)
    # It went before anything else was tried.
    assert slow.done[:2] == ["create slow0", "delete"]


def test_routes_of_an_earlier_run_are_left_alone_until_all_its_tunnels_were_taken_over_however_often_news_come(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow(bench, monkeypatch)
    names = ["t", "slow1", "slow2"]
    bench.want(Believed(Standing.NONE, None))
    bench.until(lambda now: now.is_looked)
    for generation in (1, 2):
        wanted = believed(*map(tunnel, names), guarded=frozenset({FAR}))
        assert wanted.wanted
        news = wanted.wanted.model_copy(update={"generation": generation})
        bench.want(replace(wanted, wanted=news))
        assert slow.entered.wait(5)
        # The guards are there before anything that may take its time.
        assert not bench.steering.steered.is_known and bench.steering.steered.guarded == {FAR}
    slow.let_go.set()
    wait_until(lambda: bench.steering.steered.is_known, 5, "it is not steered")
    assert slow.done == ["create t", "create slow1", "create slow2"]


def test_what_was_cut_and_is_accepted_again_before_it_was_deleted_is_made_anew(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.want(believed(tunnel()))
    before = bench.until(lambda now: "t" in now.standing).standing["t"].local
    slow = Slow(bench, monkeypatch)
    bench.want(believed(tunnel(), tunnel("slow")))
    assert slow.entered.wait(5)
    bench.want(believed(peers={}))
    wait_until(lambda: bench.cut, 5, "it is not cut")
    bench.want(believed(tunnel()))
    slow.let_go.set()
    after = bench.until(lambda now: "t" in now.standing and now.standing["t"].local != before)
    assert after.standing["t"].local != before


def test_a_transport_that_does_not_say_what_there_is_keeps_no_forbidden_tunnel_and_no_filter_waiting(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.want(believed(tunnel(), keys={"t": bench.far_key()}))
    bench.until(lambda _: "t" in bench.prober.probed)

    def refuse() -> None:
        raise TunnelFailed("the kernel does not say")

    with monkeypatch.context() as patched:
        patched.setattr(bench.own, "found", refuse)
        bench.want(believed(peers={}, filters=FILTERS))
        now = bench.until(lambda now: not now.standing and now.filters)
        assert "left wireguard tunnels: the kernel does not say" in now.problems
        assert segmentation.TABLE in bench.nft.tables
    bench.until(lambda now: not now.problems)
    assert not bench.own.found()


def test_a_round_that_fails_as_a_whole_is_a_problem_and_the_next_one_is_none(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(bench.prober, "search_mtu", fail)
        bench.want(believed(tunnel()))
        now = bench.until(lambda now: now.problems)
        assert "ZeroDivisionError" in now.problems[0] and not now.is_looked
    now = bench.until(lambda now: now.is_looked)
    assert not now.problems and "t" in now.standing


def test_a_device_has_the_mtu_that_gets_through_and_it_is_reported(bench: Bench) -> None:
    bench.want(believed(tunnel(), keys={"t": bench.far_key()}))
    made = bench.until(lambda now: now.standing and now.standing["t"].peer)
    device = made.standing["t"].goal.spec.device
    reporter = Reporter(KEYS[1], member(1))
    assert bench.prober.most == {"t": 1440}
    assert bench.network.device("n1", device).mtu == 1440 and reporter.has(made, (), ()).tunnels[0].mtu is None
    for found, mtu in ((1372, 1372), (1440, 1440), (9000, 1440)):
        bench.prober.healths["t"] = TunnelHealth(mtu=found)
        now = bench.until(lambda now, mtu=mtu: now.mtus == {"t": mtu})  # type: ignore[misc]
        assert bench.network.device("n1", device).mtu == mtu == reporter.has(now, (), ()).tunnels[0].mtu


def test_what_keeps_an_mtu_from_being_found_is_told(bench: Bench) -> None:
    bench.prober.healths["t"] = TunnelHealth(mtu_trouble="nothing gets through")
    bench.want(believed(tunnel(), keys={"t": bench.far_key()}))
    now = bench.until(lambda now: now.problems)
    assert now.problems == ("tunnel t: nothing gets through",) and not now.mtus


def test_an_mtu_that_was_told_is_not_looked_for(bench: Bench) -> None:
    bench.prober.healths["t"] = TunnelHealth(mtu=1440)
    bench.want(believed(tunnel(mtu=1300), keys={"t": bench.far_key()}))
    now = bench.until(lambda now: now.mtus)
    assert now.mtus == {"t": 1300} and not bench.prober.most


def test_nothing_is_left_after_a_stop(bench: Bench) -> None:
    bench.want(believed(tunnel(), keys={"t": bench.far_key()}, filters=FILTERS))
    bench.until(lambda _: "t" in bench.prober.probed)
    bench.hands.stop(keep=False)
    assert not bench.own.found() and not bench.prober.probed
    assert bench.steering.stopped and not bench.nft.tables


def test_filters_hold_are_counted_and_go_when_they_are_not_wanted(bench: Bench) -> None:
    bench.nft.packets[next(iter(compile_filters(FILTERS).counters))] = 3
    bench.want(believed(tunnel(), filters=FILTERS))
    now = bench.until(lambda now: now.filters)
    assert bench.nft.body(segmentation.TABLE) == compile_filters(FILTERS).body
    assert {one.rule: one.packets for one in now.filters} == {NO_RULE: 3, TO_MACHINE: 0}
    bench.want(believed(tunnel()))
    bench.until(lambda now: not now.filters)
    assert segmentation.TABLE not in bench.nft.tables


def test_no_tunnel_is_made_where_its_filters_cannot_be_set(bench: Bench) -> None:
    bench.nft.refuses = "nft is not installed"
    bench.want(believed(tunnel(), filters=FILTERS))
    now = bench.until(lambda now: now.generation == 7)
    assert now.problems == ("filters: nft is not installed",)
    assert not now.standing and not bench.own.found()


def test_filters_that_cannot_be_replaced_hold_on(monkeypatch: pytest.MonkeyPatch) -> None:
    nft, filtering = FakeNft(monkeypatch), Filtering()
    filtering.want(FILTERS, 0.0)
    nft.refuses_loading = "no memory"
    filtering.want(OTHERS, 1.0)
    assert filtering.holds and filtering.problems == ("filters: no memory",)
    nft.refuses_loading = ""
    filtering.want(OTHERS, 1.5)
    assert nft.body(segmentation.TABLE) == compile_filters(FILTERS).body, "it is not tried all the time"
    filtering.want(OTHERS, 7.0)
    assert nft.body(segmentation.TABLE) == compile_filters(OTHERS).body and not filtering.problems


def want_three_tables(bench: Bench) -> None:
    classes = (WantedClass(name="voice", number=1, matches=(Match(protocol=17),)),)
    plain = believed(tunnel(), filters=FILTERS)
    assert plain.wanted
    bench.want(replace(plain, wanted=plain.wanted.model_copy(update={"classes": classes})))
    bench.until(lambda now: now.standing)
    bench.until(lambda _: len(bench.nft.tables) == 3)


def test_all_tables_are_back_within_a_round_of_a_flush_and_that_is_reported(bench: Bench) -> None:
    want_three_tables(bench)
    before = dict(bench.nft.tables)
    assert set(before) == {segmentation.TABLE, class_marks.TABLE, mss_clamp.TABLE}
    bench.nft.flush()
    now = bench.until(lambda now: len(now.problems) == 3)
    assert bench.nft.tables == before
    assert all("taken away or changed by another program and put back" in said for said in now.problems)


@pytest.mark.parametrize("keep", [True, False])
def test_who_ends_lets_go_of_the_kernel(bench: Bench, keep: bool) -> None:
    want_three_tables(bench)
    bench.until(lambda _: len(bench.nft.open) == 3)
    bench.hands.stop(keep=keep)
    assert not bench.nft.open and bench.bridging.is_closed


LINK = WantedLink(name="l1-2-1", vni=1, local=IPv4Address("100.111.0.1"), remote=IPv4Address("100.111.0.2"))


def test_links_are_kept_as_wanted_and_reported_until_the_node_is_no_member_any_more(bench: Bench) -> None:
    wanted = believed().wanted
    assert wanted
    joined = replace(believed(), wanted=wanted.model_copy(update={"links": (LINK,)}))
    bench.want(replace(joined, standing=Standing.NONE))
    assert bench.until(lambda now: now.bridge is not None).links == ()
    assert bench.bridging.wanted is None, "what there was stays until it is known what is wanted"
    bench.want(joined)
    now = bench.until(lambda now: now.links)
    has = Reporter(KEYS[1], member(1)).has(now, (), ())
    assert has.bridge == BridgeReport(name="br0", dpid=7) and has.links == (LinkReport(name="l1-2-1", port=3),)
    bench.want(replace(joined, standing=Standing.OUT))
    bench.until(lambda now: not now.links)
    bench.hands.stop(keep=False)
    assert bench.bridging.cleared


def goals(wanted: Believed, *uplinks: UplinkNow) -> Any:
    return goals_of(wanted, member(1), uplinks, {Transport.WIREGUARD}, lambda *_: bytes(32))


def test_a_tunnel_fits_into_its_uplink_and_leaves_by_it() -> None:
    spec = goals(believed(tunnel()), uplink(1)).goals["t"].spec
    assert (spec.mtu, spec.mark, spec.local) == (1440, outer_mark(1), OUTER[1])


def test_no_tunnel_calls_before_packets_leave_by_its_uplink(bench: Bench) -> None:
    bench.steering.leads.clear()
    bench.want(believed(tunnel("t")))
    wait_until(lambda: bench.steering.steered.uplinks, 5, "the way out is not wanted")
    assert not bench.own.found()
    bench.steering.leads.set()
    wait_until(bench.own.found, 5, lambda: bench.hands.snapshot)


def test_what_a_tunnel_sends_leaves_by_no_other_uplink_while_it_is_there_without_its_own(bench: Bench) -> None:
    bench.want(believed(tunnel(), keys={"t": bench.far_key()}))
    bench.until(lambda _: "t" in bench.prober.probed)
    bench.prober.healths["t"] = TunnelHealth(Alive(hears=Direction.ALIVE, peer_uses=True))
    (way,) = bench.steering.steered.uplinks
    bench.uplinks.now = ()
    bench.another_round()
    assert bench.own.found() and bench.steering.steered.uplinks == (replace(way, device=None),)
    bench.prober.healths["t"] = TunnelHealth(Alive(hears=Direction.DEAD))
    wait_until(lambda: not bench.own.found(), 5, lambda: bench.hands.snapshot)
    wait_until(lambda: not bench.steering.steered.uplinks, 5, "the way is kept")


def test_an_uplink_keeps_its_mark_when_another_is_gone() -> None:
    wanted = believed(tunnel(uplink="up2"))
    both, one = goals(wanted, uplink(1, 1), uplink(1, 2)), goals(wanted, uplink(1, 2))
    assert both.goals == one.goals


@pytest.mark.parametrize(
    ("changed", "number", "why"),
    [
        ({"transport": Transport.IPSEC}, 1, "this node has no ipsec"),
        ({"uplink": "up9"}, 1, "there is no uplink up9 now"),
        ({}, UPLINKS + 1, "beyond the"),
        (
            {"endpoint": Endpoint(address=IPv6Address("2001:db8::1"), port=1)},
            1,
            "speaks IPv4 and the other end does not",
        ),
    ],
)
def test_a_tunnel_that_cannot_be_had_says_why(changed: dict[str, Any], number: int, why: str) -> None:
    found = goals(believed(tunnel(**changed)), replace(uplink(1), number=number))
    assert not found.goals and why in found.problems[0]


def test_a_report_has_the_state_of_each_tunnel_and_its_key_signed(bench: Bench) -> None:
    bench.want(believed(tunnel(), keys={"t": bench.far_key()}))
    up = TunnelHealth(Alive(heard=Direction.ALIVE, hears=Direction.ALIVE))
    deaf = TunnelHealth(Alive(heard=Direction.DEAD, hears=Direction.ALIVE))
    now = bench.until(lambda now: now.standing and now.standing["t"].peer)
    reporter = Reporter(KEYS[1], member(1))
    for healths, state in (({}, TunnelState.MAKING), ({"t": up}, TunnelState.UP), ({"t": deaf}, TunnelState.DOWN)):
        has = reporter.has(replace(now, healths=healths), (), (Transport.WIREGUARD,), ("x" * 999,))
        (said,) = has.tunnels
        assert said.state is state and said.port == now.standing["t"].local.port
        assert said.key == reporter.has(now, (), ()).tunnels[0].key, "signed once"
        assert has.uplinks[0].address == OUTER[1] and len(has.problems[-1]) == 300
        assert 0 <= has.host.cpu <= 1 and said.why == ""
    (slow,) = reporter.has(replace(now, healths={"t": replace(up, bad="it is slow")}), (), ()).tunnels
    assert (slow.state, slow.why) == (TunnelState.UP, "it is slow")
