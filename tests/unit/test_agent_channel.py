"""An agent's channel keeps little while nobody is there, and comes back neither all at once nor too late."""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ryu_apps.overlay.signing.client import SignerClient, SignerGone
from ryu_apps.overlay.signing.requests import OPERATOR
from ryu_apps.overlay.signing.server import Door, SignerServer
from tests.unit.trust_world import Clock, a_channel, make_signer
from vte_agent import channel as channel_module
from vte_agent.channel import FIRST_WAIT_S, LONGEST_WAIT_S, MOVES_KEPT, Channel, ChannelState, Listener
from vte_agent.dialling import BadAddress, split_address
from vte_agent.protocol.frames import FROM_CONTROLLER, BadFrame, Moved, decode
from vte_agent.protocol.has import Has


def test_the_longer_nobody_answers_the_longer_it_waits_up_to_a_bound(tmp_path: Path) -> None:
    channel = a_channel(tmp_path, chance=random.Random(1))
    waits = [[channel._wait_s(failures) for _ in range(300)] for failures in range(12)]
    assert max(waits[0]) <= FIRST_WAIT_S and max(waits[-1]) <= LONGEST_WAIT_S
    assert [max(one) for one in waits[:4]] == sorted(max(one) for one in waits[:4])
    # Thousands that ask at the same moment come back spread over all of the time.
    tenths = {int(10 * wait / LONGEST_WAIT_S) for wait in waits[-1]}
    assert tenths == set(range(10))


def test_it_goes_from_one_controller_to_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    async def run() -> None:
        channel = a_channel(tmp_path, "127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3")
        monkeypatch.setattr(channel, "_wait_s", lambda _: 0.0)
        monkeypatch.setattr(
            channel, "_listener", Listener(lambda _: None, lambda _: None, lambda _, why: tried.append(why))
        )
        task = asyncio.create_task(channel.run())
        while len(tried) < 12:
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert channel.state is ChannelState.CLOSED

    asyncio.run(asyncio.wait_for(run(), 20))
    assert {why[:11] for why in tried if why} == {"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"}


def test_hours_without_a_controller_take_no_more_memory(tmp_path: Path) -> None:
    channel = a_channel(tmp_path)

    def an_hour() -> None:
        for second in range(3600):
            channel.say_has(Has(generation=second, problems=("x" * 200,)))
            channel.say_moved(Moved(at_s=second, prefix="10.0.0.0/8", why="y" * 200))

    an_hour()
    tracemalloc.start()
    try:
        an_hour()
        an_hour()
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(channel._moves) == MOVES_KEPT and grown < 1 << 20


def test_a_port_that_says_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_module, "_OPEN_S", 0.2)

    async def run(port: int) -> Channel:
        channel = a_channel(tmp_path, f"127.0.0.1:{port}")
        assert not await channel._one(f"127.0.0.1:{port}")
        return channel

    with socket.create_server(("127.0.0.1", 0)) as silent:
        channel = asyncio.run(run(silent.getsockname()[1]))
    assert channel.state is ChannelState.WAITING and channel.why


@given(
    st.text(max_size=80)
    | st.builds(
        lambda kind, body: json.dumps({"type": kind, "body": body}),
        st.sampled_from([*FROM_CONTROLLER]),
        st.dictionaries(st.text(max_size=5), st.integers(), max_size=3),
    )
)
def test_whatever_a_controller_says_is_a_message_or_a_bad_frame(text: str) -> None:
    with pytest.raises(BadFrame):
        decode(text, FROM_CONTROLLER)


@given(st.text(max_size=40))
def test_an_address_is_a_host_and_a_port_or_refused(text: str) -> None:
    try:
        host, port = split_address(text)
    except BadAddress:
        return
    assert host and 0 < port < 65536


def test_an_address_may_be_of_version_six() -> None:
    assert split_address("[2001:db8::1]:6690") == ("2001:db8::1", 6690)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_another_user_is_turned_away_from_the_signer_whatever_the_mode_of_its_socket() -> None:
    """Door 1 is for user 65534, door 2 for this one; each is open to all by its mode."""

    async def run(directory: Path) -> list[str]:
        directory.chmod(0o755)
        server = SignerServer(make_signer(directory, Clock()))
        theirs = Door(directory / "theirs", frozenset({65534}), OPERATOR, "theirs")
        ours = Door(directory / "ours", frozenset({0}), OPERATOR, "ours")
        async with server.serving((theirs, ours)):
            ours.path.chmod(0o666)
            with pytest.raises(SignerGone, match="does not talk to this user"):
                await asyncio.to_thread(SignerClient(theirs.path).tokens)
            await asyncio.to_thread(SignerClient(ours.path).tokens)
            return [await asyncio.to_thread(ask_as_nobody, door.path) for door in (theirs, ours)]

    # Not in pytest's directory, into which nobody else can look.
    with tempfile.TemporaryDirectory() as directory:
        assert asyncio.run(run(Path(directory))) == ['{"tokens":[]}\n', ""]


def ask_as_nobody(path: Path) -> str:
    code = (
        "import os, socket, sys; os.setgid(65534); os.setuid(65534); "
        "link = socket.socket(socket.AF_UNIX); link.connect(sys.argv[1]); "
        'link.sendall(b\'{"op":"tokens"}\\n\'); link.shutdown(socket.SHUT_WR); '
        "sys.stdout.write(link.makefile().read())"
    )
    return subprocess.run(
        [sys.executable, "-S", "-c", code, path], capture_output=True, text=True, timeout=20, check=False
    ).stdout
