"""Which prefixes and addresses a controller may lead into tunnels: those that the policy key has signed."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import TypeVar

from vte_agent.protocol.base import Prefix
from vte_agent.protocol.members import Member, Roll
from vte_agent.protocol.wanted import Address, Wanted, WantedLink, WantedRoute, WantedTunnel

_SHOWN = 3

_T = TypeVar("_T")


@dataclass(frozen=True)
class Allowed:
    """What is wanted, but for what no controller may want, and what that was."""

    wanted: Wanted
    problems: tuple[str, ...]


def allowed(wanted: Wanted, roll: Roll, own: Member, ranges_then: Iterable[Prefix] = ()) -> Allowed:
    """Leave out routes, links and tunnels that lead elsewhere than to members, by the roll; all else stays.

    A route is to a part of what members hold and not of what this node does. Where no member is, as at the anchors
    of links, it is to one address where tunnels have theirs: by the roll, or by one before it (`ranges_then`).
    """
    held, ranges, mine = _Spans(roll.prefixes), _Spans((*roll.ranges, *ranges_then)), _Spans(own.prefixes)

    def of_route(one: tuple[WantedRoute, Prefix]) -> str:
        prefix = one[1]
        is_anchor = prefix.prefixlen == prefix.max_prefixlen and ranges.has(prefix)
        if not is_anchor and not held.has(prefix):
            return "no member has that prefix"
        return "it is this site's own" if mine.touches(prefix) else ""

    def of_ends(*ends: Address) -> str:
        strange = next((end for end in ends if not ranges.has_address(end)), None)
        return f"{strange} is not where the signer says that tunnels have their addresses" if strange else ""

    def of_tunnel(tunnel: WantedTunnel) -> str:
        return of_ends(tunnel.address, tunnel.peer_address)

    def of_link(link: WantedLink) -> str:
        return of_ends(link.local, link.remote)

    problems: list[str] = []
    every = [(route, prefix) for route in wanted.routes for prefix in route.prefixes]
    routes = _kept("route to", every, lambda one: str(one[1]), of_route, problems)
    tunnels = _kept("tunnel", wanted.tunnels, lambda one: one.name, of_tunnel, problems)
    links = _kept("link", wanted.links, lambda one: one.name, of_link, problems)
    if problems:
        left = {"routes": tuple(_together(routes)), "tunnels": tunnels, "links": links}
        wanted = wanted.model_copy(update=left)
    return Allowed(wanted, tuple(problems))


def _together(routes: Iterable[tuple[WantedRoute, Prefix]]) -> Iterator[WantedRoute]:
    for route, prefixes in groupby(routes, key=itemgetter(0)):
        yield route.model_copy(update={"prefixes": tuple(prefix for _, prefix in prefixes)})


def _kept(
    what: str,
    ones: Sequence[_T],
    name_of: Callable[[_T], str],
    why_not: Callable[[_T], str],
    problems: list[str],
) -> tuple[_T, ...]:
    """Those against which there is nothing; of the others there is one problem for each reason."""
    kept: list[_T] = []
    refused: dict[str, list[str]] = {}
    for one in ones:
        if why := why_not(one):
            refused.setdefault(why, []).append(name_of(one))
        else:
            kept.append(one)
    for why, names in refused.items():
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        problems.append(f"{what} {', '.join(names[:_SHOWN])}{more} is refused: {why}")
    return tuple(kept)


class _Spans:
    """Prefixes to look others up in."""

    def __init__(self, prefixes: Iterable[Prefix]) -> None:
        self._spans: dict[int, list[tuple[int, int]]] = {4: [], 6: []}
        # Two prefixes have nothing in common, or one is in the other: the wider one comes first.
        for one in sorted(prefixes, key=lambda one: (one.version, int(one.network_address), one.prefixlen)):
            spans, last = self._spans[one.version], int(one.broadcast_address)
            if not spans or last > spans[-1][1]:
                spans.append((int(one.network_address), last))

    def has(self, prefix: Prefix) -> bool:
        """Whether all of it is in one of them."""
        first, last = int(prefix.network_address), int(prefix.broadcast_address)
        return self._last_before(prefix.version, first)[1] >= last

    def has_address(self, address: Address) -> bool:
        """Whether it is in one of them."""
        return self._last_before(address.version, int(address))[1] >= int(address)

    def touches(self, prefix: Prefix) -> bool:
        """Whether some of it is in one of them."""
        first, last = int(prefix.network_address), int(prefix.broadcast_address)
        return self._last_before(prefix.version, last)[1] >= first

    def _last_before(self, version: int, at: int) -> tuple[int, int]:
        """The one that begins last of those that do not begin behind."""
        spans = self._spans[version]
        place = bisect_right(spans, at, key=lambda span: span[0])
        return spans[place - 1] if place else (-1, -1)
