"""How a controller runs, as it was started."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from forecasting import MEMBERS, Calendar
from ryu_apps.mode import Mode
from ryu_apps.ovsdb.bfd import BFD_MS
from ryu_apps.ovsdb.remotes import Certificates
from ryu_apps.predicting.scope import Scope, day_ahead
from ryu_apps.rest.access.access import AccessSettings
from ryu_apps.rest.tls import TlsFiles
from stitching.overlay.mesh import MeshPolicy
from stitching.overlay.sites import Prefix


class StartError(RuntimeError):
    """The controller cannot start; the message says why and what helps."""


@dataclass(frozen=True)
class OverlaySettings:
    """Where sites are listened for, where the signer is, and by which HOST:PORTs sites call (none: that one).

    key_age_s: how old the keys of a tunnel get; None: a day. transports: what tunnels are made of, the preferred
    first; none: what the hosts of both ends like. overlay_range: where they have their addresses; None: where they
    have them already. mesh: which sites have tunnels with which, where no rule of an operator says so.
    """

    host: str
    port: int
    signer: Path
    addresses: tuple[str, ...] = ()
    key_age_s: float | None = None
    transports: tuple[str, ...] = ()
    overlay_range: Prefix | None = None
    mesh: MeshPolicy = field(default_factory=MeshPolicy)


@dataclass(frozen=True)
class Settings:
    """How a controller runs. Ports of 0 mean any free one; `calendar` and `members` are those of the forecasts.

    apps are files or modules with apps of others to host. take_over: take switches from other controllers.
    overlay None: sites are none of its business.
    """

    state: Path
    of_host: str = "127.0.0.1"
    of_port: int = 6653
    rest_host: str = "127.0.0.1"
    rest_port: int = 8080
    period_s: float = 1.0
    trigger: Mode = Mode.PREDICTIVE
    calendar: Calendar = field(default_factory=Calendar)
    members: tuple[str, ...] = MEMBERS
    share: float = 0.9
    probability: float = 0.3
    hold_s: float = 30.0
    tls: bool = False
    tls_files: TlsFiles | None = None
    insecure_http: bool = False
    limits: AccessSettings = field(default_factory=AccessSettings)
    ovsdb: tuple[str, ...] = ()
    ovsdb_ssl: Certificates | None = None
    bfd_ms: int = BFD_MS
    apps: tuple[str, ...] = ()
    take_over: bool = False
    overlay: OverlaySettings | None = None

    @property
    def store_url(self) -> str:
        """Where everything is kept."""
        return f"sqlite:///{self.state / 'lockstitch.db'}"

    @property
    def has_tls(self) -> bool:
        """Whether the API is served over TLS."""
        return self.tls or self.tls_files is not None

    @property
    def day(self) -> Scope | None:
        """The outlook over a day; None where nothing is forecast, or days are too short for one."""
        return None if self.trigger is Mode.REACTIVE else day_ahead(self.period_s, self.calendar.day_s)
