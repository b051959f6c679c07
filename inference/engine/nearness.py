"""What the embeddings of lines say about their places in the chat: what is central, and which question is taken up."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from inference.engine.lines import Line

COMING: Final = 24  # lines after one, among which others answer or take it up

Matrix = NDArray[np.float32]


def similarities(vectors: Matrix) -> Matrix:
    """Return the similarity of each line to each, 0 to 1."""
    similar: Matrix = np.clip(vectors @ vectors.T, 0, 1)
    return similar


def nearness(lines: Sequence[Line], heads: Sequence[int], vectors: Matrix) -> dict[int, dict[str, float]]:
    """Return the features of each line that was encoded; `vectors` has a row for each of `heads`, in order."""
    if not heads:
        return {}
    similar = similarities(vectors)
    central = vectors @ vectors.mean(axis=0)
    found: dict[int, dict[str, float]] = {}
    for i, head in enumerate(heads):
        others = [
            j for j in range(i + 1, min(i + 1 + COMING, len(heads))) if lines[heads[j]].sender != lines[head].sender
        ]
        found[head] = {
            "central": float(central[i]),
            "echoed": float(similar[i, others].max(initial=0.0)),
            "close reply": float(similar[i, others[0]]) if others else 0.0,
        }
    return found


def with_nearness(features: Mapping[str, float], near: Mapping[str, float]) -> dict[str, float]:
    """Return the features of a clause with those of its line: what is echoed matters of a question alone."""
    asks = features.get("asks", 0.0)
    replies = {name: asks * near.get(name, 0.0) for name in ("echoed", "close reply")}
    return {**features, **near, **replies}
