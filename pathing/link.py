"""What a link is: its fields, their units, and which values they may have."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from numbers import Real
from typing import TypedDict

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


def check_fields(link: str, fields: Mapping[str, object]) -> None:
    """Raise `TopologyError` naming the first field of `link` (a text for the message) that is not allowed."""
    for name, value in fields.items():
        if name in NUMBERS:
            _check_number(link, name, value)
        elif name in FLAGS:
            # Not bool(value): the text "false" would put a link up.
            _require(value is True or value is False, link, name, value, "True or False")
        elif name == "srlg":
            _check_srlg(link, value)
        elif name == "zone":
            _require(value is None or isinstance(value, str), link, name, value, "a name, or None for no zone")
        else:
            close = did_you_mean(get_close_matches(name, _FIELDS, n=1))
            raise TopologyError(f"{link}: unknown field {name!r}{close}; the fields are {', '.join(_FIELDS)}")


def _check_number(link: str, name: str, value: object) -> None:
    if value is None:
        _require(name in _MAY_BE_UNKNOWN, link, name, value, "a number")
        return
    finite = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    number = float(value) if finite and isinstance(value, Real) else math.nan
    if name == "capacity_mbps":
        # Zero would make every utilisation a division by zero; a link that carries nothing is a link that is
        # down.
        _require(number > 0, link, name, value, "more than 0 Mbit/s (up=False takes a link out of use)")
    elif name == "loss":
        _require(0 <= number < 1, link, name, value, "a share in [0, 1), 0.01 for 1 % (up=False for a dead link)")
    elif name in _MAY_BE_UNKNOWN:
        _require(number >= 0, link, name, value, "0 or more, or None for unknown")
    else:
        _require(number >= 0, link, name, value, "a finite number, 0 or more")


def _check_srlg(link: str, value: object) -> None:
    # A text is iterable too: "duct7" would become five groups of one letter.
    groups = tuple(value) if isinstance(value, Iterable) and not isinstance(value, str | bytes) else (None,)
    good = all(isinstance(group, str | int) for group in groups)
    _require(good, link, "srlg", value, "a tuple of group names or numbers")


def _require(good: bool, link: str, name: str, value: object, expected: str) -> None:
    if not good:
        raise TopologyError(f"{link}: {name} is {value!r}; it must be {expected}")
