"""Goes wrong in the way that the environment says."""

import os
import threading

from os_ken.base import app_manager
from os_ken.controller import ofp_event
from os_ken.controller.handler import MAIN_DISPATCHER, set_ev_cls
from os_ken.lib import hub

TROUBLE = os.environ.get("GUEST_TROUBLE", "")


class Troublesome(app_manager.OSKenApp):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if TROUBLE == "in __init__":
            raise ValueError("no luck today")
        if TROUBLE == "thread":
            hub.spawn({}.__getitem__, "missing")

    @set_ev_cls(ofp_event.EventOFPStateChange, MAIN_DISPATCHER)
    def on_state(self, ev):
        if TROUBLE == "raise":
            raise KeyError(f"switch {ev.datapath.id}")
        if TROUBLE == "block":
            threading.Event().wait()
        if TROUBLE == "trespass":
            self.trespass(ev.datapath)
        self.logger.info("fine dpid=%s", ev.datapath.id)

    def trespass(self, datapath):
        """Everything that could reach others."""
        ofproto, parser = datapath.ofproto, datapath.ofproto_parser
        into_ours = [parser.OFPInstructionGotoTable(77)]
        for message in (
            parser.OFPFlowMod(datapath, table_id=77),
            parser.OFPFlowMod(datapath, instructions=into_ours),
            parser.OFPGroupMod(datapath, ofproto.OFPGC_DELETE, ofproto.OFPGT_ALL, 65536),
            parser.OFPMeterMod(datapath, ofproto.OFPMC_DELETE, ofproto.OFPMF_KBPS, 0x4C00),
            parser.OFPRoleRequest(datapath, ofproto.OFPCR_ROLE_SLAVE, 0),
            parser.OFPSetConfig(datapath, 0, 0),
            parser.OFPExperimenter(datapath, 1, 2, b""),
        ):
            assert not datapath.send_msg(message), message
        datapath.close()
        assert not datapath.send(b"\x04\x00\x00\x08\x00\x00\x00\x00")
