"""`lockstitch signer`: the signer's process, and what its operator asks of it over its own socket."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from ryu_apps.overlay.signing.places import PathTooLong, check_path, default_signer, in_state
from ryu_apps.rest.client import CallFailed
from ryu_apps.rest.output import show
from ryu_apps.shown import table

if TYPE_CHECKING:
    from ryu_apps.overlay.signing.client import SignerClient
    from ryu_apps.overlay.signing.requests import ControllerCard
    from vte_agent.protocol.members import Member

commands = typer.Typer(
    no_args_is_help=True, help="Who may be in the overlay: tokens, members, trusted controllers."
)

SignerState = Annotated[
    Path,
    typer.Option(
        "--state",
        envvar="LOCKSTITCH_SIGNER_STATE",
        default_factory=default_signer,
        show_default="~/.local/state/lockstitch-signer",
        help="The signer's own directory: key, ledger and sockets.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]
Card = Annotated[
    str, typer.Option("--card", metavar="FILE", help="The controller's overlay-card.json; - is standard input.")
]

UNIT = "lockstitch-signer.service"
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_MOST_CARD_BYTES = 64 << 10
_YES_OR_NO = "yes", "no"


@commands.command()
def run(
    state: SignerState,
    controller_socket: Annotated[
        Path | None, typer.Option(help="Where the controller asks; controller.sock in the directory unless given.")
    ] = None,
    controller_uid: Annotated[
        int | None, typer.Option(help="The user that the controller runs as, if it is another one.")
    ] = None,
) -> None:
    """Run the signer until SIGINT or SIGTERM. Its key is made at the first start."""
    try:
        for path in (controller_socket or in_state(state).controller, in_state(state).operator):
            check_path(path)
    except PathTooLong as error:
        raise CallFailed(str(error)) from error
    if not (state / "policy.key").exists():
        typer.echo(
            f"signer: a new key is made in {state}; keep a copy of it. Next: start the controller with --overlay, "
            "then\n"
            "  lockstitch overlay card | lockstitch signer trust --card -",
            err=True,
        )
    more = [] if controller_socket is None else ["--controller-socket", str(controller_socket)]
    if controller_uid is not None:
        more += ["--controller-uid", str(controller_uid)]
    module = ["-m", "ryu_apps.overlay.signing", "--state", str(state), *more]
    sys.stderr.flush()
    # In place of this process: none of what the command line has loaded stays with the key.
    os.execv(sys.executable, [sys.executable, *module])  # noqa: S606  # no shell is wanted


@commands.command()
def trust(card: Card, state: SignerState) -> None:
    """Let sites follow a controller, by its card."""
    given = _card(card)
    with _signer(state) as signer:
        signer.trust(given)
    typer.echo(
        f"sites follow the controller at {', '.join(given.addresses)}. Next, for each site:\n"
        "  lockstitch signer token --name SITE --prefix 10.1.0.0/24   # prints a token, once\n"
        "  vte-agent enroll --name SITE                               # at the site; asks for the token\n"
        "  vte-agent run --uplink wan=eth0"
    )


@commands.command()
def distrust(card: Card, state: SignerState) -> None:
    """Let sites follow a controller no more."""
    given = _card(card)
    with _signer(state) as signer:
        signer.distrust(given.state_key)
    typer.echo(f"sites do not follow the controller at {', '.join(given.addresses)} any more")


@commands.command()
def token(
    state: SignerState,
    name: Annotated[
        str, typer.Option("--name", help="What the site has to be called; * stands for anything.")
    ] = "*",
    role: Annotated[str, typer.Option(help="site, or relay: it passes on what others send each other.")] = "site",
    prefix: Annotated[
        list[str] | None, typer.Option("--prefix", help="Addresses behind the site (CIDR); may be repeated.")
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="NAME=VALUE", help="Such as critical=yes; may be repeated."),
    ] = None,
    valid: Annotated[str, typer.Option(metavar="1h", help="How long it lets somebody in: 45m, 12h, 30d.")] = "1h",
) -> None:
    """Make a token that lets one node in, once. It is printed, and nobody can be told it again."""
    from pydantic import ValidationError

    from ryu_apps.overlay.signing.requests import MakeToken

    body: dict[str, Any] = {"names": name, "role": role, "prefixes": prefix or [], "valid_s": _span(valid)}
    try:
        wish = MakeToken.model_validate({**body, "labels": dict(map(_label, label or ()))})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        option = {"names": "--name", "prefixes": "--prefix", "labels": "--label", "valid_s": "--valid"}
        at = str(first["loc"][0])
        why = first["msg"].removeprefix("Value error, ")
        if at == "names":
            why = f"{name!r} is no name: letters, digits, '.', '_' and '-', at most 63; * stands for anything"
        if at == "prefixes":
            why += "; a prefix looks like 10.1.0.0/24, with nothing behind it"
        raise typer.BadParameter(why, param_hint=option.get(at, f"--{at}")) from None
    with _signer(state) as signer:
        made = signer.make_token(wish)
    if wish.role.value == "site" and not wish.prefixes:
        typer.echo("it has no --prefix: nothing behind this site can be reached, nor reaches others", err=True)
    typer.echo(f"token {made.id} for {name}, {role}, for {valid}. It is not shown again:", err=True)
    typer.echo(made.token)


@commands.command()
def tokens(state: SignerState, as_json: AsJson = False) -> None:
    """Show the tokens that were not used yet, without their secrets."""
    with _signer(state) as signer:
        found = signer.tokens()
    answer = [one.model_dump(mode="json") for one in found]
    show(answer, as_json, table("Tokens", "id", "for", "role", "prefixes", "labels", "until", rows=(
        (one.id, one.names, one.role.value, _listed(one.prefixes), _labels(one.labels), _time(one.expires_at))
        for one in found
    )))  # fmt: skip


@commands.command()
def withdraw(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="As `lockstitch signer tokens` shows it.")],
    state: SignerState,
) -> None:
    """Make a token worthless that was not used yet."""
    with _signer(state) as signer:
        signer.withdraw(token_id)
    typer.echo(f"token {token_id} lets nobody in any more")


@commands.command()
def members(state: SignerState, as_json: AsJson = False) -> None:
    """Show who was let in."""
    with _signer(state) as signer:
        found = _members(signer)
    show([one.model_dump(mode="json") for one in found], as_json, _members_table(found))


@commands.command()
def revoke(
    member: Annotated[str, typer.Argument(metavar="NAME|SERIAL", help="Who is to be put out.")], state: SignerState
) -> None:
    """Put a member out, for good: its tunnels are cut at all others. It comes back with a new token only."""
    with _signer(state) as signer:
        found = next((one for one in _members(signer) if member in (one.name, str(one.serial))), None)
        if found is None:
            raise CallFailed(f"no member is called {member!r}; `lockstitch signer members` lists them")
        signer.revoke(found.serial)
    typer.echo(f"{found.name} (serial {found.serial}) is out, and its tunnels are cut")


@commands.command()
def unit() -> None:
    """Print a systemd unit for the signer, to be put into /etc/systemd/system."""
    program = f"{Path(sys.argv[0]).resolve()}"
    text = (files("ryu_apps.overlay.signing") / "systemd" / UNIT).read_text()
    typer.echo(text.replace("/usr/bin/lockstitch", program), nl=False)


@contextlib.contextmanager
def _signer(state: Path) -> Iterator[SignerClient]:
    """The signer by its operator's socket. What it refuses, and its silence, become CallFailed."""
    # Here and not above: `lockstitch --help` need not wait for it.
    from ryu_apps.overlay.signing.client import SignerClient, SignerGone
    from ryu_apps.overlay.signing.requests import Refusal

    try:
        yield SignerClient(in_state(state).operator)
    except (SignerGone, Refusal) as error:
        raise CallFailed(str(error)) from error


def _card(file: str) -> ControllerCard:
    from ryu_apps.overlay.card import CardError, read_card

    try:
        if file == "-":
            return read_card(sys.stdin.read(_MOST_CARD_BYTES))
        return read_card(Path(file).read_text())
    except CardError as error:
        raise CallFailed(f"--card {file}: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise CallFailed(f"--card {file} cannot be read ({error})") from error


def _members(signer: SignerClient) -> list[Member]:
    from vte_agent.protocol.members import Member

    return [Member.model_validate_json(base64.b64decode(one.payload)) for one in signer.members()]


def _members_table(found: list[Member]) -> Table:
    return table("Members", "serial", "name", "role", "prefixes", "labels", "until", rows=(
        (one.serial, one.name, one.role.value, _listed(one.prefixes), _labels(one.labels), _time(one.not_after))
        for one in found
    ))  # fmt: skip


def _listed(prefixes: Any) -> str:
    return ", ".join(map(str, prefixes))


def _labels(labels: Any) -> str:
    return ", ".join(f"{name}={value}" for name, value in labels.items())


def _time(at_s: int) -> str:
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d %H:%M}Z"


def _label(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise typer.BadParameter(f"{text!r} is not NAME=VALUE, such as critical=yes", param_hint="--label")
    if name == "critical" and value not in _YES_OR_NO:
        raise typer.BadParameter(f"{text!r}: a site is critical=yes or critical=no", param_hint="--label")
    return name, value


def _span(text: str) -> float:
    found = re.fullmatch(r"([0-9]{1,7})([smhd])", text)
    if found is None:
        raise typer.BadParameter(f"{text!r} is no span of time; write 45m, 12h or 30d", param_hint="--valid")
    return int(found[1]) * _UNITS[found[2]]
