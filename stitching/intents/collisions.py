"""Intents that want the same packets, or the same hosts together and apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import combinations

from stitching.intents.document import Apart, Intent, Latency, Rate, Share, Transfer
from stitching.intents.faults import Conflict
from stitching.intents.requests import difference, same_terms
from stitching.intents.resolving import Resolved
from stitching.intents.wanted import Key
from stitching.rivalry import collide
from stitching.stitch import BandwidthRequest, SegmentRequest, StitchRequest, VmRequest


def same_packets(
    stitches: Mapping[Key, StitchRequest], names: Mapping[str, str]
) -> tuple[dict[Key, Key], list[Conflict]]:
    """Parts that are one stitch, the later by the earlier name; and intents that want it on other terms."""
    by_ends: dict[object, list[Key]] = defaultdict(list)
    for key in sorted(stitches):
        by_ends[_ends(stitches[key])].append(key)
    shared: dict[Key, Key] = {}
    conflicts: dict[tuple[str, str], Conflict] = {}
    for keys in by_ends.values():
        for one, other in combinations(keys, 2):
            ours, theirs = stitches[one], stitches[other]
            if one[0] == other[0] or one in shared or not collide(ours, theirs):
                continue
            if _one_stitch(ours, theirs):
                shared[other] = one
            else:
                conflicts.setdefault((one[0], other[0]), _other_terms(one, other, (ours, theirs), names))
    return shared, list(conflicts.values())


def _ends(request: StitchRequest) -> object:
    """What two requests have in common wherever they can collide."""
    match request:
        case VmRequest():
            return frozenset((request.source_mac, request.target_mac))
        case SegmentRequest():
            return "segment"
        case BandwidthRequest():
            return request.vnets


def _one_stitch(ours: StitchRequest, theirs: StitchRequest) -> bool:
    # The ends are among what is compared.
    return same_terms(ours, theirs)


def _other_terms(
    one: Key, other: Key, requests: tuple[StitchRequest, StitchRequest], names: Mapping[str, str]
) -> Conflict:
    ours, theirs = requests
    if isinstance(ours, SegmentRequest) and isinstance(theirs, SegmentRequest):
        return _one_segment_each((one[0], other[0]), ours, theirs)
    if isinstance(ours, BandwidthRequest):
        said = ", ".join(difference(ours, theirs)).replace("->", "against")
        who = " to ".join(map(repr, ours.vnets))
        return Conflict((one[0], other[0]), f"both set the rate from {who} ({said})", "take one of them out")
    assert isinstance(ours, VmRequest)  # two of one kind, see _ends
    source, target = (names.get(mac, mac) for mac in (ours.source_mac, ours.target_mac))
    said = ", ".join(difference(ours, theirs)).replace("->", "against") or "the ends the other way round"
    return Conflict(
        (one[0], other[0]),
        f"both are about the same packets of {source} and {target}, on other terms ({said})",
        "give them the same terms, tell them apart by app, or take one out",
    )


def _one_segment_each(names: tuple[str, str], ours: SegmentRequest, theirs: SegmentRequest) -> Conflict:
    mine = next(a for a in ours.sides for b in theirs.sides if a.may_share(b))
    if ours.sides == theirs.sides:
        said = ", ".join(difference(ours, theirs)).replace("->", "against")
        reason = f"both join {mine.vnet!r} and {ours.target.vnet!r}, on other terms ({said})"
        return Conflict(names, reason, "give them the same terms, or take one out")
    reason = f"both take in hosts of {mine.vnet!r}, and a host is in one segment"
    return Conflict(names, reason, "name hosts that are not in both, or take one out")


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
            if isinstance(intent.form, Rate):
                # A rate joins nobody; between networks that are apart it is never had.
                if intent.form.source != intent.form.target and _named_apart(ends[name], ends[intent.name]):
                    found.append(_joined(name, intent, ends[name]))
                continue
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
    does = "makes them one segment" if isinstance(intent.form, Share) else does
    does = "wants a rate between them" if isinstance(intent.form, Rate) else does
    who = " and ".join(str(end) for end in ends)
    return Conflict(
        tuple(sorted((apart, intent.name))),
        f"{apart!r} keeps {who} apart, and {intent.name!r} {does}",
        f"take one of them out, or leave the hosts that {intent.name!r} is about out of {apart!r}",
    )
