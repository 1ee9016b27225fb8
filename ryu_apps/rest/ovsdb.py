"""The OVSDB servers of switches: through them links get BFD and ports get queues."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from ryu_apps.events import OvsdbStatus, OvsdbStatusRequest, SetSwitchOvsdb
from ryu_apps.ovsdb.remotes import BadRemote
from ryu_apps.rest.access.audit import ChangeOf
from ryu_apps.rest.access.roles import Role, needs
from ryu_apps.rest.apps import OVSDB, AppsOf
from ryu_apps.rest.problems import Kind, Problem, documented
from stitching.network import node_name

router = APIRouter(prefix="/switches", tags=["switches"])

Dpid = Annotated[str, Path(pattern="^[0-9a-fA-F]{16}$", description="16 hex digits.")]


class OvsdbBody(BaseModel):
    """Where the OVSDB server of a switch is."""

    model_config = ConfigDict(extra="forbid", strict=True)

    remote: str = Field(
        min_length=1, max_length=256, description="unix:/PATH/TO/db.sock, tcp:HOST:PORT or ssl:HOST:PORT"
    )


class OvsdbView(BaseModel):
    """The OVSDB server of a switch."""

    dpid: str
    remote: str | None = Field(description="The one that was named for this switch; None: none was.")
    answered_by: str | None = Field(
        description="The server that answers for it now. None: it is not connected, or no server given knows it."
    )


@router.get("/{dpid}/ovsdb", dependencies=[needs(Role.VIEWER)])
def get_ovsdb(apps: AppsOf, dpid: Dpid) -> OvsdbView:
    """Where the database of a switch is, and whether it answers."""
    return _view(apps.ask(OVSDB, OvsdbStatusRequest()), int(dpid, 16))


@router.put("/{dpid}/ovsdb", dependencies=[needs(Role.ADMIN)], responses=documented(Kind.INVALID))
def put_ovsdb(apps: AppsOf, change: ChangeOf, dpid: Dpid, body: OvsdbBody) -> OvsdbView:
    """Tell where the database of a switch is. It is kept, and used at once beside those given with --ovsdb.

    Its other switches that are connected here get BFD and queues too.
    """
    number = int(dpid, 16)
    try:
        before = apps.ask(OVSDB, SetSwitchOvsdb(number, body.remote))
    except BadRemote as error:
        raise Problem(
            Kind.INVALID, str(error), field="remote", remedy="write it as ovs-vsctl --db does"
        ) from error
    change.before = {"remote": before}
    change.after = {"remote": body.remote}
    return _view(apps.ask(OVSDB, OvsdbStatusRequest()), number)


@router.delete("/{dpid}/ovsdb", status_code=204, response_model=None, dependencies=[needs(Role.ADMIN)])
def delete_ovsdb(apps: AppsOf, change: ChangeOf, dpid: Dpid) -> None:
    """Use the database of this switch no more, unless it was given with --ovsdb. What was set in it stays."""
    before = apps.ask(OVSDB, SetSwitchOvsdb(int(dpid, 16), None))
    change.before = {"remote": before}
    change.after = {"remote": None}


def _view(status: OvsdbStatus, dpid: int) -> OvsdbView:
    return OvsdbView(dpid=node_name(dpid), remote=status.named.get(dpid), answered_by=status.switches.get(dpid))
