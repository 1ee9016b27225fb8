"""Answers of the API as tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

Json = Mapping[str, Any]

_SHOWN_LEVELS = (0.05, 0.5, 0.95)
_UNKNOWN = "-"


def topology(answer: Json) -> list[Table]:
    """Switches, links and hosts."""
    switches = _table("Switches", "dpid", "connected", "ports up", rows=(
        (switch["dpid"], "yes" if switch["connected"] else "no", sum(port["up"] for port in switch["ports"]))
        for switch in answer["switches"]
    ))  # fmt: skip
    return [switches, links(answer["links"]), hosts(answer["hosts"])]


def links(answer: Iterable[Json]) -> Table:
    """Links, each way on a line of its own."""
    return _table("Links", "from", "to", "latency ms", "capacity Mbit/s", "load Mbit/s", "used", rows=(
        (
            f"{link['src_dpid']}:{link['src_port']}",
            f"{link['dst_dpid']}:{link['dst_port']}",
            _number(link["latency_ms"]),
            _number(link["capacity_mbps"]),
            _number(link["load_mbps"]),
            _share(link["utilisation"]),
        )
        for link in answer
    ))  # fmt: skip


def hosts(answer: Iterable[Json]) -> Table:
    """Hosts and where they are."""
    return _table("Hosts", "name", "MAC", "addresses", "at", "virtual network", rows=(
        (host["name"], host["mac"], ", ".join(host["ips"]), f"{host['dpid']}:{host['port']}", host["vnet"])
        for host in answer
    ))  # fmt: skip


def vnets(answer: Iterable[Json]) -> Table:
    """Virtual networks and who is in them."""
    return _table("Virtual networks", "name", "hosts", "subnets", rows=(
        (vnet["name"], ", ".join(host["name"] for host in vnet["hosts"]), ", ".join(vnet["subnets"]))
        for vnet in answer
    ))  # fmt: skip


def stitches(answer: Iterable[Json]) -> Table:
    """Stitches, one a line."""
    columns = (
        "id",
        "state",
        "source",
        "destination",
        "Mbit/s",
        "load Mbit/s",
        "probe ms",
        "hops",
        "origin",
        "reason",
    )
    return _table(
        "Stitches",
        *columns,
        rows=(
            (
                stitch["id"],
                stitch["state"],
                stitch["source"]["name"],
                stitch["destination"]["name"],
                _number(stitch["bandwidth_mbps"]),
                _number(stitch["load_mbps"]),
                _number(stitch["probe_ms"]),
                len(stitch["path"]) if stitch["path"] else _UNKNOWN,
                stitch["origin"],
                stitch["reason"] or "",
            )
            for stitch in answer
        ),
    )  # fmt: skip


def stitch(answer: Json) -> Table:
    """All that is known of one stitch."""
    source, destination = answer["source"], answer["destination"]
    return _table(f"Stitch {answer['id']}", "what", "value", rows=(
        ("state", answer["state"]),
        ("reason", answer["reason"] or ""),
        ("source", f"{source['name']} ({source['mac']})"),
        ("destination", f"{destination['name']} ({destination['mac']})"),
        ("both ways", "yes" if answer["both_ways"] else "no"),
        ("bandwidth Mbit/s", _number(answer["bandwidth_mbps"])),
        ("enforced by", answer["enforced"]),
        ("most latency ms", _number(answer["max_latency_ms"])),
        ("latency planned ms", _number(answer["latency_ms"])),
        ("latency probed ms", _number(answer["probe_ms"])),
        ("load Mbit/s", _number(answer["load_mbps"])),
        ("path", path(answer["path"] or ())),
        ("origin", answer["origin"]),
        ("created", answer["created"]),
        ("changed", answer["changed"]),
        ("up since", answer["up_since"] or _UNKNOWN),
    ))  # fmt: skip


def forecast(answer: Json) -> list[Table]:
    """Every step of every link and demand, with a low, a middle and a high quantile."""
    shown = [
        _forecast(title, answer[kind], [step * answer["step_s"] for step in answer["steps"]])
        for title, kind in (("Links", "links"), ("Demands", "demands"))
        if answer[kind]
    ]
    if answer["alarms"]:
        rows = [(one["time"], one["series"], f"{one['surprise_bits']:.0f}") for one in answer["alarms"]]
        shown.append(_table("Not expected", "when", "series", "bits", rows=rows))
    if answer["outcomes"]:
        true = [
            (f"{one['interval']:.0%}", _share(one["demands"]), _share(one["links"])) for one in answer["came_true"]
        ]
        shown.append(_table("How much came true of late", "interval", "demands", "links", rows=true))
    return shown


def health(answer: Json) -> Table:
    """How the controller is."""
    installer = answer["installer"] or {}
    rows = [
        ("status", answer["status"]),
        *(("reason", reason) for reason in answer["reasons"]),
        ("version", answer["version"]),
        ("up for s", f"{answer['uptime_s']:.0f}"),
        ("switches connected", _whole(answer["switches_connected"])),
        ("newest samples s ago", _number(answer["samples_age_s"])),
        *((f"stitches {state}", str(count)) for state, count in sorted((answer["stitches"] or {}).items())),
        *((key.replace("_", " "), _whole(installer[key])) for key in ("rules_added", "rules_removed", "rules_kept")
          if installer),
        *((f"queue of {name}", str(depth)) for name, depth in sorted((answer["queue_depths"] or {}).items())),
    ]  # fmt: skip
    return _table("Controller", "what", "value", rows=rows)


def path(hops: Iterable[Json]) -> str:
    """A path in one line: in_port dpid out_port, switch by switch."""
    return " > ".join(f"{hop['in_port']}@{hop['dpid']}@{hop['out_port']}" for hop in hops)


def _forecast(title: str, series: Iterable[Json], ahead_s: Sequence[float]) -> Table:
    rows: list[tuple[object, ...]] = []
    for one in series:
        levels = {quantile["level"]: quantile["mbps"] for quantile in one["quantiles"]}
        shown = [levels[_nearest(level, levels)] for level in _SHOWN_LEVELS]
        rows.extend(
            (
                one["name"] if step == 0 else "",
                f"+{ahead_s[step]:g}",
                _number(mean),
                *(_number(quantile[step]) for quantile in shown),
                _share((one.get("prob_above") or {step: None})[step]),
            )
            for step, mean in enumerate(one["mean_mbps"])
        )
    columns = ("name", "s", "mean Mbit/s", *(f"{level:.0%}" for level in _SHOWN_LEVELS), "above")
    return _table(title, *columns, rows=rows)


def _nearest(wanted: float, levels: Iterable[float]) -> float:
    return min(levels, key=lambda level: abs(level - wanted))


def _table(title: str, *columns: str, rows: Iterable[tuple[object, ...]]) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        # Folded, not cut: what stands in a table can be copied from it.
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    return table


def _number(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:.4g}"


def _whole(value: int | None) -> str:
    return _UNKNOWN if value is None else str(value)


def _share(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:.0%}"
