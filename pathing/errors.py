"""The errors of this package: each names the element that is wrong and what to do about it."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathing.path import Path


class PathingError(Exception):
    """Base of every error this package raises on purpose."""


class TopologyError(PathingError, ValueError):
    """A node, a link or a field of one cannot be what was asked."""


class UnknownNode(PathingError, LookupError):
    """No node of that name; `node` is the name asked for, `close` the names like it."""

    def __init__(self, node: str, known: Iterable[str]) -> None:
        self.node = node
        # Node names come from users and files, so a name that is no string must still give this error.
        self.close = close_names(str(node), known)
        super().__init__(f"unknown node {node!r}{did_you_mean(self.close)}; add it with add_node first")


class WeightError(PathingError, ValueError):
    """A weight that is no distance: NaN, negative, of the wrong length, or an unknown field name."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A constraint, by its field, that stands in the way, and the `nearest` value of it that would have worked.

    `nearest` is None where it is no number, where no value helps, or where none was found within the label budget.
    `unmeasured`: every path left has a link on which what the constraint limits is not known.
    """

    constraint: str
    nearest: float | None = None
    unmeasured: bool = False


class NoPath(PathingError):
    """No path from `src` to `dst`; `reason` says why not, `faults` which constraints, none where there is no way.

    Where one constraint made it impossible, `constraint` is its field and `nearest` the nearest value of it that
    would have worked with all the others as they are; None where there is none. Where several rule out every path
    by themselves, each has its fault: asked again with all their nearest values, and without those that have none,
    there is a path; `constraint` is one of them then.
    """

    def __init__(
        self,
        src: str,
        dst: str,
        reason: str,
        constraint: str | None = None,
        nearest: float | None = None,
        faults: tuple[Fault, ...] = (),
    ) -> None:
        self.src, self.dst, self.reason = src, dst, reason
        self.constraint, self.nearest = constraint, nearest
        self.faults = faults if faults or constraint is None else (Fault(constraint, nearest),)
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


class ConstraintError(PathingError, ValueError):
    """A constraint that no path could have: not a number, negative, an unknown element, or one both ways."""


class LabelBudget(PathingError):
    """The search from `src` to `dst` made `budget` labels without coming to an end.

    No path is lighter than `bound`; `best` is the lightest path found so far, None if none was found yet.
    """

    def __init__(self, src: str, dst: str, budget: int, bound: float, best: Path | None) -> None:
        self.src, self.dst, self.budget, self.bound, self.best = src, dst, budget, bound, best
        found = "no path was found yet" if best is None else f"the best found weighs {best.weight:g}"
        super().__init__(
            f"search from {src!r} to {dst!r} stopped after {budget} labels: {found}, none weighs less than "
            f"{bound:g}; give a larger label_budget, or fewer constraints"
        )


def close_names(name: str, known: Iterable[str], most: int = 3) -> tuple[str, ...]:
    """Give the names like this one: equal but for case, then those it is a part of, then those spelt like it."""
    asked = name.casefold()
    folded: dict[str, list[str]] = {}
    for one in known:
        folded.setdefault(one.casefold(), []).append(one)
    containing = sorted(
        (one for one in folded if asked and asked in one), key=lambda one: (one.find(asked), len(one))
    )
    alike = [*([asked] if asked in folded else []), *containing, *get_close_matches(asked, list(folded), n=most)]
    return tuple(one for fold in dict.fromkeys(alike) for one in folded[fold])[:most]


def did_you_mean(close: Iterable[str]) -> str:
    """Give the tail of a message that offers the names in `close`, empty when there are none."""
    names = ", ".join(repr(name) for name in close)
    return f" (did you mean {names}?)" if names else ""
