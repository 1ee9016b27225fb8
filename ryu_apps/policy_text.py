"""A policy as text, YAML or JSON, to plain values.

YAML is read as JSON with fewer quotes: no anchors (a few lines of them become gigabytes), no tags, no dates, and
no numbers made of 18:00 or 0x10; what is no number, true, false or null is text.
"""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

MOST_BYTES = 1 << 18
MOST_DEPTH = 20


class BadText(ValueError):
    """The text is neither YAML nor JSON that a policy may be written in; the message says where and why."""


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML ships no types
    """Plain values only."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # it is how PyYAML is told

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent) or self._anchored():
            raise _at(self.peek_event().start_mark, "anchors and aliases are not taken: write it out")
        return super().compose_node(parent, index)

    def _anchored(self) -> bool:
        return getattr(self.peek_event(), "anchor", None) is not None

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _at(key.start_mark, "a name has to be text")
            if key.value in seen:
                raise _at(key.start_mark, f"{key.value!r} is there twice")
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"(?:true|false)\Z"), list("tf"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"(?:null|~|)\Z"), ["n", "~", ""])
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"-?(?:0|[1-9][0-9]{0,17})\Z"), list("-0123456789")
)


def read_text(text: bytes) -> object:
    """The values that a text says. Raises BadText."""
    if len(text) > MOST_BYTES:
        raise BadText(f"it has {len(text)} bytes; the limit is {MOST_BYTES}")
    try:
        decoded = text.decode()
    except UnicodeDecodeError as error:
        raise BadText(f"byte {error.start} is not UTF-8") from error
    if decoded.lstrip().startswith("{"):
        return _json(decoded)
    _check_depth(decoded)
    try:
        return yaml.load(decoded, _Loader)  # noqa: S506  # a SafeLoader, and stricter
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "
        raise BadText(f"{where}{error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError, TypeError) as error:
        raise BadText(" ".join(str(error).split())) from error


def _json(text: str) -> object:
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except RecursionError:
        raise BadText(f"it is nested more than {MOST_DEPTH} deep") from None
    except json.JSONDecodeError as error:
        raise BadText(f"line {error.lineno}, column {error.colno}: {error.msg}") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        raise BadText(f"{next(name for name in names if names.count(name) > 1)!r} is there twice")
    return values


def _no_constant(name: str) -> object:
    raise BadText(f"{name} is no number")


def _check_depth(text: str) -> None:
    depth = 0
    try:
        for event in yaml.parse(text, yaml.SafeLoader):
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > MOST_DEPTH:
                    raise _at(event.start_mark, f"it is nested more than {MOST_DEPTH} deep")
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
    except yaml.YAMLError:
        return  # it is told where it is read
    except RecursionError:
        raise BadText(f"it is nested more than {MOST_DEPTH} deep") from None


def _at(mark: Any, problem: str) -> BadText:
    return BadText(f"line {mark.line + 1}, column {mark.column + 1}: {problem}")
