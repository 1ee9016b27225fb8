"""The tables, and the check that a file has them."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Double,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    inspect,
    select,
    update,
)

from ryu_apps.store.engine import Database
from ryu_apps.store.errors import StoreError

SCHEMA_VERSION = 7
"""2 added the policy, who may call the API, and what they changed and were answered. 3 added intents.

4 added which links are encrypted. 5 added the OVSDB server of a switch. 6 added the overlay.
7 added what people say of it: application classes, and what uplinks carry.
"""

metadata = MetaData()

meta = Table(
    "lockstitch_meta", metadata, Column("name", String(40), primary_key=True), Column("value", BigInteger)
)
"""schema_version, and next_stitch_id."""

# What is wanted. A dpid has 64 bits and no sign, which not every database has a number for: 16 hex digits.

vnets = Table(
    "vnets", metadata, Column("name", String(255), primary_key=True), Column("body", Text, nullable=False)
)

capacities = Table(
    "capacities",
    metadata,
    Column("dpid", String(16), primary_key=True),
    Column("port_no", BigInteger, primary_key=True, autoincrement=False),
    Column("capacity_mbps", Double, nullable=False),
)

encrypted_ports = Table(
    "encrypted_ports",
    metadata,
    Column("dpid", String(16), primary_key=True),
    Column("port_no", BigInteger, primary_key=True, autoincrement=False),
)

ovsdb = Table(
    "ovsdb", metadata, Column("dpid", String(16), primary_key=True), Column("remote", Text, nullable=False)
)
"""The OVSDB servers of switches, as they were told over REST."""

overlay = Table(
    "overlay",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("body", Text, nullable=False),
)
"""The tunnels of the sites and the plans that they were told: one document, in the row 1."""

overlay_settings = Table(
    "overlay_settings",
    metadata,
    Column("kind", String(20), primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("body", Text, nullable=False),
)

links = Table(
    "links",
    metadata,
    Column("source_dpid", String(16), primary_key=True),
    Column("source_port", BigInteger, primary_key=True, autoincrement=False),
    Column("target_dpid", String(16), primary_key=True),
    Column("target_port", BigInteger, primary_key=True, autoincrement=False),
    Column("capacity_mbps", Double),
    Column("latency_ms", Double),
)

hosts = Table(
    "hosts",
    metadata,
    Column("mac", String(17), primary_key=True),
    Column("dpid", String(16), nullable=False),
    Column("port_no", BigInteger, nullable=False),
    Column("ips", Text, nullable=False),
)

stitches = Table(
    "stitches",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("state", String(20), nullable=False, index=True),
    Column("changed_s", Double, nullable=False),
    Column("body", Text, nullable=False),
)

policies = Table(
    "policies",
    metadata,
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("created_s", Double, nullable=False),
    Column("document", Text, nullable=False),
)

# Who may call the API, what they changed and what they were answered: see access.py.

tokens = Table(
    "tokens",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("created_s", Double, nullable=False),
    Column("used_s", Double),
    Column("body", Text, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("time_s", Double, nullable=False, index=True),
    Column("who", String(80), nullable=False),
    Column("token_id", String(16)),
    Column("role", String(20)),
    Column("method", String(10), nullable=False),
    Column("path", Text, nullable=False),
    Column("resource", Text, nullable=False),
    Column("request_id", String(40), nullable=False),
    Column("denied", Boolean, nullable=False),
    Column("status", Integer),
    Column("before", Text),
    Column("after", Text),
)

answers = Table(
    "answers",
    metadata,
    Column("token_id", String(16), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("asked", String(64), nullable=False),
    Column("time_s", Double, nullable=False),
    Column("status", Integer),
    Column("headers", Text),
    Column("content", LargeBinary),
)

# Intents: see intents.py.

intent_versions = Table(
    "intent_versions",
    metadata,
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("created_s", Double, nullable=False),
    Column("document", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("atomic", Boolean, nullable=False),
    Column("settled", Boolean, nullable=False),
)

transfers = Table(
    "transfers", metadata, Column("intent", String(63), primary_key=True), Column("body", Text, nullable=False)
)

# What was measured: see samples.py for how it is laid out.

series = Table(
    "series",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("kind", String(20), nullable=False),
    Column("key", String(120), nullable=False),
    UniqueConstraint("kind", "key"),
)

frames = Table(
    "frames",
    metadata,
    Column("time_s", Double, primary_key=True),
    Column("series_ids", LargeBinary, nullable=False),
    Column("mbps", LargeBinary, nullable=False),
)

raw_minutes = Table(
    "raw_minutes",
    metadata,
    Column("minute_s", BigInteger, primary_key=True, autoincrement=False),
    Column("times_s", LargeBinary, nullable=False),
)

raw_values = Table(
    "raw_values",
    metadata,
    Column("series_id", ForeignKey("series.id"), primary_key=True),
    Column("minute_s", BigInteger, primary_key=True, autoincrement=False),
    Column("mbps", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

minutes = Table(
    "minutes",
    metadata,
    Column("series_id", ForeignKey("series.id"), primary_key=True),
    Column("minute_s", BigInteger, primary_key=True, autoincrement=False),
    Column("mean_mbps", Double, nullable=False),
    Column("max_mbps", Double, nullable=False),
    Column("samples", Integer, nullable=False),
    sqlite_with_rowid=False,
)

_ADDED_IN_3 = frozenset({intent_versions.name, transfers.name})
_ADDED_IN_4 = frozenset({encrypted_ports.name})
_ADDED_IN_5 = frozenset({ovsdb.name})
_ADDED_IN_6 = frozenset({overlay.name})
_ADDED_IN_7 = frozenset({overlay_settings.name})
_SINCE_5 = _ADDED_IN_6 | _ADDED_IN_7
_SINCE_4 = _ADDED_IN_5 | _SINCE_5
_SINCE_3 = _ADDED_IN_4 | _SINCE_4
_SINCE_2 = _ADDED_IN_3 | _SINCE_3
_ADDED_AFTER = {
    1: _SINCE_2 | {policies.name, tokens.name, audit.name, answers.name},
    2: _SINCE_2,
    3: _SINCE_3,
    4: _SINCE_4,
    5: _SINCE_5,
    6: _ADDED_IN_7,
}
"""The tables that a file of an older version need not have."""


def prepare(database: Database) -> None:
    """Make the tables in a new file, or see that a file is one of ours and has them all. Raises StoreError."""
    with database.writing("open the store") as connection:
        names = set(inspect(connection).get_table_names())
        if not names:
            metadata.create_all(connection, checkfirst=False)
            connection.execute(meta.insert().values(name="schema_version", value=SCHEMA_VERSION))
            return
        version = _version(connection, names, database.where)
        if version < SCHEMA_VERSION:
            # Every version so far only added tables.
            metadata.create_all(connection)
            connection.execute(update(meta).where(meta.c.name == "schema_version").values(value=SCHEMA_VERSION))


def _version(connection: Connection, names: set[str], where: str) -> int:
    another = "move it away, or give the controller another --state directory"
    version = None
    if meta.name in names:
        version = connection.scalar(select(meta.c.value).where(meta.c.name == "schema_version"))
    if version is None:
        raise StoreError(f"{where} is a database of something else (it has the table {min(names)!r}); {another}")
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"{where} was written by a newer Lockstitch (schema {version}, this one knows {SCHEMA_VERSION}); "
            f"install that version again, or {another}"
        )
    missing = metadata.tables.keys() - names - _ADDED_AFTER.get(version, frozenset())
    if version < 1 or missing:
        what = f"schema {version}" if version < 1 else f"the table {min(missing)!r} is missing"
        raise StoreError(f"{where} cannot be read by this Lockstitch ({what}); {another}")
    return int(version)
