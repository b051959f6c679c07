"""What a model does, tried on the model that is installed: whether requests that are served together stay apart.

Each experiment says what was tried and what was found. The rules that they try, for whatever the engine would batch:

1. At the same shape, no bit of a request's results depends on what the other rows hold.
2. A request gets the same tokens together with others, of any lengths, as it gets alone.
3. That stays so when others come and go between its steps.
4. A slot that was cleared holds nothing, and the slots beside it all that they held.
5. What was served before changes nothing.

A graph whose rows share something runs one request at a time (`session.batchable`), which is no fault of the model. It
is one if the engine would batch it all the same: then the check fails.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import numpy as np

from inference.engine.encoder import SentenceEncoder
from inference.engine.layout import Layout, batchable, layout_of
from inference.model.batches import check_batches
from inference.model.findings import TEXTS, Finding, verdict
from inference.model.progress import Report
from inference.model.slots import check_slots


def check(folder: Path, threads: int, report: Report) -> Iterator[Finding]:
    """Try the model in a folder; raises ConfigError where it cannot be loaded as a worker would."""
    report(f"loading {folder.name}")
    return _CHECKS[layout_of(folder)](folder, threads, report)


def _check_encoder(folder: Path, threads: int, report: Report) -> Iterator[Finding]:
    shared = batchable(folder)
    why = f", since {shared}" if shared else ""
    yield Finding("runs", f"each holds sentences of one request only{why}")
    encoder = SentenceEncoder(folder, threads)
    report(f"trying {folder.name}: one chat after another")
    before = encoder.embed(TEXTS)
    for text in TEXTS:
        encoder.embed([text] * 9)
    yield verdict(
        f"{len(TEXTS)} sentences, again after {len(TEXTS)} other requests",
        encoder.embed(TEXTS).tobytes() == before.tobytes(),
        "no bit moved: nothing stays",
        "LEAK: what was served before changed the results",
    )
    yield verdict(
        "directions",
        bool(np.isfinite(before).all() and np.allclose(np.linalg.norm(before, axis=1), 1, atol=1e-4)),
        "each sentence has one",
        "a sentence has none: the graph gives no usable numbers",
    )


_CHECKS: Final[dict[Layout, Callable[[Path, int, Report], Iterator[Finding]]]] = {
    Layout.DECODER: check_slots,
    Layout.SEQ2SEQ: check_batches,
    Layout.ENCODER: _check_encoder,
}
