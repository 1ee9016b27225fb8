"""Routing a whole demand matrix at once: least maximum link utilisation, with a proven bound."""

from pathing.routing.network import RoutingError
from pathing.routing.options import DEFAULT_MEAN_WEIGHT, OverScenarios
from pathing.routing.plan import PlanPaths, RoutingPlan
from pathing.routing.route import route_demands, route_greedily

__all__ = [
    "DEFAULT_MEAN_WEIGHT",
    "OverScenarios",
    "PlanPaths",
    "RoutingError",
    "RoutingPlan",
    "route_demands",
    "route_greedily",
]
