"""An option for machines on which every test can run, and how hypothesis draws.

It may take as long as it does: how fast a shared machine draws says nothing of the code, and in a fresh clone the
first draw of text alone takes a second, as hypothesis makes its tables of characters. The same code is shown the
same examples, so that a red run is the fault of the change that it ran on; --hypothesis-profile=explore draws new
ones each time.
"""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import HealthCheck, settings

# Its assertions say what they compare, as those of test files do.
pytest.register_assert_rewrite("tests.tunnel_contract")

settings.register_profile("same", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
settings.register_profile("explore", settings.get_profile("same"), derandomize=False, print_blob=True)
settings.load_profile("same")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="a test that is skipped fails the run")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("numprocesses", None) or hasattr(config, "workerinput"):
        config.pluginmanager.import_plugin("tests.side_by_side")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        # All tests of Schemathesis come with the id of their function, and of tests with one id xdist runs one.
        if (operation := getattr(item, "operation_label", None)) and operation not in item.nodeid:
            item._id = item.id.with_params(operation)
    twice = [nodeid for nodeid, count in Counter(item.nodeid for item in items).items() if count > 1]
    if twice:
        raise pytest.UsageError(f"more than one test has this id, of which one would run: {twice[0]}")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        _skipped.append(report.nodeid)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.skipped:
        _skipped.append(report.nodeid)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.getoption("--no-skips") and _skipped and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if terminalreporter.config.getoption("--no-skips"):
        for nodeid in _skipped:
            terminalreporter.write_line(f"skipped, which --no-skips forbids: {nodeid}", red=True)


_skipped: list[str] = []
