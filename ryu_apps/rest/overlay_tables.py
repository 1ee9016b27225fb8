"""Answers about the overlay as tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.table import Table

from ryu_apps.shown import UNKNOWN, Coloured, number, shortened, table

Json = Mapping[str, Any]


def status(answer: Json) -> list[Table | str]:
    """The overlay in a few lines."""
    shown = table("Overlay", "what", "value", rows=(
        ("sites are listened for", "yes" if answer["listening"] else "not yet"),
        ("epoch of the roll", answer["epoch"] or UNKNOWN),
        ("sites", answer["sites"]),
        ("connected", ", ".join(answer["connected"]) or "none"),
        ("tunnels up", f"{answer['tunnels_up']} of {answer['tunnels']}"),
        *([("of none of its ends heard now", answer["tunnels_unheard"])] if answer["tunnels_unheard"] else []),
    ))  # fmt: skip
    return [shown, *(f"problem: {problem}" for problem in answer["problems"])]


def sites(answer: Iterable[Json]) -> list[Table | str]:
    """Sites, one a line."""
    listed = list(answer)
    shown = table("Sites", "name", "serial", "role", "prefixes", "connected", "tunnels up", rows=(
        (
            one["name"],
            one["serial"],
            one["role"],
            ", ".join(one["prefixes"]),
            _yes(one["connected"]),
            f"{one['tunnels_up']} of {one['tunnels']}",
        )
        for one in listed
    ))  # fmt: skip
    return [shown, *(f"problem at {one['name']}: {what}" for one in listed for what in one["problems"])]


def site(answer: Json) -> list[Table | str]:
    """One site."""
    done = "-" if answer["generation_done"] is None else answer["generation_done"]
    told = "-" if answer["generation_told"] is None else answer["generation_told"]
    shown = table(f"Site {answer['name']}", "what", "value", rows=(
        ("serial", answer["serial"]),
        ("role", answer["role"]),
        ("prefixes", ", ".join(answer["prefixes"]) or "none"),
        ("labels", ", ".join(f"{name}={value}" for name, value in answer["labels"].items())),
        ("connected", "yes" if answer["connected"] else "no"),
        ("generation", f"{done} of {told}"),
        ("transports", ", ".join(answer["transports"])),
        ("processors in use", UNKNOWN if answer["cpu"] is None else f"{answer['cpu']:.0%}"),
        ("memory in use", UNKNOWN if answer["memory"] is None else f"{answer['memory']:.0%}"),
        ("of it the agent, MB", number(answer["memory_mb"])),
    ))  # fmt: skip
    columns = "state", "RTT ms", "jitter out", "jitter in", "lost out", "lost in", "MTU"
    ends = table("Its ends of tunnels", "tunnel", *columns, rows=(
        (
            one["name"],
            _state(one["state"]),
            number(one["rtt_ms"]),
            number(one["jitter_out_ms"]),
            number(one["jitter_in_ms"]),
            _lost(one["loss_out"]),
            _lost(one["loss_in"]),
            UNKNOWN if one["mtu"] is None else one["mtu"],
        )
        for one in answer["ends"]
    ))  # fmt: skip
    tables: list[Table | str] = [shown, uplinks(answer["uplinks"]), ends, routes(answer["routes"])]
    if answer["rules"]:
        tables.append(table("What rules decided on here", "rule", "packets are", "packets", rows=(
            (one["rule"], "let through" if one["allow"] else "dropped", one["packets"]) for one in answer["rules"]
        )))  # fmt: skip
    return [*tables, *(f"problem: {problem}" for problem in answer["problems"])]


def routes(answer: Iterable[Json]) -> Table:
    """Where packets go now, as the site says."""
    return table("Where it sends packets now", "prefix", "class", "tunnel", "why", rows=(
        (one["prefix"], one["class_name"] or "", one["tunnel"] or "none", one["why"]) for one in answer
    ))  # fmt: skip


def uplinks(answer: Iterable[Json]) -> Table:
    """Ways out of a site."""
    return table("Uplinks", "name", "address", "carries Mbit/s", "price of a GB", rows=(
        (one["name"], one["address"], number(one["capacity_mbps"]), number(one["price"])) for one in answer
    ))  # fmt: skip


def classes(answer: Iterable[Json]) -> Table:
    """Application classes, in the order in which packets are held against them."""
    listed = sorted(answer, key=lambda one: (one["order"], one["name"]))
    return table("Application classes", "name", "order", "packets", "what counts", "limits", rows=(
        (
            one["name"],
            one["order"],
            "\n".join(_packets(match) for match in one["matches"]),
            ", ".join(f"{name} {weight:g}" for name, weight in one["wants"]["weights"].items() if weight),
            _limits(one["wants"]),
        )
        for one in listed
    ))  # fmt: skip


def rules(answer: Iterable[Json]) -> Table:
    """Rules, in the order in which pairs of sites are held against them."""
    listed = sorted(answer, key=lambda one: (one["order"], one["name"]))
    return table("Rules for pairs of sites", "name", "order", "one", "other", "say", "by", "probe", "MTU", rows=(
        (
            one["name"],
            one["order"],
            _selected(one["one"]),
            _selected(one["other"]),
            one["say"],
            ", ".join(one["transports"]),
            f"{one['probe_multiplier']} x {one['probe_interval_ms']} ms",
            UNKNOWN if one["mtu"] is None else one["mtu"],
        )
        for one in listed
    ))  # fmt: skip


def _selected(sites: Json) -> str:
    return " and ".join(part for part in (sites["name"], sites["label"]) if part is not None) or "any"


def _packets(match: Json) -> str:
    words = {"source": "from", "destination": "to", "protocol": "", "ports": "to ports", "dscp": "DSCP"}
    return " ".join(f"{word} {match[key]}".strip() for key, word in words.items() if match[key] is not None)


def _limits(wants: Json) -> str:
    limits = [f"{wants['max_rtt_ms']:g} ms"] if wants["max_rtt_ms"] is not None else []
    return ", ".join([*limits, *([f"{wants['max_loss']:.1%} lost"] if wants["max_loss"] is not None else [])])


def tunnels(answer: Iterable[Json]) -> Table:
    """Tunnels, one a line."""
    columns = "from", "to", "state", "phase", "RTT ms", "lost there", "back", "MTU", "by", "why"
    return table("Tunnels", *columns, rows=(
        (
            f"{one['a']}:{one['uplink_a']}",
            f"{one['b']}:{one['uplink_b']}",
            _both(one),
            one["phase"],
            number(one["rtt_ms"]),
            _lost(one["loss_ab"]),
            _lost(one["loss_ba"]),
            UNKNOWN if one["mtu"] is None else one["mtu"],
            one["transport"],
            shortened(one["why"]),
        )
        for one in answer
    ))  # fmt: skip


def links(answer: Iterable[Json]) -> Table:
    """Links between bridges, one a line."""

    def end(one: Json) -> str:
        port = UNKNOWN if one["port"] is None else one["port"]
        return f"{one['site']}: {one['bridge']} ({one['dpid']}:{port})"

    return table("Links between bridges", "name", "VNI", "from", "to", "plugged in", "why not", rows=(
        (
            *(one["name"], one["vni"], end(one["a"]), end(one["b"]), _yes(one["plugged"])),
            "; ".join(why for why in (one["a"]["why"], one["b"]["why"]) if why),
        )
        for one in answer
    ))  # fmt: skip


def paths(answer: Json) -> list[Table | str]:
    """The ways of each class with their scores, and where the site sends packets now."""
    shown: list[Table | str] = []
    if not answer["choices"]:
        shown.append(
            f"nothing was chosen from {answer['from']} to {answer['to']}: one of them has no prefix, or no "
            "way of tunnels joins them"
        )
    for choice in answer["choices"]:
        name = choice["class_name"] or "packets of no class"
        names = [part["name"] for part in choice["ways"][0]["parts"]] if choice["ways"] else []
        title = f"{answer['from']} to {answer['to']}, {name} (score 0 is best)"
        shown.append(table(title, "", "by", "score", *names, rows=(
            (
                "taken" if way["taken"] else "",
                ", ".join(way["tunnels"]),
                f"{way['score']:.3f}",
                # Plus zero: what costs nothing may come as -0.
                *(f"{part['cost'] + 0.0:.2f} ({number(part['value'])})" for part in way["parts"]),
            )
            for way in choice["ways"]
        )))  # fmt: skip
        shown += [f"{', '.join(way['tunnels'])}: {way['flaw']}" for way in choice["ways"] if way["flaw"]]
        shown.append(f"why: {choice['why']}, since {choice['since'][:19].replace('T', ' ')}Z")
    return [*shown, routes(answer["now"])]


def _both(one: Json) -> str:
    if not one["heard"]:
        return Coloured("was up" if one["up"] else "unknown", "yellow")
    if one["up"]:
        return Coloured("up", "green")
    ends = [state or "unknown" for state in (one["state_a"], one["state_b"])]
    return Coloured(ends[0] if ends[0] == ends[1] else " / ".join(ends), "yellow")


def _state(state: str) -> str:
    return Coloured(state, "green" if state == "up" else "yellow")


def _yes(connected: bool) -> str:
    return "yes" if connected else Coloured("no", "yellow")


def _lost(part: float | None) -> str:
    return UNKNOWN if part is None else f"{part:.1%}"
