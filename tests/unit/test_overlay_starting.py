"""A controller is started with an overlay: what it keeps, what it refuses, and what it says while it waits."""

from __future__ import annotations

import contextlib
import json
import socket
import stat
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ryu_apps.app import Event
from ryu_apps.events.overlay import (
    DeleteRule,
    OrderKeys,
    OverlayAnswer,
    OverlayRequest,
    PutRule,
    RulesRequest,
    SiteLinksChanged,
)
from ryu_apps.overlay.app import SiteOverlay
from ryu_apps.overlay.card import CARD_FILE, KEY_FILE, CardError, read_card, state_key
from ryu_apps.overlay.heard import MembersTold, RollTold, SiteCame, SiteGone
from ryu_apps.overlay.keeping import Writing
from ryu_apps.overlay.signing.requests import RollNow
from ryu_apps.overlay.signing.watching import MembersWatch, RollWatch
from ryu_apps.overlay.wanting import Told
from ryu_apps.starting import options
from ryu_apps.starting.options import CannotStart
from ryu_apps.starting.overlay import overlay_arguments
from ryu_apps.starting.settings import OverlaySettings, StartError
from ryu_apps.store import StateStore
from ryu_apps.store.errors import StoreError
from stitching.overlay.links import LinkBook, SiteLink
from stitching.overlay.mesh_rules import DefinedRule, PairRule, Say, Selector, transport_for
from stitching.overlay.replacing import EndReport, SiteReport
from stitching.overlay.rounds import Facts, Overlay, OverlayPolicy, Round, next_round
from stitching.overlay.site_plan import SitePlan
from stitching.overlay.sites import Bridge
from tests.unit.overlay_world import a_site, world
from tests.unit.trust_world import Clock, card, make_signer
from vte_agent.protocol.signed import Signed


@pytest.fixture
def state(tmp_path: Path) -> Iterator[StateStore]:
    with contextlib.closing(StateStore(f"sqlite:///{tmp_path / 'lockstitch.db'}")) as store:
        yield store


def free_port() -> int:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return int(door.getsockname()[1])


def arguments(directory: Path, state: StateStore, port: int = 0, **more: Any) -> dict[str, Any]:
    settings = OverlaySettings("127.0.0.1", port or free_port(), directory / "controller.sock", **more)
    return overlay_arguments(settings, directory, state)


# options -------------------------------------------------------------------------------------------------


def test_without_the_option_there_is_no_overlay() -> None:
    assert options.overlay(None, None, []) is None
    with pytest.raises(CannotStart, match="--overlay HOST:PORT"):
        options.overlay(None, None, ["192.0.2.1:6690"])


def test_the_signer_is_looked_for_where_it_is_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/x")
    found = options.overlay("[2001:db8::1]:6690", None, [])
    assert found == OverlaySettings("2001:db8::1", 6690, Path("/x/lockstitch-signer/controller.sock"))
    named = options.overlay("0.0.0.0:6690", Path("/s"), ["vpn.example:443"])
    assert named == OverlaySettings("0.0.0.0", 6690, Path("/s"), ("vpn.example:443",))  # noqa: S104


@pytest.mark.parametrize(
    "text", ["", ":6690", "host", "host:", "host:0", "host:65536", "2001:db8::1:6690", "h:\u0663"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(CannotStart, match=r"192\.0\.2\.1:6690"):
        options.overlay(text, None, [])


@pytest.mark.parametrize(("at", "called"), [("0.0.0.0:1", []), ("[::]:1", []), ("192.0.2.1:1", ["0.0.0.0:1"])])
def test_an_address_that_nobody_can_call_is_refused(at: str, called: list[str]) -> None:
    with pytest.raises(CannotStart, match="nobody can call"):
        options.overlay(at, None, called)


def test_keys_get_as_old_as_they_are_told_to(tmp_path: Path, state: StateStore) -> None:
    with pytest.raises(CannotStart, match="--overlay HOST:PORT"):
        options.overlay(None, None, [], "12h")
    with pytest.raises(CannotStart, match="9s is too short"):
        options.overlay("192.0.2.1:6690", None, [], "9s")
    with pytest.raises(typer.BadParameter, match="write it like 7d"):
        options.overlay("192.0.2.1:6690", None, [], "soon")
    found = options.overlay("192.0.2.1:6690", None, [], "90min")
    assert found is not None and found.key_age_s == 5_400.0
    assert arguments(tmp_path, state, key_age_s=found.key_age_s)["policy"].replacing.key_age_s == 5_400.0
    assert arguments(tmp_path, state)["policy"].replacing.key_age_s == 86_400.0


def test_tunnels_are_made_of_what_they_are_told_to(tmp_path: Path, state: StateStore) -> None:
    with pytest.raises(CannotStart, match="--overlay-transport is of no use without --overlay HOST:PORT"):
        options.overlay(None, None, [], transports=["ipsec"])
    with pytest.raises(CannotStart, match="'gre' is none; give ipsec or wireguard"):
        options.overlay("192.0.2.1:6690", None, [], transports=["gre"])
    both = ("wireguard", "ipsec")
    one, other = a_site(1, transports=both), a_site(2, transports=both)
    poor = a_site(3, transports=("wireguard",))
    for said, made in (
        ([], ["wireguard", "wireguard"]),
        (["ipsec"], ["ipsec", None]),
        (["ipsec", "wireguard", "ipsec"], ["ipsec", "wireguard"]),
    ):
        found = options.overlay("192.0.2.1:6690", None, [], transports=said)
        assert found is not None
        (rule,) = arguments(tmp_path, state, transports=found.transports)["policy"].mesh.rules
        assert [transport_for(rule, one, other), transport_for(rule, one, poor)] == made


def test_what_the_mesh_is_like_where_no_rule_says_anything_is_what_the_controller_is_told(
    tmp_path: Path, state: StateStore
) -> None:
    assert options.mesh(None, None, None, None) is None
    usual = arguments(tmp_path, state)["policy"].mesh
    assert (usual.hubs.count, usual.budget, usual.direct.add_mbps, usual.direct.remove_mbps) == (2, 32, 5.0, 2.0)
    found = options.overlay("192.0.2.1:6690", None, [], mesh=options.mesh(3, 8, 20.0, None))
    assert found is not None
    mesh = arguments(tmp_path, state, mesh=found.mesh, transports=("ipsec",))["policy"].mesh
    assert (mesh.hubs.count, mesh.budget, mesh.direct.add_mbps, mesh.direct.remove_mbps) == (3, 8, 20.0, 2.0)
    assert [rule.transports for rule in mesh.rules] == [("ipsec",)]
    with pytest.raises(CannotStart, match="--overlay-direct-mbps or --overlay-star-mbps is of no use without"):
        options.overlay(None, None, [], mesh=options.mesh(None, 8, None, None))


@pytest.mark.parametrize(
    ("comes", "goes"), [(1.0, None), (None, 5.0), (3.0, 3.0), (float("nan"), 1.0), (4.0, -1.0)]
)
def test_tunnels_that_would_go_as_soon_as_they_have_come_are_refused(
    comes: float | None, goes: float | None
) -> None:
    with pytest.raises(CannotStart, match="give half of it or less"):
        options.mesh(None, None, comes, goes)


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("8.8.0.0/16", "give a part of one of 10.0.0.0/8"),
        ("0.0.0.0/0", "give a part of one of 10.0.0.0/8"),
        ("fd00::/48", "give a part of one of 10.0.0.0/8"),
        ("10.9.0.0/23", "give a /22 or a wider one"),
        ("10.9.0.1/16", "has host bits set"),
        ("range", "does not appear to be an IPv4 or IPv6 network"),
    ],
)
def test_a_range_that_tunnels_cannot_have_their_addresses_in_is_refused(text: str, remedy: str) -> None:
    with pytest.raises(CannotStart, match=f"--overlay-range: .*{remedy}"):
        options.overlay("192.0.2.1:6690", None, [], overlay_range=text)
    body = card(Ed25519PrivateKey.generate()).model_dump(mode="json") | {"overlay_range": text}
    with pytest.raises(CardError):
        read_card(json.dumps(body))


def test_tunnels_have_their_addresses_where_the_controller_is_told_and_stay_there(
    tmp_path: Path, state: StateStore
) -> None:
    found = options.overlay("192.0.2.1:6690", None, [], overlay_range="172.20.0.0/16")
    assert found is not None
    made = arguments(tmp_path, state, overlay_range=found.overlay_range)
    assert read_card((tmp_path / CARD_FILE).read_text()).overlay_range == found.overlay_range
    app: Any = SiteOverlay(**made)
    assert app._overlay.book.overlay_range == app._card.overlay_range == found.overlay_range
    # As long as there are no tunnels it may be another one.
    state.save_overlay(Writing().text(app._overlay))
    assert arguments(tmp_path, state)["overlay_range"] == found.overlay_range
    other = ip_network("10.99.0.0/16")
    again: Any = SiteOverlay(**arguments(tmp_path, state, overlay_range=other))
    assert again._overlay.book.overlay_range == other
    joined = replace(app._overlay, links=LinkBook(((1, 0),)))
    state.save_overlay(Writing().text(joined))
    assert arguments(tmp_path, state)["overlay_range"] == found.overlay_range
    with pytest.raises(StartError, match=r"--overlay-range 10.99.0.0/16: .* in 172.20.0.0/16 already, .* without"):
        arguments(tmp_path, state, overlay_range=other)


# what it keeps -------------------------------------------------------------------------------------------


def test_key_and_card_are_the_same_after_a_restart_and_the_key_is_its_owners(
    tmp_path: Path, state: StateStore
) -> None:
    arguments(tmp_path, state, 6690, addresses=("192.0.2.1:6690",))
    first = read_card((tmp_path / CARD_FILE).read_text())
    arguments(tmp_path, state, 6690, addresses=("192.0.2.1:6690",))
    assert read_card((tmp_path / CARD_FILE).read_text()) == first
    assert first.addresses == ("192.0.2.1:6690",)
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600


def test_a_key_that_others_can_read_or_that_is_damaged_is_refused(tmp_path: Path) -> None:
    state_key(tmp_path)
    (tmp_path / KEY_FILE).chmod(0o644)
    with pytest.raises(CardError, match="chmod 600"):
        state_key(tmp_path)
    (tmp_path / KEY_FILE).chmod(0o600)
    (tmp_path / KEY_FILE).write_bytes(b"short")
    with pytest.raises(CardError, match="damaged") as caught:
        state_key(tmp_path)
    assert "short" not in str(caught.value)


@pytest.mark.parametrize("body", ["", "{}", "null", '{"generation": "x"}', "\x00"])
def test_it_does_not_start_with_an_overlay_that_cannot_be_read(
    tmp_path: Path, state: StateStore, body: str
) -> None:
    state.save_overlay(body)
    with pytest.raises(StartError, match="put the database back from a copy"):
        arguments(tmp_path, state)


def test_it_does_not_start_where_the_port_is_taken(tmp_path: Path, state: StateStore) -> None:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen()
        with pytest.raises(StartError, match="give another --overlay"):
            arguments(tmp_path, state, door.getsockname()[1])


# what it says --------------------------------------------------------------------------------------------


class Held:
    """The app, whose thread is the test; its signer says what the test wants."""

    def __init__(self, made: dict[str, Any], directory: Path) -> None:
        self.app = SiteOverlay(**made)
        self.signer = make_signer(directory, Clock(), None)

    def hear(self, members: tuple[Signed, ...] | None = ()) -> None:
        """The signer says the roll, and who is a member if it says that at all."""
        now: RollNow = self.signer.roll()
        self.app._trust._roll_watch._tell(now)
        if members is not None:
            self.app._trust._members_watch._tell(members)
        while self.app.events.qsize():
            match self.app.events.get()[0]:  # type: ignore[attr-defined]
                case RollTold() as event:
                    self.app._on_roll(event)
                case MembersTold() as event:
                    self.app._on_members(event)
                case event:
                    self.app._on_due(event)

    def answer(self) -> OverlayAnswer:
        request = OverlayRequest()
        self.app._on_request(request)
        return request.future.result(0)


@pytest.fixture
def held(tmp_path: Path, state: StateStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    monkeypatch.setattr(RollWatch, "start", lambda _: None)
    monkeypatch.setattr(MembersWatch, "start", lambda _: None)
    held = Held(arguments(tmp_path, state), tmp_path)
    yield held
    if held.app._trust.gate is not None:
        held.app._trust.gate.stop()


def test_before_the_signer_has_answered_nobody_is_listened_for(held: Held) -> None:
    held.app._trust._roll_watch.problem = "the signer does not answer; start it"
    answer = held.answer()
    assert answer.port == 0 and answer.epoch == 0 and answer.problems == ("the signer does not answer; start it",)
    assert answer.card is not None and answer.card.addresses


def test_a_signer_that_does_not_trust_this_controller_is_named_with_the_remedy(held: Held) -> None:
    held.hear()
    assert held.answer().port and any("lockstitch signer trust" in one for one in held.answer().problems)
    mine = held.answer().card
    assert mine is not None
    held.signer.trust(mine)
    held.hear()
    assert held.answer().problems == ()


def test_a_signer_that_trusts_another_range_of_this_controller_is_named_with_the_remedy(held: Held) -> None:
    mine = held.answer().card
    assert mine is not None
    held.signer.trust(mine.model_copy(update={"overlay_range": ip_network("172.20.0.0/16")}))
    held.hear()
    assert any("100.96.0.0/12: lockstitch signer trust" in one for one in held.answer().problems)
    held.signer.trust(mine)
    held.hear()
    assert held.answer().problems == ()


def test_a_port_that_was_taken_meanwhile_is_tried_again(held: Held) -> None:
    doors = held.app._trust._doors
    with socket.socket() as door:
        door.bind((doors.host, doors.port))
        door.listen()
        held.hear()
        assert held.answer().port == 0 and any("tried again" in one for one in held.answer().problems)
    held.app._trust.open_gate()
    assert held.answer().port == doors.port and not any("tried again" in one for one in held.answer().problems)


def test_what_the_disk_does_not_take_is_told_to_no_site_and_is_said(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    held.hear()
    held.app._reports.came(1)
    sent: list[object] = []
    monkeypatch.setattr(held.app, "_send", sent.append)

    def news(overlay: Overlay, *_: object) -> tuple[Overlay, list[Any]]:
        told = SimpleNamespace(serial=1, generation=1)
        return replace(overlay, generation=overlay.generation + 1), [told]

    def full(_: str) -> None:
        raise StoreError("no space is left")

    monkeypatch.setattr(held.app._telling, "news", news)
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(held.app, "_save", full)
        held.app._round()
    assert not sent and any("no space is left" in one for one in held.answer().problems)
    held.app._round()
    assert len(sent) == 1 and not any("no space is left" in one for one in held.answer().problems)


class Sites:
    """Sites that the test says are there. Who is on the channel carries out what it is told."""

    def __init__(self, held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
        held.hear()
        self.app: Any = held.app
        self.there = world(4, 2)
        self.told: dict[int, Told] = {}
        self._now_s = 1_000.0
        signed = dict.fromkeys(self.there, self.app._trust.ruling)
        members = SimpleNamespace(signed=signed, open=signed, problem="")
        monkeypatch.setattr(self.app._trust, "members", members)
        monkeypatch.setattr(self.app._survey, "facts", lambda *_: self._facts())
        monkeypatch.setattr(self.app, "_clock", lambda: self._now_s)
        monkeypatch.setattr(self.app, "_send", lambda told: self.told.update({told.serial: told}))
        for serial in self.there:
            self.app._on_came(SiteCame(serial))

    def go_on(self) -> None:
        for _ in range(6):
            self._now_s += 1.0
            self.app._round()

    def in_force(self, serial: int) -> list[SitePlan]:
        """What a site may carry out, as far as the app knows."""
        return [plan for _, plan in self.app._overlay.in_force[serial]]

    def _facts(self) -> Facts:
        reports = {
            serial: SiteReport(
                told.generation, {one.name: EndReport("up", used=True) for one in told.made_of.plan.tunnels}
            )
            for serial, told in self.told.items()
        }
        return Facts(self.there, reports, away=self.app._reports.away(self.there))


def test_what_a_site_was_told_before_it_went_may_be_in_force_whatever_is_made_meanwhile(
    held: Held, tmp_path: Path, state: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    sites = Sites(held, monkeypatch)
    sites.go_on()
    has = sites.told[5].made_of.plan
    sites.app._on_gone(SiteGone(5, "closed"))
    for gone in (3, 4):
        del sites.there[gone]
        sites.go_on()
    assert sites.told[5].made_of.plan is has
    assert sites.in_force(5)[0] == has and len(sites.in_force(5)) == 2
    again: Any = SiteOverlay(**arguments(tmp_path, state))
    assert again._reports.away([5]) == {5: again._overlay.generation}


def test_where_a_plan_cannot_be_stored_who_comes_is_told_the_one_before_and_that_may_be_in_force(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: str) -> None:
        raise StoreError("no space is left")

    sites = Sites(held, monkeypatch)
    sites.go_on()
    sites.app._on_gone(SiteGone(5, "closed"))
    del sites.there[4]
    sites.go_on()
    before = sites.told[5]
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(sites.app, "_save", full)
        del sites.there[3]
        sites.go_on()
        sites.app._on_came(SiteCame(5))
    assert before.generation < sites.told[5].generation
    assert sites.in_force(5) == [before.made_of.plan, sites.told[5].made_of.plan]


def test_a_card_of_another_controller_is_not_taken_for_this_one(held: Held) -> None:
    held.signer.trust(card(Ed25519PrivateKey.generate()))
    held.hear()
    assert any("does not trust it" in one for one in held.answer().problems)


def test_until_it_is_known_who_is_a_member_nothing_is_decided(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """All sites that it knows would look gone, and their tunnels be taken down."""
    decided: list[object] = []
    monkeypatch.setattr(held.app, "_decide", lambda *_: decided.append(None))
    held.hear(members=None)
    held.app._round()
    assert not decided
    held.hear()
    held.app._round()
    assert decided


def test_what_operators_say_of_tunnels_counts_in_the_next_round_and_after_a_restart(
    held: Held, tmp_path: Path, state: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[OverlayPolicy] = []

    def deciding(before: Overlay, facts: Any, policy: OverlayPolicy, now_s: float) -> Round:
        taken.append(policy)
        return next_round(before, facts, policy, now_s)

    monkeypatch.setattr("ryu_apps.overlay.app.next_round", deciding)
    must = DefinedRule("backbone", 10, PairRule(Selector("ber"), Selector("muc"), Say.MUST))
    app: Any = held.app
    held.hear()
    app._on_put_rule(PutRule(must))
    app._on_order_keys(ordered := OrderKeys())
    app._round()
    assert ordered.future.result(0) == 1
    assert [(rule.say, rule.spec.epoch) for rule in taken[-1].mesh.rules] == [(Say.MUST, 1), (Say.MAY, 1)]
    again: Any = SiteOverlay(**arguments(tmp_path, state))
    again._on_rules(asked := RulesRequest())
    assert asked.future.result(0) == (must,) and again._policy.mesh == taken[-1].mesh
    app._on_delete_rule(DeleteRule("backbone"))
    app._round()
    assert [(rule.say, rule.spec.epoch) for rule in taken[-1].mesh.rules] == [(Say.MAY, 1)]


def test_which_links_go_through_tunnels_is_said_from_the_start_as_it_was_stored(
    tmp_path: Path, state: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise all that has to be encrypted would come down with each start of the controller."""
    monkeypatch.setattr(RollWatch, "start", lambda _: None)
    monkeypatch.setattr(MembersWatch, "start", lambda _: None)
    link = SiteLink(1, 2, 5, Bridge("br0", 0xBE), Bridge("br0", 0x3C), 7, 9)
    joined = replace(Overlay(), links=LinkBook(((1, 0), (2, 1)), (link, replace(link, b=3, vni=6, port_b=None))))
    state.save_overlay(Writing().text(joined))
    held = Held(arguments(tmp_path, state), tmp_path)
    said: list[Event] = []
    monkeypatch.setattr(held.app, "publish", said.append)
    held.app.start()
    try:
        assert said == [SiteLinksChanged({((0xBE, 7), (0x3C, 9)): (None, None)})]
        assert held.answer().links == joined.links.links
    finally:
        held.app.stop()
