"""The errors of this package: each names the element that is wrong and what to do about it."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from difflib import get_close_matches


class PathingError(Exception):
    """Base of every error this package raises on purpose."""


class TopologyError(PathingError, ValueError):
    """A node, a link or a field of one cannot be what was asked."""


class UnknownNode(PathingError, LookupError):
    """No node of that name; `node` is the name asked for, `close` the names like it."""

    def __init__(self, node: str, known: Iterable[str]) -> None:
        self.node = node
        # Node names come from users and files, so a name that is no string must still give this error.
        self.close = tuple(get_close_matches(str(node), list(known), n=3))
        super().__init__(f"unknown node {node!r}{did_you_mean(self.close)}; add it with add_node first")


class WeightError(PathingError, ValueError):
    """A weight that is no distance: NaN, negative, of the wrong length, or an unknown field name."""


class NoPath(PathingError):
    """No path from `src` to `dst`; `reason` says why not."""

    def __init__(self, src: str, dst: str, reason: str) -> None:
        self.src, self.dst, self.reason = src, dst, reason
        super().__init__(f"no path from {src!r} to {dst!r}: {reason}")


class ResourceError(PathingError):
    """A reservation that makes no sense: unknown link, owner with or without one, or no bandwidth."""


class Oversubscribed(ResourceError):
    """The link `key` has `free_mbps` left, less than the `asked_mbps`; nothing was changed."""

    def __init__(self, key: Hashable, asked_mbps: float, free_mbps: float) -> None:
        self.key, self.asked_mbps, self.free_mbps = key, asked_mbps, free_mbps
        super().__init__(
            f"link {key!r}: asked for {asked_mbps:g} Mbit/s, {free_mbps:g} Mbit/s free; "
            "ask for less or take another path"
        )


class BadFile(PathingError):
    """A file that cannot be read as what it should be; says where, what is wrong and what is expected."""

    def __init__(self, path: object, where: str, problem: str, expected: str) -> None:
        self.path, self.where, self.problem, self.expected = str(path), where, problem, expected
        place = f"{path}, {where}" if where else f"{path}"
        super().__init__(f"{place}: {problem}; expected {expected}")


def did_you_mean(close: Iterable[str]) -> str:
    """Give the tail of a message that offers the names in `close`, empty when there are none."""
    names = ", ".join(repr(name) for name in close)
    return f" (did you mean {names}?)" if names else ""
