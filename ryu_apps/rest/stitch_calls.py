"""Asks for stitches, or for other terms of one, and shows what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ryu_apps.rest import tables
from ryu_apps.rest.client import CallFailed, call
from ryu_apps.rest.output import show

WAIT_S = 30.0
"""How long --wait waits; the most that the API allows."""


def create_and_show(url: str, state: Path, body: dict[str, Any], *, wait: bool, as_json: bool) -> None:
    """Make a stitch of any kind and show it. Raises CallFailed where it was to be waited for and is not up."""
    _ask_and_show(url, state, "POST", "/stitches", body, wait=wait, as_json=as_json)


def change_and_show(
    url: str, state: Path, stitch_id: int, body: dict[str, Any], *, wait: bool, as_json: bool
) -> None:
    """Give a stitch other terms and show it. Raises CallFailed likewise."""
    _ask_and_show(url, state, "PATCH", f"/stitches/{stitch_id}", body, wait=wait, as_json=as_json)


def _ask_and_show(
    url: str, state: Path, method: str, path: str, body: dict[str, Any], *, wait: bool, as_json: bool
) -> None:
    query: dict[str, str | float] | None = {"wait": "up", "wait_s": WAIT_S} if wait else None
    answer = call(url, state, method, path, body=body, query=query, timeout_s=WAIT_S + 10.0)
    show(answer, as_json, tables.stitch(answer))
    if wait and answer["state"] != "up":
        raise CallFailed(
            f"stitch {answer['id']} is {answer['state']}: {answer['reason'] or 'no reason was given'}"
        )
