"""A forecaster that was stored forecasts on as if it never was; what is none is refused."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting import Calendar, Event, Forecaster, NoHistory, Panel, StoredError, dumps, loads

MEMBERS = ("last", "ewma", "sarimax")


def forecaster() -> Forecaster:
    rng = np.random.default_rng(0)
    values = 10 + rng.standard_normal((2, 200)).cumsum(axis=1)
    values[0, :30] = np.nan
    panel = Panel(np.arange(200.0) * 60, values, ("a", "b"), 60.0, {"loss": np.linspace(0, 1, 200)})
    made = Forecaster(
        3,
        members=MEMBERS,
        levels=(0.1, 0.5, 0.9),
        calendar=Calendar(day_s=3000.0, holidays=(50.0,)),
        events=(Event(600.0, 900.0, "backup"),),
        seed=7,
        replayed=90,
    )
    made.fit(panel)
    return made


@pytest.fixture(scope="module")
def stored() -> bytes:
    return dumps(forecaster())


def test_it_forecasts_on_as_if_it_had_never_been_stored(stored: bytes) -> None:
    one, other = forecaster(), loads(stored)
    for index in range(200, 230):
        for either in (one, other):
            either.update([index * 60.0], [[10.0 + index % 3], [np.nan]], {"loss": [0.5]})
        assert np.array_equal(one.predict().quantiles, other.predict().quantiles)
    assert (one.calendar, one.levels, one.members, one.seed, one.replayed) == (
        *(other.calendar, other.levels, other.members, other.seed, other.replayed),
    )


def test_nothing_can_be_stored_before_there_is_any() -> None:
    with pytest.raises(NoHistory):
        dumps(Forecaster(3))


def test_no_code_is_in_it(stored: bytes) -> None:
    with np.load(io.BytesIO(stored), allow_pickle=False) as archive:
        assert all(archive[name].dtype.kind in "fiub" for name in archive.files)


def changed(stored: bytes, **fields: Any) -> bytes:
    with np.load(io.BytesIO(stored)) as archive:
        arrays = dict(archive)
    header = json.loads(arrays["header"].tobytes()) | fields
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def test_another_release_is_named(stored: bytes) -> None:
    with pytest.raises(StoredError, match="format 99"):
        loads(changed(stored, version=99))


@pytest.mark.parametrize(
    "fields",
    [
        {"format": "a photograph"},
        {"horizon": 0},
        {"horizon": "three"},
        {"levels": [0.9, 0.1]},
        {"members": ["oracle"]},
        {"members": ["last"]},
        {"names": ["a"]},
        {"step_s": 1.0},
        {"calendar": {"day_s": -1.0}},
        {"calendar": None},
        {"fitted": ["sarimax"]},
        {"fitted": {"no such": []}},
        {"fitted": {"last": []}},
        {"fitted": {"last": ["no such"]}},
        {"columns": []},
        {"columns": ["loss", "no such"]},
        {"fitted_columns": []},
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(stored: bytes, fields: dict[str, Any]) -> None:
    with pytest.raises(StoredError, match="fit again"):
        loads(changed(stored, **fields))


def archive(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return buffer.getvalue()


def npy(text: bytes) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.frombuffer(text, dtype=np.uint8))
    return buffer.getvalue()


def npy_with(header: bytes) -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header


@pytest.mark.parametrize(
    "data",
    [
        archive(header=npy(b"[" * 100_000)),
        archive(header=npy_with(b"{'descr': (((\n")),
        archive(header=npy_with(b"  {\n 1\n")),
        archive(header=npy_with(b"{'descr': '|u1', 'fortran_order': False, 'shape': (%d,)}\n" % 10**15)),
        archive(),
    ],
    ids=["deep JSON", "unended header", "indented header", "huge shape", "nothing in it"],
)
def test_whatever_reading_raises_is_an_error_of_this_package(data: bytes) -> None:
    with pytest.raises(StoredError, match="fit again"):
        loads(data)


def test_one_said_to_be_encrypted_is_refused(stored: bytes) -> None:
    marked = bytearray(stored)
    for start, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        marked[marked.index(start) + flags] |= 1
    with pytest.raises(StoredError, match="damaged"):
        loads(bytes(marked))


def test_what_unpacks_to_too_much_is_refused_and_what_is_not_asked_for_is_not_read(stored: bytes) -> None:
    bomb = io.BytesIO(stored)
    with zipfile.ZipFile(bomb, "a") as file:
        file.writestr("stranger.npy", b"no array")
    assert np.isfinite(loads(bomb.getvalue()).predict().mean).all()
    marked = bytearray(bomb.getvalue())
    last = marked.rindex(b"PK\x01\x02")
    marked[last + 24 : last + 28] = struct.pack("<I", 2**31)
    with pytest.raises(StoredError, match="unpacks to more than"):
        loads(bytes(marked))


def test_numbers_of_numpy_are_stored_as_well() -> None:
    made = Forecaster(
        np.int64(3),  # type: ignore[arg-type]
        members=("last",),
        levels=np.array([0.1, 0.9], dtype=np.float32),  # type: ignore[arg-type]
        calendar=Calendar(np.int64(3000), np.int64(5), np.float32(0), (np.int64(50),)),  # type: ignore[arg-type]
        events=(Event(np.int64(5), np.float32(9), "backup"),),  # type: ignore[arg-type]
        seed=np.int64(7),  # type: ignore[arg-type]
        replayed=np.int64(90),  # type: ignore[arg-type]
    )
    made.fit(Panel(np.arange(5.0), np.ones((1, 5)), ("a",), np.int64(1)))  # type: ignore[arg-type]
    again = loads(dumps(made))
    assert (again.seed, again.horizon, again.calendar) == (7, 3, made.calendar)


@pytest.mark.parametrize("name", [("a", "b"), np.int64(3), None])
def test_a_name_that_could_not_be_read_again_is_not_stored(name: str) -> None:
    made = Forecaster(3, members=("last",))
    made.fit(Panel(np.zeros(1), np.ones((1, 1)), (name,), 1.0))
    with pytest.raises(StoredError, match="name series by strings"):
        dumps(made)


def test_columns_may_have_any_names_and_keep_them() -> None:
    names = ("x", "x.npy", "a/b", "../c", "\\", "header", "ü")
    columns = {name: np.full(5, float(index)) for index, name in enumerate(names)}
    made = Forecaster(3, members=("last", "ridge"))
    made.fit(Panel(np.arange(5.0), np.ones((1, 5)), ("a",), 1.0, columns))
    again = loads(dumps(made))
    assert tuple(again.history().columns) == again.parameters.columns == names
    assert all(again.history().columns[name].tolist() == column.tolist() for name, column in columns.items())


@given(st.binary(max_size=200))
def test_bytes_that_are_no_forecaster_are_refused(data: bytes) -> None:
    with pytest.raises(StoredError):
        loads(data)


def test_nobody_is_advised_to_open_pickles() -> None:
    objects = io.BytesIO()
    np.savez(objects, header=np.array([{}], dtype=object))
    for data in (b"junk", b"\x80\x04K\x01.", objects.getvalue(), b"\x93NUMPY", b""):
        with pytest.raises(StoredError, match=r"not a stored forecaster, or damaged \(\w+\); fit again") as caught:
            loads(data)
        assert "pickle" not in str(caught.value)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_damaged_one_is_refused_or_forecasts_all_the_same(stored: bytes, data: st.DataObject) -> None:
    damaged = bytearray(stored)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(1, len(damaged)))
    try:
        made = loads(bytes(damaged[:cut]))
    except StoredError:
        return
    assert np.isfinite(made.predict().quantiles).all()
