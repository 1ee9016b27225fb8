"""Asks every switch for its counters twice a second, and serves what it was told over HTTP."""

import json

from ryu.app.wsgi import ControllerBase, Response, WSGIApplication, route
from ryu.base import app_manager
from ryu.controller import ofp_event
from ryu.controller.handler import DEAD_DISPATCHER, MAIN_DISPATCHER, set_ev_cls
from ryu.lib import hub
from ryu.ofproto import ofproto_v1_3
from ryu.topology import event
from ryu.topology.api import get_host, get_link, get_switch


class Monitor(app_manager.RyuApp):
    OFP_VERSIONS = [ofproto_v1_3.OFP_VERSION]
    _CONTEXTS = {"wsgi": WSGIApplication}

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.datapaths = {}
        self.rules = {}
        self.tables = {}
        self.ports = {}
        self.told = []
        kwargs["wsgi"].register(MonitorPages, {"monitor": self})
        self.poller = hub.spawn(self.poll)

    @set_ev_cls(ofp_event.EventOFPStateChange, [MAIN_DISPATCHER, DEAD_DISPATCHER])
    def on_state(self, ev):
        if ev.state == MAIN_DISPATCHER:
            self.datapaths[ev.datapath.id] = ev.datapath
        else:
            self.datapaths.pop(ev.datapath.id, None)

    def poll(self):
        stopped = hub.Event()
        while True:
            for datapath in list(self.datapaths.values()):
                parser = datapath.ofproto_parser
                datapath.send_msg(parser.OFPFlowStatsRequest(datapath))
                datapath.send_msg(parser.OFPTableStatsRequest(datapath, 0))
                datapath.send_msg(parser.OFPPortStatsRequest(datapath, 0, datapath.ofproto.OFPP_ANY))
            stopped.wait(timeout=0.5)

    @set_ev_cls(ofp_event.EventOFPFlowStatsReply, MAIN_DISPATCHER)
    def on_rules(self, ev):
        self.rules[ev.msg.datapath.id] = [
            {"table": rule.table_id, "priority": rule.priority, "cookie": rule.cookie} for rule in ev.msg.body
        ]

    @set_ev_cls(ofp_event.EventOFPTableStatsReply, MAIN_DISPATCHER)
    def on_tables(self, ev):
        self.tables[ev.msg.datapath.id] = [table.table_id for table in ev.msg.body]

    @set_ev_cls(ofp_event.EventOFPPortStatsReply, MAIN_DISPATCHER)
    def on_ports(self, ev):
        self.ports[ev.msg.datapath.id] = sorted(port.port_no for port in ev.msg.body)

    @set_ev_cls([event.EventSwitchEnter, event.EventSwitchLeave, event.EventLinkAdd, event.EventHostAdd])
    def on_topology(self, ev):
        self.told.append(type(ev).__name__)
        if isinstance(ev, event.EventSwitchEnter):
            # Twice into a table of its own: with a match, and with what all others of it go to.
            datapath = ev.switch.dp
            parser = datapath.ofproto_parser
            goto = [parser.OFPInstructionGotoTable(3)]
            datapath.send_msg(parser.OFPFlowMod(datapath, table_id=0, priority=7, instructions=goto, cookie=9))
            datapath.send_msg(parser.OFPFlowMod(datapath, table_id=3, priority=8, cookie=9))


class MonitorPages(ControllerBase):
    def __init__(self, req, link, data, **config):
        super().__init__(req, link, data, **config)
        self.monitor = data["monitor"]

    @route("monitor", "/monitor/{dpid}", methods=["GET"], requirements={"dpid": r"[0-9]+"})
    def show(self, req, dpid, **kwargs):
        dpid = int(dpid)
        if dpid not in self.monitor.datapaths:
            return Response(status=404)
        shown = {
            "rules": self.monitor.rules.get(dpid),
            "tables": self.monitor.tables.get(dpid),
            "ports": self.monitor.ports.get(dpid),
            "told": self.monitor.told,
            "switches": [switch.dp.id for switch in get_switch(self.monitor)],
            "one": [len(switch.ports) for switch in get_switch(self.monitor, dpid)],
            "links": [[link.src.dpid, link.dst.dpid] for link in get_link(self.monitor)],
            "hosts": [host.mac for host in get_host(self.monitor)],
            "secret": "authorization" in req.headers,
        }
        return Response(content_type="application/json", body=json.dumps(shown))

    @route("monitor", "/monitor/fail", methods=["POST"])
    def fail(self, req, **kwargs):
        raise RuntimeError(f"asked to fail with {req.json}")
