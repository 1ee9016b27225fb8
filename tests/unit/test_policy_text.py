"""A policy is read from YAML or JSON into plain values, and no text does harm."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ryu_apps.policy_text import MOST_BYTES, BadText, read_text


def test_what_is_no_number_or_truth_is_text() -> None:
    text = b"""
a: 18:00
b: 02:00:00:00:00:01
c: 2026-03-01
d: 8000-8005
e: no
f: 443
g: true
h: ~
i: 0x10
j: 0000000000000001
k: [tcp, 22]
"""
    assert read_text(text) == {
        "a": "18:00", "b": "02:00:00:00:00:01", "c": "2026-03-01", "d": "8000-8005", "e": "no", "f": 443,
        "g": True, "h": None, "i": "0x10", "j": "0000000000000001", "k": ["tcp", 22],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"a: &x [1]\nb: *x\n", "line 1, column 4: anchors and aliases are not taken"),
        (b"a: 1\na: 2\n", "line 2, column 1: 'a' is there twice"),
        (b'{"a": 1, "a": 2}', "'a' is there twice"),
        (b"a: !!python/object/apply:os.system [ls]\n", "could not determine a constructor"),
        (b"a: [1\nb", "line 2"),
        (b"\xff", "byte 0 is not UTF-8"),
        (b"[" * 100_000, "nested more than 20 deep"),
        (b'{"a":' * 50_000, "nested more than 20 deep"),
        (b"x" * (MOST_BYTES + 1), "the limit is"),
        (b'{"a": NaN}', "NaN is no number"),
        (b"? [a]\n: b\n", "a name has to be text"),
    ],
)
def test_what_cannot_be_taken_is_refused_with_where_and_why(text: bytes, message: str) -> None:
    with pytest.raises(BadText, match=message):
        read_text(text)


@given(st.binary() | st.text(alphabet="[]{}:,-&*!?|>'\"# \n\tab01", max_size=60).map(str.encode))
def test_any_bytes_are_read_or_refused(text: bytes) -> None:
    try:
        read_text(text)
    except BadText as error:
        assert str(error)  # noqa: PT017  # either is right


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(10**15), 10**15) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=10,
    ).map(lambda value: {"value": value})
)
def test_json_comes_back_as_it_was(value: object) -> None:
    assert read_text(json.dumps(value).encode()) == value
