"""How the handlers of Ryu's paths reach switches: by asking the app, with every failure as a problem."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from ryu_apps.app import Request
from ryu_apps.ofctl import translator
from ryu_apps.ofctl.app import AskSwitch, ChangeSwitch, NoAnswer, Refused, SwitchGone, UnknownSwitch
from ryu_apps.ofctl.bodies import number
from ryu_apps.ofctl.changes import NotYours
from ryu_apps.ofctl.described import NUMBER
from ryu_apps.ofctl.translator import BadBody
from ryu_apps.rest.apps import Apps
from ryu_apps.rest.problems import Kind, Problem, documented

OFCTL = "Ofctl"

LONGEST_S = 30.0
"""How long the whole answer of a switch with very many rules may take; a silent one is given up sooner."""

Answer = TypeVar("Answer")

PROBLEMS = documented(
    Kind.BAD_BODY, Kind.UNKNOWN_SWITCH, Kind.REFUSED, Kind.NOT_YOURS, Kind.SWITCH_GONE, Kind.NO_ANSWER
)
"""How a request to a switch may end."""

_MOST_DPID = (1 << 64) - 1
_NUMBER = re.compile(NUMBER)


def dpid_in(text: str) -> int:
    """The switch in a path; raises a 400 problem."""
    return number_in(text, "dpid", _MOST_DPID)


def number_in(text: str, name: str, most: int = 0xFFFFFFFF) -> int:
    """A number in a path, decimal or 0x..., as described; raises a 400 problem."""
    if not _NUMBER.fullmatch(text):
        reason = f"{name} is {text[:40]!r}, which is not a whole number"
        raise Problem(Kind.BAD_BODY, reason, field=name, remedy="write it decimal, or as 0x and hex digits")
    return checked(lambda: number(text, name, most))


def checked(make: Callable[[], Answer]) -> Answer:
    """What `make` gives; its BadBody and NotYours as problems."""
    try:
        return make()
    except BadBody as error:
        raise Problem(
            Kind.BAD_BODY,
            str(error),
            field=error.field,
            remedy="docs/ryu.md and Ryu's ofctl_rest say what goes in",
        ) from error
    except NotYours as error:
        raise Problem(Kind.NOT_YOURS, str(error), remedy="docs/ryu.md says what belongs to whom") from error


def ask(apps: Apps, dpid: int, message: Any) -> tuple[Any, ...]:
    """All parts of a switch's answer. Raises a problem."""
    return _sent(apps, AskSwitch(dpid, bytes(message.buf)))


def change(apps: Apps, dpid: int, message: Any) -> None:
    """Have a switch carry out a change; returns once it has. Raises a problem."""
    _sent(apps, ChangeSwitch(dpid, bytes(message.buf)))


def stats(apps: Apps, dpid: int, get: translator.Getter, *arguments: Any) -> dict[str, Any]:
    """What one of os-ken's getters makes of a switch's answer. Raises a problem."""
    message = checked(lambda: translator.question(get, *arguments))
    return translator.answer(get, dpid, ask(apps, dpid, message), *arguments)


def _sent(apps: Apps, request: Request[Answer]) -> Answer:
    patient = replace(apps, settings=replace(apps.settings, ask_timeout_s=LONGEST_S))
    try:
        return patient.ask(OFCTL, request)
    except UnknownSwitch as error:
        raise Problem(
            Kind.UNKNOWN_SWITCH, str(error), field="dpid", remedy="GET /stats/switches lists those that are"
        ) from error
    except SwitchGone as error:
        raise Problem(
            Kind.SWITCH_GONE, str(error), remedy="try again when it is back; see GET /v1/health"
        ) from error
    except NoAnswer as error:
        raise Problem(
            Kind.NO_ANSWER, f"{error}; a change may still happen", remedy="see GET /v1/health, then try again"
        ) from error
    except Refused as error:
        raise Problem(
            Kind.REFUSED, str(error), remedy="see what the switch can do, and what the body says"
        ) from error
