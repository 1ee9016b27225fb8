"""The story of the overlay on a terminal: what goes on, what came out, and a table at the end."""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from mininet_topos.fidelity import OTHERS_MOST
from mininet_topos.machine import MachineUse, MachineWatch
from mininet_topos.overlay.lab import NODES, overlay_lab
from mininet_topos.overlay.outcome import Outcome, missed
from mininet_topos.overlay.story import ACTS, tell

TITLE = "The overlay: what happened, and what it took"


@dataclass(frozen=True)
class Told:
    """What all acts measured, and what others took of this machine meanwhile."""

    outcomes: tuple[Outcome, ...]
    machine: MachineUse
    took_s: float

    @property
    def missed(self) -> tuple[Outcome, ...]:
        """What is not good enough."""
        return tuple(missed(self.outcomes))

    @property
    def doubt(self) -> str:
        """Why figures of time say little; "" where they do not."""
        taken = self.machine.others + self.machine.stolen
        if taken <= OTHERS_MOST * self.machine.processors:
            return ""
        return f"other programs took {taken:.1f} of {self.machine.processors} processors"

    def as_json(self) -> dict[str, Any]:
        """All of it, for a file."""
        outcomes = [{**asdict(one), "met": one.met} for one in self.outcomes]
        return {"outcomes": outcomes, "doubt": self.doubt, "took_s": round(self.took_s, 1)}


def tell_on(console: Console) -> Told:
    """Go through all acts, say what goes on, and print the table. Raises LabUnavailable, LabError."""
    sites = [node.name for node in NODES if node.prefix is not None]
    relays = [node.name for node in NODES if node.prefix is None]
    console.print(
        f"[bold]Overlay[/]: {len(sites)} sites ({', '.join(sites)}), each with a switch, a host and two uplinks; "
        f"{len(relays)} compute instances ({', '.join(relays)}); a controller, a signer, an agent at each."
    )
    began_s, outcomes = time.monotonic(), list[Outcome]()
    watch = MachineWatch((os.getpid(),))
    with console.status("the lab is built") as status, overlay_lab() as lab:

        def report(what: str) -> None:
            number = list(ACTS).index(what) + 1
            console.print(
                f"[{time.monotonic() - began_s:3.0f} s] act {number} of {len(ACTS)}: {what}", markup=False
            )
            status.update(what)

        for outcome in tell(lab, report):
            outcomes.append(outcome)
            console.print(f"        {outcome.what}: {outcome.shown}", markup=False, highlight=False)
        took_s = time.monotonic() - began_s
        told = Told(tuple(outcomes), watch.use(took_s), took_s)
    console.print(_table(told))
    console.print(_verdict(told))
    return told


def _table(told: Told) -> Table:
    table = Table("act", "measured", "figure", "at most", "met", title=TITLE)
    for number in (2, 3):
        table.columns[number].justify = "right"
    before = ""
    for one in told.outcomes:
        most = "" if one.most is None else f"{one.most:.0f} {one.unit}".rstrip()
        style = "bold red" if one.met is False else None
        table.add_row(one.act if one.act != before else "", one.what, one.shown, most, one.mark, style=style)
        before = one.act
    return table


def _verdict(told: Told) -> str:
    held = [one for one in told.outcomes if one.met is not None]
    doubt = f" The figures say more of this machine: {told.doubt}." if told.doubt else ""
    if not told.missed:
        return f"All {len(held)} targets were met, in {told.took_s:.0f} s.{doubt}"
    named = "; ".join(f"{one.act}: {one.what}: {one.shown}" for one in told.missed)
    return f"{len(told.missed)} of {len(held)} targets were missed: {named}.{doubt}"
