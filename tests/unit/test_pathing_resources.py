"""Reservations: never more promised than there is, whatever the order of calls."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pathing import Oversubscribed, ResourceError, Resources
from pathing.promises import Compute, ComputeOversubscribed, Reservation

KEYS = st.sampled_from(["ab", "bc", "cd"])
# One name for a link and a node: they must not be taken for each other.
NODES = st.sampled_from(["ab", "n"])
OWNERS = st.integers(0, 7)
MBPS = st.floats(1e-6, 40) | st.sampled_from([0.1, 0.2, 0.3, 1 / 3, 10.0])
SIZES = st.sampled_from([0.0, 0.1, 0.3, 1 / 3, 1.0, 2.5])
COMPUTE = st.builds(Compute, SIZES, SIZES, SIZES)

UNITS = {"mbps": 10**6, "cpu_cores": 10**3, "memory_mb": 10**6, "storage_gb": 10**9}
Amounts = Mapping[tuple[str, str], int]


@dataclass(frozen=True)
class Grant:
    """What the model remembers of one reservation: whole units of every (kind, link or node), and from when."""

    priority: int
    age: int
    keys: Sequence[str]
    compute: Mapping[str, Compute]
    amounts: Amounts


def amounts_of(keys: Sequence[str], mbps: float, compute: Mapping[str, Compute]) -> dict[tuple[str, str], int]:
    links = {("mbps", key): keys.count(key) * round(mbps * 10**6) for key in keys}
    return links | {
        (kind, node): round(getattr(asked, kind) * UNITS[kind])
        for node, asked in compute.items()
        for kind in ("cpu_cores", "memory_mb", "storage_gb")
    }


class Bookings(RuleBasedStateMachine):
    """Any calls in any order, beside a plain list of what was granted, in whole units."""

    def __init__(self) -> None:
        super().__init__()
        self.resources = Resources({"ab": 10.0, "bc": 20.0, "cd": 30.3})
        self.capacity = {("mbps", "ab"): 10_000_000, ("mbps", "bc"): 20_000_000, ("mbps", "cd"): 30_300_000}
        for node in ("ab", "n"):
            self.set_compute(node, Compute(4.0, 4.0, 4.0))
        self.granted: dict[Hashable, Grant] = {}
        self.shrunk: set[tuple[str, str]] = set()
        self.calls = 0

    def promised(self, item: tuple[str, str], without: frozenset[Hashable] = frozenset()) -> int:
        return sum(g.amounts.get(item, 0) for owner, g in self.granted.items() if owner not in without)

    def fits(self, more: Amounts, without: frozenset[Hashable] = frozenset()) -> bool:
        return all(
            amount <= 0 or self.promised(item, without) + amount <= self.capacity[item]
            for item, amount in more.items()
        )

    def lower(self, priority: int) -> frozenset[Hashable]:
        return frozenset(owner for owner, grant in self.granted.items() if grant.priority < priority)

    @rule(
        owner=OWNERS,
        keys=st.lists(KEYS, max_size=4),
        mbps=MBPS,
        compute=st.dictionaries(NODES, COMPUTE, max_size=2),
        priority=st.integers(0, 2),
        preempt=st.booleans(),
    )
    def reserve(
        self, owner: int, keys: list[str], mbps: float, compute: dict[str, Compute], priority: int, preempt: bool
    ) -> None:
        more = amounts_of(keys, mbps, compute)
        may_go = self.lower(priority) if preempt else frozenset[Hashable]()

        def call() -> Reservation[str]:
            return self.resources.reserve(owner, keys, mbps, compute=compute, priority=priority, preempt=preempt)

        nothing = not (keys or compute) or Compute() in compute.values() or (keys and round(mbps * 1e6) < 1)
        if owner in self.granted or nothing:
            with pytest.raises(ResourceError, match=str(owner)):
                call()
        elif self.fits(more, may_go):
            made = call()
            assert (made.keys, made.compute, made.priority) == (tuple(keys), compute, priority)
            self.calls += 1
            self.give_way(more, made, may_go)
            self.granted[owner] = Grant(priority, self.calls, keys, compute, more)
        else:
            self.is_refused(call, more, may_go)

    @rule(owner=OWNERS, mbps=MBPS, preempt=st.booleans())
    def resize(self, owner: int, mbps: float, preempt: bool) -> None:
        if owner not in self.granted or (self.granted[owner].keys and round(mbps * 1e6) < 1):
            with pytest.raises(ResourceError):
                self.resources.resize(owner, mbps, preempt=preempt)
            return
        old = self.granted[owner]
        new = amounts_of(old.keys, mbps, old.compute)
        more = {item: amount - old.amounts[item] for item, amount in new.items()}
        may_go = self.lower(old.priority) if preempt else frozenset[Hashable]()
        if self.fits(more, may_go):
            made = self.resources.resize(owner, mbps, preempt=preempt)
            self.give_way(more, made, may_go)
            self.granted[owner] = Grant(old.priority, old.age, old.keys, old.compute, new)
        else:
            self.is_refused(lambda: self.resources.resize(owner, mbps, preempt=preempt), more, may_go)

    def give_way(self, more: Amounts, made: Reservation[str], may_go: frozenset[Hashable]) -> None:
        """Check who gave way, and let them go from the list too."""
        gone = {old.owner for old in made.preempted}
        assert gone <= may_go
        assert len(gone) == len(made.preempted)
        assert self.fits(more, frozenset(gone))
        for old in made.preempted:
            assert old.preempted == () and old.keys == tuple(self.granted[old.owner].keys)
            # No one went for nothing.
            assert not self.fits(more, frozenset(gone - {old.owner}))
        for owner in gone:
            del self.granted[owner]

    def is_refused(self, call: Callable[[], object], more: Amounts, may_go: frozenset[Hashable]) -> None:
        with pytest.raises((Oversubscribed, ComputeOversubscribed)) as caught:
            call()
        error = caught.value
        if isinstance(error, Oversubscribed):
            item, asked, free = ("mbps", str(error.key)), error.asked_mbps, error.free_mbps
        else:
            assert isinstance(error, ComputeOversubscribed)
            item, asked, free = (error.kind, str(error.node)), error.asked, error.free
        assert asked == more[item] / UNITS[item[0]]
        assert free == max(0, self.capacity[item] - self.promised(item, may_go)) / UNITS[item[0]]
        assert free < asked

    @rule(owner=OWNERS)
    def release(self, owner: int) -> None:
        assert (self.resources.release(owner) is None) == (owner not in self.granted)
        self.granted.pop(owner, None)

    @rule(owners=st.lists(OWNERS, max_size=3))
    def imagine_some_gone(self, owners: list[int]) -> None:
        for kind, key in self.capacity:
            if kind == "mbps":
                left = self.capacity[kind, key] - self.promised((kind, key), frozenset(owners))
                assert self.resources.free(key, without=owners) == max(0, left) / UNITS[kind]

    @rule(key=KEYS, mbps=st.floats(0, 50))
    def set_capacity(self, key: str, mbps: float) -> None:
        self.resources.set_capacity(key, mbps)
        self.change("mbps", key, mbps)

    @rule(node=NODES, compute=COMPUTE)
    def set_compute(self, node: str, compute: Compute) -> None:
        self.resources.set_compute(node, compute)
        for kind in ("cpu_cores", "memory_mb", "storage_gb"):
            self.change(kind, node, getattr(compute, kind))

    def change(self, kind: str, key: str, value: float) -> None:
        item = kind, key
        known = item in self.capacity
        self.capacity[item] = round(value * UNITS[kind])
        if known and self.promised(item) > self.capacity[item]:
            self.shrunk.add(item)

    @invariant()
    def books_agree(self) -> None:
        by_age = sorted(self.granted, key=lambda owner: self.granted[owner].age)
        for key in ("ab", "bc", "cd"):
            promised, capacity = self.promised(("mbps", key)), self.capacity["mbps", key]
            assert self.resources.reserved(key) == promised / 1e6
            assert self.resources.free(key) == max(0, capacity - promised) / 1e6
            assert self.resources.owners(key) == tuple(o for o in by_age if key in self.granted[o].keys)
        for node in ("ab", "n"):
            reserved, free = self.resources.compute_reserved(node), self.resources.compute_free(node)
            for kind in ("cpu_cores", "memory_mb", "storage_gb"):
                promised, capacity = self.promised((kind, node)), self.capacity[kind, node]
                assert getattr(reserved, kind) == promised / UNITS[kind]
                assert getattr(free, kind) == max(0, capacity - promised) / UNITS[kind]
            assert self.resources.compute_owners(node) == tuple(
                o for o in by_age if node in self.granted[o].compute
            )
        for owner in range(8):
            assert (self.resources.reservation(owner) is None) == (owner not in self.granted)

    @invariant()
    def only_what_shrank_is_overcommitted(self) -> None:
        over = {
            item: excess for item in self.capacity if (excess := self.promised(item) - self.capacity[item]) > 0
        }
        told = {("mbps", key): mbps for key, mbps in self.resources.overcommitted().items()} | {
            (kind, str(node)): getattr(excess, kind)
            for node, excess in self.resources.compute_overcommitted().items()
            for kind in ("cpu_cores", "memory_mb", "storage_gb")
            if getattr(excess, kind)
        }
        assert told == {item: excess / UNITS[item[0]] for item, excess in over.items()}
        self.shrunk &= set(over)
        assert set(over) == self.shrunk


Bookings.TestCase.settings = settings(deadline=None, max_examples=80, stateful_step_count=40)
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


def test_what_would_be_free_without_an_owner_is_told_and_nothing_is_given_up() -> None:
    resources = Resources({"ab": 5.0})
    resources.reserve("one", ["ab"], 3.0)
    resources.reserve("two", ["ab"], 1.0)
    assert (resources.free("ab", without=["one", "nobody"]), resources.free("ab")) == (4.0, 1.0)
    assert resources.owners("ab") == ("one", "two")
    assert "ab" in resources and "ba" not in resources


# compute -------------------------------------------------------------------------------------------------


def test_a_path_and_its_compute_are_booked_together_or_not_at_all() -> None:
    resources = Resources({"ab": 10.0})
    resources.set_compute("b", Compute(cpu_cores=8, memory_mb=4096, storage_gb=100))
    firewall = Compute(cpu_cores=2, memory_mb=1024)
    made = resources.reserve("chain", ["ab"], 6.0, compute={"b": firewall})
    assert made.compute == {"b": firewall}
    assert resources.compute("b") == Compute(8, 4096, 100)
    assert resources.compute_free("b") == Compute(6, 3072, 100)
    with pytest.raises(ComputeOversubscribed, match="node 'b': asked for 7 cpu_cores, 6 free; ask for less"):
        resources.reserve("greedy", ["ab"], 1.0, compute={"b": Compute(cpu_cores=7)})
    with pytest.raises(Oversubscribed):
        resources.reserve("wide", ["ab"], 5.0, compute={"b": firewall})
    assert (resources.free("ab"), resources.compute_owners("b")) == (4.0, ("chain",))
    resources.release("chain")
    assert (resources.free("ab"), resources.compute_free("b")) == (10.0, Compute(8, 4096, 100))


def test_compute_alone_needs_no_link() -> None:
    resources: Resources[str] = Resources()
    resources.set_compute("b", Compute(cpu_cores=1))
    resources.reserve("function", [], 0.0, compute={"b": Compute(cpu_cores=1)})
    assert resources.compute_free("b") == Compute()


def test_a_workload_is_a_copy_of_what_the_caller_gave() -> None:
    resources: Resources[str] = Resources()
    resources.set_compute("b", Compute(cpu_cores=4))
    asked = {"b": Compute(cpu_cores=1)}
    made = resources.reserve("function", [], 0.0, compute=asked)
    asked["b"] = Compute(cpu_cores=3)
    assert made.compute == {"b": Compute(cpu_cores=1)}
    assert hash(made)


@pytest.mark.parametrize("size", [-1.0, float("nan"), float("inf"), 1e13, 1e-10, True])
@pytest.mark.parametrize("kind", ["cpu_cores", "memory_mb", "storage_gb"])
def test_compute_that_makes_no_sense_is_refused(kind: str, size: float) -> None:
    with pytest.raises(ResourceError, match=rf"compute is .* {kind}; it must be"):
        Compute(**{kind: size})


def test_unknown_nodes_and_workloads_of_nothing_are_refused() -> None:
    resources = Resources({"ab": 1.0})
    for call in (resources.compute, resources.compute_free, resources.compute_reserved, resources.compute_owners):
        with pytest.raises(ResourceError, match="unknown compute node 'ab'"):
            call("ab")
    with pytest.raises(ResourceError, match="unknown compute node 'x'"):
        resources.reserve("stitch", ["ab"], 0.5, compute={"x": Compute(cpu_cores=1)})
    resources.set_compute("x", Compute(cpu_cores=1))
    with pytest.raises(ResourceError, match="asks for nothing of node 'x'"):
        resources.reserve("stitch", ["ab"], 0.5, compute={"x": Compute()})
    assert resources.free("ab") == 1.0


# preemption ----------------------------------------------------------------------------------------------


def test_the_lowest_priority_gives_way_and_among_equals_the_youngest() -> None:
    resources = Resources({"ab": 3.0})
    for owner, priority in (("gold", 3), ("old", 1), ("young", 1)):
        resources.reserve(owner, ["ab"], 1.0, priority=priority)
    made = resources.reserve("vip", ["ab"], 1.0, priority=9, preempt=True)
    assert [(gone.owner, gone.mbps, gone.priority) for gone in made.preempted] == [("young", 1.0, 1)]
    assert resources.reservation("young") is None
    made = resources.reserve("vip 2", ["ab"], 2.0, priority=9, preempt=True)
    assert [gone.owner for gone in made.preempted] == ["old", "gold"]
    assert resources.reservation("vip 2") == Reservation("vip 2", ("ab",), 2.0, priority=9)


def test_none_gives_way_where_there_is_room_or_where_it_would_not_help() -> None:
    resources = Resources({"ab": 3.0, "bc": 3.0, "cd": 3.0})
    resources.reserve("elsewhere", ["cd"], 3.0)
    resources.reserve("low", ["ab"], 1.0)
    resources.reserve("equal", ["bc"], 3.0, priority=1)
    assert resources.reserve("fits", ["ab"], 2.0, priority=1, preempt=True).preempted == ()
    with pytest.raises(Oversubscribed) as caught:
        resources.reserve("next", ["ab", "bc"], 1.0, priority=1, preempt=True)
    # It could have had 1 of ab, as "low" would go, but nothing of bc: so "low" stays.
    assert (caught.value.key, caught.value.free_mbps) == ("bc", 0.0)
    with pytest.raises(Oversubscribed, match="'ab': asked for 2 Mbit/s, 1 Mbit/s free"):
        resources.reserve("next", ["ab"], 2.0, priority=1, preempt=True)
    with pytest.raises(Oversubscribed, match="'ab': asked for 1 Mbit/s, 0 Mbit/s free"):
        resources.reserve("next", ["ab"], 1.0, priority=1)
    assert resources.owners("ab") == ("low", "fits")


def test_one_that_turns_out_not_to_be_needed_stays() -> None:
    resources = Resources({"ab": 2.0, "bc": 2.0})
    resources.reserve("both", ["ab", "bc"], 2.0, priority=1)
    resources.set_capacity("ab", 4.0)
    resources.reserve("one", ["ab"], 2.0, priority=0)
    # "one" is taken first, being lower, and frees ab; bc needs "both" to go, which frees ab as well.
    made = resources.reserve("vip", ["ab", "bc"], 2.0, priority=2, preempt=True)
    assert [gone.owner for gone in made.preempted] == ["both"]
    assert resources.owners("ab") == ("one", "vip")


def test_a_shrunken_link_must_carry_what_it_promises_before_it_promises_more() -> None:
    resources = Resources({"ab": 10.0})
    resources.reserve("low", ["ab"], 3.0)
    resources.reserve("high", ["ab"], 6.0, priority=5)
    resources.set_capacity("ab", 2.0)
    with pytest.raises(Oversubscribed):
        resources.reserve("vip", ["ab"], 1.0, priority=4, preempt=True)
    assert resources.owners("ab") == ("low", "high")
    made = resources.reserve("vip", ["ab"], 1.0, priority=6, preempt=True)
    assert [gone.owner for gone in made.preempted] == ["low", "high"]
    assert resources.overcommitted() == {}


def test_compute_is_preempted_as_bandwidth_is_and_a_growing_reservation_can_preempt() -> None:
    resources = Resources({"ab": 2.0})
    resources.set_compute("n", Compute(cpu_cores=2))
    resources.reserve("batch", [], 0.0, compute={"n": Compute(cpu_cores=2)})
    resources.reserve("bulk", ["ab"], 1.0)
    made = resources.reserve("vip", ["ab"], 1.0, compute={"n": Compute(cpu_cores=1)}, priority=1, preempt=True)
    assert [gone.owner for gone in made.preempted] == ["batch"]
    with pytest.raises(Oversubscribed):
        resources.resize("vip", 1.5)
    assert [gone.owner for gone in resources.resize("vip", 1.5, preempt=True).preempted] == ["bulk"]
    assert resources.reserved("ab") == 1.5


@pytest.mark.parametrize("priority", [1.0, float("nan"), True, "high"])
def test_a_priority_that_is_no_whole_number_is_refused(priority: int) -> None:
    with pytest.raises(ResourceError, match="must be a whole number"):
        Resources({"ab": 1.0}).reserve("stitch", ["ab"], 0.5, priority=priority)


def test_what_is_restored_comes_back_as_it_was_also_where_there_is_less_by_now() -> None:
    resources = Resources({"ab": 10.0, "bc": 10.0})
    resources.set_compute("n", Compute(cpu_cores=4))
    made = resources.reserve("stitch", ["ab", "bc"], 8.0, compute={"n": Compute(cpu_cores=3)}, priority=7)
    assert resources.release("stitch") == made
    resources.set_capacity("ab", 1.0)
    assert resources.restore(made) == made
    assert (resources.reserved("ab"), resources.compute_reserved("n").cpu_cores) == (8.0, 3.0)
    with pytest.raises(Oversubscribed):
        resources.reserve("other", ["bc"], 8.0, priority=7, preempt=True)
    with pytest.raises(ResourceError, match="already has a reservation"):
        resources.restore(made)
