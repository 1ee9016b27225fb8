"""The text that wireguard-go and the agent exchange, and what makes a device what it should be.

The model of wireguard-go here is written from the protocol's description, apart from the code.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vte_agent.protocol.base import public_text
from vte_agent.protocol.wanted import Endpoint
from vte_agent.tunnels import uapi
from vte_agent.tunnels.contract import PeerEnd
from vte_agent.tunnels.wireguard_state import (
    ANYTHING,
    KEEPALIVE_S,
    DeviceState,
    PeerChange,
    PeerState,
    change_for,
    is_done,
    public_of,
    secret_digest,
)

keys = st.binary(min_size=32, max_size=32).filter(any)
endpoints = st.builds(
    Endpoint,
    address=st.one_of(st.ip_addresses(v=4), st.integers(1 << 96, (1 << 128) - 1).map(IPv6Address)),
    port=st.integers(1, 65535),
)


@dataclass
class Peer:
    secret: bytes = bytes(32)
    endpoint: str = ""
    allowed: list[str] = field(default_factory=list)
    keepalive_s: int = 0
    handshake: tuple[int, int] = (0, 0)
    received: int = 0
    sent: int = 0


@dataclass
class Device:
    """wireguard-go, as far as its socket shows it."""

    private_key: bytes = b""
    port: int = 0
    mark: int = 0
    peers: dict[bytes, Peer] = field(default_factory=dict)
    calls: int = 0

    def set(self, request: bytes) -> bytes:
        first, *lines = request.decode().removesuffix("\n\n").split("\n")
        assert first == "set=1"
        peer = Peer()
        key = b""
        for name, _, value in (line.partition("=") for line in lines):
            match name:
                case "private_key":
                    self.private_key = bytes.fromhex(value)
                case "fwmark":
                    self.mark = int(value)
                case "public_key":
                    key = bytes.fromhex(value)
                    peer = self.peers.setdefault(key, Peer())
                case "remove":
                    del self.peers[key]
                case "preshared_key":
                    peer.secret = bytes.fromhex(value)
                case "endpoint":
                    peer.endpoint = value
                case "replace_allowed_ips":
                    peer.allowed = []
                case "allowed_ip":
                    peer.allowed.append(value)
                case "persistent_keepalive_interval":
                    self.calls += int(value) > 0 and peer.keepalive_s == 0
                    peer.keepalive_s = int(value)
                case _:
                    return b"errno=-22\n\n"
        return b"errno=0\n\n"

    def get(self) -> bytes:
        lines = []
        if self.private_key:
            lines.append(f"private_key={self.private_key.hex()}")
        lines += [f"listen_port={self.port}"] * (self.port != 0) + [f"fwmark={self.mark}"] * (self.mark != 0)
        for key, peer in self.peers.items():
            lines += [f"public_key={key.hex()}", f"preshared_key={peer.secret.hex()}", "protocol_version=1"]
            lines += [f"endpoint={peer.endpoint}"] * (peer.endpoint != "")
            lines += [f"last_handshake_time_sec={peer.handshake[0]}"]
            lines += [f"last_handshake_time_nsec={peer.handshake[1]}"]
            lines += [f"tx_bytes={peer.sent}", f"rx_bytes={peer.received}"]
            lines += [f"persistent_keepalive_interval={peer.keepalive_s}"]
            lines += [f"allowed_ip={prefix}" for prefix in peer.allowed]
        return "".join(f"{line}\n" for line in (*lines, "errno=0", "")).encode()


def text(endpoint: Endpoint | None) -> str:
    if endpoint is None:
        return ""
    bracketed = isinstance(endpoint.address, IPv6Address)
    return f"[{endpoint.address}]:{endpoint.port}" if bracketed else f"{endpoint.address}:{endpoint.port}"


counts = st.integers(0, (1 << 63) - 1)
peers = st.builds(
    Peer,
    secret=st.one_of(keys, st.just(bytes(32))),
    endpoint=st.one_of(st.just(""), endpoints.map(text)),
    allowed=st.lists(st.ip_addresses().map(lambda a: f"{a}/{a.max_prefixlen}"), max_size=3, unique=True)
    | st.just(sorted(ANYTHING)),
    keepalive_s=st.sampled_from([0, 7, KEEPALIVE_S]),
    handshake=st.tuples(st.integers(0, 2_000), st.integers(0, 999_999_999)),
    received=counts,
    sent=counts,
)
devices = st.builds(
    Device,
    private_key=st.one_of(st.just(b""), keys),
    port=st.integers(0, 65535),
    mark=st.integers(0, (1 << 32) - 1),
    peers=st.dictionaries(keys, peers, max_size=3),
)


@given(devices)
def test_what_a_device_says_is_read_as_it_is(device: Device) -> None:
    state = uapi.device_state(device.get())
    assert state.public_key == (public_of(device.private_key) if device.private_key else None)
    assert (state.port, state.mark) == (device.port, device.mark)
    assert [peer.public_key for peer in state.peers] == list(device.peers)
    for read, peer in zip(state.peers, device.peers.values(), strict=True):
        assert read.secret_digest == secret_digest(peer.secret)
        assert (read.received_bytes, read.sent_bytes) == (peer.received, peer.sent)
        assert text(read.endpoint) == peer.endpoint
        assert read.keepalive_s == peer.keepalive_s and read.allowed == set(peer.allowed)
        at_s = peer.handshake[0] + peer.handshake[1] / 1e9
        assert read.handshake_at_s == (pytest.approx(at_s) if at_s else None)


@given(devices, keys, keys, st.one_of(st.none(), endpoints), st.booleans())
def test_any_device_gets_the_peer_it_should_have(
    device: Device, key: bytes, secret: bytes, endpoint: Endpoint | None, again: bool
) -> None:
    for known in (key, *device.peers):
        end = PeerEnd(public_text(known), secret, endpoint)
        state = uapi.device_state(device.get())
        change = change_for(state, end, known, now_s=1_000.0, again=again)
        assert device.set(uapi.set_peer(change)) == b"errno=0\n\n"
        after = uapi.device_state(device.get())
        assert is_done(after, end, known) or (endpoint and not after.peers[0].endpoint)
        assert list(device.peers) == [known]


@given(devices, keys, keys, endpoints)
def test_to_say_it_again_changes_nothing_that_packets_depend_on(
    device: Device, key: bytes, secret: bytes, endpoint: Endpoint
) -> None:
    end = PeerEnd(public_text(key), secret, endpoint)
    state = uapi.device_state(device.get())
    device.set(uapi.set_peer(change_for(state, end, key, now_s=1_000.0, again=True)))
    roamed = "203.0.113.7:4711"
    device.peers[key].endpoint, device.peers[key].handshake = roamed, (900, 0)
    calls = device.calls
    request = uapi.set_peer(change_for(uapi.device_state(device.get()), end, key, now_s=1_000.0, again=True))
    assert request == f"set=1\npublic_key={key.hex()}\nendpoint={roamed}\n\n".encode()
    device.set(request)
    assert device.calls == calls


@given(keys, keys, endpoints)
def test_a_peer_that_never_answered_is_called_again(key: bytes, secret: bytes, endpoint: Endpoint) -> None:
    device = Device()
    end = PeerEnd(public_text(key), secret, endpoint)
    for calls in (1, 2, 3):
        state = uapi.device_state(device.get())
        device.set(uapi.set_peer(change_for(state, end, key, now_s=1_000.0, again=True)))
        assert device.calls == calls
        assert is_done(uapi.device_state(device.get()), end, key)


@given(keys, keys, keys, endpoints)
def test_one_of_two_ends_knows_where_the_other_is_and_the_other_waits_for_its_call(
    near: bytes, far: bytes, secret: bytes, endpoint: Endpoint
) -> None:
    ends = Device(private_key=near), Device(private_key=far)
    others = tuple(public_of(one.private_key) for one in reversed(ends))
    if others[0] == others[1]:
        return
    for device, key in zip(ends, others, strict=True):
        end = PeerEnd(public_text(key), secret, endpoint)
        for _ in range(2):
            device.set(
                uapi.set_peer(change_for(uapi.device_state(device.get()), end, key, now_s=1.0, again=False))
            )
            assert is_done(uapi.device_state(device.get()), end, key)
    known = [device.peers[key].endpoint for device, key in zip(ends, others, strict=True)]
    assert sorted(known) == ["", text(endpoint)]
    called = known.index("")
    # No call has come: it calls.
    state = uapi.device_state(ends[called].get())
    end = PeerEnd(public_text(others[called]), secret, endpoint)
    ends[called].set(uapi.set_peer(change_for(state, end, others[called], now_s=1.0, again=True)))
    assert ends[called].peers[others[called]].endpoint == text(endpoint)


@given(st.binary(max_size=400))
def test_garbage_is_refused_and_never_shown(garbage: bytes) -> None:
    for read in (uapi.device_state, uapi.set_errno):
        said = ""
        try:
            read(garbage)
        except uapi.BadAnswer as error:
            said = repr(error)
        assert len(garbage) < 8 or garbage.decode("latin-1") not in said


@given(devices, st.data())
def test_a_damaged_answer_is_read_or_refused_and_no_secret_is_shown(device: Device, data: st.DataObject) -> None:
    answer = bytearray(device.get())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(answer) - 1))
        match data.draw(st.integers(0, 2)):
            case 0:
                answer[at] = data.draw(st.integers(0, 255))
            case 1:
                del answer[at : at + data.draw(st.integers(1, 80))]
                answer += b"\n" * (not answer)
            case _:
                line = data.draw(st.sampled_from([b"public_key=\n", b"errno=0\n", b"=\n", b"fwmark=-1\n", b"\n"]))
                answer[at:at] = line
    try:
        said = repr(uapi.device_state(bytes(answer)))
    except uapi.BadAnswer as error:
        said = repr(error)
    for key in (device.private_key, *(peer.secret for peer in device.peers.values())):
        if any(key):
            assert key.hex() not in said and base64.b64encode(key).decode() not in said and repr(key) not in said


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "cut off"),
        (b"errno=0\n", "cut off"),
        (b"\xff\n\n", "ASCII"),
        (b"errno=-22\n\n", "errno -22"),
        (b"listen_port=1\n\n", "end with its errno"),
        (b"listen_port=65536\nerrno=0\n\n", "greater than 65535"),
        (b"listen_port=1\nlisten_port=2\nerrno=0\n\n", "twice"),
        (b"allowed_ip=::/0\nerrno=0\n\n", "no kind that is known"),
        (b"private_key=00\nerrno=0\n\n", "64 hexadecimal"),
        (b"public_key=" + b"0" * 63 + b"\nerrno=0\n\n", "64 hexadecimal"),
        (b"public_key=" + b"1" * 64 + b"\npublic_key=" + b"1" * 64 + b"\nerrno=0\n\n", "twice"),
        (b"public_key=" + b"1" * 64 + b"\nendpoint=localhost:9\nerrno=0\n\n", "address:port"),
        (b"public_key=" + b"1" * 64 + b"\nendpoint=10.0.0.1:0\nerrno=0\n\n", "address:port"),
        (b"public_key=" + b"1" * 64 + b"\nallowed_ip=10.0.0.1/8\nerrno=0\n\n", "no prefix"),
        (b"public_key=" + b"1" * 64 + b"\nprotocol_version=2\nerrno=0\n\n", "another version"),
        (b"nothing\nerrno=0\n\n", "key and value"),
    ],
)
def test_an_answer_that_cannot_be_is_refused_with_the_reason(answer: bytes, why: str) -> None:
    with pytest.raises(uapi.BadAnswer, match=why):
        uapi.device_state(answer)


def test_an_endless_answer_ends() -> None:
    assert not uapi.is_whole(b"x" * uapi.MOST_BYTES)
    with pytest.raises(uapi.BadAnswer, match="longer"):
        uapi.is_whole(b"x" * (uapi.MOST_BYTES + 1))


def test_a_mapped_address_is_the_address_it_maps() -> None:
    answer = b"public_key=" + b"1" * 64 + b"\nendpoint=[::ffff:10.0.0.1]:9\nerrno=0\n\n"
    assert uapi.device_state(answer).peers[0].endpoint == Endpoint(address=IPv4Address("10.0.0.1"), port=9)


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(32), b"x" * 33])
def test_no_key_but_one_is_ever_sent(key: bytes) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        uapi.set_own(key, 0)
    with pytest.raises(ValueError, match="32 bytes"):
        uapi.set_peer(PeerChange(b"k" * 32, key, None, (), allowed=True, wake=True))


def test_a_mark_has_32_bits() -> None:
    with pytest.raises(ValueError, match="32 bits"):
        uapi.set_own(None, 1 << 32)


def test_a_change_in_a_log_has_no_secret() -> None:
    change = PeerChange(b"k" * 32, b"s" * 32, None, (), allowed=True, wake=True)
    assert "s" * 8 not in repr(change)


@pytest.mark.parametrize(("now_s", "age_s"), [(1000.0, 100.0), (800.0, 0.0)])
def test_a_clock_that_was_set_back_gives_no_handshake_in_the_future(now_s: float, age_s: float) -> None:
    peer = PeerState(b"k" * 32, None, None, 900.0, 1, 2, 0, frozenset())
    assert DeviceState(None, 0, 0, (peer,)).reading(now_s).handshake_age_s == age_s
