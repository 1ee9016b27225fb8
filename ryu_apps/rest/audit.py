"""The audit log: who changed what, and who was not let in."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import AwareDatetime, BaseModel, Field

from ryu_apps.rest.access.access import Access
from ryu_apps.rest.access.roles import Role, needs
from ryu_apps.rest.pages import LINKED, ShortPageOf
from ryu_apps.rest.views import moment
from ryu_apps.store.access import AuditQuery, AuditRecord

router = APIRouter(prefix="/audit", tags=["access"])

_LAST_ID = (1 << 63) - 1


class AuditView(BaseModel):
    """A change, or an attempt that was denied."""

    id: int
    time: datetime
    who: str = Field(description="The name of the token; `nobody at ADDRESS` where there was none that is valid.")
    token_id: str | None
    role: Role | None
    method: str
    path: str
    resource: str = Field(description="What was changed: the path, or that of what was made.")
    request_id: str = Field(description="The X-Request-Id of the answer.")
    outcome: Literal["done", "refused", "failed", "denied", "unknown"] = Field(
        description="unknown: under way, or the controller ended, or its store was full, before it was known."
    )
    status: int | None = Field(description="The HTTP status of the answer.")
    before: Any = Field(description="What was there before; null: nothing, or it was not read.")
    after: Any = Field(description="What is there now, without secrets; null: nothing.")


@router.get("", dependencies=[needs(Role.ADMIN)], responses=LINKED)
def get_audit(
    request: Request,
    page: ShortPageOf,
    who: Annotated[str | None, Query(max_length=100, description="Name or id of a token.")] = None,
    resource: Annotated[
        str | None, Query(max_length=500, description="A path and all below it, such as /v1/vnets.")
    ] = None,
    since: Annotated[AwareDatetime | None, Query(description="From this time on.")] = None,
    until: Annotated[AwareDatetime | None, Query(description="Before this time.")] = None,
    denied: Annotated[bool | None, Query(description="Only attempts that were denied, or only others.")] = None,
) -> list[AuditView]:
    """What was changed, the newest first."""
    access: Access = request.app.state.access
    after = page.after(int)
    query = AuditQuery(
        who,
        resource,
        since.timestamp() if since is not None else None,
        until.timestamp() if until is not None else None,
        denied,
    )
    below = max(0, min(after[0], _LAST_ID)) if after is not None else None
    records = access.store.audit(query, below_id=below, limit=page.limit + 1)
    return [_view(record) for record in page.cut(list(records), lambda record: (record.id,))]


def _view(record: AuditRecord) -> AuditView:
    return AuditView(
        id=record.id,
        time=moment(record.time_s),
        who=record.who,
        token_id=record.token_id,
        role=Role(record.role) if record.role is not None else None,
        method=record.method,
        path=record.path,
        resource=record.resource,
        request_id=record.request_id,
        outcome=_outcome(record),
        status=record.status,
        before=json.loads(record.before) if record.before is not None else None,
        after=json.loads(record.after) if record.after is not None else None,
    )


def _outcome(record: AuditRecord) -> Literal["done", "refused", "failed", "denied", "unknown"]:
    if record.denied:
        return "denied"
    if record.status is None:
        return "unknown"
    if record.status < 400:
        return "done"
    return "refused" if record.status < 500 else "failed"
