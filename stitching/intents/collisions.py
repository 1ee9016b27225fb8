"""Intents that want the same packets, or the same hosts together and apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import combinations

from stitching.intents.document import Apart, Intent, Latency, Transfer
from stitching.intents.faults import Conflict
from stitching.intents.requests import difference, same_terms
from stitching.intents.resolving import Resolved
from stitching.intents.wanted import Key
from stitching.rivalry import collide
from stitching.stitch import VmRequest


def same_packets(
    stitches: Mapping[Key, VmRequest], names: Mapping[str, str]
) -> tuple[dict[Key, Key], list[Conflict]]:
    """Parts that are one stitch, the later by the earlier name; and intents that want it on other terms."""
    by_hosts: dict[frozenset[str], list[Key]] = defaultdict(list)
    for key in sorted(stitches):
        request = stitches[key]
        by_hosts[frozenset((request.source_mac, request.target_mac))].append(key)
    shared: dict[Key, Key] = {}
    conflicts: dict[tuple[str, str], Conflict] = {}
    for keys in by_hosts.values():
        for one, other in combinations(keys, 2):
            ours, theirs = stitches[one], stitches[other]
            if one[0] == other[0] or one in shared or not collide(ours, theirs):
                continue
            if _one_stitch(ours, theirs):
                shared[other] = one
            else:
                conflicts.setdefault((one[0], other[0]), _other_terms(one, other, (ours, theirs), names))
    return shared, list(conflicts.values())


def _one_stitch(ours: VmRequest, theirs: VmRequest) -> bool:
    return (ours.source_mac, ours.target_mac) == (theirs.source_mac, theirs.target_mac) and same_terms(
        ours, theirs
    )


def _other_terms(
    one: Key, other: Key, requests: tuple[VmRequest, VmRequest], names: Mapping[str, str]
) -> Conflict:
    ours, theirs = requests
    source, target = (names.get(mac, mac) for mac in (ours.source_mac, ours.target_mac))
    said = ", ".join(difference(ours, theirs)).replace("->", "against") or "the ends the other way round"
    return Conflict(
        (one[0], other[0]),
        f"both are about the same packets of {source} and {target}, on other terms ({said})",
        "give them the same terms, tell them apart by app, or take one out",
    )


def apart_and_together(intents: Iterable[Intent], ends: Mapping[str, tuple[Resolved, ...]]) -> list[Conflict]:
    """Intents that join whom another one keeps apart."""
    listed = [intent for intent in intents if intent.name in ends]
    divided = {intent.name: _divided(ends[intent.name]) for intent in listed if isinstance(intent.form, Apart)}
    found = []
    for name in sorted(divided):
        for intent in listed:
            if isinstance(intent.form, Apart):
                continue
            one, other = (frozenset(end.macs) for end in ends[intent.name][:2])
            meeting = [(ours, theirs) for ours, theirs in divided[name] if _meet(ours, theirs, one, other)]
            if meeting or _named_apart(ends[name], ends[intent.name]):
                found.append(_joined(name, intent, ends[name]))
    return found


def _divided(ends: tuple[Resolved, ...]) -> list[tuple[frozenset[str], frozenset[str]]]:
    return [(frozenset(a.macs), frozenset(b.macs)) for a, b in combinations(ends, 2)]


def _meet(ours: frozenset[str], theirs: frozenset[str], one: frozenset[str], other: frozenset[str]) -> bool:
    return bool((ours & one and theirs & other) or (ours & other and theirs & one))


def _named_apart(apart: tuple[Resolved, ...], joined: tuple[Resolved, ...]) -> bool:
    """Networks without a host yet are kept apart by name."""
    names = {(end.by, end.name) for end in apart}
    return len({(end.by, end.name) for end in joined} & names) > 1


def _joined(apart: str, intent: Intent, ends: tuple[Resolved, ...]) -> Conflict:
    does = "moves data" if isinstance(intent.form, Transfer) else "joins them"
    does = "lets them talk" if intent.kind == "reach" else does
    does = "wants a path between them" if isinstance(intent.form, Latency) else does
    who = " and ".join(str(end) for end in ends)
    return Conflict(
        tuple(sorted((apart, intent.name))),
        f"{apart!r} keeps {who} apart, and {intent.name!r} {does}",
        f"take one of them out, or leave the hosts that {intent.name!r} is about out of {apart!r}",
    )
