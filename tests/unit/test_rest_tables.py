"""Tables for people say what there is, in colour where that helps, and are short where there are many."""

from __future__ import annotations

from io import StringIO
from typing import Any

from rich.console import Console
from rich.table import Table

from ryu_apps.rest import intent_tables, tables
from stitching.stitch import State
from tests.unit.test_rest_fake import Caller, FakeController, api_of, red_and_blue

LONG = "the reason is so long that " + "it goes on and on, " * 20 + "to its very end"


def printed(shown: Table, *, coloured: bool = False) -> str:
    console = Console(
        file=StringIO(), width=200, force_terminal=coloured, color_system="standard" if coloured else None
    )
    console.print(shown)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def intents(state: str, **more: Any) -> dict[str, Any]:
    one = {"name": "[red]video", "kind": "latency", "state": state, "reason": None, "carriers": [], **more}
    return {"version": 1, "intents": [one]}


def test_the_state_of_an_intent_has_its_colour_and_its_name_is_no_markup() -> None:
    for state, colour in (("satisfied", 32), ("pending", 33), ("violated", 31)):
        shown = printed(intent_tables.intents(intents(state)), coloured=True)
        assert f"\x1b[{colour}m{state}\x1b[0m" in shown and "[red]video" in shown
        alone = {**intents(state)["intents"][0], "intent": {"latency": {"between": ["[red]h1", "h2"]}}}
        shown = printed(intent_tables.intent(alone), coloured=True)
        assert f"\x1b[{colour}m{state}" in shown and "Intent [red]video" in shown and "[red]h1" in shown


def test_a_long_reason_is_whole_where_one_thing_is_shown_and_short_in_a_list() -> None:
    controller = FakeController(vnets=red_and_blue())
    call = Caller(api_of(controller))
    call("POST", "/v1/stitches", json={"source": "h1", "destination": "h2", "bandwidth_mbps": 1.0})
    controller.add(controller.stitches[1].to(State.FAILED, 1.0, reason=LONG))
    listed = printed(tables.stitches(call("GET", "/v1/stitches").json()))
    assert "the reason is so long that" in listed and "..." in listed and "to its very end" not in listed
    alone = "".join(printed(tables.stitch(call("GET", "/v1/stitches/1").json())).split("│"))
    assert "to its very end" in " ".join(alone.split()) and "..." not in alone
    listed = printed(intent_tables.intents(intents("violated", reason=LONG)))
    assert "..." in listed and "to its very end" not in listed


def test_health_tells_of_queues_that_have_something_in_them_and_of_no_others() -> None:
    health = Caller(api_of(FakeController()))("GET", "/v1/health").json()
    shown = printed(tables.health({**health, "queue_depths": {"Stitcher": 3, "Telemetry": 0}}))
    assert "queue of Stitcher" in shown and "Telemetry" not in shown
