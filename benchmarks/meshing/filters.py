"""How long one change of the policy takes at a site, with many rules: from the message to the rules in force."""

from __future__ import annotations

import contextlib
import time
from ipaddress import ip_network

from mininet_topos.namespaces import network_of
from mininet_topos.overlay.enclosure import Enclosure
from vte_agent.protocol.filters import Filters, Pair, Pattern, Standing
from vte_agent.segmentation import TABLE, compile_filters
from vte_agent.tables import Table

STANDINGS = 8
_UDP = 17


def filters_of(n_rules: int, shift: int) -> Filters:
    """Rules by port, no two alike, shared out among pairs of standings; all are others with another shift."""
    standings = [Standing(id=n, prefixes=(ip_network(f"10.{n}.0.0/16"),)) for n in range(1, STANDINGS + 1)]
    ways = [(a.id, b.id) for a in standings for b in standings if a.id != b.id]
    patterns: list[list[Pattern]] = [[] for _ in ways]
    for number in range(n_rules):
        port = 1024 + (number + shift) % 60_000
        patterns[number % len(ways)].append(
            Pattern(rule=f"r{number}", allow=number % 2 == 0, protocol=_UDP, ports=((port, port),))
        )
    pairs = (Pair(source=a, target=b, patterns=tuple(own)) for (a, b), own in zip(ways, patterns, strict=True))
    return Filters(standings=tuple(standings), pairs=tuple(pairs))


def policy_changes(n_rules: int, runs: int) -> list[float]:
    """Seconds that each change of all the rules takes, in a network of its own."""
    site = Enclosure("filters")
    try:
        with network_of(site.pid), contextlib.closing(Table(TABLE, counted=True)) as table:
            table.apply(compile_filters(filters_of(n_rules, 0)).body)
            took_s = []
            for run in range(1, runs + 1):
                wanted = filters_of(n_rules, run).model_dump_json()
                began_s = time.perf_counter()
                table.apply(compile_filters(Filters.model_validate_json(wanted)).body)
                took_s.append(time.perf_counter() - began_s)
        return took_s
    finally:
        site.close()
