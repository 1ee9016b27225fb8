"""System tests need root, Open vSwitch and namespaces; without them they are skipped with the remedy."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from mininet_topos.ovs import LabUnavailable, ensure_ovs, require_lab

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ours = [item for item in items if HERE in item.path.parents]
    if not ours:
        return
    try:
        require_lab()
        ensure_ovs()
    except LabUnavailable as error:
        for item in ours:
            item.add_marker(pytest.mark.skip(reason=str(error)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Show what the controller logged last under a test that failed."""
    report = yield
    if report.failed:
        for used in getattr(item, "funcargs", {}).values():
            controller = getattr(used, "controller", used)
            if hasattr(controller, "log_tail"):
                report.sections.append(("the controller's log", controller.log_tail()))
    return report


def eventually(condition: Callable[[], object], within_s: float = 10.0) -> bool:
    """Wait for a condition with a deadline; returns whether it came true."""
    give_up_s = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > give_up_s:
            return False
        time.sleep(0.01)
    return True
