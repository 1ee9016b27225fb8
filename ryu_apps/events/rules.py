"""What the installer is told to put on switches, and how that went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ryu_apps.app import Event, Request
from stitching.difference import Difference, Stage
from stitching.rules import Entry, RuleSet


@dataclass
class WantRules(Event):
    """From now on `owner` wants exactly these rules, per switch; the installer sends the difference."""

    owner: str
    rules: Mapping[int, RuleSet]


@dataclass
class ApplyStages(Event):
    """Carry out these stages in order, each confirmed by barriers before the next one starts.

    When all are confirmed, `rules` is what `owner` wants from then on. When a switch refuses or goes away, what
    was done is undone and `owner` keeps the rules it had. Between two stages it waits pause_s.
    """

    owner: str
    stages: tuple[Stage, ...]
    rules: Mapping[int, RuleSet]
    ticket: int = 0
    pause_s: float = 0.0


@dataclass
class StagesApplied(Event):
    """How the ApplyStages of this ticket ended: error is None, or names the switch and what it said."""

    owner: str
    ticket: int
    error: str | None
    rules_written: int


@dataclass
class SwitchReady(Event):
    """The rules of a switch have been read and put right; it can take part in stitches."""

    dpid: int


@dataclass
class RulesMissing(Event):
    """What switches have not taken of what is wanted of them, by switch. Told when it is not what it was."""

    entries: Mapping[int, tuple[Entry, ...]]


@dataclass
class SwitchTaken(Event):
    """Another controller has taken a switch of ours: what it holds is no longer what we put there."""

    dpid: int


@dataclass(frozen=True)
class InstallerStatus:
    """Counts since the start, and switches that differ from what they should have.

    abandoned: by switch and the owner in their cookies, how many rules there are of hosted apps that do not run.
    """

    rules_added: int
    rules_removed: int
    rules_kept: int
    errors: int
    ready: frozenset[int]
    differences: Mapping[int, Difference]
    abandoned: Mapping[int, Mapping[int, int]] = field(default_factory=dict)


@dataclass
class InstallerStatusRequest(Request[InstallerStatus]):
    """How is the installer doing?"""


class NotReconciled(Exception):
    """A switch could not be compared or put right; the message names the switch and the reason."""


@dataclass(frozen=True)
class Reconciled:
    """What separated a switch, as it was read, from what it should have.

    right is how many entries were as they should be; those that are part of a change in progress are left out. The
    entries of others are counted and never touched. refused are those that the switch would not have put right.
    abandoned are rules of hosted apps that do not run, by the owner in their cookies; removed, how many of theirs
    were taken out.
    """

    dpid: int
    dry_run: bool
    difference: Difference
    right: int
    others_rules: int
    others_groups: int
    others_meters: int
    refused: tuple[str, ...] = ()
    abandoned: Mapping[int, int] = field(default_factory=dict)
    removed: Mapping[int, int] = field(default_factory=dict)


@dataclass
class Reconcile(Request[Reconciled]):
    """Read a switch and send it what differs; nothing, when dry_run. Raises NotReconciled.

    remove_guests: what hosted apps that do not run have left is taken out too.
    """

    dpid: int
    dry_run: bool = False
    remove_guests: bool = False
