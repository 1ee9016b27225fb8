"""The rules of a pair add up to its demand, whichever of them its packets meet."""

from __future__ import annotations

from ryu_apps.polling import polls
from ryu_apps.polling.counters import CounterTable, Tally
from ryu_apps.wire import flow_mod
from stitching.match import TCP
from stitching.pipeline import default_rules
from stitching.policy.document import Policy, Rule
from stitching.policy.ruling import Ruling
from stitching.rules import FlowRule
from tests.model.fabric import Fabric
from tests.unit.decode import reported


def test_a_demand_is_the_sum_of_its_rules_and_what_is_denied_is_no_demand() -> None:
    fabric = Fabric()
    source, target = fabric.host(1), fabric.host(1)
    web, ssh = (Rule(f"p{p}", protocol=TCP, ports=((p, p),), allow=p == 80) for p in (80, 22))
    ruling = Ruling(Policy((web, ssh)), fabric.directory)
    rules = default_rules(fabric.network, fabric.directory, ruling)[1].values()
    entries = [reported(flow_mod(rule, 1)) for rule in rules if isinstance(rule, FlowRule)]
    table = CounterTable[polls.DemandKey](Tally(), min_interval_s=0.1)
    rates: dict[polls.DemandKey, float] = {}
    for second in (1, 2):
        later = [
            entry._replace(byte_count=1000 * second, duration_sec=10 + second, duration_nsec=1)
            for entry in entries
        ]
        readings = list(polls.demand_readings(later))
        rates = table.take(readings, asked_s=second, received_s=second + 0.01)
    per_pair = [key for key in rates if key[0] == (source.mac, target.mac)]
    # Web to it, answers from its web, each in IPv4 and IPv6, and all the rest.
    assert len(per_pair) == 5
    assert polls.demand_rates(rates, ())[source.mac, target.mac] == 5000.0
    assert (source.mac, target.mac) not in polls.demand_rates(rates, per_pair[:1])
