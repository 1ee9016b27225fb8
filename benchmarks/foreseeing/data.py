"""The data sets that forecasts are judged on, each with what is for training and how far ahead to look."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np

from benchmarks.support.figure import MeasurementFailed
from forecasting import Calendar, Panel
from forecasting.panel import FloatArray
from pathing import Topology, shortest_paths_from
from ryu_apps.forecasts.series import read_events, read_series

DATA = Path(__file__).parents[2].parent / "shared" / "data"

WEEK = 2016
"""Steps of five minutes in a week."""

DAY_S = 86400.0
_FLOWS = 20
_TRAINING_SHARE = 0.6
_DAYS = Calendar()
_NO_DAYS = Calendar(day_s=None)


@dataclass(frozen=True)
class DataSet:
    """Series, how many steps of them are for training, the horizon, and how often a forecast is judged (steps)."""

    name: str
    panel: Panel
    training: int
    horizon: int
    every: int
    calendar: Calendar = _DAYS


def abilene_flows() -> DataSet:
    """The 20 flows that are busiest in the first week; trained on that, judged on the second at full hours."""
    panel = all_flows()
    order = np.argsort(-panel.values[:, :WEEK].mean(axis=1), kind="stable")
    return DataSet("Abilene flows", panel.rows(order[:_FLOWS]), WEEK, 12, 12)


def abilene_links() -> DataSet:
    """The 30 link loads that Abilene's demands make on the shortest paths by its OSPF weights."""
    flows = all_flows()
    with _file("abilene", "links.csv").open() as file:
        rows = [(row["src"], row["dst"], float(row["ospf_weight"])) for row in csv.DictReader(file)]
    topology = Topology()
    for node in sorted({node for src, dst, _ in rows for node in (src, dst)}):
        topology.add_node(node)
    for src, dst, weight in rows:
        topology.add_link(src, dst, capacity_mbps=1.0, weight=weight)
    loads = np.zeros((len(rows), flows.times.size))
    for src in topology.node_names:
        tree = shortest_paths_from(topology, src, "weight")
        for dst in topology.node_names:
            if src != dst:
                loads[list(tree.path(dst).links)] += flows.values[flows.names.index(f"{src}:{dst}")]
    names = tuple(f"{src}->{dst}" for src, dst, _ in rows)
    return DataSet("Abilene links", replace(flows, values=loads, names=names), WEEK, 12, 12)


@cache
def all_flows() -> Panel:
    """All 132 flows of Abilene, two weeks of them."""
    with np.load(_file("abilene", "abilene_tm_5min_20040301_14d.npz")) as archive:
        mbps, nodes = archive["tm_mbps"].astype(np.float64), archive["nodes"]
        times = archive["time"].astype("datetime64[s]").astype(np.float64)
    pairs = [(i, j) for i in range(nodes.size) for j in range(nodes.size) if i != j]
    values = np.array([mbps[:, i, j] for i, j in pairs])
    return Panel(times, values, tuple(f"{nodes[i]}:{nodes[j]}" for i, j in pairs), 300.0)


def isp() -> DataSet:
    """One transatlantic link of an ISP; five minutes, a day ahead."""
    return _series("isp", "isp_eu_5min.csv.gz", every=3)


def world_cup() -> DataSet:
    """Requests and bytes of the World Cup 98 site; five minutes, a day ahead, with the calendar of matches."""
    calendar = Calendar(events=read_events(_file("series", "wc98_events.csv")))
    return replace(_series("World Cup 98", "wc98_web_5min.csv.gz", every=3), calendar=calendar)


def cesnet() -> DataSet:
    """Flows, packets and bytes of one host; one hour, a day ahead."""
    return _series("CESNET host", "cesnet_ip103_1h.csv.gz", ("n_flows", "n_packets", "n_bytes"))


NAB_TRAFFIC = ("nab_ec2_network_in_257a54", "nab_elb_request_count_8c0756", "nab_nyc_taxi")
NAB_OTHER = ("nab_ec2_request_latency_system_failure",)


def nab(name: str) -> DataSet:
    """One of the series of the Numenta Anomaly Benchmark, a day ahead."""
    return _series(name.removeprefix("nab_"), f"{name}.csv.gz")


def nab_windows(name: str) -> FloatArray:
    """Its labelled windows, (k, 2), start and end in seconds."""
    labels = json.loads(_file("series", "nab_anomaly_windows.json").read_text())
    spans = np.array(labels[f"{name.removeprefix('nab_')}.csv"], dtype="datetime64[s]")
    answer: FloatArray = spans.astype(np.float64)
    return answer


def geant() -> DataSet:
    """The 60 largest of GEANT's flows of January 2005; a quarter of an hour, a day ahead."""
    with np.load(_file("geant", "geant23_15min_20050102_13d.npz")) as archive:
        matrices = archive["tm"].astype(np.float64)
        times = archive["time"].astype("datetime64[s]").astype(np.float64)
    training = int(_TRAINING_SHARE * times.size)
    # One row a pair; traffic that enters and leaves at one router is on no link.
    n = matrices.shape[1]
    pairs = np.flatnonzero(~np.eye(n, dtype=np.bool_).ravel())
    flows = matrices.reshape(times.size, n * n).T[pairs]
    largest = np.argsort(-flows[:, :training].mean(axis=1), kind="stable")[:60]
    names = tuple(f"{pairs[row] // n}:{pairs[row] % n}" for row in largest)
    return DataSet("GEANT flows", Panel(times, flows[largest], names, 900.0), training, 96, 1)


def facebook() -> DataSet:
    """The twelve demands between the racks of a pod; about a second, a minute ahead, no season, very bursty."""
    with np.load(_file("datacentre", "facebook_pod_a.npz")) as archive:
        matrices, training = archive["tm"].astype(np.float64), int(archive["n_train"])
    n = matrices.shape[1]
    pairs = [(i, j) for i in range(n) for j in range(n) if i != j]
    values = np.array([matrices[:, i, j] for i, j in pairs])
    panel = Panel(np.arange(len(matrices), dtype=np.float64), values, tuple(f"{i}:{j}" for i, j in pairs), 1.0)
    return DataSet("Facebook pod", panel, training, 60, 6, _NO_DAYS)


SINGLE: Mapping[str, Callable[[], DataSet]] = {
    "isp": isp,
    "world_cup": world_cup,
    "cesnet": cesnet,
    **{name: partial(nab, name) for name in (*NAB_TRAFFIC, *NAB_OTHER)},
}
"""Those in ../shared/data/series."""

NETWORKS: Mapping[str, Callable[[], DataSet]] = {
    "abilene_flows": abilene_flows,
    "abilene_links": abilene_links,
    "geant": geant,
    "facebook": facebook,
}


def _series(name: str, file: str, columns: tuple[str, ...] = (), every: int = 1) -> DataSet:
    panel = read_series(_file("series", file), columns).panel
    training = int(_TRAINING_SHARE * panel.times.size)
    return DataSet(name, panel, training, round(DAY_S / panel.step_s), every)


def _file(folder: str, name: str) -> Path:
    path = DATA / folder / name
    if not path.exists():
        raise MeasurementFailed(f"there is no ../shared/data/{folder}/{name}")
    return path
