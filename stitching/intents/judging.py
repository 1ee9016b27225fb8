"""Whether each intent has what it asks for: satisfied, pending or violated, why, and what carries it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice, product
from types import MappingProxyType

from stitching.changing import as_asked
from stitching.intents.document import Apart, Document, Intent, Reach
from stitching.intents.planning import Actual
from stitching.intents.resolving import Resolved, resolve
from stitching.intents.wanted import Key, Wanted, key_of, rule_name
from stitching.intents.world import World, is_ours
from stitching.policy.faults import Fault, Refused
from stitching.policy.ruling import Ruling
from stitching.stitch import ENDED, State, Stitch

MOST_PAIRS = 1000
"""Pairs of hosts that are looked at to see whether a rule holds."""

_ON_THE_WAY = frozenset({State.REQUESTED, State.ESTABLISHING, State.ADJUSTING, State.TERMINATING})


class Standing(StrEnum):
    """How an intent is: the later of these, the worse."""

    SATISFIED = "satisfied"
    PENDING = "pending"
    VIOLATED = "violated"


_WORSE = tuple(Standing)


@dataclass(frozen=True, slots=True)
class Carrier:
    """What carries a part of an intent: a stitch by its id, or a rule by its name."""

    part: str
    stitch_id: int | None = None
    rule: str | None = None
    state: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """How an intent is, why, and what carries it; vnets are those it is about, None where that is not known."""

    intent: str
    standing: Standing
    reason: str | None = None
    carriers: tuple[Carrier, ...] = ()
    vnets: frozenset[str] | None = None


@dataclass(frozen=True)
class Evidence:
    """What intents are judged by; refusals are the reasons for which parts could not be had."""

    wanted: Wanted
    actual: Actual
    world: World
    ruling: Ruling
    refusals: Mapping[Key, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class _Finding:
    standing: Standing
    reason: str | None = None
    carrier: Carrier | None = None


def judge(document: Document, evidence: Evidence) -> tuple[Status, ...]:
    """The status of every intent, by name."""
    stitches = {
        key_of(stitch.request): stitch
        for stitch in evidence.actual.stitches
        if is_ours(stitch) and stitch.state not in ENDED
    }
    parts: dict[str, list[Key]] = defaultdict(list)
    for key in (*evidence.wanted.stitches, *evidence.wanted.shared, *evidence.wanted.rules):
        parts[key[0]].append(key)
    faults = {fault.where: fault for fault in evidence.wanted.faults}
    statuses = []
    for intent in sorted(document.intents, key=lambda one: one.name):
        keys = parts[intent.name]
        if intent.name in evidence.wanted.unresolved:
            # It keeps what it has, whatever that is.
            keys = sorted(key for key in stitches if key[0] == intent.name)
        findings = [_part(key, stitches, evidence) for key in keys]
        findings += _beside_parts(intent, evidence, faults)
        statuses.append(_status(intent.name, findings, evidence.wanted.vnets.get(intent.name)))
    return tuple(statuses)


def _status(name: str, findings: list[_Finding], vnets: frozenset[str] | None) -> Status:
    standing = max((one.standing for one in findings), key=_WORSE.index, default=Standing.SATISFIED)
    reasons = dict.fromkeys(one.reason for one in findings if one.reason and one.standing is standing)
    told = list(islice(reasons, 3))
    more = len(reasons) - len(told)
    reason = "; ".join(filter(None, told)) + (f"; and {more} more" if more > 0 else "")
    carriers = tuple(one.carrier for one in findings if one.carrier is not None)
    return Status(name, standing, reason or None, carriers, vnets)


def _part(key: Key, stitches: Mapping[Key, Stitch], evidence: Evidence) -> _Finding:
    if key in evidence.wanted.rules:
        return _rule(key, evidence)
    owner = evidence.wanted.shared.get(key, key)
    stitch = stitches.get(owner)
    refusal = evidence.refusals.get(owner)
    if stitch is None:
        if refusal is not None:
            return _Finding(Standing.VIOLATED, refusal, Carrier(key[1], state="refused"))
        return _Finding(Standing.PENDING, "a stitch is to be made", Carrier(key[1], state="missing"))
    carrier = Carrier(key[1], stitch.id, state=stitch.state.value)
    wants = evidence.wanted.stitches.get(owner)
    if refusal is not None:
        return _Finding(Standing.VIOLATED, f"stitch {stitch.id} cannot be changed: {refusal}", carrier)
    if wants is not None and wants != as_asked(stitch.request):
        return _Finding(Standing.PENDING, f"stitch {stitch.id} is to be changed", carrier)
    if stitch.state is State.UP:
        return _Finding(Standing.SATISFIED, None, carrier)
    if stitch.state in _ON_THE_WAY:
        why = f": {stitch.reason}" if stitch.reason else ""
        return _Finding(Standing.PENDING, f"stitch {stitch.id} is {stitch.state}{why}", carrier)
    why = stitch.reason or "no reason was given"
    return _Finding(Standing.VIOLATED, f"stitch {stitch.id} is {stitch.state}: {why}", carrier)


def _rule(key: Key, evidence: Evidence) -> _Finding:
    name = rule_name(key)
    if evidence.actual.rules.get(key) == evidence.wanted.rules[key]:
        return _Finding(Standing.SATISFIED, None, Carrier(key[1], rule=name, state="in force"))
    refusal = evidence.refusals.get(key)
    if refusal is not None:
        return _Finding(Standing.VIOLATED, refusal, Carrier(key[1], rule=name, state="refused"))
    return _Finding(Standing.PENDING, "the policy is to be changed", Carrier(key[1], rule=name, state="missing"))


def _beside_parts(intent: Intent, evidence: Evidence, faults: Mapping[str, Fault]) -> Iterator[_Finding]:
    for note in evidence.wanted.notes:
        if note.intent == intent.name:
            yield _Finding(Standing.VIOLATED if note.missed else Standing.SATISFIED, note.words)
    fault = faults.get(f"intent {intent.name!r}")
    if fault is not None:
        yield _Finding(Standing.VIOLATED, f"{fault.field}: {fault.reason}; {fault.remedy}")
    for conflict in evidence.wanted.conflicts:
        if intent.name in conflict.intents:
            others = ", ".join(repr(name) for name in conflict.intents if name != intent.name)
            yield _Finding(
                Standing.VIOLATED, f"conflict with {others}: {conflict.reason}" if others else conflict.reason
            )
    if isinstance(intent.form, Apart | Reach) and fault is None:
        in_force = all(
            evidence.actual.rules.get(key) == rule
            for key, rule in evidence.wanted.rules.items()
            if key[0] == intent.name
        )
        if in_force:
            yield from _held(intent, evidence)


def _held(intent: Intent, evidence: Evidence) -> Iterator[_Finding]:
    """Whether the policy as a whole says what the rules of an intent say: other rules may come before them."""
    form = intent.form
    if isinstance(form, Reach) and form.until_s is not None and form.until_s <= evidence.world.now_s:
        return
    try:
        ends = [resolve(end, evidence.world, "ends") for end in intent.ends]
    except Refused:
        return
    hosts = evidence.world.network.hosts
    for source_mac, target_mac in islice(_pairs(ends, both_ways=isinstance(form, Apart)), MOST_PAIRS):
        source, target = hosts.get(source_mac), hosts.get(target_mac)
        if source is None or target is None or source_mac == target_mac:
            continue
        application = form.application if isinstance(form, Reach) else None
        why = evidence.ruling.forbids_pair(source, target, application)
        names = [evidence.ruling.directory.name_of(host) for host in (source, target)]
        if isinstance(form, Reach) and why is not None:
            yield _Finding(Standing.VIOLATED, f"{names[0]} may not reach {names[1]}: {why}")
            return
        if isinstance(form, Apart) and why is None:
            yield _Finding(Standing.VIOLATED, f"another rule lets {names[0]} send to {names[1]}")
            return


def _pairs(ends: list[Resolved], *, both_ways: bool) -> Iterable[tuple[str, str]]:
    for one in ends:
        for other in ends:
            if one is not other and (both_ways or one is ends[0]):
                yield from product(one.macs, other.macs)
