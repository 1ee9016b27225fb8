"""Imports of ryu.* are imports of os_ken.*: the continuation of Ryu under its new name."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType

_OURS = {"ryu.app.wsgi": "ryu_apps.guests.wsgi"}
"""What os-ken has left out of Ryu and is here in its stead."""

_ALIASES = {
    "os_ken.base.app_manager": {"RyuApp": "OSKenApp"},
    "os_ken.exception": {"RyuException": "OSKenException"},
}
"""Names that os-ken has changed."""


_required: list[str] = []
"""The services that modules asked for when they were imported, by require_app."""


def required_since(number: int = 0) -> tuple[str, ...]:
    """The services that were asked for, without the first `number`."""
    return tuple(_required[number:])


def _require_app(app_name: str, api_style: bool = False) -> None:  # noqa: ARG001  # os-ken's own signature
    """Note what os-ken would write into the module that imports the caller.

    os-ken finds that module by counting frames, and our importer adds frames: it would mark `importlib`.
    """
    _required.append(app_name)


class RyuImporter(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds ryu and all below it. It goes before the path: half a real Ryu and half os-ken would not work."""

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The spec of ryu or something below it."""
        if fullname.split(".")[0] != "ryu":
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=False)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        """The module of os-ken itself: what is registered in it is registered once, whatever it was called."""
        name = _OURS.get(spec.name) or "os_ken" + spec.name.removeprefix("ryu")
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
            raise ModuleNotFoundError(
                f"{spec.name} is not in os-ken, on which Lockstitch runs; copy that file beside your app and "
                "import it from there",
                name=spec.name,
            ) from error
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is left to run; the module keeps the name it has."""
        spec = module.__spec__
        if spec is not None and spec.loader is self:
            module.__spec__ = spec.loader_state


def install() -> None:
    """Make imports of ryu.* work in this process."""
    if not any(isinstance(finder, RyuImporter) for finder in sys.meta_path):
        sys.meta_path.insert(0, RyuImporter())
    # The other modules of os-ken look it up each time they call it.
    vars(importlib.import_module("os_ken.base.app_manager"))["require_app"] = _require_app
    for name, aliases in _ALIASES.items():
        module = importlib.import_module(name)
        for alias, original in aliases.items():
            setattr(module, alias, getattr(module, original))
