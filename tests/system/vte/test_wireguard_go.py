"""wireguard-go's processes: they outlive the agent, whenever it dies, and no other process is ever touched."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from mininet_topos.namespaces import network_of
from tests.system.streams import Stream
from tests.system.vte.wireguard_world import WireGuardWorld, processes_of
from tests.tunnel_contract import SECRET, connect, create, eventually, join, peer, shaken
from vte_agent.tunnels import uapi, wireguard_go
from vte_agent.tunnels import wireguard_process as process
from vte_agent.tunnels.contract import TunnelFailed, TunnelSpec
from vte_agent.tunnels.devices import Devices
from vte_agent.tunnels.own_keys import OwnKeys
from vte_agent.tunnels.wireguard_base import WireGuardTunnels
from vte_agent.tunnels.wireguard_go import GoRunner, userspace_missing
from vte_agent.tunnels.wireguard_kernel import kernel_missing

_FORK = multiprocessing.get_context("fork")


@pytest.fixture
def world() -> Iterator[WireGuardWorld]:
    world = WireGuardWorld(GoRunner)
    try:
        yield world
    finally:
        world.close()


class Agent:
    """A process that does something with the tunnels of a node, says what came of it, and waits to be killed."""

    def __init__(self, world: WireGuardWorld, node: int, act: Callable[[WireGuardTunnels], object]) -> None:
        self.said, there = _FORK.Pipe()
        self._process = _FORK.Process(target=self._live, args=(world, node, act, there), daemon=True)
        self._process.start()
        assert self.said.recv() == "here"

    @staticmethod
    def _live(
        world: WireGuardWorld, node: int, act: Callable[[WireGuardTunnels], object], there: Connection
    ) -> None:
        with network_of(world.pid(node)):
            devices = Devices()
            tunnels = WireGuardTunnels(GoRunner(devices), devices, OwnKeys(None))
            there.send("here")
            there.send(act(tunnels))
            signal.pause()

    def kill(self) -> None:
        self._process.kill()
        self._process.join()
        self.said.close()


def test_the_agent_is_killed_and_the_next_one_takes_over_under_traffic(world: WireGuardWorld) -> None:
    with world.at(1) as tunnels:
        far = tunnels.create(world.spec(1, "t"))

    def act(tunnels: WireGuardTunnels) -> object:
        end = tunnels.create(world.spec(0, "t"))
        tunnels.connect(world.spec(0, "t"), peer(world, 1, "t", far))
        return end

    agent = Agent(world, 0, act)
    end = agent.said.recv()
    connect(world, 1, "t", peer(world, 0, "t", end))
    world.next_run(0)
    assert shaken(world, "t")
    before = world.process_of(world.spec(0, "t").device)
    streams = [Stream(world.host(node), world.host(1 - node), packets_per_s=200) for node in (0, 1)]

    def arrived(packets: int) -> bool:
        return eventually(lambda: all(len(stream.arrived) >= packets for stream in streams))

    with streams[0], streams[1]:
        assert arrived(40)
        agent.kill()
        assert arrived(80)
        world.next_run(0)
        with world.at(0) as tunnels:
            assert tunnels.create(world.spec(0, "t")) == end
        connect(world, 0, "t", peer(world, 1, "t", far))
        assert arrived(120)
        accounts = [stream.end() for stream in streams]
    assert [account.lost for account in accounts] == [(), ()]
    assert world.process_of(world.spec(0, "t").device) == before


@pytest.mark.parametrize("moment_ms", range(0, 16, 2))
def test_an_agent_killed_while_it_makes_a_tunnel_leaves_nothing_unknown(
    world: WireGuardWorld, moment_ms: int
) -> None:
    before, spec = world.left(), world.spec(0, "t")
    agent = Agent(world, 0, lambda tunnels: tunnels.create(spec))
    agent.said.poll(moment_ms / 1000)
    agent.kill()
    world.next_run(0)
    if moment_ms % 4:
        # Still wanted: there is one of it in the end.
        with world.at(0) as tunnels:

            def made() -> bool:
                with contextlib.suppress(TunnelFailed):
                    tunnels.create(spec)
                    return True
                return False

            assert eventually(made)
        assert world.process_of(spec.device)
        join(world, "t")

    def gone() -> bool:
        for node in (0, 1):
            with world.at(node) as tunnels:
                for device in tunnels.found():
                    tunnels.delete(device)
        return world.left() == before

    assert eventually(gone)


def test_a_process_that_hangs_is_not_alive_delays_no_other_and_is_ended_all_the_same(
    world: WireGuardWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wireguard_go, "ANSWER_WITHIN_S", 0.5)
    before = world.left()
    for name in ("t", "other"):
        create(world, name)
    hung = world.process_of(world.spec(0, "t").device)
    os.kill(hung, signal.SIGSTOP)
    with world.at(0) as tunnels:
        assert eventually(lambda: set(tunnels.read()) == {world.spec(0, "other").device})
        with pytest.raises(TunnelFailed, match="does not answer"):
            tunnels.connect(world.spec(0, "t"), peer(world, 1, "t", tunnels.create(world.spec(0, "other"))))
        tunnels.delete(world.spec(0, "t").device)
    assert not processes_of({world.spec(0, "t").device})
    for node in (0, 1):
        with world.at(node) as tunnels:
            for name in ("t", "other"):
                tunnels.delete(world.spec(node, name).device)
    assert world.left() == before


def test_a_device_taken_away_by_hand_is_not_alive_and_made_again(world: WireGuardWorld) -> None:
    ends = join(world, "t")
    device = world.spec(0, "t").device
    world.run(0, "ip", "link", "del", device)
    with world.at(0) as tunnels:
        assert eventually(lambda: not tunnels.read())
        assert tunnels.create(world.spec(0, "t")) == ends[0]
        assert device in tunnels.read()


def test_a_socket_taken_away_by_hand_costs_the_tunnel_and_nothing_else(world: WireGuardWorld) -> None:
    before = world.left()
    for node in (0, 1):
        with world.at(node) as tunnels:
            tunnels.create(world.spec(node, "t"))
            process.socket_of(world.spec(node, "t").device).unlink()
            world.next_run(node)
        with world.at(node) as tunnels:
            tunnels.delete(world.spec(node, "t").device)
    assert eventually(lambda: world.left() == before)


def test_what_a_killed_process_left_is_found_once_it_is_old(
    world: WireGuardWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(world, "t")
    device = world.spec(0, "t").device
    world.kill(0, device)
    assert eventually(lambda: not processes_of({device}) and device not in world.run(0, "ip", "link"))
    world.next_run(0)
    with world.at(0) as tunnels:
        assert device not in tunnels.found()
        monkeypatch.setattr(wireguard_go, "_STARTING_S", 0.0)
        assert device in tunnels.found()
        tunnels.delete(device)
        assert not process.socket_of(device).exists()


def test_garbage_at_the_socket_harms_no_tunnel(world: WireGuardWorld) -> None:
    join(world, "t")
    path = process.socket_of(world.spec(0, "t").device)
    for garbage in (b"\0" * 5000, b"set=1\nprivate_key=x\n\n", b"get=1\nx", b"set=1\n" + b"a" * 100_000, b""):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            with contextlib.suppress(OSError):
                connection.sendall(garbage)
    with world.at(0) as tunnels:
        assert world.spec(0, "t").device in tunnels.read()
    assert world.passes(0, world.spec(0, "t"), 100)


@pytest.mark.parametrize(
    "answer", [b"", b"\n\n", b"\xff" * 60_000, b"errno=-5\n\n", b"private_key=zz\nerrno=0\n\n"]
)
def test_garbage_from_the_socket_is_a_failure_with_a_reason(
    answer: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = "lsaaaaaaaaaaaaa"
    monkeypatch.setattr(process, "SOCKETS", tmp_path)
    monkeypatch.setattr(process, "tunnel_of", lambda *_: "t")
    monkeypatch.setattr(wireguard_go, "ANSWER_WITHIN_S", 0.2)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / f"{device}.sock"))
        (tmp_path / f"{device}.sock").chmod(0o700)
        server.listen()
        responder = subprocess.Popen(
            ["python3", "-c", _RESPOND, str(server.fileno()), answer.hex()], pass_fds=[server.fileno()]
        )
        devices = Devices()
        runner = GoRunner(devices)
        try:
            assert not runner.states([device])
            with pytest.raises(TunnelFailed, match="wireguard-go of device") as caught:
                runner.state(device)
            assert "zz" not in str(caught.value)
        finally:
            runner.close()
            devices.close()
            responder.kill()
            responder.wait()


_RESPOND = """
import socket, sys
server = socket.socket(fileno=int(sys.argv[1]))
while True:
    one = server.accept()[0]
    while one.recv(100):
        one.sendall(bytes.fromhex(sys.argv[2]))
        one.shutdown(1)
"""


@pytest.mark.parametrize(("directory", "file"), [(0o777, 0o700), (0o700, 0o777), (0o700, 0o701)])
def test_a_socket_that_others_may_use_or_replace_is_not_used(
    directory: int, file: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "SOCKETS", tmp_path)
    path = process.socket_of("lsaaaaaaaaaaaaa")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        path.chmod(file)
        tmp_path.chmod(directory)
        with pytest.raises(TunnelFailed, match="open to other users"):
            process.dial("lsaaaaaaaaaaaaa")


def test_a_process_of_somebody_else_is_never_ended(world: WireGuardWorld) -> None:
    device = world.spec(0, "t").device
    with network_of(world.pid(0)):
        theirs = subprocess.Popen(["wireguard-go", "-f", device], env={"WG_PROCESS_FOREGROUND": "1"})
    try:
        assert eventually(lambda: process.socket_of(device).exists() and device in world.run(0, "ip", "link"))
        with world.at(0) as tunnels:
            with pytest.raises(TunnelFailed, match="left alone"):
                tunnels.create(world.spec(0, "t"))
            tunnels.delete(device)
            assert device not in tunnels.found()
        assert theirs.poll() is None and device in world.run(0, "ip", "link")
    finally:
        theirs.terminate()
        theirs.wait()


def test_no_secret_is_in_an_argument_an_environment_a_log_or_a_file(world: WireGuardWorld) -> None:
    ends = join(world, "t")
    device = world.spec(0, "t").device
    private = _private_key(device)
    assert len(private) == 64
    pid = world.process_of(device)
    with world.at(0) as tunnels:
        seen = [
            Path(f"/proc/{pid}/cmdline").read_bytes(),
            Path(f"/proc/{pid}/environ").read_bytes(),
            Path(f"/proc/{pid}/fd/1").read_bytes(),
            Path(f"/proc/{pid}/fd/2").read_bytes(),
            repr((ends, tunnels.read(), peer(world, 1, "t", ends[1]), vars(tunnels))).encode(),
        ]
    for secret in (private, SECRET.hex()):
        for spelling in (secret.encode(), bytes.fromhex(secret)):
            assert not any(spelling in one for one in seen)


def _private_key(device: str) -> str:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(process.socket_of(device)))
        connection.sendall(uapi.GET)
        answer = connection.recv(65_536).decode()
    return dict(line.partition("=")[::2] for line in answer.splitlines())["private_key"]


def test_what_wireguard_go_says_when_it_cannot_start_is_in_the_failure(
    world: WireGuardWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = world.left()
    program = tmp_path / "wireguard-go"
    program.write_text("#!/bin/sh\necho more\necho 'ERROR: too many open files'\nexit 1\n")
    program.chmod(0o700)
    monkeypatch.setattr(process, "PROGRAM", str(program))
    with world.at(0) as tunnels, pytest.raises(TunnelFailed, match=r"ERROR: too many open files; .*max_user_inst"):
        tunnels.create(world.spec(0, "t"))
    assert world.left() == before


def test_a_name_that_linux_does_not_take_is_refused(world: WireGuardWorld) -> None:
    spec = TunnelSpec(**{**vars(world.spec(0, "t")), "device": "ls" + "a" * 20})
    with world.at(0) as tunnels, pytest.raises(TunnelFailed, match="cannot read device"):
        tunnels.create(spec)


def as_nobody(ask: Callable[[], Any]) -> Any:
    """What a user without any right gets."""
    here, there = _FORK.Pipe()

    def live() -> None:
        os.setgroups([])
        os.setuid(65_534)
        there.send(ask())

    child = _FORK.Process(target=live)
    child.start()
    try:
        assert here.poll(10)
        return here.recv()
    finally:
        child.join()


def test_what_is_missing_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert userspace_missing() == ""
    for ask in (userspace_missing, kernel_missing):
        assert "as root or with CAP_NET_ADMIN" in as_nobody(ask)
    monkeypatch.setattr(wireguard_go, "_TUN", tmp_path / "tun")
    assert "modprobe tun" in userspace_missing()
    monkeypatch.setattr(process, "PROGRAM", "wireguard-gone")
    assert "apt-get install" in userspace_missing()
