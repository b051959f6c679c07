"""`seclude-ledger`: a ledger that serves, and the verbs of those who publish in it (`verbs.py`).

Each verb is a module with a `main` that takes the arguments after its name; only the one that is asked for is loaded.
"""

import sys
from collections.abc import Sequence

from ledger.verbs import VERBS
from seclude.entry import enter


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `seclude-ledger` and return its exit status."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given and given[0] in VERBS:
        return enter("seclude-ledger", VERBS[given[0]][0], "ledger", given[1:])
    return enter("seclude-ledger", "ledger.daemon", "ledger", given)
