"""What a path may be asked to satisfy."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from numbers import Integral
from sys import float_info

from pathing.checks import number, whole_number
from pathing.csr import FloatArray
from pathing.errors import ConstraintError

_LARGEST = float_info.max


@dataclass(frozen=True, slots=True, eq=False)
class Constraints:
    """What a path must satisfy as a whole; None, empty and False ask for nothing.

    `bandwidth_mbps` fits on every link. What a link can still carry is its entry in `free_mbps`, (n_links,) by
    link id, by default capacity_mbps * (1 - utilisation). `max_latency_ms` (one way), `max_loss` (share of
    packets, links independent) and `max_hops` (links) hold end to end; a limit on latency takes links of unknown
    latency out of use. Nodes by name and links by id: none of `avoid_nodes` and `avoid_links`, all of
    `require_nodes` and `require_links`, in any order. `zones` are the zones that links may be in; a link without
    one may be used if None is among them. `encrypted` leaves only encrypted links.
    Raises `ConstraintError` naming the field and the element.
    """

    bandwidth_mbps: float | None = None
    max_latency_ms: float | None = None
    max_loss: float | None = None
    max_hops: int | None = None
    avoid_nodes: Collection[str] = ()
    avoid_links: Collection[int] = ()
    require_nodes: Collection[str] = ()
    require_links: Collection[int] = ()
    zones: Collection[str | None] | None = None
    encrypted: bool = False
    free_mbps: FloatArray | None = None

    def __post_init__(self) -> None:
        _check_number("bandwidth_mbps", self.bandwidth_mbps, "a number of Mbit/s, 0 or more")
        _check_number("max_latency_ms", self.max_latency_ms, "a number of ms, 0 or more")
        _check_number("max_loss", self.max_loss, "a share from 0 to 1, 0.01 for 1 %", most=1.0)
        _check_number("max_hops", self.max_hops, "a whole number of links, 0 or more", whole=True)
        if self.encrypted is not True and self.encrypted is not False:
            raise ConstraintError(f"encrypted is {self.encrypted!r}; it must be True or False")
        _check_elements("avoid_nodes", self.avoid_nodes, str, "node names")
        _check_elements("require_nodes", self.require_nodes, str, "node names")
        _check_elements("avoid_links", self.avoid_links, Integral, "link ids")
        _check_elements("require_links", self.require_links, Integral, "link ids")
        if self.zones is not None:
            _check_elements("zones", self.zones, str | None, "zone names, None for links without one")
        _check_apart("node", self.require_nodes, self.avoid_nodes)
        _check_apart("link", self.require_links, self.avoid_links)


def _check_number(field: str, value: object, expected: str, most: float = _LARGEST, whole: bool = False) -> None:
    if value is None:
        return
    # NaN, which is what is no number, fails the comparison.
    if (whole and whole_number(value) is None) or not 0 <= number(value) <= most:
        raise ConstraintError(f"{field} is {value!r}; it must be {expected}, or None for no limit")


def _check_elements(field: str, values: object, kind: type | object, expected: str) -> None:
    # A text is a collection too: "s12" would mean the nodes "s", "1" and "2".
    if isinstance(values, str | bytes) or not isinstance(values, Collection):
        raise ConstraintError(f"{field} is {values!r}; it must be a collection of {expected}")
    for value in values:
        if not isinstance(value, kind) or isinstance(value, bool):  # type: ignore[arg-type]  # unions are allowed
            raise ConstraintError(f"{field} has {value!r} in it; it must be a collection of {expected}")


def _check_apart(what: str, required: Collection[object], avoided: Collection[object]) -> None:
    for element in required:
        if element in avoided:
            raise ConstraintError(
                f"{what} {element!r} is both required and avoided; take it out of one of the two"
            )
