"""Answers of the API as tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.table import Table

from ryu_apps.shown import UNKNOWN, number, share, shortened, table

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
    return table("Links", "from", "to", "latency ms", "capacity Mbit/s", "load Mbit/s", "used", "encrypted", rows=(
        (
            f"{link['src_dpid']}:{link['src_port']}",
            f"{link['dst_dpid']}:{link['dst_port']}",
            number(link["latency_ms"]),
            number(link["capacity_mbps"]),
            number(link["load_mbps"]),
            share(link["utilisation"]),
            "yes" if link["encrypted"] else "",
        )
        for link in answer
    ))  # fmt: skip


def reservations(answer: Iterable[Json]) -> Table:
    """What is promised on each link, and to which stitches."""
    return table("Reservations", "from", "to", "capacity Mbit/s", "promised", "free", "stitches (Mbit/s)", rows=(
        (
            f"{one['link']['src_dpid']}:{one['link']['src_port']}",
            f"{one['link']['dst_dpid']}:{one['link']['dst_port']}",
            number(one["capacity_mbps"]),
            number(one["promised_mbps"]),
            number(one["free_mbps"]),
            ", ".join(_held(held) for held in one["held"]),
        )
        for one in answer
    ))  # fmt: skip


def _held(held: Json) -> str:
    return f"{held['stitch']} ({number(held['mbps'])}{', leaving' if held['leaving'] else ''})"


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
    columns = ("id", "kind", "state", "from", "to", "Mbit/s", "load Mbit/s", "probe ms", "links")
    return table(
        "Stitches",
        *columns,
        "origin",
        "reason",
        rows=(
            (
                stitch["id"],
                stitch["kind"],
                stitch["state"],
                end(stitch["source"]),
                end(stitch["destination"]),
                _rate(stitch),
                number(stitch["load_mbps"]),
                number(stitch.get("probe_ms")),
                _links(stitch),
                stitch["origin"],
                shortened(stitch["reason"] or ""),
            )
            for stitch in answer
        ),
    )  # fmt: skip


def stitch(answer: Json) -> Table:
    """All that is known of one stitch."""
    return table(f"Stitch {answer['id']}", "what", "value", rows=(
        ("kind", answer["kind"]),
        ("state", answer["state"]),
        ("reason", answer["reason"] or ""),
        *_KINDS[answer["kind"]](answer),
        ("enforced by", answer["enforced"]),
        *((("cap enforced by", answer["enforced_cap"]),) if answer.get("enforced_cap") else ()),
        ("that is known from", answer["enforced_why"] or ""),
        ("load Mbit/s", number(answer["load_mbps"])),
        ("packets", UNKNOWN if answer.get("packets") is None else answer["packets"]),
        ("bytes", UNKNOWN if answer.get("bytes") is None else answer["bytes"]),
        ("labels", ", ".join(f"{name}={value}" for name, value in answer["labels"].items())),
        ("priority", answer["priority"]),
        ("valid", _valid(answer)),
        ("origin", answer["origin"]),
        ("created", answer["created"]),
        ("changed", answer["changed"]),
        ("up since", answer["up_since"] or UNKNOWN),
    ))  # fmt: skip


Rows = list[tuple[str, Any]]


def _vm(answer: Json) -> Rows:
    source, destination = answer["source"], answer["destination"]
    return [
        ("source", f"{source['name']} ({source['mac']})"),
        ("destination", f"{destination['name']} ({destination['mac']})"),
        ("both ways", "yes" if answer["both_ways"] else "no"),
        ("application", application(answer["application"])),
        *_carrying(answer),
        ("path", path(answer["path"] or ())),
        ("backup", path(answer["backup"] or ())),
    ]


def _segment(answer: Json) -> Rows:
    rows: Rows = []
    for name in ("source", "destination"):
        members = ", ".join(member["name"] for member in answer[name]["members"])
        rows.append((name, f"{end(answer[name])}: {members or 'nobody yet'}"))
    left_out = "; ".join(answer["left_out"])
    return [
        *rows,
        *_carrying(answer),
        ("links", _links(answer)),
        ("detours", str(len(answer["detours"]))),
        ("left out", left_out),
    ]


def _bandwidth(answer: Json) -> Rows:
    shares = ", ".join(f"{share['dpid']}: {number(share['mbps'])}" for share in answer["shares"])
    return [
        ("source", end(answer["source"])),
        ("destination", end(answer["destination"])),
        ("guarantee Mbit/s", number(answer["guarantee_mbps"])),
        ("cap Mbit/s", number(answer["cap_mbps"])),
        ("promised Mbit/s", number(answer["bandwidth_mbps"])),
        ("shares of the cap", shares),
    ]


_KINDS = {"vm": _vm, "segment": _segment, "bandwidth": _bandwidth}


def _carrying(answer: Json) -> Rows:
    return [
        ("bandwidth Mbit/s", number(answer["bandwidth_mbps"])),
        ("protection", answer["protection"]),
        ("most latency ms", number(answer["max_latency_ms"])),
        ("most loss", share(answer["max_loss"])),
        ("latency planned ms", number(answer["latency_ms"])),
        ("latency probed ms", number(answer["probe_ms"])),
        ("loss probed", share(answer["probe_loss"])),
    ]


def end(answer: Json) -> str:
    """A host by its name, or a virtual network and how much of it."""
    if "vnet" not in answer:
        return str(answer["name"])
    part = [*(host["name"] for host in answer.get("hosts", ())), *answer.get("subnets", ())]
    return f"{answer['vnet']} ({', '.join(part)})" if part else str(answer["vnet"])


def _rate(answer: Json) -> str:
    if answer["kind"] != "bandwidth":
        return number(answer["bandwidth_mbps"])
    least, most = answer["guarantee_mbps"], answer["cap_mbps"]
    words = [f">= {number(least)}" if least is not None else "", f"<= {number(most)}" if most is not None else ""]
    return " ".join(word for word in words if word)


def _links(answer: Json) -> str:
    if answer.get("path") is not None:
        return str(len(answer["path"]) - 1)
    return UNKNOWN if answer.get("links") is None else str(len(answer["links"]))


def _valid(answer: Json) -> str:
    words = []
    if answer["valid_from"]:
        words.append(f"from {answer['valid_from']}")
    if answer["valid_until"]:
        words.append(f"until {answer['valid_until']}")
    if weekly := answer["weekly"]:
        words.append(f"{','.join(weekly['days'])} {weekly['start']}-{weekly['end']} {weekly['zone']}")
    if answer["mode"] == "predictive":
        words.append(f"while more than {number(answer['threshold_mbps'])} Mbit/s is forecast")
    return " ".join(words) or "now"


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
        *(("advice", advice) for advice in answer["advice"]),
        ("version", answer["version"]),
        ("up for s", f"{answer['uptime_s']:.0f}"),
        ("switches connected", _whole(answer["switches_connected"])),
        ("newest samples s ago", number(answer["samples_age_s"])),
        *((f"stitches {state}", str(count)) for state, count in sorted((answer["stitches"] or {}).items())),
        *((key.replace("_", " "), _whole(installer[key])) for key in ("rules_added", "rules_removed", "rules_kept")
          if installer),
        *((f"queue of {name}", str(depth))
          for name, depth in sorted((answer["queue_depths"] or {}).items()) if depth),
    ]  # fmt: skip
    return table("Controller", "what", "value", rows=rows)


def path(hops: Iterable[Json]) -> str:
    """A path in one line: in_port dpid out_port, switch by switch."""
    return " > ".join(f"{hop['in_port']}@{hop['dpid']}@{hop['out_port']}" for hop in hops)


def _whole(value: int | None) -> str:
    return UNKNOWN if value is None else str(value)
