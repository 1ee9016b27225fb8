"""Area `paths`: shortest, constrained and disjoint paths, and whole networks at once."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.pathfinding.constrained import constrained_1000
from benchmarks.pathfinding.disjoint import disjoint_1000
from benchmarks.pathfinding.kdl import kdl
from benchmarks.pathfinding.learned_latency import learned_latency
from benchmarks.pathfinding.predictive_te import abilene_predictive, geant_predictive
from benchmarks.pathfinding.shortest import dijkstra_one_source, yen_k4
from benchmarks.pathfinding.zoo import zoo_greedy, zoo_large, zoo_optimum
from benchmarks.support.areas import Measurement

MEASUREMENTS: Mapping[str, Measurement] = {
    "dijkstra_one_source": dijkstra_one_source,
    "yen_k4": yen_k4,
    "constrained_1000": constrained_1000,
    "disjoint_1000": disjoint_1000,
    "zoo_optimum": zoo_optimum,
    "zoo_greedy": zoo_greedy,
    "zoo_large": zoo_large,
    "kdl": kdl,
    "abilene_predictive": abilene_predictive,
    "geant_predictive": geant_predictive,
    "learned_latency": learned_latency,
}
