"""Which links are encrypted: said by an operator, by source port."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body
from pydantic import BaseModel

from ryu_apps.events import NetworkRequest, SetEncrypted
from ryu_apps.rest.access.audit import ChangeOf
from ryu_apps.rest.access.roles import Role, needs
from ryu_apps.rest.apps import DISCOVERY, AppsOf
from ryu_apps.rest.bodies import EncryptionBody, repeated_port
from ryu_apps.rest.problems import Kind, Problem
from stitching.network import node_name

router = APIRouter(prefix="/links", tags=["topology"])


class MarkedView(BaseModel):
    """How many ports were named, and how many of them have a link by now; the others wait for one."""

    ports: int
    links: int


@router.put("/encryption", dependencies=[needs(Role.OPERATOR)])
def put_encryption(
    apps: AppsOf, change: ChangeOf, marks: Annotated[list[EncryptionBody], Body(max_length=20_000)]
) -> MarkedView:
    """Say which links are encrypted, each way by its source port. Ports that are not named keep what they have.

    Stitches that need encryption leave a link that is so no more, or come down.
    """
    if (port := repeated_port(marks)) is not None:
        raise Problem(
            Kind.INVALID,
            f"port {port[1]} of switch {port[0]} is there twice",
            field="port",
            remedy="give each port one mark",
        )
    wanted = {(int(item.dpid, 16), item.port): item.encrypted for item in marks}
    before = apps.ask(DISCOVERY, NetworkRequest()).encrypted_ports
    change.before = [_mark(port, port in before) for port in wanted]
    change.after = [_mark(port, encrypted) for port, encrypted in wanted.items()]
    return MarkedView(ports=len(wanted), links=apps.ask(DISCOVERY, SetEncrypted(wanted)))


def _mark(port: tuple[int, int], encrypted: bool) -> dict[str, object]:
    return {"dpid": node_name(port[0]), "port": port[1], "encrypted": encrypted}
