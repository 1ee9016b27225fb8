"""Hosts are apart that are known to be behind different tags, and no others; what is remembered is bounded."""

from __future__ import annotations

from ryu_apps.host_tags import HostTags

A, B = "02:00:00:00:00:01", "02:00:00:00:00:02"


def test_only_who_is_known_to_be_behind_other_tags_alone_is_apart() -> None:
    tags = HostTags(lambda: 0.0)
    assert not tags.apart(10, A), "nothing is known of it"
    tags.heard(A, 10)
    assert tags.apart(20, A) and tags.apart(None, A) and not tags.apart(10, A)
    tags.heard(A, None)
    assert not tags.apart(None, A) and not tags.apart(10, A), "a router is behind several"
    assert set(tags.of(A)) == {10, None} and tags.of(B) == ()


def test_a_host_that_speaks_behind_every_tag_takes_no_more_room_than_others() -> None:
    tags = HostTags(lambda: 0.0)
    for vid in range(4096):
        tags.heard(A, vid)
    assert len(tags.of(A)) == 16 and not tags.apart(4095, A)
    for number in range(5000):
        tags.heard(f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}", 1)
    assert tags.of(A) == ()


def test_that_two_are_apart_is_said_once_a_minute() -> None:
    now_s = [0.0]
    tags = HostTags(lambda: now_s[0])
    assert [tags.is_news(A, B), tags.is_news(A, B), tags.is_news(B, A)] == [True, False, True]
    now_s[0] = 61.0
    assert tags.is_news(A, B)
