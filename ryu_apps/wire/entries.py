"""Any entry of a switch to the message that puts it there or takes it out."""

from __future__ import annotations

from ryu_apps.wire.flows import flow_mod, stray_removal
from ryu_apps.wire.groups import group_mod
from ryu_apps.wire.meters import meter_mod
from stitching.rules import Entry, FlowRule, Meter, StrayRule


def change(entry: Entry, xid: int, *, remove: bool = False, replace: bool = False) -> bytes:
    """The message that puts an entry there or removes it; replace: one of its key is there and is to become this.

    Raises ValueError naming the field that cannot be said.
    """
    if isinstance(entry, StrayRule):
        if not remove:
            raise ValueError(f"a rule that matches {entry.said} is none of ours: it can only be taken out")
        return stray_removal(entry, xid)
    if isinstance(entry, FlowRule):
        return flow_mod(entry, xid, remove=remove)
    if isinstance(entry, Meter):
        return meter_mod(entry, xid, remove=remove, replace=replace)
    return group_mod(entry, xid, remove=remove, replace=replace)
