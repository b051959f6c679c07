"""What `docs/ledger.md` says is so: its program in Go takes our proofs, its tables name what there is."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from seclude.attestation.bundle import parse_bundle
from seclude.attestation.proofs import parse_proofs
from seclude.client.findings import Kind
from seclude.client.logproofs import proof_files, prove_entries
from seclude.client.receipts import Receipt
from seclude.ledger import EPOCH_HEAD
from seclude.ledger import Path as LedgerPath
from tests.client.ledgerworld import NOW, World
from tests.running import ROOT

PAGE = (ROOT / "docs" / "ledger.md").read_text()
MODULES = ROOT / "tests" / "tlog" / "oracle_go"


def rows(before: str) -> str:
    """Return the first column of the table that follows some words."""
    table = next(part for part in PAGE.split(before, 1)[1].split("\n\n") if part.startswith("|"))
    return "\n".join(line.split(" | ")[0] for line in table.splitlines())


def test_every_kind_of_finding_has_its_row_and_no_other() -> None:
    assert set(re.findall(r"`(\w+)`", rows("gives as `kind`, `words` and `facts`:"))) == {kind.value for kind in Kind}


def test_every_path_and_field_is_named() -> None:
    named = rows("tlog-policy).")
    for path in (LedgerPath.EPOCHS, LedgerPath.PROOFS, f"{LedgerPath.KEYS}{LedgerPath.CHECKPOINT}"):
        assert path in named
    assert set(re.findall(r"`(\w+)`", rows("never written over another file):"))) == set(Receipt.__struct_fields__)
    assert f'"{EPOCH_HEAD[:-1].decode()}" 0x01' in PAGE


@pytest.mark.timeout(300)
def test_the_program_in_go_takes_what_a_receipt_writes(tmp_path: Path) -> None:
    go = shutil.which("go")
    if go is None:
        pytest.skip("Go is not installed")
    (program,) = re.findall(r"^```go\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "main.go").write_text(program)
    for name in ("go.mod", "go.sum"):
        shutil.copy(MODULES / name, tmp_path)
    environment = os.environ | {"GOTOOLCHAIN": "local"}
    build = [go, "build", "-mod=mod", "-o", "check", "."]
    built = subprocess.run(build, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=280)
    if built.returncode != 0 and re.search(r"requires go >=|dial tcp|Forbidden|no such host", built.stderr):
        pytest.skip(f"its modules cannot be had here: {built.stderr.strip()[-200:]}")
    assert built.returncode == 0, built.stderr
    world = World()
    world.fill(NOW - 1)
    bundle = world.log(NOW)
    policy = world.policy
    assert policy.ledger is not None
    assert policy.document.ledger is not None
    proofs = parse_proofs(parse_bundle(world.stapled(bundle)).proofs)
    keys, state = prove_entries(proofs, policy.ledger, NOW, bundle.core, bundle.evidence)
    for name, data in proof_files({"keys": keys, "state": state}, policy.document.ledger.witnesses).items():
        (tmp_path / name).write_bytes(data)

    def check(log: str) -> tuple[int, str]:
        done = subprocess.run(["./check", log], cwd=tmp_path, capture_output=True, text=True, timeout=30)
        return done.returncode, done.stdout.strip()

    assert check("keys") == (0, "it stands in the log")
    assert check("state") == (0, "it stands in the log")
    (tmp_path / "keys.entry").write_bytes(state.entry)
    assert check("keys")[0] == 1
    text = (tmp_path / "state.policy").read_text()
    (tmp_path / "state.policy").write_text(text.replace("group most 2", "group most 3"))
    one = (tmp_path / "state.tlog-proof").read_text().rstrip("\n").rsplit("\n", 1)[0] + "\n"
    (tmp_path / "state.tlog-proof").write_text(one)
    assert check("state")[0] == 1
