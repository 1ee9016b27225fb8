"""Only the holder of the key can make a probe that is believed."""

from hypothesis import given
from hypothesis import strategies as st

from ryu_apps.stitches.probe import StitchProbe, StitchProber
from stitching.match import ETH_PROBE

PROBER = StitchProber(b"k" * 32)
SOURCE, TARGET = "02:00:00:00:00:01", "02:00:00:00:00:02"

probes = st.builds(
    StitchProbe,
    stitch_id=st.integers(1, 2**32 - 1),
    epoch=st.integers(0, 2**16 - 1),
    direction=st.integers(0, 1),
    sent_s=st.integers(0, 2**40).map(lambda ns: ns / 1e9),
)


@given(probes)
def test_a_probe_comes_back_as_it_was_sent(probe: StitchProbe) -> None:
    assert PROBER.read(PROBER.frame(probe, SOURCE, TARGET)) == probe


@given(probes)
def test_a_probe_looks_like_the_traffic_of_its_stitch(probe: StitchProbe) -> None:
    frame = PROBER.frame(probe, SOURCE, TARGET)
    assert frame[:6].hex(":") == TARGET
    assert frame[6:12].hex(":") == SOURCE
    assert int.from_bytes(frame[12:14], "big") == ETH_PROBE


@given(probes, st.integers(0, 45), st.integers(1, 255))
def test_a_changed_probe_is_not_believed(probe: StitchProbe, position: int, flip: int) -> None:
    frame = bytearray(PROBER.frame(probe, SOURCE, TARGET))
    frame[position] ^= flip
    assert PROBER.read(bytes(frame)) is None


@given(probes)
def test_a_probe_of_another_key_is_not_believed(probe: StitchProbe) -> None:
    assert StitchProber(b"x" * 32).read(PROBER.frame(probe, SOURCE, TARGET)) is None


@given(st.binary(max_size=100))
def test_any_bytes_are_no_probe(frame: bytes) -> None:
    assert PROBER.read(frame) is None
