"""What has to be done so that there is what is wanted, and why; what is there and wanted stays untouched."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from stitching.changing import about_the_same, as_asked
from stitching.intents.requests import difference
from stitching.intents.units import application_words
from stitching.intents.wanted import Key, Rule, Wanted, key_of
from stitching.intents.world import is_ours
from stitching.segment import SegmentRequest, Side
from stitching.stitch import ENDED, BandwidthRequest, State, Stitch, StitchRequest, VmRequest


class Action(StrEnum):
    """What a step does."""

    CREATE = "create"
    CHANGE = "change"
    DELETE = "delete"
    KEEP = "keep"


class Thing(StrEnum):
    """What a step is about."""

    STITCH = "stitch"
    RULE = "rule"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do, and why.

    drift: it is not the document that changed, but what is there. eases: it needs less than there is.
    """

    action: Action
    thing: Thing
    key: Key
    words: str
    reason: str
    stitch_id: int | None = None
    request: StitchRequest | None = None
    drift: bool = False
    eases: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in the order in which they are done: what denies and what goes first, as it makes room."""

    steps: tuple[Step, ...] = ()

    def of(self, *actions: Action) -> tuple[Step, ...]:
        """The steps that do one of these."""
        return tuple(step for step in self.steps if step.action in actions)

    @property
    def changes(self) -> tuple[Step, ...]:
        """The steps that do anything."""
        return tuple(step for step in self.steps if step.action is not Action.KEEP)

    @property
    def changes_rules(self) -> bool:
        """Whether the policy has to be changed."""
        return any(step.thing is Thing.RULE for step in self.changes)


@dataclass(frozen=True)
class Actual:
    """What there is: all stitches, the rules of intents in the policy, and what was wanted when it was made.

    names are what people call hosts, by MAC.
    """

    stitches: tuple[Stitch, ...] = ()
    rules: Mapping[Key, Rule] = field(default_factory=lambda: MappingProxyType({}))
    applied: Wanted | None = None
    names: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


def plan(wanted: Wanted, actual: Actual) -> Plan:
    """The way from what there is to what is wanted. What is of an intent that means nobody now is left alone."""
    steps = [*_rule_steps(wanted, actual), *_stitch_steps(wanted, actual)]
    # Rules before stitches: one may be what lets the other be.
    steps.sort(key=lambda step: (step.thing is Thing.STITCH, _rank(step, wanted), step.key, step.stitch_id or 0))
    return Plan(tuple(steps))


def _rank(step: Step, wanted: Wanted) -> int:
    """What makes room comes first, and what takes what is left comes last."""
    if step.action is Action.DELETE or step.eases:
        return 0
    if step.key[0] in wanted.patient:
        return 3
    return 1 if step.action is Action.CHANGE else 2


def _rule_steps(wanted: Wanted, actual: Actual) -> Iterable[Step]:
    applied = actual.applied.rules if actual.applied is not None else {}
    for key, rule in wanted.rules.items():
        has = actual.rules.get(key)
        words = rule_words(rule)
        if has == rule:
            yield Step(Action.KEEP, Thing.RULE, key, words, "it is as wanted")
        elif has is None:
            drift = applied.get(key) == rule
            reason = "it was taken out of the policy by hand" if drift else "the policy has no such rule yet"
            yield Step(Action.CREATE, Thing.RULE, key, words, reason, drift=drift)
        else:
            drift = applied.get(key) == rule
            reason = f"it was changed by hand: {rule_words(has)}" if drift else f"it says: {rule_words(has)}"
            yield Step(Action.CHANGE, Thing.RULE, key, words, reason, drift=drift)
    for key, rule in actual.rules.items():
        if key not in wanted.rules and key[0] not in wanted.unresolved:
            yield Step(Action.DELETE, Thing.RULE, key, rule_words(rule), "no intent wants it")


def _stitch_steps(wanted: Wanted, actual: Actual) -> Iterable[Step]:
    present: dict[Key, list[Stitch]] = defaultdict(list)
    for stitch in actual.stitches:
        if is_ours(stitch) and stitch.state not in (*ENDED, State.TERMINATING):
            present[key_of(stitch.request)].append(stitch)
    for key, request in wanted.stitches.items():
        yield from _wanted_stitch(key, request, present.pop(key, []), actual)
    for key, stitches in present.items():
        if key[0] not in wanted.unresolved:
            for stitch in stitches:
                yield _delete(key, stitch, "no intent wants it", actual)


def _wanted_stitch(key: Key, request: StitchRequest, stitches: list[Stitch], actual: Actual) -> Iterable[Step]:
    before = actual.applied.stitches.get(key) if actual.applied is not None else None
    words = stitch_words(request, actual.names)
    if not stitches:
        drift = before == request
        reason = "its stitch is gone" if drift else "there is no such stitch yet"
        yield Step(Action.CREATE, Thing.STITCH, key, words, reason, request=request, drift=drift)
        return
    right = [stitch for stitch in stitches if as_asked(stitch.request) == request]
    near = [stitch for stitch in stitches if about_the_same(stitch.request, request)]
    kept = (right or near or stitches)[0]
    if right:
        yield Step(Action.KEEP, Thing.STITCH, key, words, "it is as wanted", kept.id, request)
    elif not near:
        reason = ", ".join(difference(kept.request, request))
        yield _delete(key, kept, f"another takes its place: {reason}", actual)
        yield Step(Action.CREATE, Thing.STITCH, key, words, f"in place of stitch {kept.id}", request=request)
    else:
        drift = before == request
        changed = ", ".join(difference(kept.request, request))
        reason = f"it was changed by hand: {changed}" if drift else changed
        eases = request.bandwidth_mbps < kept.request.bandwidth_mbps
        yield Step(Action.CHANGE, Thing.STITCH, key, words, reason, kept.id, request, drift=drift, eases=eases)
    for stitch in stitches:
        if stitch is not kept:
            yield _delete(key, stitch, f"stitch {kept.id} is the same", actual)


def _delete(key: Key, stitch: Stitch, reason: str, actual: Actual) -> Step:
    words = stitch_words(stitch.request, actual.names)
    return Step(Action.DELETE, Thing.STITCH, key, words, reason, stitch.id, stitch.request)


def stitch_words(request: StitchRequest, names: Mapping[str, str]) -> str:
    """A stitch in a line."""
    words = [*_who_and_how_much(request, names)]
    if isinstance(request, VmRequest) and request.application is not None:
        words.append(application_words(request.application))
    if request.max_latency_ms is not None:
        words.append(f"within {request.max_latency_ms:g} ms")
    if request.max_loss is not None:
        words.append(f"loss up to {request.max_loss:.3g}")
    if request.protection.value != "none":
        words.append(f"protected ({request.protection})")
    return ", ".join(words)


def _who_and_how_much(request: StitchRequest, names: Mapping[str, str]) -> Iterable[str]:
    if isinstance(request, SegmentRequest):
        yield " + ".join(_side_words(side, names) for side in request.sides)
    elif isinstance(request, BandwidthRequest):
        yield " -> ".join(request.vnets)
        if request.guarantee_mbps is not None:
            follows = " and more as forecast" if request.follow_forecast else ""
            yield f"{request.guarantee_mbps:g} Mbit/s guaranteed{follows}"
        if request.cap_mbps is not None:
            yield f"capped at {request.cap_mbps:g} Mbit/s"
        return
    else:
        source, target = (names.get(mac, mac) for mac in (request.source_mac, request.target_mac))
        yield f"{source} {'<->' if request.both_ways else '->'} {target}"
    yield f"{request.bandwidth_mbps:g} Mbit/s"


def _side_words(side: Side, names: Mapping[str, str]) -> str:
    parts = [*(names.get(mac, mac) for mac in side.hosts), *side.subnets]
    more = f", {len(parts) - 4} more" if len(parts) > 4 else ""
    return f"{side.vnet} ({', '.join(parts[:4])}{more})" if parts else side.vnet


def rule_words(rule: Rule) -> str:
    """A rule of the policy in a line."""
    what = "" if rule.get("protocol") is None else f" {rule['protocol']}"
    ports = rule.get("ports") or []
    what += "/" + ",".join(map(str, ports)) if ports else ""
    until = "".join(f" until {window['until']}" for window in rule.get("times", ()) if "until" in window)
    targets = rule["to"] if isinstance(rule["to"], list) else [rule["to"]]
    return f"{rule['action']}{what} from {_who(rule['from'])} to {', '.join(map(_who, targets))}{until}"


def _who(selector: object) -> str:
    if isinstance(selector, dict):
        return " ".join(f"{by} {name}" for by, name in selector.items())
    return str(selector)
