"""Finds the app in a file or module that somebody wrote, or says in one line why there is none."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import queue
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from os_ken.base.app_manager import OSKenApp
from os_ken.controller.handler import get_dependent_services
from os_ken.ofproto import ofproto_v1_3

from ryu_apps.guests import imports
from ryu_apps.guests.share import MOST_GUESTS

PATIENCE_S = 20.0
"""How long an app may take to be imported or to be made."""

Result = TypeVar("Result")


class GuestError(Exception):
    """A hosted app cannot be loaded; the message says which and why."""


@dataclass(frozen=True)
class Loaded:
    """An app that was found: what it was named on the command line, its class, and the services it asks for."""

    named: str
    app_class: type
    services: tuple[str, ...]

    @property
    def contexts(self) -> dict[str, type]:
        """The contexts it asks for, by name (os-ken's _CONTEXTS)."""
        return dict(self.app_class.context_iteritems())  # type: ignore[attr-defined]  # os-ken ships no types


def load(named: Sequence[str]) -> tuple[Loaded, ...]:
    """Import the apps of these files (my_app.py) and modules (package.my_app). Raises GuestError."""
    if len(named) > MOST_GUESTS:
        raise GuestError(f"{len(named)} apps are too many: a controller hosts {MOST_GUESTS} at most")
    if named:
        imports.install()
    return tuple(_load(name) for name in named)


def _load(named: str) -> Loaded:
    already = len(imports.required_since())
    module = in_time(named, "being imported", lambda: _import(named))
    classes = [
        found
        for _, found in inspect.getmembers(module, inspect.isclass)
        if issubclass(found, OSKenApp) and found.__module__ == module.__name__
    ]
    if not classes:
        raise GuestError(f"{named} has no app: a class derived from ryu.base.app_manager.RyuApp, defined in it")
    # As Ryu does: the first by name is the app of the file.
    app_class = classes[0]
    versions = getattr(app_class, "OFP_VERSIONS", None)
    if versions is not None and ofproto_v1_3.OFP_VERSION not in versions:
        raise GuestError(f"{named} does not speak OpenFlow 1.3, which is what this controller speaks")
    # What the app's imports require, whether it handles events of that or only asks.
    services = {*get_dependent_services(app_class), *imports.required_since(already)}
    return Loaded(named, app_class, tuple(sorted(services)))


def _import(named: str) -> ModuleType:
    path = Path(named)
    if path.suffix != ".py":
        return importlib.import_module(named)
    if not path.is_file():
        raise GuestError(f"{named}: there is no such file")
    path = path.resolve()
    # So that files beside it can be imported, as with Ryu.
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    name = path.stem if path.stem not in sys.modules else f"lockstitch_guest_{len(sys.modules)}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # it is a .py file
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def in_time(named: str, doing: str, what: Callable[[], Result]) -> Result:
    """Run code of an app in a thread of its own and wait for it, but not for ever.

    Threads it starts inherit being daemons: a loop without an end does not keep the process. Raises GuestError.
    """
    outcome: queue.Queue[tuple[Result | None, BaseException | None]] = queue.Queue()

    def run() -> None:
        try:
            outcome.put((what(), None))
        except BaseException as error:  # noqa: BLE001  # an app may raise anything, SystemExit included
            outcome.put((None, error))

    threading.Thread(target=run, name=f"load {named}", daemon=True).start()
    try:
        result, error = outcome.get(timeout=PATIENCE_S)
    except queue.Empty:
        raise GuestError(f"{named} blocks: {doing} took more than {PATIENCE_S:g} s") from None
    if isinstance(error, GuestError):
        raise error
    if error is not None:
        raise GuestError(f"{named} failed at {doing}: {cause(error)}") from error
    return result  # type: ignore[return-value]  # there was no error


def cause(error: BaseException) -> str:
    """An exception in one line, with the line of the app's code it came from where that is known."""
    said = " ".join(str(error).split())
    place: Any = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = f" (at {Path(place.tb_frame.f_code.co_filename).name}:{place.tb_lineno})" if place is not None else ""
    return f"{type(error).__name__}{': ' + said if said else ''}{where}"
