"""Policies as tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from rich.table import Table

from ryu_apps.shown import table

Json = dict[str, Any]


def policy(answer: Json) -> Iterator[Table | str]:
    """A policy: its rules in order, and who its groups mean."""
    if not answer["version"]:
        yield "there is no policy: hosts of one virtual network may talk, others may not"
        return
    document = answer["document"]
    columns = ("rule", "action", "from", "to", "traffic", "demands")
    yield table(f"Policy, version {answer['version']}", *columns, rows=map(_row, document.get("rules") or ()))
    if groups := document.get("groups"):
        yield table("Groups", "name", "who", rows=((name, _ends(members)) for name, members in groups.items()))


def versions(answer: Iterable[Json]) -> Table:
    """Versions of the policy, the newest first."""
    return table("Versions", "version", "made", rows=((str(one["version"]), one["created"]) for one in answer))


def outcome(answer: Json) -> Iterator[Table | str]:
    """What a policy changes."""
    for warning in answer["warnings"]:
        yield f"warning: {warning['where']}: {warning['reason']}; {warning['remedy']}"
    if answer["pairs"]:
        yield table("Who may talk to whom", "from", "to", "change", rows=(
            (pair["source"], pair["destination"], pair["change"]) for pair in answer["pairs"]
        ))  # fmt: skip
    for stitch in answer["stitches"]:
        yield f"stitch {stitch['id']} goes: {stitch['reason']}"
    version = answer["version"]
    done = "nothing was changed" if version is None else f"this is version {version}"
    most = max((one["rules"] for one in answer["rules"]), default=0)
    yield (
        f"pairs allowed: {answer['allowed']}, denied: {answer['denied']}, changed: {answer['changed']}; "
        f"rules added: {answer['rules_added']}, removed: {answer['rules_removed']}, most on a switch: {most}; "
        f"cases passed: {answer['cases_passed']}; {done}"
    )


def _row(rule: Json) -> tuple[str, ...]:
    ends = (_ends(rule.get(field, "any")) for field in ("from", "to"))
    return rule["name"], rule["action"], *ends, _traffic(rule), _demands(rule)


def _ends(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_ends(one) for one in value)
    if isinstance(value, dict):
        return " ".join(f"{kind} {'+'.join(v) if isinstance(v, list) else v}" for kind, v in value.items())
    return str(value)


def _traffic(rule: Json) -> str:
    ports = rule.get("ports")
    listed = ports if isinstance(ports, list) else [ports]
    words = str(rule.get("protocol", "any")) + ("" if ports is None else " " + ",".join(map(str, listed)))
    return words + (" at times" if rule.get("times") else "")


def _demands(rule: Json) -> str:
    parts = ["encrypted"] if rule.get("encryption") == "required" else []
    if rule.get("zones"):
        parts.append("zones " + ", ".join(rule["zones"]))
    return ", ".join(parts)
