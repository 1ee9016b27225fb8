"""`lockstitch overlay`: the sites, the tunnels between them, and why packets take the way they take."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ryu_apps.rest import overlay_class_commands as class_commands
from ryu_apps.rest import overlay_rule_commands as rule_commands
from ryu_apps.rest import overlay_tables as tables
from ryu_apps.rest.client import call, items
from ryu_apps.rest.commands import LOCAL, AsJson, State, Url
from ryu_apps.rest.output import Watch, follow, show

commands = typer.Typer(
    no_args_is_help=True,
    help="Sites and the tunnels between them: status, sites, paths, links, classes, rules, new keys, card.",
)
commands.add_typer(class_commands.commands, name="class")
commands.add_typer(rule_commands.commands, name="rule")


@commands.command()
def status(state: State, url: Url = LOCAL, watch: Watch = False, as_json: AsJson = False) -> None:
    """Show how the overlay does, and what is wrong with it."""
    follow(lambda: call(url, state, "GET", "/overlay"), tables.status, watch=watch, as_json=as_json)


@commands.command()
def sites(
    state: State,
    name: Annotated[str | None, typer.Argument(help="Only this one, with its tunnels and routes.")] = None,
    url: Url = LOCAL,
    watch: Watch = False,
    as_json: AsJson = False,
) -> None:
    """Show the sites; or one of them, with its ends of tunnels and its routes."""
    if name is None:
        follow(lambda: items(url, state, "/overlay/sites"), tables.sites, watch=watch, as_json=as_json)
    else:
        path = f"/overlay/sites/{_quoted(name)}"
        follow(lambda: call(url, state, "GET", path), tables.site, watch=watch, as_json=as_json)


@commands.command()
def tunnels(
    state: State,
    site: Annotated[str | None, typer.Option("--site", help="Only those with an end at this site.")] = None,
    url: Url = LOCAL,
    watch: Watch = False,
    as_json: AsJson = False,
) -> None:
    """Show the tunnels: whether both ends call them up, and what is measured on them."""

    def asked() -> list[Any]:
        found = items(url, state, "/overlay/tunnels")
        return [one for one in found if site is None or site in (one["a"], one["b"])]

    follow(asked, tables.tunnels, watch=watch, as_json=as_json)


@commands.command()
def links(state: State, url: Url = LOCAL, watch: Watch = False, as_json: AsJson = False) -> None:
    """Show what joins the bridges of sites, and where it is plugged in."""
    follow(lambda: items(url, state, "/overlay/links"), tables.links, watch=watch, as_json=as_json)


@commands.command()
def paths(
    source: Annotated[str, typer.Argument(metavar="FROM", help="The site that sends.")],
    to: Annotated[str, typer.Argument(metavar="TO", help="The site that receives.")],
    state: State,
    class_name: Annotated[str | None, typer.Option("--class", help="Only for packets of this class.")] = None,
    url: Url = LOCAL,
    watch: Watch = False,
    as_json: AsJson = False,
) -> None:
    """Show every way from one site to another with its score, which one is taken, and why."""
    query: dict[str, str | float] = {"from": source, "to": to}
    if class_name is not None:
        query["class"] = class_name
    follow(
        lambda: call(url, state, "GET", "/overlay/paths", query=query),
        tables.paths,
        watch=watch,
        as_json=as_json,
    )


@commands.command()
def uplink(
    site: Annotated[str, typer.Argument(help="The site.")],
    name: Annotated[str, typer.Argument(help="The uplink, as the site calls it.")],
    state: State,
    capacity: Annotated[float | None, typer.Option("--capacity", help="What it carries each way, Mbit/s.")] = None,
    price: Annotated[float | None, typer.Option("--price", help="Of a gigabyte, in whatever money.")] = None,
    url: Url = LOCAL,
    as_json: AsJson = False,
) -> None:
    """Say what an uplink of a site carries and costs; what is left out is not known."""
    path = f"/overlay/sites/{_quoted(site)}/uplinks/{_quoted(name)}"
    answer = call(url, state, "PUT", path, body={"capacity_mbps": capacity, "price": price})
    show(answer, as_json, tables.uplinks([answer]))


@commands.command()
def rekey(state: State, url: Url = LOCAL, as_json: AsJson = False) -> None:
    """Make the keys of all tunnels anew, at each site a few at a time and without losing a packet."""
    answer = call(url, state, "POST", "/overlay/rekey")
    n_tunnels = answer["tunnels"]
    which = "1 tunnel" if n_tunnels == 1 else f"{n_tunnels} tunnels"
    show(answer, as_json, f"new keys for {which}; lockstitch overlay tunnels --watch shows them come")


@commands.command()
def card(state: State, url: Url = LOCAL) -> None:
    """Print the controller's card, for `lockstitch signer trust`. Nothing in it is secret."""
    show(call(url, state, "GET", "/overlay/card"), as_json=True)


def _quoted(name: str) -> str:
    from urllib.parse import quote

    return quote(name, safe="")
