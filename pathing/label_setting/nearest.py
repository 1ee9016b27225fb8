"""The least value of a limit that a path of a given sum keeps, and how to say it without promising less."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal

from pathing.label_setting.question import ROUNDING, log_loss

_DIGITS = 6


def least_limit(field: str, total: float) -> tuple[float, str]:
    """Give the least `field` (a limit) for a path on which its values add up to `total`, and its text with unit.

    The sum is as in `Question.limits`: ms, links, or -ln(1 - loss). Both the number and the text work when asked
    again; the number of links is an int.
    """
    if field == "max_hops":
        return round(total), str(round(total))
    if field == "max_latency_ms":
        return total, f"{rounded(total, ROUND_CEILING)} ms"
    loss = -math.expm1(-total)
    # Near 1 a step of the loss is a large step of the sum.
    while log_loss(loss) < total:
        loss = math.nextafter(loss, 1.0)
    few_digits = rounded(loss, ROUND_CEILING)
    return loss, str(few_digits if log_loss(few_digits) >= total * (1 - ROUNDING) else loss)


def rounded(value: float, direction: str) -> float:
    """Round to a few digits, to the side that still works; what a sum's rounding added is taken off first."""
    noise = value * ROUNDING / 10
    value += noise if direction == ROUND_FLOOR else -noise
    return float(Context(prec=_DIGITS, rounding=direction).create_decimal(Decimal(value)))
