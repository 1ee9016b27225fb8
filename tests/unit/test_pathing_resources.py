"""Reservations: never more promised than a link has, whatever the order of calls."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pathing import Oversubscribed, ResourceError, Resources

KEYS = st.sampled_from(["ab", "bc", "cd"])
OWNERS = st.integers(0, 5)
MBPS = st.floats(1e-6, 40) | st.sampled_from([0.1, 0.2, 0.3, 1 / 3, 10.0])


class Bookings(RuleBasedStateMachine):
    """Any calls in any order, beside a plain list of what was granted, in bit/s."""

    def __init__(self) -> None:
        super().__init__()
        self.capacity = {"ab": 10_000_000, "bc": 20_000_000, "cd": 30_300_000}
        self.granted: dict[int, tuple[list[str], int]] = {}
        self.resources = Resources({key: bits / 1e6 for key, bits in self.capacity.items()})
        self.shrunk: set[str] = set()

    def promised(self, key: str) -> int:
        return sum(bits * keys.count(key) for keys, bits in self.granted.values())

    def fits(self, keys: list[str], more: int) -> bool:
        return all(keys.count(key) * more <= max(0, self.capacity[key] - self.promised(key)) for key in keys)

    @rule(owner=OWNERS, keys=st.lists(KEYS, min_size=1, max_size=4), mbps=MBPS)
    def reserve(self, owner: int, keys: list[str], mbps: float) -> None:
        bits = round(mbps * 1e6)
        if owner in self.granted or bits < 1:
            with pytest.raises(ResourceError, match=str(owner)):
                self.resources.reserve(owner, keys, mbps)
        elif self.fits(keys, bits):
            assert self.resources.reserve(owner, keys, mbps).keys == tuple(keys)
            self.granted[owner] = (keys, bits)
        else:
            with pytest.raises(Oversubscribed) as caught:
                self.resources.reserve(owner, keys, mbps)
            assert caught.value.key in keys
            assert caught.value.asked_mbps > caught.value.free_mbps

    @rule(owner=OWNERS, mbps=MBPS)
    def resize(self, owner: int, mbps: float) -> None:
        bits = round(mbps * 1e6)
        if owner not in self.granted or bits < 1:
            with pytest.raises(ResourceError):
                self.resources.resize(owner, mbps)
            return
        keys, old = self.granted[owner]
        if bits <= old or self.fits(keys, bits - old):
            self.resources.resize(owner, mbps)
            self.granted[owner] = (keys, bits)
        else:
            with pytest.raises(Oversubscribed):
                self.resources.resize(owner, mbps)

    @rule(owner=OWNERS)
    def release(self, owner: int) -> None:
        assert (self.resources.release(owner) is None) == (owner not in self.granted)
        self.granted.pop(owner, None)

    @rule(key=KEYS, mbps=st.floats(0, 50))
    def set_capacity(self, key: str, mbps: float) -> None:
        self.resources.set_capacity(key, mbps)
        self.capacity[key] = round(mbps * 1e6)
        if self.promised(key) > self.capacity[key]:
            self.shrunk.add(key)

    @invariant()
    def books_agree(self) -> None:
        for key, bits in self.capacity.items():
            promised = self.promised(key)
            assert self.resources.reserved(key) == promised / 1e6
            assert self.resources.free(key) == max(0, bits - promised) / 1e6
            assert set(self.resources.owners(key)) == {o for o, (keys, _) in self.granted.items() if key in keys}

    @invariant()
    def only_a_shrunken_link_is_overcommitted(self) -> None:
        over = {key: bits for key in self.capacity if (bits := self.promised(key) - self.capacity[key]) > 0}
        assert self.resources.overcommitted() == {key: bits / 1e6 for key, bits in over.items()}
        self.shrunk &= set(over)
        assert set(over) == self.shrunk


Bookings.TestCase.settings = settings(deadline=None, max_examples=60, stateful_step_count=40)
TestBookings = Bookings.TestCase


def test_a_million_tenths_leave_nothing_behind() -> None:
    resources = Resources({"ab": 1.0})
    for owner in range(10):
        resources.reserve(owner, ["ab"], 0.1)
    assert resources.free("ab") == 0.0
    with pytest.raises(Oversubscribed, match=r"link 'ab': asked for 1e-06 Mbit/s, 0 Mbit/s free"):
        resources.reserve("late", ["ab"], 1e-6)
    for owner in range(10):
        resources.release(owner)
    assert resources.free("ab") == 1.0


def test_all_or_nothing() -> None:
    resources = Resources({"ab": 10.0, "bc": 5.0})
    with pytest.raises(Oversubscribed) as caught:
        resources.reserve("stitch", ["ab", "bc"], 6.0)
    assert (caught.value.key, caught.value.asked_mbps, caught.value.free_mbps) == ("bc", 6.0, 5.0)
    assert resources.free("ab") == 10.0
    assert resources.reservation("stitch") is None


def test_a_link_that_shrinks_keeps_its_promises_and_says_so() -> None:
    resources = Resources({"ab": 10.0})
    resources.reserve("stitch", ["ab"], 8.0)
    resources.set_capacity("ab", 5.0)
    assert (resources.free("ab"), resources.reserved("ab"), resources.overcommitted()) == (0.0, 8.0, {"ab": 3.0})
    with pytest.raises(Oversubscribed):
        resources.resize("stitch", 8.5)
    resources.resize("stitch", 6.0)
    assert resources.overcommitted() == {"ab": 1.0}


@pytest.mark.parametrize("mbps", [0.0, -1.0, float("nan"), float("inf"), 1e305, 1e-7, True])
def test_a_bandwidth_that_is_none_is_refused(mbps: float) -> None:
    with pytest.raises(ResourceError, match="Mbit/s; it must be"):
        Resources({"ab": 1e12}).reserve("stitch", ["ab"], mbps)


def test_unknown_links_and_empty_paths_are_refused() -> None:
    resources = Resources({"ab": 1.0})
    for call in (resources.free, resources.reserved, resources.capacity, resources.owners):
        with pytest.raises(ResourceError, match="unknown link 'xy'"):
            call("xy")
    with pytest.raises(ResourceError, match="unknown link 'xy'"):
        resources.reserve("stitch", ["ab", "xy"], 0.5)
    with pytest.raises(ResourceError, match="names no link"):
        resources.reserve("stitch", [], 0.5)
    assert resources.free("ab") == 1.0


def test_a_copy_without_an_owner_has_its_bandwidth_free_and_the_original_has_not() -> None:
    resources = Resources({"ab": 5.0})
    resources.reserve("one", ["ab"], 3.0)
    resources.reserve("two", ["ab"], 1.0)
    copy = resources.without(["one"])
    assert (copy.free("ab"), resources.free("ab")) == (4.0, 1.0)
    copy.reserve("three", ["ab"], 4.0)
    assert resources.owners("ab") == ("one", "two")
    assert "ab" in resources and "ba" not in resources
