"""A member that says as much as it can takes neither the controller's memory nor its time from the others."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from os_ken.base.app_manager import AppManager

from benchmarks.meshing.loop import Loop
from ryu_apps.events.overlay import OverlayAnswer, OverlayRequest
from ryu_apps.overlay.app import SiteOverlay
from ryu_apps.overlay.card import CARD_FILE, read_card
from ryu_apps.overlay.signing.client import SignerClient
from ryu_apps.overlay.signing.requests import MakeToken
from ryu_apps.store import StateStore
from tests.system.waiting import wait_until
from tests.unit.gate_world import signer_process
from tests.unit.test_overlay_starting import arguments
from tests.unit.trust_world import Site, wanted_for
from vte_agent.channel import ChannelState
from vte_agent.enrolling import enroll
from vte_agent.keeping import Keeping
from vte_agent.protocol.enrollment import Token
from vte_agent.protocol.has import MOST_TUNNELS, Has
from vte_agent.protocol.members import Role

MOST_MB = 250
ROUNDS = 5
AT_ONCE_S = 1.5


@dataclass
class Controller:
    """The overlay's app with its thread, its gate, and a signer in a process of its own."""

    app: SiteOverlay
    signer: Path
    loop: Loop
    directories: list[Path] = field(default_factory=list)

    def enroll(self, directory: Path) -> Path:
        operator = SignerClient(self.signer / "operator.sock")
        token = Token.read(operator.make_token(MakeToken(role=Role.RELAY)).token)
        self.loop.run(enroll(token, directory.name, Keeping(directory)))
        return directory

    def answer(self) -> OverlayAnswer:
        request = OverlayRequest()
        self.app.post(request)
        return request.future.result(20)


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    with contextlib.ExitStack() as stack:
        (tmp_path / "s").mkdir()
        stack.enter_context(signer_process(tmp_path / "s/signer"))
        store = stack.enter_context(contextlib.closing(StateStore(f"sqlite:///{tmp_path / 'lockstitch.db'}")))
        made = arguments(tmp_path, store)
        made["doors"] = type(made["doors"])("127.0.0.1", made["doors"].port, tmp_path / "s/signer/controller.sock")
        manager = AppManager.get_instance()
        app: SiteOverlay = manager.instantiate(SiteOverlay, **made)
        stack.callback(manager.uninstantiate, app.name)
        app.start()
        loop = Loop()
        stack.callback(loop.close)
        found = Controller(app, tmp_path / "s/signer", loop)
        SignerClient(found.signer / "operator.sock").trust(read_card((tmp_path / CARD_FILE).read_text()))
        wait_until(lambda: found.answer().port, 10, lambda: found.answer().problems)
        yield found


def memory_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


def test_a_member_that_floods_takes_little_memory_and_the_others_are_heard_and_told_meanwhile(
    controller: Controller, tmp_path: Path
) -> None:
    bad = controller.enroll(tmp_path / "bad")
    friend = Site.of(controller.enroll(tmp_path / "friend"), controller.loop)
    serial = friend.believer.own.serial
    wait_until(lambda: friend.channel.state is ChannelState.CONNECTED, 10, lambda: friend.states)
    before_mb, most_mb = memory_mb(), 0.0
    process = subprocess.Popen([sys.executable, "-m", "tests.unit.flooding", bad], stdout=subprocess.PIPE)
    heard_s, told_s = [], []
    try:
        wait_until(lambda: flooded(controller), 30, lambda: controller.answer().problems)
        roll = SignerClient(controller.signer / "controller.sock").roll().roll
        assert controller.app._trust.gate is not None
        for number in range(1, ROUNDS + 1):
            began_s = time.monotonic()
            generation = controller.answer().said[serial].generation + 1 if number > 1 else 1
            controller.loop.call(friend.channel.say_has, Has(generation=generation))
            wait_until(lambda: is_heard(controller, serial, generation), 30, "nothing is heard")  # noqa: B023
            heard_s.append(time.monotonic() - began_s)
            began_s, generation = time.monotonic(), friend.believer.generation + 1000
            wanted = partial(wanted_for, serial, roll, controller.app._state_key, generation)
            controller.app._trust.gate.send_wanted(serial, wanted)
            wait_until(lambda: friend.believer.generation >= generation, 30, lambda: friend.refused)  # noqa: B023
            told_s.append(time.monotonic() - began_s)
            most_mb = max(most_mb, memory_mb() - before_mb)
            time.sleep(1)
        assert process.poll() is None, "it was cut off"
    finally:
        process.kill()
        said = process.communicate()[0].count(b"said")
    sys.stdout.write(f"said={said} most_mb={most_mb:.0f} heard_s={heard_s} told_s={told_s}\n")
    assert said >= 3 and most_mb < MOST_MB
    assert statistics.median(heard_s) < AT_ONCE_S and statistics.median(told_s) < AT_ONCE_S


def flooded(controller: Controller) -> bool:
    return any(len(has.tunnels) == MOST_TUNNELS for has in controller.answer().said.values())


def is_heard(controller: Controller, serial: int, generation: int) -> bool:
    has = controller.answer().said.get(serial)
    return has is not None and has.generation >= generation
