"""Answers of the API as tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.table import Table

from ryu_apps.shown import UNKNOWN, number, share, table

Json = Mapping[str, Any]


def topology(answer: Json) -> list[Table]:
    """Switches, links and hosts."""
    switches = table("Switches", "dpid", "connected", "ports up", rows=(
        (switch["dpid"], "yes" if switch["connected"] else "no", sum(port["up"] for port in switch["ports"]))
        for switch in answer["switches"]
    ))  # fmt: skip
    return [switches, links(answer["links"]), hosts(answer["hosts"])]


def links(answer: Iterable[Json]) -> Table:
    """Links, each way on a line of its own."""
    return table("Links", "from", "to", "latency ms", "capacity Mbit/s", "load Mbit/s", "used", rows=(
        (
            f"{link['src_dpid']}:{link['src_port']}",
            f"{link['dst_dpid']}:{link['dst_port']}",
            number(link["latency_ms"]),
            number(link["capacity_mbps"]),
            number(link["load_mbps"]),
            share(link["utilisation"]),
        )
        for link in answer
    ))  # fmt: skip


def hosts(answer: Iterable[Json]) -> Table:
    """Hosts and where they are."""
    return table("Hosts", "name", "MAC", "addresses", "at", "virtual network", rows=(
        (host["name"], host["mac"], ", ".join(host["ips"]), f"{host['dpid']}:{host['port']}", host["vnet"])
        for host in answer
    ))  # fmt: skip


def vnets(answer: Iterable[Json]) -> Table:
    """Virtual networks and who is in them."""
    return table("Virtual networks", "name", "hosts", "subnets", rows=(
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
    return table(
        "Stitches",
        *columns,
        rows=(
            (
                stitch["id"],
                stitch["state"],
                stitch["source"]["name"],
                stitch["destination"]["name"],
                number(stitch["bandwidth_mbps"]),
                number(stitch["load_mbps"]),
                number(stitch["probe_ms"]),
                len(stitch["path"]) if stitch["path"] else UNKNOWN,
                stitch["origin"],
                stitch["reason"] or "",
            )
            for stitch in answer
        ),
    )  # fmt: skip


def stitch(answer: Json) -> Table:
    """All that is known of one stitch."""
    source, destination = answer["source"], answer["destination"]
    return table(f"Stitch {answer['id']}", "what", "value", rows=(
        ("state", answer["state"]),
        ("reason", answer["reason"] or ""),
        ("source", f"{source['name']} ({source['mac']})"),
        ("destination", f"{destination['name']} ({destination['mac']})"),
        ("both ways", "yes" if answer["both_ways"] else "no"),
        ("bandwidth Mbit/s", number(answer["bandwidth_mbps"])),
        ("enforced by", answer["enforced"]),
        ("application", application(answer["application"])),
        ("protection", answer["protection"]),
        ("labels", ", ".join(f"{name}={value}" for name, value in answer["labels"].items())),
        ("most latency ms", number(answer["max_latency_ms"])),
        ("most loss", share(answer["max_loss"])),
        ("latency planned ms", number(answer["latency_ms"])),
        ("latency probed ms", number(answer["probe_ms"])),
        ("loss probed", share(answer["probe_loss"])),
        ("load Mbit/s", number(answer["load_mbps"])),
        ("path", path(answer["path"] or ())),
        ("backup", path(answer["backup"] or ())),
        ("origin", answer["origin"]),
        ("created", answer["created"]),
        ("changed", answer["changed"]),
        ("up since", answer["up_since"] or UNKNOWN),
    ))  # fmt: skip


def application(answer: Json | None) -> str:
    """An application as --app takes it."""
    if answer is None:
        return "all"
    words = "" if answer["protocol"] is None else str(answer["protocol"])
    ports = [answer["source_port"], answer["destination_port"]]
    if ports[0] is not None:
        words += f" from port {ports[0]}"
    if ports[1] is not None:
        words += f"/{ports[1]}"
    return words if answer["dscp"] is None else f"{words}@{answer['dscp']}"


def health(answer: Json) -> Table:
    """How the controller is."""
    installer = answer["installer"] or {}
    rows = [
        ("status", answer["status"]),
        *(("reason", reason) for reason in answer["reasons"]),
        ("version", answer["version"]),
        ("up for s", f"{answer['uptime_s']:.0f}"),
        ("switches connected", _whole(answer["switches_connected"])),
        ("newest samples s ago", number(answer["samples_age_s"])),
        *((f"stitches {state}", str(count)) for state, count in sorted((answer["stitches"] or {}).items())),
        *((key.replace("_", " "), _whole(installer[key])) for key in ("rules_added", "rules_removed", "rules_kept")
          if installer),
        *((f"queue of {name}", str(depth)) for name, depth in sorted((answer["queue_depths"] or {}).items())),
    ]  # fmt: skip
    return table("Controller", "what", "value", rows=rows)


def path(hops: Iterable[Json]) -> str:
    """A path in one line: in_port dpid out_port, switch by switch."""
    return " > ".join(f"{hop['in_port']}@{hop['dpid']}@{hop['out_port']}" for hop in hops)


def _whole(value: int | None) -> str:
    return UNKNOWN if value is None else str(value)
