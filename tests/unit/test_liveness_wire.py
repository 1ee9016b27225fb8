"""A liveness probe is read as it was written, and nothing else is taken for one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vte_agent.probing.liveness_wire import (
    LONGEST,
    MOST_HEARD,
    SEQUENCES,
    BadProbe,
    Flag,
    Heard,
    Probe,
    State,
    after,
    decode,
    encode,
)
from vte_agent.protocol.wanted import Liveness

NUMBERS = st.integers(0, SEQUENCES - 1)
IDS = st.integers(1, SEQUENCES - 1)
HELD = st.integers(0, 0xFFFF).map(lambda units: units * 1e-4)
FLAGS = st.sets(st.sampled_from([Flag.USING, Flag.KEEN, Flag.IDLE])).map(lambda flags: Flag(sum(flags)))
PROBES = st.builds(
    Probe,
    state=st.sampled_from(State),
    flags=FLAGS,
    multiplier=st.integers(1, 50),
    interval_us=st.integers(1, 10_000_000),
    mine=IDS,
    yours=NUMBERS,
    sequence=NUMBERS,
    heard_sequence=NUMBERS,
    heard_count=NUMBERS,
    held_s=HELD,
    others=st.lists(st.builds(Heard, NUMBERS, NUMBERS, HELD), max_size=MOST_HEARD).map(tuple),
)
PROBE = Probe(State.UP, Flag.USING | Flag.KEEN, 3, 50_000, 0x01020304, 0x05060708, 9, 10, 11, 0.05)


@given(PROBES)
def test_a_probe_is_read_as_it_was_written(probe: Probe) -> None:
    data = encode(probe)
    assert decode(data) == probe
    assert len(data) <= LONGEST


def test_the_bytes_do_not_drift() -> None:
    assert encode(PROBE) == bytes.fromhex(
        "4c53 01 0e 03 00 01f4 0000c350 01020304 05060708 00000009 0000000a 0000000b".replace(" ", "")
    )


@pytest.mark.parametrize("more", [{"interval_us": 10_000_001}, {"interval_us": SEQUENCES - 1}, {"multiplier": 51}])
def test_nobody_makes_the_other_end_wait_longer_than_liveness_allows(more: dict[str, int]) -> None:
    longest = Liveness(interval_ms=10_000, multiplier=50)
    assert decode(encode(replace(PROBE, interval_us=longest.interval_ms * 1000, multiplier=longest.multiplier)))
    with pytest.raises(BadProbe, match="silent for longer"):
        decode(encode(replace(PROBE, **more)))  # type: ignore[arg-type]


@given(st.binary(max_size=LONGEST + 20))
def test_other_bytes_are_refused_or_are_what_they_say(data: bytes) -> None:
    try:
        probe = decode(data)
    except BadProbe:
        return
    assert encode(probe) == data


@given(PROBES, st.data())
def test_a_cut_or_longer_probe_is_none(probe: Probe, data: st.DataObject) -> None:
    whole = encode(probe)
    with pytest.raises(BadProbe):
        decode(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(BadProbe):
        decode(whole + data.draw(st.binary(min_size=1, max_size=9)))


@given(PROBES, st.integers(0), st.integers(0, 7))
def test_a_flipped_bit_makes_no_crash(probe: Probe, byte: int, bit: int) -> None:
    data = bytearray(encode(probe))
    data[byte % len(data)] ^= 1 << bit
    test_other_bytes_are_refused_or_are_what_they_say.hypothesis.inner_test(bytes(data))  # type: ignore[attr-defined]


def test_more_tunnels_than_have_room_are_refused() -> None:
    with pytest.raises(ValueError, match="at most"):
        encode(Probe(**{**PROBE.__dict__, "others": (Heard(1, 1, 0.0),) * (MOST_HEARD + 1)}))


@given(NUMBERS, st.integers(-(SEQUENCES // 2) + 1, SEQUENCES // 2 - 1))
def test_sequence_numbers_wrap(earlier: int, ahead: int) -> None:
    assert after((earlier + ahead) % SEQUENCES, earlier) == ahead
