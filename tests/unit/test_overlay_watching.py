"""A signer that hangs, is away or comes back: what the controller's app does meanwhile, and what it is told."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path
from typing import cast

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from os_ken.base.app_manager import AppManager

from ryu_apps.events.overlay import OverlayRequest
from ryu_apps.overlay.app import SiteOverlay
from ryu_apps.overlay.authority import Authority
from ryu_apps.overlay.defined import Defined
from ryu_apps.overlay.heard import RollTold, SiteCame
from ryu_apps.overlay.signing import watching
from ryu_apps.overlay.signing.client import SignerClient, SignerGone
from ryu_apps.overlay.signing.requests import RollNow
from ryu_apps.overlay.signing.watching import MembersWatch, RollWatch, said_by
from ryu_apps.overlay.trust import Doors
from ryu_apps.store import StateStore
from tests.system.waiting import wait_until
from tests.unit.trust_world import Clock, make_signer
from vte_agent.protocol.base import public_text
from vte_agent.protocol.members import Roll
from vte_agent.protocol.signed import Signed

QUICK_S = 1.0
"""Far below the time for which a signer is waited for."""


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[Path]:
    """The socket of a signer that takes every question and answers none."""
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as door:
        path = tmp_path / "controller.sock"
        door.bind(str(path))
        door.listen(64)
        yield path


def test_a_signer_that_hangs_holds_up_nobody_else(hanging: Path, tmp_path: Path) -> None:
    manager = AppManager.get_instance()
    app = manager.instantiate(
        SiteOverlay,
        doors=Doors("127.0.0.1", 0, hanging),
        authority=Authority(tmp_path),
        state_key=Ed25519PrivateKey.generate(),
        save=lambda _: None,
        saved=None,
        defined=Defined(StateStore("sqlite://")),
    )
    app.start()
    try:
        asked = OverlayRequest()
        app.post(RollTold(make_signer(tmp_path, Clock()).roll()))
        for serial in range(1, 50):
            app.post(SiteCame(serial))
        app.post(asked)
        assert asked.future.result(QUICK_S).port
    finally:
        manager.uninstantiate(app.name)


class Members:
    """A signer's list. It is asked with `asked`, and answers when it `may_answer`."""

    def __init__(self) -> None:
        self.asked = threading.Semaphore(0)
        self.may_answer = threading.Semaphore(0)
        self.names: list[str] = []
        self.is_away = False

    def members(self) -> Iterator[str]:
        names = list(self.names)
        self.asked.release()
        assert self.may_answer.acquire(timeout=10)
        if self.is_away:
            raise SignerGone("the signer does not answer; start it")
        return iter(names)


@contextlib.contextmanager
def watched(members: Members) -> Iterator[tuple[MembersWatch, list[object]]]:
    told: list[object] = []
    watch = MembersWatch(cast("SignerClient", members), told.append)
    watch.start()
    yield watch, told
    watch.stop()
    members.may_answer.release()


def test_who_comes_while_the_signer_answers_is_asked_for_once_more() -> None:
    members = Members()
    with watched(members) as (watch, told):
        assert members.asked.acquire(timeout=5)
        members.names.append("ber")
        watch.look()
        for _ in range(2):
            members.may_answer.release()
        wait_until(lambda: told == [(), ("ber",)], 2, lambda: told)


def test_a_signer_that_is_away_is_named_and_changes_nothing() -> None:
    members = Members()
    members.is_away = True
    with watched(members) as (watch, told):
        members.may_answer.release()
        wait_until(lambda: "start it" in watch.problem, 2, "nothing is said")
        members.is_away = False
        watch.look()
        members.may_answer.release()
        wait_until(lambda: told and not watch.problem, 2, lambda: watch.problem)
    assert told == [()]


class Rolls:
    """A signer's rolls, each later than the one before."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()
        self._changed = threading.Condition()
        self._now: Roll | None = None
        self.put()

    def put(self, *revoked: int, held: int = 0) -> None:
        prefixes = tuple(IPv4Network((0x0A000000 + (2 * number << 8), 24)) for number in range(held))
        with self._changed:
            epoch = self._now.epoch + 1 if self._now is not None else 1
            self._now = Roll(
                epoch=epoch, issued_at=1, not_after=1 << 39, revoked=revoked, controllers=(), prefixes=prefixes
            )
            self._changed.notify_all()

    def roll(self, after: int | None = None, wait_s: float = 20.0) -> RollNow:
        with self._changed:
            assert self._now is not None
            self._changed.wait_for(lambda: after is None or self._epoch() > after, wait_s)
            public = public_text(self._key.public_key().public_bytes_raw())
            return RollNow(roll=Signed.of(self._now, self._key), policy_key=public)

    def _epoch(self) -> int:
        return self._now.epoch if self._now is not None else 0


def test_a_hundred_new_members_are_a_few_rolls_and_who_is_put_out_among_them_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watching, "GATHER_S", 5.0)
    rolls, told = Rolls(), list[Roll]()
    watch = RollWatch(cast(SignerClient, rolls), lambda now: told.append(said_by(now)))
    watch.start()
    try:
        wait_until(lambda: len(told) == 1, 5, "the first roll is not told")
        for held in range(1, 100):
            rolls.put(held=held)
        began_s = time.monotonic()
        rolls.put(7, held=100)
        wait_until(lambda: any(roll.revoked == (7,) for roll in told), 4, lambda: f"{told}")
        assert time.monotonic() - began_s < QUICK_S
        assert len(told) == 2 and len(told[-1].prefixes) == 100
        monkeypatch.setattr(watching, "GATHER_S", 0.1)
        rolls.put(7, held=101)
        wait_until(lambda: len(told[-1].prefixes) == 101, 5, lambda: f"{told[-1]}")
    finally:
        watch.stop()
        rolls.put(7, 8)
