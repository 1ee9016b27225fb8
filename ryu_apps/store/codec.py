"""Frozen dataclasses to JSON and back, field by field as they are typed, and nothing that they do not say.

A class with a KIND says it in its record, so that a field may be of one of several such classes. A record without
one is of the first of them: it is older than the others.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

Value = TypeVar("Value")

_TAG = "kind"

_IP = (IPv4Address, IPv6Address, IPv4Network, IPv6Network)
_OF_EITHER_VERSION: Mapping[tuple[Any, ...], Callable[[str], Any]] = {
    (IPv4Address, IPv6Address): ip_address,
    (IPv4Network, IPv6Network): ip_network,
}


class BadRecord(ValueError):
    """A stored record is not what its type says; the message names the field."""


def dump(value: Any) -> str:
    """A dataclass of scalars, enums, tuples and other such dataclasses as JSON. Raises ValueError for NaN."""
    return _ENCODER.encode(value)


def load(cls: type[Value], text: str) -> Value:
    """The dataclass that dump() wrote.

    A field that the text does not have takes its default: it is younger than the record. One that the class does
    not have, or of another type, raises BadRecord.
    """
    try:
        data = json.loads(text)
    except ValueError as error:
        raise BadRecord(f"{cls.__name__} is not JSON: {error}") from error
    value: Value = _typed(cls, data, cls.__name__)
    return value


def _plain(value: Any) -> Any:
    """What json.dumps cannot say by itself, one level of it."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, _IP):
        return str(value)
    cls: Any = type(value)
    tag, names = _shape(cls)
    return tag | {name: getattr(value, name) for name in names}


@cache
def _shape(cls: Any) -> tuple[dict[str, str], tuple[str, ...]]:
    """What tells a class from others that may stand in its place, and its fields."""
    if not is_dataclass(cls):
        raise ValueError(f"a {cls.__name__} cannot be stored")
    return {_TAG: cls.KIND} if hasattr(cls, "KIND") else {}, tuple(field.name for field in fields(cls))


# What is frozen when it is made cannot hold itself.
_ENCODER = json.JSONEncoder(allow_nan=False, check_circular=False, separators=(",", ":"), default=_plain)


def _typed(kind: Any, data: Any, where: str) -> Any:
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        options = tuple(option for option in get_args(kind) if option is not NoneType)
        if data is None and len(options) < len(get_args(kind)):
            return None
        if options in _OF_EITHER_VERSION:
            return _ip(_OF_EITHER_VERSION[options], data, where)
        return _typed(_of_kind(options, data, where), data, where)
    if origin is tuple:
        return _tuple(get_args(kind), data, where)
    if is_dataclass(kind):
        return _record(kind, data, where)
    if isinstance(kind, type) and issubclass(kind, Enum):
        try:
            return kind(data)
        except ValueError as error:
            raise BadRecord(f"{where}: {error}") from error
    return _scalar(kind, data, where)


def _of_kind(options: tuple[Any, ...], data: Any, where: str) -> Any:
    """Which of several classes a record is of."""
    if len(options) == 1 or not isinstance(data, dict) or _TAG not in data:
        return options[0]
    for option in options:
        if data[_TAG] == option.KIND:
            return option
    raise BadRecord(f"{where} is of the unknown kind {data[_TAG]!r}; was it written by a newer Lockstitch?")


def _scalar(kind: Any, data: Any, where: str) -> Any:
    if kind is float and type(data) is int:
        data = float(data)
    if type(data) is not kind or (kind is float and not math.isfinite(data)):
        raise BadRecord(f"{where} is {data!r} where a {kind.__name__} is expected")
    return data


def _ip(parse: Callable[[str], Any], data: Any, where: str) -> Any:
    try:
        if type(data) is str:
            return parse(data)
    except ValueError as error:
        raise BadRecord(f"{where}: {error}") from error
    raise BadRecord(f"{where} is {data!r} where an address is expected")


def _tuple(kinds: tuple[Any, ...], data: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(data, list):
        raise BadRecord(f"{where} is {data!r} where a list is expected")
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        kinds = (kinds[0],) * len(data)
    if len(kinds) != len(data):
        raise BadRecord(f"{where} has {len(data)} items where {len(kinds)} are expected")
    return tuple(
        _typed(kind, item, f"{where}[{n}]") for n, (kind, item) in enumerate(zip(kinds, data, strict=True))
    )


def _record(cls: Any, data: Any, where: str) -> Any:
    if not isinstance(data, dict):
        raise BadRecord(f"{where} is {data!r} where an object is expected")
    known, needed = _fields_of(cls)
    if _TAG in data and data[_TAG] == getattr(cls, "KIND", None):
        data = {name: item for name, item in data.items() if name != _TAG}
    if unknown := data.keys() - known.keys():
        raise BadRecord(f"{where} has the unknown field {min(unknown)!r}; was it written by a newer Lockstitch?")
    if absent := needed - data.keys():
        raise BadRecord(f"{where} has no field {min(absent)!r}")
    return cls(**{name: _typed(known[name], item, f"{where}.{name}") for name, item in data.items()})


@cache
def _fields_of(cls: Any) -> tuple[dict[str, Any], frozenset[str]]:
    hints = get_type_hints(cls)
    needed = (f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING)
    return {field.name: hints[field.name] for field in fields(cls)}, frozenset(needed)
