"""What the overlay's lab says of what it measured, and what it asks of a machine before it begins."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from mininet_topos import cli, ovs
from mininet_topos.machine import MachineUse
from mininet_topos.overlay import lab as labs
from mininet_topos.overlay import story, telling
from mininet_topos.overlay.outcome import Outcome
from mininet_topos.overlay.telling import Told

GOOD = Outcome("uplink cut", "longest silence", 152.4, "ms", 200)
BAD = Outcome("uplink cut", "longest silence", 612.0, "ms", 200)
PLAIN = Outcome("star", "14 tunnels are up after", 3.84, "s")
CALM, BUSY = MachineUse(2, 0.1, 0.0), MachineUse(2, 0.9, 0.1)


def test_a_figure_is_good_up_to_its_target_and_without_one_says_nothing() -> None:
    assert (GOOD.met, GOOD.mark, GOOD.shown) == (True, "yes", "152 ms")
    assert (BAD.met, BAD.mark) == (False, "NO")
    assert (PLAIN.met, PLAIN.mark, PLAIN.shown) == (None, "", "3.8 s")
    assert Outcome("", "", 200.0, "ms", 200).met
    assert Outcome("", "", 0, "", 0).met and not Outcome("", "", 1, "", 0).met
    assert Outcome("", "", 51, "", 0).shown == "51"


def test_a_busy_machine_is_named_and_takes_no_miss_away() -> None:
    told = Told((GOOD, BAD), BUSY, 60.0)
    assert told.doubt == "other programs took 1.0 of 2 processors" and told.missed == (BAD,)
    assert not Told((GOOD,), CALM, 60.0).doubt
    assert told.as_json() == {
        "outcomes": [
            {
                "act": "uplink cut",
                "what": "longest silence",
                "value": 152.4,
                "unit": "ms",
                "most": 200,
                "met": True,
            },
            {
                "act": "uplink cut",
                "what": "longest silence",
                "value": 612.0,
                "unit": "ms",
                "most": 200,
                "met": False,
            },
        ],
        "doubt": "other programs took 1.0 of 2 processors",
        "took_s": 60.0,
    }


@pytest.fixture
def acts(monkeypatch: pytest.MonkeyPatch) -> dict[str, Callable[..., Iterator[Outcome]]]:
    """The story without a lab: its acts are to be put in here."""

    @contextmanager
    def nothing() -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(world=SimpleNamespace(ear=SimpleNamespace(heard=lambda: 0)))

    made: dict[str, Callable[..., Iterator[Outcome]]] = {}
    monkeypatch.setattr(telling, "overlay_lab", nothing)
    monkeypatch.setattr(telling, "ACTS", made)
    monkeypatch.setattr(story, "ACTS", made)
    return made


@pytest.mark.parametrize("width", [80, 120])
def test_acts_are_named_as_they_begin_and_their_figures_are_in_a_table(
    acts: dict[str, Callable[..., Iterator[Outcome]]], width: int
) -> None:
    acts["a star is built"] = lambda _lab: iter((PLAIN,))
    acts["an uplink is cut"] = lambda _lab: iter((GOOD,))
    console = Console(width=width, record=True, file=open(os.devnull, "w"))  # noqa: PTH123, SIM115
    told = telling.tell_on(console)
    text = console.export_text()
    assert told.outcomes[:2] == (PLAIN, GOOD) and told.outcomes[2].what.startswith("packets that crossed")
    assert "act 1 of 2: a star is built" in text and "act 2 of 2: an uplink is cut" in text
    assert "All 2 targets were met" in text
    assert max(map(len, text.splitlines())) <= width


def test_a_missed_target_is_exit_code_1_and_is_named(
    acts: dict[str, Callable[..., Iterator[Outcome]]], tmp_path: Path
) -> None:
    acts["an uplink is cut"] = lambda _lab: iter((BAD,))
    done = CliRunner().invoke(cli.commands, ["lab", "overlay", "--json", str(tmp_path / "out.json")])
    assert done.exit_code == 1
    assert "1 of 2 targets were missed: uplink cut: longest silence: 612 ms" in " ".join(done.stdout.split())
    assert json.loads((tmp_path / "out.json").read_text())["outcomes"][0]["met"] is False
    acts["an uplink is cut"] = lambda _lab: iter((GOOD,))
    assert CliRunner().invoke(cli.commands, ["lab", "overlay"]).exit_code == 0


def test_the_demo_tells_it_as_its_second_part_and_keeps_the_figures_of_both(
    acts: dict[str, Callable[..., Iterator[Outcome]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    acts["an uplink is cut"] = lambda _lab: iter((BAD,))
    for name in ("require_lab", "require_overlay", "_introduce", "_show"):
        monkeypatch.setattr(cli, name, lambda *_: None)
    monkeypatch.setattr(cli, "run_demo", lambda *_: {})
    monkeypatch.setattr(cli, "as_json", lambda *_: {"counts": True})
    monkeypatch.setattr(cli, "_stretch", lambda *_: SimpleNamespace(start=0, steps=1, scale=1.0))

    def played(*options: str) -> Any:
        out = tmp_path / "out.json"
        done = CliRunner().invoke(cli.commands, ["demo", "--json", str(out), *options])
        assert done.exit_code == 0, done.output
        return json.loads(out.read_text())

    found = played()
    assert found["counts"] is True and found["overlay"]["outcomes"][0]["value"] == 612.0
    assert played("--no-overlay") == {"counts": True}


def test_what_is_missing_is_one_line_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def said() -> str:
        done = CliRunner().invoke(cli.commands, ["lab", "overlay"])
        assert done.exit_code == 1 and done.stderr.count("\n") == 1
        return done.stderr

    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "needs root" in said() and "sudo" in said()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(ovs, "which", lambda name: None if name == "nft" else f"/usr/bin/{name}")
    assert "needs nft, which is not installed: apt-get install nftables" in said()
    monkeypatch.setattr(ovs, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(labs, "require_tun", lambda: None)
    lacking = SimpleNamespace(missing=lambda: "wireguard-go is not installed: apt-get install wireguard-go")
    monkeypatch.setattr(labs, "wireguard_tunnels", lambda: lacking)
    assert "needs WireGuard: wireguard-go is not installed: apt-get install wireguard-go" in said()
