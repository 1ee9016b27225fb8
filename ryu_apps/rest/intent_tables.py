"""Intents and their plans for people: what would come (+), change (~) and go (-)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from rich.markup import escape
from rich.table import Table

from ryu_apps.shown import UNKNOWN, Coloured, shortened, table

Json = dict[str, Any]

_SIGNS = {"create": ("+", "green"), "change": ("~", "yellow"), "delete": ("-", "red")}
_COLOURS = {"satisfied": "green", "pending": "yellow", "violated": "red"}


def plan(answer: Json) -> Iterator[str]:
    """A plan, a line for each thing to do, as markup."""
    for step in answer["steps"]:
        if step["action"] == "keep":
            continue
        sign, colour = _SIGNS[step["action"]]
        number = f" {step['stitch']}" if step["stitch"] is not None else ""
        drift = " [magenta](drift)[/]" if step["drift"] else ""
        said = escape(f"{step['intent']}: {step['thing']}{number} {step['what']}")
        yield f"  [{colour}]{sign}[/] {said}{drift}"
        yield f"      [dim]{escape(step['reason'])}[/]"
        if step["refused"]:
            yield f"      [red]cannot be had: {escape(step['refused'])}[/]"
    for note in answer["notes"]:
        colour = "red" if note["missed"] else "cyan"
        yield f"  [{colour}]i[/] {escape(note['intent'])}: {escape(note['words'])}"
    counts = [
        f"[green]+[/] {answer['creates']} to make",
        f"[yellow]~[/] {answer['changes']} to change",
        f"[red]-[/] {answer['deletes']} to take away",
        f"{answer['keeps']} stay",
    ]
    yield ", ".join(counts)


def intents(answer: Json) -> Table:
    """Intents and how they do."""
    return table(
        f"Intents, version {answer['version']}",
        "name",
        "kind",
        "state",
        "carried by",
        "reason",
        rows=(
            (
                one["name"],
                one["kind"],
                _standing(one),
                _carriers(one["carriers"]),
                shortened(one["reason"] or UNKNOWN),
            )
            for one in answer["intents"]
        ),
    )


def intent(answer: Json) -> Table:
    """One intent."""
    return table(f"Intent {answer['name']}", "what", "value", rows=(
        ("kind", answer["kind"]),
        ("state", _standing(answer)),
        ("reason", answer["reason"] or UNKNOWN),
        *((f"{field}", _flat(value)) for field, value in _fields(answer["intent"][answer["kind"]])),
        *((f"part {one['part']}", _carrier(one)) for one in answer["carriers"]),
    ))  # fmt: skip


def versions(answer: Iterable[Json]) -> Table:
    """Versions of the intents, the newest first."""
    return table("Versions", "version", "made", "intents", "state", "note", rows=(
        (one["version"], one["created"], one["intents"], _state(one, newest=place == 0), one["note"])
        for place, one in enumerate(answer)
    ))  # fmt: skip


def _standing(answer: Json) -> Coloured:
    return Coloured(answer["state"], _COLOURS[answer["state"]])


def _state(version: Json, *, newest: bool) -> str:
    if version["settled"]:
        return "done"
    return "on its way" if newest else "was replaced"


def _fields(form: Any) -> list[tuple[str, Any]]:
    return list(form.items()) if isinstance(form, dict) else [("ends", form)]


def _flat(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_flat, value))
    return " ".join(f"{k} {_flat(v)}" for k, v in value.items()) if isinstance(value, dict) else str(value)


def _carriers(carriers: list[Json]) -> str:
    if len(carriers) > 3:
        return f"{len(carriers)} parts"
    return ", ".join(map(_carrier, carriers)) or UNKNOWN


def _carrier(carrier: Json) -> str:
    if carrier["stitch"] is not None:
        return f"stitch {carrier['stitch']} ({carrier['state']})"
    what = f"rule {carrier['rule']}" if carrier["rule"] else "no stitch"
    return f"{what} ({carrier['state']})"
