"""What of a switch belongs to a hosted app: ten tables, an owner in the cookies, and transaction ids."""

from __future__ import annotations

from dataclasses import dataclass

from stitching.cookie import GUEST_OWNERS

FIRST_TABLE = 200
TABLES_EACH = 10

MOST_GUESTS = len(GUEST_OWNERS)

_ALL_TABLES = 0xFF
_XID_BITS = 24


class NotYours(Exception):
    """A hosted app sent what it may not; says what and why."""


@dataclass(frozen=True)
class Share:
    """The share of the hosted app `number`, from 0 on. It sees its tables as 0 to 9."""

    number: int

    @property
    def owner(self) -> int:
        """The top byte of the cookies of its rules."""
        return GUEST_OWNERS[self.number]

    @property
    def first_table(self) -> int:
        """The table it sees as 0."""
        return FIRST_TABLE + TABLES_EACH * self.number

    @property
    def tables(self) -> str:
        """The tables of the switch that are its own, in words."""
        return f"{self.first_table} to {self.first_table + TABLES_EACH - 1}"

    @classmethod
    def of_owner(cls, owner: int) -> Share:
        """The share whose rules have this top byte in their cookies."""
        return cls(GUEST_OWNERS.index(owner))

    def table_of(self, seen: int) -> int:
        """The table of the switch that the app means; all tables stay all. Raises NotYours."""
        if seen == _ALL_TABLES:
            return seen
        if not 0 <= seen < TABLES_EACH:
            raise NotYours(f"table {seen} is none of its tables, which are 0 to {TABLES_EACH - 1}")
        return self.first_table + seen

    def seen_table(self, table: int) -> int | None:
        """A table of the switch as the app sees it; None where it is none of its own."""
        seen = table - self.first_table
        return seen if 0 <= seen < TABLES_EACH else None

    def xid(self, count: int) -> int:
        """A transaction id of its own."""
        return self.owner << _XID_BITS | count & ((1 << _XID_BITS) - 1)

    def has_xid(self, xid: int | None) -> bool:
        """Whether a message with this id is one of its own, or the answer to one."""
        return xid is not None and xid >> _XID_BITS == self.owner
