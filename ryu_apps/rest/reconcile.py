"""Reconciliation on demand: read a switch, say what differs, and put it right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from ryu_apps.events import NotReconciled, Reconcile, Reconciled
from ryu_apps.guests.share import Share
from ryu_apps.rest.access.roles import Role, needs
from ryu_apps.rest.apps import INSTALLER, AppsOf
from ryu_apps.rest.entries import EntryView, entry_view
from ryu_apps.rest.problems import Kind, Problem, documented
from stitching.network import node_name
from stitching.rules import Entry

PATIENCE_S = 25.0
"""A little more than the installer gives a switch."""

_MOST = 500

router = APIRouter(prefix="/switches", tags=["switches"], dependencies=[needs(Role.ADMIN)])

Dpid = Annotated[str, Path(pattern="^[0-9a-fA-F]{16}$", description="16 hex digits.")]


class EntriesView(BaseModel):
    """Entries that differ in one way."""

    count: int
    entries: list[EntryView] = Field(description=f"The first {_MOST} of them.")


class OthersView(BaseModel):
    """What is on the switch that is not ours: it is never touched."""

    rules: int
    groups: int
    meters: int


class AbandonedView(BaseModel):
    """Rules of a hosted app that does not run."""

    owner: str = Field(description="The top byte of their cookies.", examples=["0xe0"])
    tables: str = Field(description="Where they are.", examples=["200 to 209"])
    rules: int = Field(description="How many there are.")
    removed: int = Field(description="How many were taken out.")


class ReconciledView(BaseModel):
    """What separated a switch from what it should have."""

    dpid: str
    dry_run: bool
    right: int = Field(description="Entries that were as they should be.")
    missing: EntriesView
    wrong: EntriesView = Field(description="As they should be.")
    excess: EntriesView
    others: OthersView
    abandoned: list[AbandonedView] = Field(description="What hosted apps that do not run have left.")
    refused: list[str] = Field(description="What the switch would not have put right, each with what it says.")


@router.post("/{dpid}/reconcile", responses=documented(Kind.NOT_RECONCILED))
def reconcile(apps: AppsOf, dpid: Dpid, dry_run: bool = False, remove_guests: bool = False) -> ReconciledView:
    """Read a switch and send it what differs from what it should have; with dry_run, only say what differs.

    It waits for changes in progress. Entries that are as they should be are not written, those of others never,
    except that remove_guests takes out what hosted apps have left that do not run.
    """
    try:
        done = apps.ask(INSTALLER, Reconcile(int(dpid, 16), dry_run, remove_guests), timeout_s=PATIENCE_S)
    except NotReconciled as error:
        raise Problem(
            Kind.NOT_RECONCILED, str(error), field="dpid", remedy="look at GET /v1/topology, then try again"
        ) from error
    return ReconciledView(
        dpid=node_name(done.dpid),
        dry_run=done.dry_run,
        right=done.right,
        missing=_view(done.difference.missing),
        wrong=_view(done.difference.wrong),
        excess=_view(done.difference.excess),
        others=OthersView(rules=done.others_rules, groups=done.others_groups, meters=done.others_meters),
        abandoned=[_abandoned(done, owner) for owner in sorted(done.abandoned.keys() | done.removed.keys())],
        refused=list(done.refused),
    )


def _abandoned(done: Reconciled, owner: int) -> AbandonedView:
    return AbandonedView(
        owner=f"{owner:#x}",
        tables=Share.of_owner(owner).tables,
        rules=done.abandoned.get(owner, 0),
        removed=done.removed.get(owner, 0),
    )


def _view(entries: Sequence[Entry]) -> EntriesView:
    return EntriesView(count=len(entries), entries=[entry_view(entry) for entry in entries[:_MOST]])
