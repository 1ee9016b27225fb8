"""The commands of `lockstitch stitch` for stitches of virtual networks: segment, bandwidth."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ryu_apps.rest.commands import LOCAL, AsJson, State, Url
from ryu_apps.rest.stitch_calls import create_and_show
from ryu_apps.rest.stitch_options import (
    Bandwidth,
    Encrypted,
    From,
    Labels,
    MaxLatency,
    Priority,
    Protect,
    Until,
    Wait,
    Weekly,
    above_zero,
    label_of,
    times,
)

Network = Annotated[str, typer.Argument(help="Name of a virtual network.")]
Hosts = Annotated[list[str] | None, typer.Option(help="Only this host of it; may be repeated.")]
Subnets = Annotated[list[str] | None, typer.Option(help="Only hosts in this subnet of it; may be repeated.")]
Guarantee = Annotated[float | None, typer.Option("--guarantee", help="Mbit/s that they can always have.")]
Cap = Annotated[float | None, typer.Option("--cap", help="Mbit/s that they never exceed.")]


def segment(
    network: Network,
    other: Network,
    bandwidth: Bandwidth,
    state: State,
    host: Hosts = None,
    subnet: Subnets = None,
    other_host: Hosts = None,
    other_subnet: Subnets = None,
    max_latency: MaxLatency = None,
    protect: Protect = "none",
    label: Labels = None,
    priority: Priority = 3,
    valid_from: From = None,
    until: Until = None,
    weekly: Weekly = None,
    encrypted: Encrypted = False,
    wait: Wait = False,
    url: Url = LOCAL,
    as_json: AsJson = False,
) -> None:
    """Make parts of two virtual networks one segment. With --wait, exit code 1 where it did not come up."""
    body: dict[str, Any] = {
        "kind": "segment",
        "source": {"vnet": network, "hosts": host or [], "subnets": subnet or []},
        "destination": {"vnet": other, "hosts": other_host or [], "subnets": other_subnet or []},
        "bandwidth_mbps": above_zero(bandwidth, "--bandwidth"),
        "protection": protect,
        "encrypted": encrypted,
        **_terms(label, priority, valid_from, until, weekly),
    }
    if max_latency is not None:
        body["max_latency_ms"] = above_zero(max_latency, "--max-latency")
    create_and_show(url, state, body, wait=wait, as_json=as_json)


def bandwidth(
    network: Network,
    other: Network,
    state: State,
    guarantee: Guarantee = None,
    cap: Cap = None,
    follow_forecast: Annotated[
        bool, typer.Option("--follow-forecast", help="Let the guarantee grow with the forecast, up to the cap.")
    ] = False,
    label: Labels = None,
    priority: Priority = 3,
    valid_from: From = None,
    until: Until = None,
    weekly: Weekly = None,
    wait: Wait = False,
    url: Url = LOCAL,
    as_json: AsJson = False,
) -> None:
    """Guarantee or cap what one virtual network sends to another, or within one, on the paths it takes anyway."""
    if guarantee is None and cap is None:
        raise typer.BadParameter("give --guarantee, --cap or both")
    body: dict[str, Any] = {
        "kind": "bandwidth",
        "source": network,
        "destination": other,
        "follow_forecast": follow_forecast,
        **_terms(label, priority, valid_from, until, weekly),
    }
    if guarantee is not None:
        body["guarantee_mbps"] = above_zero(guarantee, "--guarantee")
    if cap is not None:
        body["cap_mbps"] = above_zero(cap, "--cap")
    create_and_show(url, state, body, wait=wait, as_json=as_json)


def _terms(
    label: list[str] | None, priority: int, valid_from: str | None, until: str | None, weekly: str | None
) -> dict[str, Any]:
    labels = dict(label_of(text) for text in label or ())
    return {"labels": labels, "priority": priority, **times(valid_from, until, weekly)}
