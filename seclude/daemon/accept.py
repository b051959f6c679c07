"""Choosing among the representations of one resource by the Accept field (RFC 9110, section 12.5.1)."""

import re
from collections.abc import Sequence
from typing import Final

MAX_RANGES: Final = 16  # a browser sends eight
_WEIGHT: Final = re.compile(r"[qQ]=([01](?:\.[0-9]{0,3})?)")


def choose(accept: str | None, offered: Sequence[str]) -> str | None:
    """Return the type of `offered` that the client likes best, the first among equals, or None if it wants none."""
    if accept is None:
        return offered[0]
    ranges = accept.lower().split(",")[:MAX_RANGES]
    weights = {media.strip(): _weight(parameters) for media, _, parameters in (item.partition(";") for item in ranges)}

    def liking(media: str) -> float:
        for candidate in (media, media.partition("/")[0] + "/*", "*/*"):  # the most specific range decides
            if candidate in weights:
                return weights[candidate]
        return 0.0

    best = max(offered, key=liking)
    return best if liking(best) > 0 else None


def _weight(parameters: str) -> float:
    for parameter in parameters.split(";"):
        weight = _WEIGHT.fullmatch(parameter.strip())
        if weight:
            return min(float(weight[1]), 1.0)
    return 1.0
