"""Tokens: made, listed and revoked by an admin."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from pydantic import AwareDatetime, BaseModel, Field, model_validator

from ryu_apps.rest.access.access import Access
from ryu_apps.rest.access.audit import ChangeOf
from ryu_apps.rest.access.roles import Role, needs
from ryu_apps.rest.access.tokens import TokenInfo, TooManyTokens
from ryu_apps.rest.bodies import Body, VnetName
from ryu_apps.rest.pages import LINKED, LOCATED, ShortPageOf
from ryu_apps.rest.problems import Kind, Problem, documented
from ryu_apps.rest.views import moment
from stitching.terms import LEAST_PRIORITY, MOST_PRIORITY, PRIORITY

router = APIRouter(prefix="/tokens", tags=["access"])

READS = needs(Role.ADMIN)

TokenId = Annotated[str, Path(pattern=r"^[0-9a-f]{8}$", description="The part of the token before its dot.")]


class NewTokenBody(Body):
    """A token to make. Without scope it is for all virtual networks; expires is a time with its zone."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9 ._@-]{0,61}[A-Za-z0-9])?$")]
    role: Annotated[Role, Field(strict=False)]
    scope: Annotated[list[VnetName], Field(min_length=1, max_length=1_000)] | None = None
    expires: Annotated[AwareDatetime, Field(strict=False)] | None = None
    max_priority: Annotated[int, Field(ge=LEAST_PRIORITY, le=MOST_PRIORITY)] | None = Field(
        default=None,
        description=f"The greatest priority it may give a stitch; {PRIORITY} unless given. Admins have no bound.",
    )

    @model_validator(mode="after")
    def _admins_have_no_limits(self) -> NewTokenBody:
        if self.role is Role.ADMIN and self.scope is not None:
            raise ValueError("an admin could make itself a token without a scope; leave the scope out")
        if self.role is Role.ADMIN and self.max_priority not in (None, MOST_PRIORITY):
            raise ValueError("an admin could make itself a token for any priority; leave max_priority out")
        return self


class TokenView(BaseModel):
    """A token without its secret."""

    id: str
    name: str
    role: Role
    scope: list[str] | None = Field(description="The virtual networks it is confined to; null: to none.")
    max_priority: int = Field(description="The greatest priority it may give a stitch.")
    created: datetime
    expires: datetime | None
    used: datetime | None = Field(
        description="When it was used last; after a restart, up to a minute before that."
    )


class NewTokenView(TokenView):
    """A token that was made, the only time with its secret."""

    token: str = Field(description="Keep it: it is not shown again.")


@router.get("", dependencies=[READS], responses=LINKED)
def get_tokens(request: Request, page: ShortPageOf) -> list[TokenView]:
    """All tokens but the one in the state directory."""
    infos = page.of(_access(request).tokens.all(), lambda info: (info.record.id,), str)
    return [_view(info) for info in infos]


@router.get("/{token_id}", dependencies=[READS], responses=documented(Kind.UNKNOWN_TOKEN))
def get_token(request: Request, token_id: TokenId) -> TokenView:
    """One token."""
    info = _access(request).tokens.get(token_id)
    if info is None:
        raise _unknown(token_id)
    return _view(info)


@router.post(
    "",
    status_code=201,
    dependencies=[needs(Role.ADMIN, secret=True)],
    responses={201: {"headers": LOCATED}, **documented(Kind.TOO_MANY_TOKENS)},
)
def post_token(request: Request, body: NewTokenBody, change: ChangeOf, response: Response) -> NewTokenView:
    """Make a token. Its secret is in this answer and nowhere else."""
    expires_s = body.expires.timestamp() if body.expires is not None else None
    if expires_s is not None and expires_s <= request.app.state.apps.settings.clock():
        raise Problem(Kind.INVALID, "this time has passed", field="expires", remedy="give one in the future")
    try:
        token, info = _access(request).tokens.create(
            body.name, body.role, body.scope, expires_s, body.max_priority
        )
    except TooManyTokens as error:
        raise Problem(Kind.TOO_MANY_TOKENS, str(error), remedy="revoke those that nobody uses") from error
    view = _view(info)
    change.after = view
    response.headers["Location"] = f"/v1/tokens/{view.id}"
    response.headers["Cache-Control"] = "no-store"
    return NewTokenView(**view.model_dump(), token=token)


@router.delete(
    "/{token_id}",
    status_code=204,
    response_model=None,
    dependencies=[needs(Role.ADMIN)],
    responses=documented(Kind.UNKNOWN_TOKEN),
)
async def delete_token(request: Request, token_id: TokenId, change: ChangeOf) -> None:
    """Revoke a token: from now on it opens nothing."""
    access = _access(request)
    apps = request.app.state.apps
    info = await apps.ask_apart(lambda: access.tokens.revoke(token_id))
    if info is None:
        raise _unknown(token_id)
    access.answers.forget_token(token_id)
    change.before = _view(info)


def _access(request: Request) -> Access:
    access: Access = request.app.state.access
    return access


def _unknown(token_id: str) -> Problem:
    return Problem(
        Kind.UNKNOWN_TOKEN,
        f"there is no token {token_id}",
        field="token_id",
        remedy="GET /v1/tokens lists them; the one in the state directory is replaced by removing its file",
    )


def _view(info: TokenInfo) -> TokenView:
    one = info.record
    return TokenView(
        id=one.id,
        name=one.name,
        role=Role(one.role),
        scope=list(one.scope) if one.scope is not None else None,
        max_priority=info.max_priority,
        created=moment(one.created_s),
        expires=moment(one.expires_s) if one.expires_s is not None else None,
        used=moment(info.used_s) if info.used_s is not None else None,
    )
