"""Series in files: what is read, what is repaired and told, what is refused; nothing else ever happens."""

from __future__ import annotations

import gzip
import io
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting import Event
from ryu_apps.forecasts.clock import UnevenClock, on_even_clock
from ryu_apps.forecasts.errors import BadSeries
from ryu_apps.forecasts.series import SeriesFile, events_within, read_events, read_series

DATA = Path(__file__).parents[3] / "shared" / "data"
START_S = 1_700_000_000
MATRICES = np.arange(1, 37, dtype=np.float64).reshape(4, 3, 3)


def csv_file(directory: Path, text: str | bytes, name: str = "series.csv") -> Path:
    path = directory / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def read(directory: Path, text: str | bytes, *names: str, top: int | None = None) -> SeriesFile:
    return read_series(csv_file(directory, text), names, top)


def values(found: SeriesFile) -> list[list[float | None]]:
    return [[None if np.isnan(value) else value for value in row] for row in found.panel.values.tolist()]


def npz(directory: Path, **arrays: object) -> Path:
    out = io.BytesIO()
    np.savez(out, **arrays)  # type: ignore[arg-type]  # anything savez takes
    return csv_file(directory, out.getvalue(), "demand.npz")


# what is read --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [
    ("2004-03-01 00:00:00", "2004-03-01 00:05:00"),
    ("2004-03-01T01:00+01:00", "2004-03-01T00:05Z"),
    ("1078099200", "1078099500"),
    ("1078099200000", "1078099500000"),
])  # fmt: skip
def test_times_are_iso_or_counted_since_1970(tmp_path: Path, times: tuple[str, str]) -> None:
    found = read(tmp_path, f"time,rate\n{times[0]},1.5\n{times[1]},2\n")
    assert found.panel.times.tolist() == [1078099200.0, 1078099500.0]
    assert values(found) == [[1.5, 2.0]] and found.panel.names == ("rate",) and found.notes == ()


def test_gzip_tabs_semicolons_marks_and_line_ends_are_read(tmp_path: Path) -> None:
    for text in ("a;time\r\n1;10\r\n2;20\r\n", "\ufeffa\ttime\n1\t10\n\n2\t20", 'a,"time"\n"1",10\n2,20\n'):
        for data in (text.encode(), gzip.compress(text.encode())):
            assert values(read(tmp_path, data)) == [[1.0, 2.0]]


def test_columns_are_chosen_by_name_and_text_is_left_out(tmp_path: Path) -> None:
    text = "time,host,a,b\n0,x,1,5\n60,y,2,6\n"
    found = read(tmp_path, text)
    assert found.panel.names == ("a", "b") and found.notes == ("columns without a number were left out: host",)
    assert read(tmp_path, text, "b", "b").panel.names == ("b",)
    assert read(tmp_path, text, top=1).panel.names == ("b",)
    with pytest.raises(BadSeries, match="no number in column 'host'"):
        read(tmp_path, text, "host")


def test_matrices_become_series_of_pairs(tmp_path: Path) -> None:
    times = np.array(["2004-03-01T00:00", "2004-03-01T00:05", "2004-03-01T00:10", "NaT"], dtype="datetime64[m]")
    path = npz(tmp_path, tm_mbps=MATRICES, nodes=np.array(["a", "b", "c"]), time=times)
    found = read_series(path, top=2)
    assert found.panel.names == ("c:b", "c:a") and found.panel.step_s == 300.0
    assert found.panel.values[0].tolist() == MATRICES[:3, 2, 1].tolist()
    assert read_series(path, ["a:a"]).panel.values[0].tolist() == MATRICES[:3, 0, 0].tolist()
    with pytest.raises(BadSeries, match="no demand 'a:d'"):
        read_series(path, ["a:d"])


def test_matrices_without_times_or_traffic(tmp_path: Path) -> None:
    matrices = MATRICES.copy()
    matrices[:, 0, 1] = 0.0
    found = read_series(npz(tmp_path, tm=matrices))
    assert found.panel.names == ("0:2", "1:0", "1:2", "2:0", "2:1")
    assert found.notes == (
        "3 demands within a node were left out; --column 0:0 takes such a one",
        "no times in it: taken as 300 s apart; --step says another time",
        "1 demands without any traffic were left out",
    )
    matrices[:, range(3), range(3)] = 0.0
    assert len(read_series(npz(tmp_path, tm=matrices)).notes) == 2
    with pytest.raises(BadSeries, match="no traffic in it"):
        read_series(npz(tmp_path, tm=0 * matrices))


def test_a_step_is_for_matrices_without_times(tmp_path: Path) -> None:
    found = read_series(npz(tmp_path, tm=MATRICES), step_s=60.0)
    assert found.panel.step_s == 60.0 and not any("apart" in note for note in found.notes)
    timed = npz(tmp_path, tm=MATRICES, time=np.arange(4).astype("datetime64[h]"))
    for path in (timed, csv_file(tmp_path, "time,a\n0,1\n60,2\n")):
        with pytest.raises(BadSeries, match="says its times itself; leave --step out"):
            read_series(path, step_s=60.0)


# what is repaired ----------------------------------------------------------------------------------------


def test_what_is_no_rate_is_missing_and_counted(tmp_path: Path) -> None:
    cells = ("1", "", "NA", "-3", "inf", "-inf", "oops", "nan", "2")
    found = read(tmp_path, "time,rate\n" + "".join(f"{60 * at},{cell}\n" for at, cell in enumerate(cells)))
    assert values(found) == [[1.0, *[None] * 7, 2.0]]
    assert found.notes == (
        "1 cells that hold no number count as missing",
        "2 infinite values count as missing",
        "1 negative values count as missing",
    )


def test_gaps_doubles_jumps_and_disorder_go_on_an_even_clock(tmp_path: Path) -> None:
    rows = ((0, 1), (10, 2), (20, 3), (20, 4), (60, 5), (30, 6), (73, 7), (80, 8))
    found = read(tmp_path, "time,rate\n" + "".join(f"{at},{value}\n" for at, value in rows))
    assert found.panel.step_s == 10.0
    assert values(found) == [[1.0, 2.0, 4.0, 6.0, None, None, 5.0, 7.0, 8.0]]
    assert found.notes == (
        "1 rows were earlier than the one before and were sorted in",
        "1 samples came twice for one time; the last one stays",
        "1 samples were off an even clock of 10 s and went to the nearest tick",
        "2 of 9 ticks have no sample and are missing",
    )


def test_the_last_row_of_several_for_one_tick_stays_whatever_its_own_time() -> None:
    even = on_even_clock(np.array([0.0, 10.0, 21.0, 19.0, 30.0]), np.array([[0.0, 1.0, 2.0, 3.0, 4.0]]))
    assert even.values.tolist() == [[0.0, 1.0, 3.0, 4.0]]


def test_polls_that_are_a_little_late_do_not_move_the_clock() -> None:
    rng = np.random.default_rng(2)
    times = 1e9 + np.cumsum(10.0 + 0.04 * rng.normal(size=1000))
    even = on_even_clock(times, np.ones((1, 1000)))
    assert even.step_s == 10.0 and even.gaps <= 1 and even.times.size == 1000 + even.gaps - even.doubled


def test_rows_that_are_short_or_have_no_time(tmp_path: Path) -> None:
    found = read(tmp_path, "time,a,b\n0,1,2\n60,3\nsoon,9,9\n120,5,6,7\n\n")
    assert values(found) == [[1.0, 3.0, 5.0], [2.0, None, 6.0]]
    assert found.notes == ("1 rows without a time that can be read were left out",)


def test_a_gap_of_days_is_a_gap_and_a_jump_of_years_is_refused(tmp_path: Path) -> None:
    assert read(tmp_path, "time,a\n0,1\n60,1\n120,1\n864000,2\n").panel.times.size == 14401
    with pytest.raises(BadSeries, match=r"the clock jumped; cut the file where it did"):
        read(tmp_path, f"time,a\n0,1\n60,1\n120,1\n{START_S},2\n")
    with pytest.raises(UnevenClock, match=r"at least 0\.001 s apart"):
        on_even_clock(np.array([0.0, 1e-7, 2e-7]), np.ones((1, 3)))


# what is refused -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "said"), [
    ("", "is empty"),
    ("\n\n", "is empty"),
    ("time,a\n", "no rows"),
    ("0,1\n60,2\n", "names no columns"),
    ("2004-03-01,1\n", "names no columns"),
    ("time\n0\n", "only the column 'time'"),
    ("time,a,a\n0,1,2\n", "two columns 'a'"),
    ("time,a\nsoon,1\nlater,2\n", "nothing in column 'time' is a time"),
    ("time,a\n0,x\n60,y\n", "no number in column 'a'"),
    ("time,a\n0,-1\n60,inf\n", "no sample in it is a number from 0 on"),
    ("time,a\n60,1\n60,2\n", "all samples are of one time"),
    ("time,a\n" + "1" * 2_000_000, "line of more than"),
    (b"time,a\n\xff\xfe,1\n", "cannot be read"),
    (gzip.compress(b"time,a\n0,1\n60,2\n" * 50, mtime=0)[:30], "cannot be read"),
    (b"PK\x03\x04 no archive", "not a readable .npz"),
])  # fmt: skip
def test_a_file_that_cannot_be_read_says_why_and_what_to_give(
    tmp_path: Path, text: str | bytes, said: str
) -> None:
    with pytest.raises(BadSeries, match=said) as caught:
        read(tmp_path, text)
    assert str(tmp_path) in str(caught.value) and ";" in str(caught.value)


def test_a_file_that_is_not_there_or_a_directory(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.csv"):
        with pytest.raises(BadSeries, match="cannot be read"):
            read_series(path)


def test_archives_that_lie_or_hold_something_else(tmp_path: Path) -> None:
    good = {"tm": MATRICES}
    for wrong, said in (
        ({"tm": np.array([{"a": 1}], dtype=object)}, "pickled"),
        ({"tm": np.array(["a"])}, "has type"),
        ({"other": MATRICES}, "no array tm_mbps or tm, only other"),
        ({"tm": MATRICES[0]}, "shape"),
        ({**good, "nodes": np.array(["a", "b"])}, "2 node names"),
        ({**good, "nodes": np.array(["a", "b", "a"])}, "3 node names"),
        ({**good, "time": np.array(["2004"], dtype="datetime64[s]")}, "time has shape"),
    ):
        with pytest.raises(BadSeries, match=said):
            read_series(npz(tmp_path, **wrong))


def test_events_may_be_counted_since_1970_and_their_columns_in_any_case(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "Kind;START_UTC;End_utc\nmatch;897492600;897499500000\n")
    assert read_events(path) == (Event(897492600.0, 897499500.0, "match"),)


def test_events_outside_the_time_of_the_file_are_told_apart(tmp_path: Path) -> None:
    panel = read(tmp_path, "time,a\n1000,1\n1060,1\n1120,2\n").panel
    spans = ((0, 999), (0, 1000), (1050, 1051), (1120, 1200), (1121, 1200))
    assert events_within(panel, [Event(start, end, "a") for start, end in spans]) == 3


def test_events_are_read_and_broken_ones_refused(tmp_path: Path) -> None:
    good = "start_utc,end_utc,kind\n1998-06-10 15:30:00,1998-06-10 17:25:00,match\n"
    event = read_events(csv_file(tmp_path, good))[0]
    assert (event.start_s, event.end_s - event.start_s, event.kind) == (897492600.0, 6900.0, "match")
    for text, said in (
        ("", "no events"),
        (good.splitlines()[0], "no events"),
        (good + "1998-06-10 15:30:00,,match\n", "line 3: no end_utc"),
        (good + "\n\nsoon,1998-06-10 17:25:00,match\n", "line 5: time 'soon'"),
        (good + "1998-06-11 15:30:00,1998-06-10 17:25:00,match\n", "line 3: .*11 15:30:00 UTC to .*ends before"),
        ("time,value\n1,2\n", "no column start_utc, only time, value"),
        (good.splitlines()[1], "has no header: its first line starts with '1998-06-10 15:30:00'"),
        ("match,897492600,897499500\n", "has no header"),
    ):
        with pytest.raises(BadSeries, match=said):
            read_events(csv_file(tmp_path, text))


CELLS = st.sampled_from([
    "", "0", "60", "120", "-1", "1e308", "-1e308", "1e-320", "inf", "nan", "NA", "x", "1,2", '"', "2004-03-01",
    "\x00", "9999-12-31T23:59:59+00:00", "0001-01-01", "1e18", "1_0", " 7 ", "1700000000", "1700000060.5",
])  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.lists(CELLS, max_size=4), max_size=8), st.sampled_from(["time,a,b", "a,time", "time", "x;y", ""])
)
def test_odd_cells_never_do_anything_but_refuse(rows: list[list[str]], header: str) -> None:
    never_worse(f"{header}\n" + "\n".join(",".join(row) for row in rows))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_odd_bytes_never_do_anything_but_refuse(data: bytes, packed: bool) -> None:
    never_worse(gzip.compress(data) if packed else data)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 5000), st.integers(0, 255))
def test_damaged_archives_never_do_anything_but_refuse(place: int, byte: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        times = np.arange(4).astype("datetime64[h]")
        data = bytearray(
            npz(Path(directory), tm=MATRICES, nodes=np.array(["a", "b", "c"]), time=times).read_bytes()
        )
    data[place % len(data)] = byte
    never_worse(bytes(data))


def never_worse(data: str | bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = csv_file(Path(directory), data)
        for reader in (read_series, read_events):
            try:
                found = reader(path)
            except BadSeries:
                continue
            if isinstance(found, SeriesFile):
                known = found.panel.values[np.isfinite(found.panel.values)]
                assert known.size and (known >= 0).all()


@pytest.mark.skipif(not DATA.is_dir(), reason="the data sets are not beside the project")
def test_every_data_set_is_read() -> None:
    for path in [*sorted(DATA.glob("*/*.npz")), *sorted(DATA.glob("series/*.csv.gz"))]:
        assert read_series(path).panel.times.size > 20
    assert len(read_events(DATA / "series" / "wc98_events.csv")) == 48
