"""Asks for the topology, and handles no event of it."""

from ryu.app.wsgi import ControllerBase, Response, WSGIApplication, route
from ryu.base import app_manager
from ryu.topology.api import get_all_host, get_all_link, get_all_switch


class Asker(app_manager.RyuApp):
    _CONTEXTS = {"wsgi": WSGIApplication}

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        kwargs["wsgi"].register(AskerPages, {"asker": self})


class AskerPages(ControllerBase):
    @route("asker", "/asker", methods=["GET"])
    def show(self, req, **kwargs):
        asker = self.data["asker"]
        switches = sorted(switch.dp.id for switch in get_all_switch(asker))
        links = sorted([link.src.dpid, link.dst.dpid] for link in get_all_link(asker))
        return Response(json={"switches": switches, "links": links, "hosts": len(get_all_host(asker))})
