"""A document of intents is read whole, or refused with every intent and field that is wrong."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stitching.application import Application
from stitching.intents.document import FORMS, Apart, End, EndBy, Latency, Part, Rate, Reach, Share, Transfer
from stitching.intents.faults import IntentError
from stitching.intents.reading import read_document
from stitching.intents.units import application_in, application_words, mbit_in, mbps_in, ms_in
from stitching.policy.faults import Refused
from stitching.policy.windows import Once, Weekly
from stitching.stitch import Protection
from tests.unit.intents_world import apart, document, latency, rate, reach, share, transfer


def only(item: dict[str, Any]) -> Any:
    return document(item).intents[0].form


def refused(*items: Any) -> list[str]:
    with pytest.raises(IntentError) as caught:
        read_document({"intents": list(items)})
    return [str(fault) for fault in caught.value.faults]


def test_low_latency_is_said_in_five_lines() -> None:
    terms = {"app": "tcp/443", "max_latency": "10 ms", "bandwidth": "5 Mbit/s", "protection": "link"}
    assert only(latency("video", "h1", "h2", **terms)) == Latency(
        (End(EndBy.NAME, "h1"), End(EndBy.NAME, "h2")),
        Application(6, target_port=443),
        10.0,
        5.0,
        Protection.LINK,
    )


def test_a_transfer_is_daily_where_its_deadline_is_a_time_of_day() -> None:
    form = only(transfer("backup", "s1", "s2", "200 GB", start="22:00", deadline="06:00", zone="Europe/Berlin"))
    assert isinstance(form, Transfer)
    assert form.amount_mbit == 200 * 8000
    assert form.window == Weekly(frozenset(range(7)), 22 * 60, 6 * 60, "Europe/Berlin")


def test_a_transfer_comes_once_where_its_deadline_is_a_moment() -> None:
    form = only(transfer("move", "s1", "s2", "1 TB", deadline="2026-12-01T06:00:00+01:00"))
    assert isinstance(form, Transfer) and isinstance(form.window, Once)
    assert form.window.from_s == float("-inf")


def test_who_is_apart_and_who_may_reach_whom() -> None:
    assert only(apart("a", "red", {"group": "guests"})) == Apart(
        (End(EndBy.NAME, "red"), End(EndBy.GROUP, "guests"))
    )
    assert isinstance(only(reach("r", "red", "blue", app="tcp/443", until="2026-12-01T00:00:00Z")), Reach)


def test_a_segment_is_of_networks_or_of_parts_of_them() -> None:
    part = {"vnet": "blue", "hosts": ["b1"], "subnets": ["10.2.8.0/24"]}
    form = only(share("lab", "red", part, bandwidth="2 Mbit/s", max_latency=20, max_loss="1 %"))
    blue = Part(End(EndBy.VNET, "blue"), ("b1",), ("10.2.8.0/24",))
    assert form == Share((Part(End(EndBy.NAME, "red")), blue), 2.0, 20.0, 0.01)


def test_a_rate_is_between_networks() -> None:
    form = only(rate("floor", "red", "blue", guarantee="5 Mbit/s", cap=10, follow_forecast=True))
    assert form == Rate(End(EndBy.VNET, "red"), End(EndBy.VNET, "blue"), 5.0, 10.0, follow_forecast=True)


@pytest.mark.parametrize(
    ("item", "field", "remedy"),
    [
        (share("x", "red"), "between", "name two"),
        (share("x", "red", "blue", protection="link"), "protection", "may have"),
        (share("x", "red", {"vnet": "blue", "subnets": ["10.2.8.1/24"]}), "subnets", "without host bits"),
        (share("x", "red", {"vnet": "blue", "hosts": "b1"}), "hosts", "write hosts: [...]"),
        (share("x", "red", {"group": "servers", "hosts": ["b1"]}), "group", "may have"),
        (rate("x", "red", "blue"), "guarantee", "say guarantee"),
        (rate("x", "red", "blue", guarantee=3, cap=2), "guarantee", "larger cap"),
        (rate("x", "red", "blue", cap=2, follow_forecast=True), "follow_forecast", "say guarantee"),
        (rate("x", "red", "blue", guarantee=2, follow_forecast="yes"), "follow_forecast", "say true"),
        ({"name": "x", "rate": {"from": {"host": "r1"}, "to": "blue", "cap": 2}}, "from", "virtual network"),
        ({"name": "x"}, "name", "say one of"),
        ({"name": "Bad Name", "apart": ["a", "b"]}, "name", "lower case"),
        ({"name": "x", "apart": ["a", "b"], "reach": {}}, "reach", "say one of"),
        ({"name": "x", "apart": ["a"]}, "apart", "two or more"),
        ({"name": "x", "color": "red", "apart": ["a", "b"]}, "color", "may have"),
        (latency("x", "a"), "between", "name two"),
        (latency("x", "a", "b", max_latency="fast"), "max_latency", "10 ms"),
        (latency("x", "a", "b", bandwidth="0 Mbit/s"), "bandwidth", "more than nothing"),
        (latency("x", "a", "b", app="http"), "app", "tcp"),
        (latency("x", "a", "b", app="icmp/80"), "app", "tcp/443"),
        (latency("x", "a", "b", protection="full"), "protection", "none or link or node"),
        (transfer("x", "a", "b", "much", deadline="06:00", zone="UTC"), "amount", "200 GB"),
        (transfer("x", "a", "b", "1 GB", deadline="06:00"), "zone", "Europe/Berlin"),
        (transfer("x", "a", "b", "1 GB", deadline="06:00", zone="Mars/Olympus"), "zone", "IANA"),
        (transfer("x", "a", "b", "1 GB", deadline="tomorrow"), "deadline", "2026-"),
        (transfer("x", "a", "b", "1 GB", deadline="06:00", start="late", zone="UTC"), "start", "22:00"),
        (reach("x", "a", "b", app="udp@46"), "app", "tcp/443"),
        ({"name": "x", "reach": {"from": {"site": "a"}, "to": "b"}}, "from", "host"),
    ],
)
def test_what_is_wrong_is_named_with_intent_field_and_remedy(item: Any, field: str, remedy: str) -> None:
    (fault,) = refused(item)
    assert fault.startswith(("intent 'x'", "intent 'Bad Name'")), fault
    assert f" {field}: " in fault and remedy in fault


def test_all_that_is_wrong_is_told_at_once() -> None:
    assert len(refused({"name": "a"}, {"name": "b"}, apart("c", "x", "y"), apart("c", "x", "y"), 7)) == 4


@pytest.mark.parametrize("whole", [None, [], {}, {"intents": {}}, {"intents": None}, {"intents": [], "x": 1}, 7])
def test_a_document_is_a_mapping_with_a_list_of_intents(whole: object) -> None:
    with pytest.raises(IntentError, match="the document"):
        read_document(whole)


def test_quantities_have_units_that_people_write() -> None:
    assert [mbps_in(text, "f") for text in (5, "5", "5 Mbit/s", "5mbit/s", "500 kbit/s", "1.5 Gbit/s")] == [
        5.0, 5.0, 5.0, 5.0, 0.5, 1500.0,
    ]  # fmt: skip
    assert [ms_in(text, "f") for text in (10, "10 ms", "0.5 s", "100us")] == [10.0, 10.0, 500.0, 0.1]
    assert [mbit_in(text, "f") for text in ("1 MB", "1 GB", "2 TB", 3)] == [8.0, 8000.0, 16e6, 24000.0]


@given(
    st.sampled_from([6, 17, 132, 1, 58, 47, None]),
    st.none() | st.integers(1, 65535),
    st.none() | st.integers(0, 63),
)
def test_an_application_reads_as_it_is_written(proto: int | None, port: int | None, dscp: int | None) -> None:
    port = port if proto in (6, 17, 132) else None
    if (proto, dscp) == (None, None):
        return
    application = Application(proto, target_port=port, ip_dscp=dscp)
    assert application_in(application_words(application), "app") == application


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["intents", "name", *FORMS, "between", "from", "to", "vnet", "hosts", "subnets", "cap"]
            )
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=40)
@given(_VALUES)
def test_whatever_comes_is_read_or_refused(value: object) -> None:
    forms = [{"intents": [{"name": "x", form: value}]} for form in FORMS]
    for whole in (value, {"intents": [value]}, *forms):
        with suppress(IntentError):
            read_document(whole)


@given(st.one_of(st.text(max_size=30), st.floats(), st.integers()))
def test_whatever_is_said_as_a_quantity_is_read_or_refused(value: object) -> None:
    for read in (mbps_in, ms_in, mbit_in, application_in):
        with suppress(Refused):
            read(value, "f")
