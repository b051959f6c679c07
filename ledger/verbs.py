"""The verbs of `seclude-ledger` for those who publish in a ledger: the module of each, and what it does."""

from typing import Final

VERBS: Final = {
    "keygen": ("ledger.keygen", "makes a key or a secret"),
    "release": ("ledger.publish.release", "writes down what was built"),
    "snapshot": ("ledger.publish.compose", "makes the next snapshot of the state"),
    "sign": ("ledger.publish.sign", "adds a publisher's signature"),
    "submit": ("ledger.publish.submit", "sends a snapshot to a ledger"),
    "state": ("ledger.publish.current", "shows the newest snapshot of a ledger"),
}
