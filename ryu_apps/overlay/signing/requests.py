"""What the signer can be asked, and by whom: one JSON object a line, each answered with one."""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeVar

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from stitching.overlay.tunnels import DEFAULT_RANGE, check_range
from vte_agent.protocol.base import Generation, Message, Name, Prefix, PublicKey, Serial, UnixTime
from vte_agent.protocol.enrollment import Enroll, Hex64
from vte_agent.protocol.members import Label, Role
from vte_agent.protocol.signed import Signed

MOST_BYTES = 64 << 10
"""Of a request."""

MEMBERS_AT_ONCE = 500
MOST_CARDS = 16

_A = TypeVar("_A", bound=Message)

NamePattern = Annotated[str, Field(pattern=r"^[A-Za-z0-9._*-]{1,63}$")]
Labels = Annotated[dict[Label, Label], Field(max_length=64)]
Prefixes = Annotated[tuple[Prefix, ...], Field(max_length=256)]


class BadRequest(ValueError):
    """Not a request that may be made here. Never shows what was sent."""


class Refusal(Exception):
    """The signer does not do it; the message says why, and what to do."""


class ControllerCard(Message):
    """A controller as it presents itself to whoever may let it in: none of this is secret.

    state_key signs what agents shall have; authority_sha256 is of its CA's certificate; addresses are host:port.
    Its tunnels have their addresses in overlay_range.
    """

    state_key: PublicKey
    authority_sha256: Hex64
    addresses: Annotated[
        tuple[Annotated[str, Field(min_length=3, max_length=255)], ...], Field(min_length=1, max_length=16)
    ]
    overlay_range: Annotated[Prefix, AfterValidator(check_range)] = DEFAULT_RANGE


class Admit(Message):
    """Let the holder of a token in."""

    op: Literal["admit"] = "admit"
    enroll: Enroll


class GetRoll(Message):
    """The roll; with `after`, as soon as there is one of a later epoch, or the same after wait_s."""

    op: Literal["roll"] = "roll"
    after: Generation | None = None
    wait_s: Annotated[float, Field(ge=0, le=60)] = 20.0


class GetMembers(Message):
    """The members with a serial above this one, the lowest first, no more than MEMBERS_AT_ONCE."""

    op: Literal["members"] = "members"
    after: Annotated[int, Field(ge=0, lt=1 << 63)] = 0


class MakeToken(Message):
    """A token that lets one node in, under a name that fits, with this role, these prefixes and labels."""

    op: Literal["token"] = "token"
    names: NamePattern = "*"
    role: Role = Role.SITE
    prefixes: Prefixes = ()
    labels: Labels = {}
    valid_s: Annotated[float, Field(ge=1, le=30 * 86_400)] = 3600.0


class GetTokens(Message):
    """The tokens that were not used yet, without their secrets."""

    op: Literal["tokens"] = "tokens"


class Withdraw(Message):
    """Make a token worthless."""

    op: Literal["withdraw"] = "withdraw"
    token_id: Name


class Revoke(Message):
    """Put a member out, for good."""

    op: Literal["revoke"] = "revoke"
    serial: Serial


class Trust(Message):
    """Let agents follow a controller."""

    op: Literal["trust"] = "trust"
    card: ControllerCard


class Distrust(Message):
    """Let agents follow a controller no more."""

    op: Literal["distrust"] = "distrust"
    state_key: PublicKey


class Admitted(Message):
    """Who was let in, as agents are told it."""

    member: Signed
    roll: Signed


class RollNow(Message):
    """The roll, and the key that it is signed with."""

    roll: Signed
    policy_key: PublicKey


class MembersPage(Message):
    """Members; there are more where more is true."""

    members: tuple[Signed, ...]
    more: bool


class TokenMade(Message):
    """A token as one word; nobody can be told it again."""

    id: Name
    token: str


class OpenToken(Message):
    """A token that was not used."""

    id: Name
    names: NamePattern
    role: Role
    prefixes: Prefixes
    labels: Labels
    expires_at: UnixTime


class OpenTokens(Message):
    """Those there are."""

    tokens: tuple[OpenToken, ...]


class Done(Message):
    """It is done and on the disk."""


class Refused(Message):
    """It is not done."""

    refused: Annotated[str, Field(max_length=1000)]


ControllerRequest = Admit | GetRoll | GetMembers
OperatorRequest = GetRoll | GetMembers | MakeToken | GetTokens | Withdraw | Revoke | Trust | Distrust

CONTROLLER: Final = TypeAdapter[Message](Annotated[ControllerRequest, Field(discriminator="op")])
OPERATOR: Final = TypeAdapter[Message](Annotated[OperatorRequest, Field(discriminator="op")])


def read_request(line: bytes, kinds: TypeAdapter[Message]) -> Message:
    """The request of a line. Raises BadRequest."""
    try:
        return kinds.validate_json(line)
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False, include_context=False)[:3]
        places = ", ".join(".".join(map(str, one["loc"])) or "(all)" for one in found)
        raise BadRequest(f"this is no request that may be made here, at {places[:200]}") from None


def read_answer(line: bytes, model: type[_A]) -> _A:
    """The answer of a line. Raises Refusal for a no, BadRequest for what is no answer."""
    try:
        if line.startswith(b'{"refused"'):
            raise Refusal(Refused.model_validate_json(line).refused)
        return model.model_validate_json(line)
    except ValidationError:
        raise BadRequest(f"the signer's answer is no {model.__name__}") from None
