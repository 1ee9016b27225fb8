"""The command line: what people see, and the exit code, against a real server with a fake controller behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from forecasting import MEMBERS, Calendar, Event
from ryu_apps import cli
from ryu_apps.events import CheckStitch, Rates
from ryu_apps.feed import Feed
from ryu_apps.ovsdb.remotes import Certificates
from ryu_apps.plugins import PLUGINS
from ryu_apps.rest import output
from ryu_apps.rest.access.access import AccessSettings
from ryu_apps.rest.api import create_api
from ryu_apps.rest.client import call
from ryu_apps.rest.commands import default_state
from ryu_apps.rest.server import RestServer, ServerError
from ryu_apps.rest.tls import TlsFiles
from ryu_apps.rest.token import TokenError, load_or_make_token
from ryu_apps.starting.settings import OverlaySettings
from stitching.stitch import State
from tests.unit.test_rest_fake import MACS, NOW_S, FakeController, day_outlook, outlook, red_and_blue

ONE = "0000000000000001"


@dataclass
class Lockstitch:
    """Runs `lockstitch` with the URL and state directory of a running server."""

    controller: FakeController
    environment: dict[str, str]
    feed: Feed = field(default_factory=Feed)

    def __call__(self, *arguments: str, code: int = 0) -> str:
        result = CliRunner().invoke(cli.app, list(arguments), env={**self.environment, "COLUMNS": "200"})
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result.output


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lockstitch]:
    """One server for all tests; each test has a controller of its own behind it."""
    state = tmp_path_factory.mktemp("state")
    lockstitch = Lockstitch(FakeController(), {})
    api = create_api(
        lambda name, request, timeout_s: lockstitch.controller.ask(name, request, timeout_s),
        token=load_or_make_token(state),
        feed=lockstitch.feed,
    )
    server = RestServer(api, "127.0.0.1", 0)
    server.start()
    lockstitch.environment = {"LOCKSTITCH_URL": server.url, "LOCKSTITCH_STATE": str(state)}
    yield lockstitch
    server.stop()


@pytest.fixture
def lockstitch(served: Lockstitch) -> Lockstitch:
    rates = Rates(NOW_S, 1.0, port_tx_mbps={(1, 10): 2.5})
    served.controller = FakeController(vnets=red_and_blue(), rates=rates)
    return served


# asking a controller -------------------------------------------------------------------------------------


def test_topology_and_hosts_are_tables(lockstitch: Lockstitch) -> None:
    shown = lockstitch("topology")
    for part in ("Switches", f"{ONE}:10", "0000000000000002:10", "25%", "h1", "red"):
        assert part in shown
    assert "Switches" not in lockstitch("hosts")


@pytest.mark.parametrize(
    "command",
    ["topology", "hosts", "reservations", "links list", "health", "forecast", "vnets list", "stitch list"],
)
def test_json_is_the_raw_answer(lockstitch: Lockstitch, command: str) -> None:
    assert json.loads(lockstitch(*command.split(), "--json")) is not None


def test_links_are_listed_and_told_what_they_carry(lockstitch: Lockstitch) -> None:
    shown = lockstitch("links", "list")
    assert "Links" in shown and f"{ONE}:10" in shown and "Hosts" not in shown
    assert "their capacity: 1; ports that will, when a link is found on them: 1" in lockstitch(
        "links", "capacity", "1:10=8", "1:99=8"
    )
    for wrong in ("1:10", "1=8", "x:1=8", "1:2=fast", "1:2=nan", "1:2=inf"):
        assert "is not DPID:PORT=MBPS" in lockstitch("links", "capacity", wrong, code=2)
    assert "error: [0].capacity_mbps: " in lockstitch("links", "capacity", "1:10=-8", code=1)


def test_a_virtual_network_is_put_listed_and_deleted(lockstitch: Lockstitch) -> None:
    lockstitch("vnets", "put", "green", "--host", "g1=02:00:00:00:00:aa", "--subnet", "10.9.0.0/16")
    shown = lockstitch("vnets", "list")
    assert "green" in shown and "g1" in shown and "10.9.0.0/16" in shown
    assert "green is gone" in lockstitch("vnets", "delete", "green")
    assert "error: name: no virtual network is called 'green'; " in lockstitch("vnets", "delete", "green", code=1)
    assert "NAME=MAC" in lockstitch("vnets", "put", "green", "--host", "g1", code=2)
    assert "error: " in lockstitch("vnets", "put", "a/../b", code=1)


def test_a_stitch_is_checked_created_listed_shown_and_deleted(lockstitch: Lockstitch) -> None:
    wanted = ("h1", "h2", "--bandwidth", "4", "--max-latency", "20")
    assert f"possible, 3 ms: 1@{ONE}@10 > " in lockstitch("stitch", "check", *wanted)
    assert "Stitch 1" in lockstitch("stitch", "create", *wanted)
    assert "establishing" in lockstitch("stitch", "list")
    assert "establishing" not in lockstitch("stitch", "list", "--only", "up")
    assert "establishing" in lockstitch("stitch", "list", "--only", "up", "--only", "establishing")
    assert MACS[0] in lockstitch("stitch", "show", "1")
    assert json.loads(lockstitch("stitch", "show", "1", "--json"))["enforced"] == "none"
    assert "stitch 1 is terminating" in lockstitch("stitch", "delete", "1")


def test_stitches_of_other_kinds_are_made_and_shown(lockstitch: Lockstitch) -> None:
    for number, name in enumerate(("red", "blue")):
        lockstitch("vnets", "put", name, "--host", f"{name}1={MACS[number]}")
    wanted = ("stitch", "segment", "red", "blue", "--bandwidth", "2", "--protect")
    assert "is all that joins" in lockstitch(*wanted, "link", code=1)
    assert "protection" in lockstitch(*wanted, "all", code=1)
    made = lockstitch("stitch", "segment", "red", "blue", "--bandwidth", "2", "--other-host", "blue1")
    assert "red1" in made and "blue (blue1): blue1" in made
    office = "mon,tue 08:00-18:00 Europe/Vienna"
    rates = ["--guarantee", "1", "--cap", "3", "--priority", "6", "--weekly", office]
    made = lockstitch("stitch", "bandwidth", "default", "default", *rates)
    assert office in made and "6" in made
    listed = lockstitch("stitch", "list")
    assert "segment" in listed and ">= 1 <= 3" in listed
    assert "segment" not in lockstitch("stitch", "list", "--kind", "bandwidth")
    assert "give --guarantee, --cap or both" in lockstitch("stitch", "bandwidth", "red", "red", code=2)
    assert "is no time" in lockstitch("stitch", "bandwidth", "red", "red", "--cap", "1", "--from", "noon", code=2)
    assert "DAYS START-END" in lockstitch(
        "stitch", "bandwidth", "red", "red", "--cap", "1", "--weekly", "mon", code=2
    )


def test_a_stitch_takes_other_terms(lockstitch: Lockstitch) -> None:
    lockstitch("stitch", "create", "h1", "h2", "--bandwidth", "4", "--max-latency", "90", "--label", "a=b")
    terms = ("--bandwidth", "2", "--priority", "6", "--max-loss", "1", "--without", "max-latency")
    changed = json.loads(lockstitch("stitch", "change", "1", *terms, "--without", "labels", "--json"))
    assert (changed["bandwidth_mbps"], changed["priority"], changed["max_loss"]) == (2.0, 6, 0.01)
    assert (changed["max_latency_ms"], changed["labels"]) == (None, {})
    assert "name at least one term" in lockstitch("stitch", "change", "1", code=2)
    assert "is given as well" in lockstitch("stitch", "change", "1", "--cap", "1", "--without", "cap", code=2)
    assert "error: cap_mbps: a stitch of kind vm has no" in lockstitch(
        "stitch", "change", "1", "--cap", "1", code=1
    )
    assert "no stitch 9" in lockstitch("stitch", "change", "9", "--priority", "1", code=1)


def test_links_are_marked_as_encrypted_both_ways(lockstitch: Lockstitch) -> None:
    assert "marked as encrypted: 2" in lockstitch("links", "encryption", "1:10")
    assert [one["encrypted"] for one in json.loads(lockstitch("links", "list", "--json"))].count(True) == 2
    assert "unmarked: 1" in lockstitch("links", "encryption", "1:10", "--off", "--one-way")
    assert [one["encrypted"] for one in json.loads(lockstitch("links", "list", "--json"))].count(True) == 1
    assert "is not DPID:PORT" in lockstitch("links", "encryption", "one", code=2)


def test_reservations_are_a_table(lockstitch: Lockstitch) -> None:
    lockstitch("stitch", "create", "h1", "h2", "--bandwidth", "4")
    shown = lockstitch("reservations", "--stitch", "1", "--vnet", "red")
    assert "Reservations" in shown
    assert len(json.loads(lockstitch("reservations", "--link", "1:10", "--json"))) == 1
    assert "is not DPID:PORT" in lockstitch("reservations", "--link", "1", code=2)


def test_waiting_for_a_stitch_says_how_it_ended(lockstitch: Lockstitch) -> None:
    lockstitch.controller.after_create = [State.UP, State.UP]
    assert "up" in lockstitch("stitch", "create", "h1", "h2", "--bandwidth", "4", "--wait")
    lockstitch.controller.after_create = [State.FAILED, State.FAILED]
    shown = lockstitch("stitch", "create", "h3", "h2", "--bandwidth", "4", "--wait", code=1)
    assert "error: stitch 2 is failed: as the test wants" in shown


def test_what_is_watched_into_a_pipe_comes_table_after_table_until_ctrl_c(
    lockstitch: Lockstitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(output, "time", SimpleNamespace(sleep=sleep))
    shown = lockstitch("hosts", "--watch", code=130)
    assert shown.count("Hosts") == 3 and slept == [output.WATCH_S] * 3


def test_a_check_that_ends_in_no_is_exit_code_1(lockstitch: Lockstitch) -> None:
    shown = lockstitch("stitch", "check", "h1", "h2", "--bandwidth", "11", code=1)
    assert shown.startswith("not possible: bandwidth_mbps: ")
    answer = json.loads(lockstitch("stitch", "check", "h1", "h2", "--bandwidth", "11", "--json", code=1))
    assert answer["possible"] is False


def test_a_check_names_the_stitches_that_would_make_room(lockstitch: Lockstitch) -> None:
    lockstitch("stitch", "create", "h1", "h2", "--bandwidth", "9")
    lockstitch.controller.gives_way = (1,)
    shown = lockstitch("stitch", "check", "h3", "h2", "--bandwidth", "1", "--priority", "6")
    assert shown.endswith("stitches that would make room: 1\n")
    asked = lockstitch.controller.asked[-1]
    assert isinstance(asked, CheckStitch) and asked.request.priority == 6


def test_a_forecast_is_a_table_of_quantiles(lockstitch: Lockstitch) -> None:
    assert "no forecast yet" in lockstitch("forecast")
    lockstitch.controller.outlook = outlook()
    shown = lockstitch("forecast")
    assert (
        "Links at their fullest in the next 15 s" in shown
        and "Demands at their fullest" in shown
        and "h1 > h2" in shown
    )
    assert "ago, at 2026-09-21T14:13:20Z, of 42 samples" in shown and "a guess" not in shown
    assert "+5" in lockstitch("forecast", "--all")
    one = lockstitch("forecast", "--link", "1:10")
    assert "Demands" not in one and "+15" in one and "seconds from now" in one
    assert "error: link: " in lockstitch("forecast", "--link", f"{ONE}:99", code=1)


def test_a_day_ahead_is_every_hour_of_all_links_and_every_step_of_one(lockstitch: Lockstitch) -> None:
    lockstitch.controller.outlook = outlook()
    assert "no forecast yet" in lockstitch("forecast", "--day")
    lockstitch.controller.day_outlook = day_outlook()
    assert "in the next 24 h" in lockstitch("forecast", "--day")
    shown = lockstitch("forecast", "--day", "--all")
    assert "+3600" in shown and "+86400" in shown and "+300 " not in shown
    shown = lockstitch("forecast", "--day", "--link", f"{ONE}:10")
    assert "+300 " in shown and "hours from now" in shown


def test_health_gives_its_reasons(lockstitch: Lockstitch) -> None:
    lockstitch.controller.broken["Installer"] = LookupError("no app 'Installer' is running")
    shown = lockstitch("health")
    assert "degraded" in shown and "Installer is not running" in shown


def test_text_from_the_controller_is_no_markup(lockstitch: Lockstitch) -> None:
    lockstitch.controller.broken["Stitcher"] = ValueError("[bold]")
    assert "error_id=" in lockstitch("stitch", "list", code=1)


# what goes wrong -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("stitch", "create", "h99", "h2", "--bandwidth", "4"), "error: source: no host is called 'h99'"),
        (
            ("stitch", "create", "h1", "h2", "--bandwidth", "11"),
            "error: bandwidth_mbps: no path has 11 Mbit/s free",
        ),
        (("stitch", "create", "h1", "h2", "--bandwidth", "1e300"), "error: bandwidth_mbps: Input should be less"),
        (("stitch", "show", "7"), "error: stitch_id: there is no stitch 7; "),
        (("stitch", "list", "--only", "sideways"), "error: state[0]: "),
    ],
)
def test_an_error_is_one_line_with_the_remedy(
    lockstitch: Lockstitch, arguments: tuple[str, ...], words: str
) -> None:
    shown = lockstitch(*arguments, code=1)
    assert shown.startswith(words)
    assert "; " in shown
    assert shown.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("stitch", "create", "h1", "h2"),
        ("stitch", "create", "h1", "h2", "--bandwidth", "many"),
        ("stitch", "create", "h1", "h2", "--bandwidth", "-4"),
        ("stitch", "check", "h1", "h2", "--bandwidth", "nan"),
        ("stitch", "check", "h1", "h2", "--bandwidth", "1", "--max-latency", "inf"),
        ("stitch", "show", "x"),
        ("nothing",),
        ("controller", "--of-port", "70000"),
        ("controller", "--trigger", "sometimes"),
    ],
)
def test_a_command_that_makes_no_sense_is_exit_code_2(lockstitch: Lockstitch, arguments: tuple[str, ...]) -> None:
    lockstitch(*arguments, code=2)


def test_a_wrong_token_is_one_line(lockstitch: Lockstitch, tmp_path: Path) -> None:
    load_or_make_token(tmp_path)
    shown = lockstitch("hosts", "--state", str(tmp_path), code=1)
    assert shown.startswith("error: Authorization: the bearer token is not the token of this controller, ")


def test_a_missing_token_and_a_loose_one_are_one_line(lockstitch: Lockstitch, tmp_path: Path) -> None:
    assert "start a controller" in lockstitch("hosts", "--state", str(tmp_path), code=1)
    load_or_make_token(tmp_path)
    (tmp_path / "token").chmod(0o644)
    assert "chmod 600" in lockstitch("hosts", "--state", str(tmp_path), code=1)


def test_no_controller_is_one_line(lockstitch: Lockstitch) -> None:
    gone = RestServer(create_api(FakeController().ask, token="of no use"), "127.0.0.1", 0)  # noqa: S106  # opens nothing
    gone.start()
    gone.stop()
    shown = lockstitch("hosts", "--url", gone.url, code=1)
    assert shown == f"error: no controller answers at {gone.url}; start one with `lockstitch controller`\n"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nonsense", "is not a URL"),
        ("", "is not a URL"),
        ("ftp://127.0.0.1", "is not a URL"),
        ("http://[", "no controller answers"),
        ("http://127.0.0.1:99999", "no controller answers"),
    ],
)
def test_a_url_that_leads_nowhere_is_one_line(lockstitch: Lockstitch, url: str, words: str) -> None:
    shown = lockstitch("hosts", "--url", url, code=1)
    assert shown.startswith("error: ")
    assert words in shown
    assert shown.count("\n") == 1


# starting one --------------------------------------------------------------------------------------------


class Mode(StrEnum):
    PREDICTIVE = "predictive"
    REACTIVE = "reactive"
    OFF = "off"


class StartError(RuntimeError):
    pass


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The settings that `run` was called with; the modules it comes from are stood in for."""
    settings: list[Any] = []
    controller: Any = ModuleType("ryu_apps.controller")
    controller.run = settings.append
    monkeypatch.setitem(sys.modules, "ryu_apps.controller", controller)
    module: Any = ModuleType("ryu_apps.starting.settings")
    module.Settings, module.StartError, module.OverlaySettings = SimpleNamespace, StartError, OverlaySettings
    monkeypatch.setitem(sys.modules, "ryu_apps.starting.settings", module)
    predictor: Any = ModuleType("ryu_apps.predictor")
    predictor.Mode = Mode
    monkeypatch.setitem(sys.modules, "ryu_apps.predictor", predictor)
    return settings


def test_the_controller_has_sensible_defaults(
    started: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("LOCKSTITCH_STATE", raising=False)
    result = CliRunner().invoke(cli.app, ["controller"])
    assert result.exit_code == 0, result.output
    assert vars(started[0]) == {
        "state": tmp_path / "lockstitch",
        "of_host": "127.0.0.1",
        "of_port": 6653,
        "rest_host": "127.0.0.1",
        "rest_port": 8080,
        "period_s": 1.0,
        "trigger": Mode.PREDICTIVE,
        "calendar": Calendar(),
        "members": MEMBERS,
        "share": 0.9,
        "probability": 0.3,
        "tls": False,
        "tls_files": None,
        "insecure_http": False,
        "limits": AccessSettings(rate_per_s=200.0, burst=2000.0, audit_days=90.0),
        "ovsdb": (),
        "ovsdb_ssl": None,
        "bfd_ms": 20,
        "apps": (),
        "take_over": False,
        "overlay": None,
    }


def test_the_controller_takes_every_setting(lockstitch: Lockstitch, started: list[Any], tmp_path: Path) -> None:
    events = tmp_path / "events.csv"
    events.write_text("start_utc,end_utc,kind\n2001-09-09 01:46:40,2001-09-09 02:46:40,backup\n")
    lockstitch(
        "controller", "--state", str(tmp_path), "--of-host", "::1", "--of-port", "0", "--rest-host", "10.0.0.1",
        "--rest-port", "1", "--period", "0.5", "--trigger", "off", "--season", "60", "--share", "0.8",
        "--probability", "0.4", "--events", str(events), "--members", "sarimax,ewma", "--utc-offset", "-3.5",
        "--tls-cert", "c.pem", "--tls-key", "k.pem", "--insecure-http", "--rate-limit", "5", "--audit-days", "7",
        "--ovsdb", "unix:/run/db.sock", "--ovsdb", "ssl:a:6640", "--ovsdb-key", str(events), "--ovsdb-cert",
        str(events), "--ovsdb-ca", str(events), "--bfd-ms", "50", "--app", "mine.py",
        "--app", "their.own", "--take-over", "--verbose", "--overlay", "10.0.0.1:6690",
        "--overlay-signer", "s.sock", "--overlay-address", "192.0.2.1:443",
        "--overlay-key-age", "12h", "--overlay-transport", "ipsec", "--overlay-transport", "wireguard",
    )  # fmt: skip
    assert vars(started[0]) == {
        "ovsdb": ("unix:/run/db.sock", "ssl:a:6640"), "ovsdb_ssl": Certificates(*3 * (str(events),)), "bfd_ms": 50,
        "state": tmp_path, "of_host": "::1", "of_port": 0, "rest_host": "10.0.0.1", "rest_port": 1,
        "period_s": 0.5, "trigger": Mode.OFF, "share": 0.8, "probability": 0.4,
        "calendar": Calendar(day_s=60.0, utc_offset_s=-12600.0, events=(Event(1e9, 1e9 + 3600, "backup"),)),
        "members": ("last", "sarimax", "ewma"), "apps": ("mine.py", "their.own"), "take_over": True,
        "tls": False, "tls_files": TlsFiles(Path("c.pem"), Path("k.pem")), "insecure_http": True,
        "limits": AccessSettings(rate_per_s=5.0, burst=50.0, audit_days=7.0),
        "overlay": OverlaySettings(
            "10.0.0.1", 6690, Path("s.sock"), ("192.0.2.1:443",), 43_200.0, ("ipsec", "wireguard")
        ),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--tls", "--tls-cert", "c.pem", "--tls-key", "k.pem"), "leave it out, or --tls-cert and --tls-key"),
        (("--tls-cert", "c.pem"), "go together; give both"),
        (("--tls-key", "k.pem"), "go together; give both"),
    ],
)
def test_half_of_a_certificate_starts_nothing(
    lockstitch: Lockstitch, started: list[Any], options: tuple[str, ...], says: str
) -> None:
    assert says in lockstitch("controller", *options, code=1)
    assert started == []


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--members", "oracle", "choose from last, ewma"),
        ("--members", "", "--members: members ('',): choose from"),
        ("--members", ",", "--members: members ('',): choose from"),
        ("--events", "nowhere.csv", "nowhere.csv"),
        ("--holidays", "2026-12-25,Easter", "'Easter' is no date; write them like"),
    ],
)
def test_a_forecast_that_cannot_be_made_is_refused_at_the_start(
    lockstitch: Lockstitch, started: list[Any], option: str, value: str, says: str
) -> None:
    told = lockstitch("controller", option, value, code=1)
    assert says in told and told.startswith("error:") and started == []


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--season", "inf"),
        ("--season", "1e300"),
        ("--season", "31622401"),
        ("--season", "0"),
        *((option, "nan") for option in ("--season", "--period", "--utc-offset", "--share", "--probability")),
        ("--utc-offset", "1e300"),
    ],
)
def test_a_number_out_of_bounds_is_refused_at_the_start(
    lockstitch: Lockstitch, started: list[Any], option: str, value: str
) -> None:
    assert f"Invalid value for '{option}'" in lockstitch("controller", option, value, code=2) and started == []


def test_a_holiday_is_a_whole_local_day(lockstitch: Lockstitch, started: list[Any]) -> None:
    lockstitch("controller", "--holidays", "1998-06-10, 1998-07-14", "--utc-offset", "2")
    calendar = started[0].calendar
    for midnight in (datetime(1998, 6, 9, 22, tzinfo=UTC), datetime(1998, 7, 13, 22, tzinfo=UTC)):
        times = midnight.timestamp() + np.array([-1.0, 0.0, 86399.0, 86400.0])
        assert calendar.is_holiday(times).tolist() == [False, True, True, False]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["10.0.0.1:6640"], "write unix:/PATH/TO/db.sock, tcp:HOST:PORT or ssl:HOST:PORT"),
        (["ssl:10.0.0.1:6640"], "needs our key and certificate: --ovsdb-key, --ovsdb-cert"),
        (["ssl:a:1", *(f"--ovsdb-{file}=nowhere.pem" for file in ("key", "cert", "ca"))], "nowhere.pem: No such"),
    ],
)
def test_a_database_that_cannot_be_reached_that_way_is_refused_at_the_start(
    lockstitch: Lockstitch, started: list[Any], arguments: list[str], says: str
) -> None:
    told = lockstitch("controller", "--ovsdb", *arguments, code=1)
    assert says in told and told.startswith("error:") and started == []


def test_holidays_are_of_real_days(lockstitch: Lockstitch, started: list[Any]) -> None:
    told = lockstitch("controller", "--holidays", "2026-12-25", "--season", "300", code=1)
    assert "leave --season out" in told and started == []


@pytest.mark.parametrize("error", [StartError("the port is taken"), ServerError("the port is taken")])
def test_a_controller_that_cannot_start_says_so_in_one_line(
    lockstitch: Lockstitch, started: list[Any], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def run(_: Any) -> None:
        raise error

    assert started == []
    monkeypatch.setattr(sys.modules["ryu_apps.controller"], "run", run)
    assert lockstitch("controller", code=1) == "error: the port is taken\n"


def test_the_state_directory_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    assert default_state() == tmp_path / ".local" / "state" / "lockstitch"
    monkeypatch.setenv("XDG_STATE_HOME", "not/absolute")
    assert default_state() == tmp_path / ".local" / "state" / "lockstitch"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    assert default_state() == tmp_path / "xdg" / "lockstitch"


# plug-ins ------------------------------------------------------------------------------------------------


def plug_in(monkeypatch: pytest.MonkeyPatch, *entries: metadata.EntryPoint) -> None:
    def entry_points(*, group: str) -> list[metadata.EntryPoint]:
        assert group == "lockstitch.commands"
        return list(entries)

    monkeypatch.setattr(metadata, "entry_points", entry_points)


GOOD = metadata.EntryPoint("good", "tests.unit.test_cli:commands", PLUGINS)
BAD = metadata.EntryPoint("bad", "tests.unit.nowhere:commands", PLUGINS)
ODD = metadata.EntryPoint("odd", "tests.unit.test_cli:ONE", PLUGINS)

commands = typer.Typer()


@commands.command()
def greet(name: str) -> None:
    """Say hello."""
    typer.echo(f"hello {name}")


@commands.command()
def hosts() -> None:
    """A plug-in cannot take the place of a command of ours."""
    typer.echo("hijacked")


def test_commands_of_plug_ins_stand_beside_ours(lockstitch: Lockstitch, monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch, GOOD)
    assert lockstitch("greet", "Ada") == "hello Ada\n"
    assert "greet" in lockstitch("--help")
    assert "hijacked" not in lockstitch("hosts")


def test_a_plug_in_with_one_command_is_taken_in_too(
    lockstitch: Lockstitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug_in(monkeypatch, metadata.EntryPoint("one", "tests.unit.test_cli:single", PLUGINS))
    assert lockstitch("alone") == "alone\n"


single = typer.Typer()


@single.command()
def alone() -> None:
    """The only one."""
    typer.echo("alone")


def test_a_plug_in_that_fails_is_noted_and_hurts_nobody(
    lockstitch: Lockstitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug_in(monkeypatch, BAD, GOOD, ODD)
    shown = lockstitch("--help")
    assert "greet" in shown
    assert "plug-in 'bad' was skipped (No module named 'tests.unit.nowhere')" in shown
    assert "plug-in 'odd' was skipped" in shown
    assert lockstitch("greet", "Ada") == "hello Ada\n"
    assert "note: plug-in 'bad' was skipped" in lockstitch("demo", code=2)
    assert "skipped" not in lockstitch("hosts")


def test_help_does_not_wait_for_the_controller() -> None:
    script = (
        "import sys, ryu_apps.cli\n"
        "heavy = {'os_ken', 'fastapi', 'httpx', 'numpy', 'uvicorn', 'sqlalchemy'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_the_version_is_told(lockstitch: Lockstitch) -> None:
    assert lockstitch("--version").strip() == metadata.version("lockstitch")


# tokens, the audit and events ----------------------------------------------------------------------------


def test_a_token_is_made_used_listed_and_revoked(lockstitch: Lockstitch, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = lockstitch("token", "create", "ci", "--role", "operator", "--vnet", "red", "--expires", "30d")
    said, token = shown.strip().split("\n")
    token_id = token.partition(".")[0]
    assert said.startswith(f"token {token_id} for ci, operator of red only, until ")
    assert token_id in lockstitch("token", "list") and token not in lockstitch("token", "list", "--json")
    monkeypatch.setenv("LOCKSTITCH_TOKEN", token)
    assert "h1" in lockstitch("hosts") and "10.0.0.4" not in lockstitch("hosts")
    assert "not within the scope" in lockstitch("vnets", "put", "blue", code=1)
    monkeypatch.delenv("LOCKSTITCH_TOKEN")
    assert f"token {token_id} is revoked" in lockstitch("token", "revoke", token_id)
    assert "there is no token" in lockstitch("token", "revoke", token_id, code=1)
    monkeypatch.setenv("LOCKSTITCH_TOKEN", token)
    assert "no longer one" in lockstitch("hosts", code=1)


@pytest.mark.parametrize("token", ["a b", "a\nb", "\u00e9", "a\x00"])
def test_a_token_that_no_header_takes_is_one_line(
    lockstitch: Lockstitch, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setattr("os.environ", {**os.environ, "LOCKSTITCH_TOKEN": token})
    with pytest.raises(TokenError, match="LOCKSTITCH_TOKEN is no token"):
        call("http://127.0.0.1:1", Path(lockstitch.environment["LOCKSTITCH_STATE"]), "GET", "/hosts")


@pytest.mark.parametrize("span", ["30", "d", "1y", "-1d", "1.5h", "9999999d"])
def test_a_span_of_time_that_is_none_is_refused(lockstitch: Lockstitch, span: str) -> None:
    assert "is no span of time" in lockstitch("token", "create", "x", "--expires", span, code=2)
    assert "is no span of time" in lockstitch("audit", "--since", span, code=2)


def test_an_id_of_a_token_that_is_none_is_refused(lockstitch: Lockstitch) -> None:
    assert "8 hex digits" in lockstitch("token", "revoke", "bootstrap", code=2)
    assert "role" in lockstitch("token", "create", "x", "--role", "root", code=1)


def test_the_audit_is_a_table_and_filtered(lockstitch: Lockstitch) -> None:
    lockstitch("vnets", "put", "green")
    assert "/v1/vnets/green" in lockstitch("audit", "--resource", "/v1/vnets", "--since", "1h")
    newest = json.loads(lockstitch("audit", "--who", "bootstrap", "--limit", "1", "--json"))
    assert [(one["resource"], one["after"]["name"]) for one in newest] == [("/v1/vnets/green", "green")]
    assert "/v1/vnets/green" not in lockstitch("audit", "--denied")


def test_hosts_are_shown_by_virtual_network(lockstitch: Lockstitch) -> None:
    shown = lockstitch("hosts", "--vnet", "blue")
    assert "10.0.0.4" in shown and "h1" not in shown


def test_events_are_followed(lockstitch: Lockstitch) -> None:
    feed = lockstitch.feed
    before = feed.last
    stitch = {"id": 7, "state": "up", "was": "establishing", "source": {"name": "h1", "mac": MACS[0]}}
    feed.tell(NOW_S, "stitch", stitch)
    feed.tell(NOW_S, "link", {"change": "down", "src_port": 3})
    since = feed.id_of(before)
    shown = lockstitch("events", "--since", since, "--count", "2")
    assert shown.splitlines() == [
        "2026-09-21 14:13:20Z  stitch  id=7 state=up was=establishing source=h1",
        "2026-09-21 14:13:20Z  link  change=down src_port=3",
    ]
    (line,) = lockstitch("events", "--since", since, "--count", "1", "--json").splitlines()
    assert json.loads(line) == {
        "id": feed.id_of(before + 1), "event": "stitch", "data": {"time": "2026-09-21T14:13:20Z", **stitch},
    }  # fmt: skip
    assert "missed" in lockstitch("events", "--since", "long ago", "--count", "1")
