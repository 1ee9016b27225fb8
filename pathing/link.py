"""What a link is: its fields, their units, and which values they may have."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TypedDict

from pathing.checks import number, whole_number
from pathing.errors import TopologyError, did_you_mean


@dataclass(frozen=True, slots=True)
class Link:
    """One directed link as it was when it was asked for; later changes do not show in it.

    `latency_ms` is one way and None when unknown; `loss` a share of packets in [0, 1); `utilisation` load
    divided by capacity, above 1 when more is offered than fits; `cost` the price, `weight` the routing weight
    an operator or a file gave; `srlg` the shared-risk groups.
    """

    id: int
    src: str
    dst: str
    capacity_mbps: float
    latency_ms: float | None = None
    loss: float = 0.0
    cost: float = 1.0
    weight: float | None = None
    srlg: tuple[str | int, ...] = ()
    zone: str | None = None
    encrypted: bool = False
    up: bool = True
    utilisation: float = 0.0


class LinkChanges(TypedDict, total=False):
    """The fields `Topology.set_link` can change; those left out stay."""

    capacity_mbps: float
    latency_ms: float | None
    loss: float
    cost: float
    weight: float | None
    srlg: Iterable[str | int]
    zone: str | None
    encrypted: bool
    up: bool
    utilisation: float


NUMBERS = ("capacity_mbps", "latency_ms", "loss", "cost", "weight", "utilisation")
FLAGS = ("encrypted", "up")
_MAY_BE_UNKNOWN = ("latency_ms", "weight")
_FIELDS = (*NUMBERS, *FLAGS, "srlg", "zone")


def check_fields(link: str, fields: Mapping[str, object]) -> dict[str, object]:
    """Check the fields and give them as they are kept: floats (NaN for unknown), srlg as a tuple.

    Raises `TopologyError` naming the first field of `link` (a text for the message) that is not allowed.
    """
    return {name: _checked(link, name, value) for name, value in fields.items()}


def _checked(link: str, name: str, value: object) -> object:
    if name in NUMBERS:
        return _number(link, name, value)
    if name in FLAGS:
        # Not bool(value): the text "false" would put a link up.
        _require(value is True or value is False, link, name, value, "True or False")
        return value
    if name == "srlg":
        return _groups(link, value)
    if name == "zone":
        _require(value is None or isinstance(value, str), link, name, value, "a name, or None for no zone")
        return value
    close = did_you_mean(get_close_matches(name, _FIELDS, n=1))
    raise TopologyError(f"{link}: unknown field {name!r}{close}; the fields are {', '.join(_FIELDS)}")


def _number(link: str, name: str, value: object) -> float:
    if value is None:
        _require(name in _MAY_BE_UNKNOWN, link, name, value, "a number")
        return math.nan
    figure = number(value)
    finite = math.isfinite(figure)
    if name == "capacity_mbps":
        # Zero would make every utilisation a division by zero; a link that carries nothing is a link that is
        # down.
        good, expected = figure > 0, "a finite number of Mbit/s above 0 (up=False takes a link out of use)"
    elif name == "loss":
        good, expected = 0 <= figure < 1, "a share in [0, 1), 0.01 for 1 % (up=False for a dead link)"
    elif name in _MAY_BE_UNKNOWN:
        good, expected = figure >= 0, "a finite number, 0 or more, or None for unknown"
    else:
        good, expected = figure >= 0, "a finite number, 0 or more"
    _require(finite and good, link, name, value, expected)
    return figure


def _groups(link: str, value: object) -> tuple[str | int, ...]:
    # A text is iterable too: "duct7" would become five groups of one letter.
    iterable = isinstance(value, Iterable) and not isinstance(value, str | bytes | bytearray)
    # Once: what can be iterated over only once is empty afterwards.
    groups = tuple(value) if iterable and isinstance(value, Iterable) else (None,)
    good = all(isinstance(group, str) or whole_number(group) is not None for group in groups)
    _require(good, link, "srlg", value if not iterable else groups, "a tuple of group names or numbers")
    return groups


def _require(good: bool, link: str, name: str, value: object, expected: str) -> None:
    if not good:
        raise TopologyError(f"{link}: {name} is {value!r}; it must be {expected}")
