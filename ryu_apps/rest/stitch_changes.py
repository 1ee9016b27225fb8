"""What of a stitch may be changed and the request that comes of it (null takes out: RFC 7396)."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ryu_apps.rest.bodies import Body, Mbps
from ryu_apps.rest.problems import Kind, Problem
from ryu_apps.rest.stitch_bodies import Labels, MaxLatency, MaxLoss, Moment, WeeklyBody
from ryu_apps.rest.stitch_requests import seconds, weekly
from stitching.bandwidth import BandwidthRequest
from stitching.stitch import Stitch, StitchRequest
from stitching.terms import Protection
from stitching.validity import Validity


def _left_out() -> Any:
    """Of a field that is left out, and stays as it is."""
    return None


_SAME: Any = Field(default_factory=_left_out)

_OF_CARRYING = frozenset({"bandwidth_mbps", "max_latency_ms", "max_loss", "protection"})
_OF_BANDWIDTH = frozenset({"guarantee_mbps", "cap_mbps", "follow_forecast"})
_PLAIN = ("bandwidth_mbps", "max_latency_ms", "max_loss", "priority", "encrypted", *sorted(_OF_BANDWIDTH))


class StitchChangeBody(Body):
    """The terms that are to be others; what is left out stays. labels are replaced as a whole."""

    bandwidth_mbps: Mbps = _SAME
    max_latency_ms: MaxLatency | None = _SAME
    max_loss: MaxLoss | None = _SAME
    protection: Literal["none", "link", "node"] = _SAME
    guarantee_mbps: Mbps | None = _SAME
    cap_mbps: Mbps | None = _SAME
    follow_forecast: bool = _SAME
    labels: Labels = _SAME
    priority: Annotated[int, Field(ge=0, le=7)] = _SAME
    valid_from: Moment | None = _SAME
    valid_until: Moment | None = _SAME
    weekly: WeeklyBody | None = _SAME
    encrypted: bool = _SAME

    @model_validator(mode="after")
    def _says_something(self) -> StitchChangeBody:
        if not self.model_fields_set:
            raise ValueError("name at least one term that is to be another")
        return self


def changed(stitch: Stitch, body: StitchChangeBody) -> StitchRequest:
    """What is asked for after a change. Raises a 422 problem for what is not of its kind or contradicts itself."""
    request, given = stitch.request, body.model_fields_set
    none_of_it = _OF_CARRYING if isinstance(request, BandwidthRequest) else _OF_BANDWIDTH
    for field in sorted(given & none_of_it):
        others = "guarantee_mbps and cap_mbps" if isinstance(request, BandwidthRequest) else "bandwidth_mbps"
        raise _invalid(field, f"a stitch of kind {request.KIND} has no {field}", f"change {others}")
    terms: dict[str, Any] = {name: getattr(body, name) for name in _PLAIN if name in given}
    if "protection" in given:
        terms["protection"] = Protection(body.protection)
    if "labels" in given:
        terms["labels"] = tuple(sorted(body.labels.items()))
    terms["valid"] = _validity(request.valid, body)
    after = replace(request, **terms)
    return _rates_fit(after) if isinstance(after, BandwidthRequest) else after


def _validity(before: Validity, body: StitchChangeBody) -> Validity:
    given = body.model_fields_set
    after = Validity(
        seconds(body.valid_from) if "valid_from" in given else before.from_s,
        seconds(body.valid_until) if "valid_until" in given else before.until_s,
        weekly(body.weekly) if "weekly" in given else before.weekly,
    )
    if after.from_s is not None and after.until_s is not None and after.from_s >= after.until_s:
        raise _invalid("valid_until", "it is not after valid_from", "give a later time, or null for none")
    return after


def _rates_fit(request: BandwidthRequest) -> BandwidthRequest:
    guarantee, cap = request.guarantee_mbps, request.cap_mbps
    if guarantee is None and cap is None:
        raise _invalid("cap_mbps", "neither guarantee nor cap is left", "keep one, or delete the stitch")
    if guarantee is not None and cap is not None and guarantee > cap:
        raise _invalid(
            "guarantee_mbps", "it is above cap_mbps", "give a larger cap_mbps as well, or null for none"
        )
    if request.follow_forecast and guarantee is None:
        raise _invalid("follow_forecast", "there is no guarantee to begin with", "give guarantee_mbps, or false")
    return replace(request, bandwidth_mbps=guarantee or 0.0)


def _invalid(field: str, problem: str, remedy: str) -> Problem:
    return Problem(Kind.INVALID, problem, field=field, remedy=remedy)
