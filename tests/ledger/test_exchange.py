"""Keys exchanged as docs/ledger-keys.md says, with processes: nothing is logged anew, and nothing is lost."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.keyfiles import create_signer
from seclude.tlog.cosigned import open_cosigned
from seclude.tlog.keys import COSIGNATURE_ED25519, ED25519, SignerKey, generate_skey
from seclude.tlog.quorum import Quorum, parse_quorum
from tests.ledger.ledger_rig import LedgerFolder
from tests.ledger.witness_rig import Process as WitnessProcess


class House:
    """A ledger and three witnesses, of whom some have a second key."""

    def __init__(self, folder: Path) -> None:
        self.ledger = LedgerFolder(folder, cosign_seconds=0.2)
        self.keys = [[generate_skey(f"w{place}.example", COSIGNATURE_ED25519)] for place in range(3)]
        self.logs = [self.ledger.key.verifier]
        self.witnesses: list[WitnessProcess] = []
        for place in range(3):
            (folder / f"w{place}").mkdir()
            self.witnesses.append(self._witness(place, "--new"))

    def _witness(self, place: int, *more: str) -> WitnessProcess:
        folder = self.ledger.folder / f"w{place}"
        for path in folder.glob("*.key"):
            path.unlink()
        return WitnessProcess(folder, self.logs, keys=self.keys[place]).start(*more)

    def restart_witness(self, place: int) -> None:
        self.witnesses[place].stop()
        self.witnesses[place] = self._witness(place)

    def lines(self, *names: str) -> list[str]:
        """Return the lines of witnesses by names such as w2 and, for a second key, w2-1."""
        found = []
        for name in names:
            place, _, number = name[1:].partition("-")
            key = self.keys[int(place)][int(number or 0)].verifier
            found.append(f"witness {name} {key} http://{self.witnesses[int(place)].listen}")
        return found

    def ask(self, *rules: str, names: tuple[str, ...]) -> Quorum:
        """Let the ledger ask for this quorum from its next start on."""
        text = "\n".join([*self.lines(*names), *rules, ""])
        self.ledger.policy.write_text(text)
        return parse_quorum(text)

    def stop(self) -> None:
        self.ledger.stop()
        for witness in self.witnesses:
            witness.stop()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    found = House(tmp_path)
    yield found
    found.stop()


NAMES = ("w0", "w1", "w2")
TWO_OF_THREE = ("group all 2 w0 w1 w2", "quorum all")


def test_the_key_of_a_log_is_exchanged_and_its_tree_stays(house: House) -> None:
    ledger = house.ledger
    quorum = house.ask(*TWO_OF_THREE, names=NAMES)
    ledger.start()
    assert ledger.add(b"before").status == 200
    ledger.stop()
    old, new = ledger.key, generate_skey("log.example/plain", ED25519)
    house.logs.append(new.verifier)
    for place in range(3):
        house.restart_witness(place)
    quorum = house.ask(*TWO_OF_THREE, names=NAMES)
    (ledger.folder / "plain.key").unlink()
    create_signer(ledger.folder / "plain.key", new)
    assert "name the one before in `former`" in ledger.refuse()
    ledger.config.write_text(f'{ledger.config.read_text()}former = ["{old.verifier}"]\n')
    ledger.start()
    assert ledger.add(b"after").status == 200
    shown = open_cosigned(ledger.fetch("checkpoint"), new.verifier, quorum)
    assert shown.checkpoint.size == 2
    assert ledger.entries(2) == [b"before", b"after"]


def test_the_key_of_a_witness_is_exchanged_while_devices_know_either(house: House) -> None:
    ledger = house.ledger
    before = house.ask(*TWO_OF_THREE, names=NAMES)
    ledger.start()
    assert ledger.add(b"before").status == 200
    ledger.stop()
    house.keys[2].append(_second(house.keys[2][0]))
    house.restart_witness(2)
    group = ("group w2 all w2-0 w2-1", "group all 2 w0 w1 w2", "quorum all")
    house.ask(*group, names=("w0", "w1", "w2-0", "w2-1"))
    house.witnesses[0].stop()  # so that it takes the one whose key is exchanged
    ledger.start()
    assert ledger.add(b"between").status == 200
    after = parse_quorum("\n".join([*house.lines("w0", "w1", "w2-1"), "group all 2 w0 w1 w2-1", "quorum all"]))
    for quorum in (before, after):
        assert open_cosigned(ledger.fetch("checkpoint"), ledger.key.verifier, quorum).checkpoint.size == 2


def _second(key: SignerKey) -> SignerKey:
    return generate_skey(key.verifier.name, COSIGNATURE_ED25519)
