"""Nitro documents before another maker's verifier: `github.com/hf/nitrite`, in Go, judges what we judge.

What we find genuine, it accepts with the same claims. Where it accepts more than we do, a test says so.
"""

import base64
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from seclude.attestation import nitro
from seclude.attestation.accept import NitroTable
from seclude.attestation.cbor import Value, serialize_item
from seclude.attestation.nitro import NitroClaims, parse_body, parse_claims
from seclude.attestation.steps import Steps
from seclude.errors import VerificationError
from tests.attestation.nitro_signer import LINKS, NOW, Module, change

HERE: Final = Path(__file__).parent / "oracle_go_nitro"
MINIMUM_GO: Final = (1, 25)  # what go.mod says
GENUINE: Final = 5  # the first step that judges, after all those that tell whether a document is genuine
TIMES: Final = {"valid": 1_665_651_482, "debug": 1_665_582_606}

pytestmark = pytest.mark.timeout(300)


@dataclass(frozen=True, slots=True)
class Case:
    """A document, the root to pin and the time to judge at."""

    body: bytes
    root: bytes
    time: int

    def ours(self) -> NitroClaims | None:
        """Return the claims, if the document is genuine to us; whether we would accept them is another question."""
        try:
            pinned = {hashlib.sha256(self.root).digest(): "root"}
            nitro.verify(self.body, NitroTable(), self.time, Steps(nitro.TITLES), roots=pinned)
        except VerificationError as exc:
            if exc.step < GENUINE:
                return None
        return parse_claims(parse_body(self.body).payload)


Judge = Callable[[Sequence[Case]], list[dict[str, object]]]


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Judge:
    """The other verifier, which takes many documents at once."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("Go is not installed")
    environment = os.environ | {"GOTOOLCHAIN": "local"}  # a test does not fetch another Go
    said = subprocess.run([go, "env", "GOVERSION"], env=environment, capture_output=True, text=True, check=True).stdout
    if tuple(int(number) for number in re.findall(r"\d+", said)) < MINIMUM_GO:
        pytest.skip(f"{said.strip()} is older than {'.'.join(map(str, MINIMUM_GO))}")
    fetched = subprocess.run([go, "mod", "download"], cwd=HERE, env=environment, capture_output=True, text=True)
    if fetched.returncode != 0:
        pytest.skip(f"the Go modules of {HERE.name} cannot be had: {fetched.stderr.strip()[-200:]}")
    program = tmp_path_factory.mktemp("go") / "oracle"
    command = [go, "build", "-mod=readonly", "-o", str(program), "."]
    done = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr

    def run(cases: Sequence[Case]) -> list[dict[str, object]]:
        lines = [
            f"{case.time} {base64.b64encode(case.root).decode()} {base64.b64encode(case.body).decode()}\n"
            for case in cases
        ]
        said = subprocess.run([program], input="".join(lines), capture_output=True, text=True, timeout=60, check=True)
        verdicts = [json.loads(line) for line in said.stdout.splitlines()]
        assert len(verdicts) == len(cases)
        return verdicts

    return run


@pytest.fixture(scope="module")
def module() -> Module:
    return Module()


@pytest.fixture(scope="module")
def samples() -> dict[str, Case]:
    root = os.environ.get("SECLUDE_VECTORS")
    if not root:
        pytest.skip("SECLUDE_VECTORS is not set")
    folder = Path(root) / "nitro"
    pem = (folder / "aws-nitro-root-g1.pem").read_bytes()
    der = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
    return {name: Case((folder / f"evervault-{name}.cbor").read_bytes(), der, time) for name, time in TIMES.items()}


def of(module: Module, body: bytes, time: int = NOW) -> Case:
    return Case(body, module.chain[-1], time)


def check_same(claims: NitroClaims, verdict: dict[str, object]) -> None:
    def encoded(value: bytes | None) -> str | None:
        return None if value is None else base64.b64encode(value).decode()

    assert verdict == {
        "refused": "",
        "module_id": claims.module_id,
        "timestamp": claims.timestamp,
        "pcrs": {str(index): encoded(value) for index, value in claims.pcrs.items()},
        "public_key": encoded(claims.public_key),
        "user_data": encoded(claims.user_data),
        "nonce": encoded(claims.nonce),
    }


def test_both_find_the_genuine_documents_genuine_with_the_same_claims(judge: Judge, samples: dict[str, Case]) -> None:
    cases = list(samples.values())
    for case, verdict in zip(cases, judge(cases), strict=True):
        claims = case.ours()
        assert claims is not None
        check_same(claims, verdict)


def test_both_find_our_own_document_genuine_with_the_same_claims(judge: Judge, module: Module) -> None:
    cases = [
        of(module, module.attest()),
        of(module, module.attest(public_key=bytes(1024), user_data=bytes(512), nonce=bytes(512))),
        of(module, module.attest(timestamp=(1 << 64) - 1)),
    ]
    for case, verdict in zip(cases, judge(cases), strict=True):
        claims = case.ours()
        assert claims is not None
        check_same(claims, verdict)


def test_both_refuse_each_of_a_thousand_flipped_octets(judge: Judge, samples: dict[str, Case]) -> None:
    """But those of the unprotected header, which is not signed, and which nitrite does not look at."""
    generator = random.Random(1)
    flipped = []
    for case in samples.values():
        for at in generator.sample(range(len(case.body)), 500):
            body = case.body[:at] + bytes([case.body[at] ^ 1 << generator.randrange(8)]) + case.body[at + 1 :]
            flipped.append((at, Case(body, case.root, case.time)))
    verdicts = judge([case for _, case in flipped])
    for (at, case), verdict in zip(flipped, verdicts, strict=True):
        assert case.ours() is None
        assert verdict["refused"] or at == 6, at


BAD: Final[list[dict[str, Value]]] = [
    {"module_id": ""},
    {"digest": "SHA256"},
    {"timestamp": 0},
    {"timestamp": -1},
    {"pcrs": {}},
    {"pcrs": {**dict.fromkeys(range(3), b"1" * 48), 32: bytes(48)}},
    {"pcrs": {**dict.fromkeys(range(3), b"1" * 48), 5: bytes(31)}},
    {"cabundle": ()},
    {"cabundle": (b"",)},
    {"cabundle": (bytes(1025),)},
    {"public_key": b""},
    {"public_key": bytes(1025)},
    {"user_data": bytes(513)},
    {"nonce": bytes(513)},
    {"certificate": b"\x30\x00"},
]


def test_both_refuse_what_breaks_a_rule_of_aws(judge: Judge, module: Module) -> None:
    cases = [of(module, module.attest(**others)) for others in BAD]
    cases += [
        of(module, module.sign(serialize_item({key: value for key, value in module.claims().items() if key != name})))
        for name in sorted(nitro.REQUIRED)
    ]
    for case, verdict in zip(cases, judge(cases), strict=True):
        assert case.ours() is None
        assert verdict["refused"]


def test_both_refuse_a_chain_with_a_fault(judge: Judge, module: Module) -> None:
    faulty = [
        change(LINKS, 2, signs=False),
        change(LINKS, 1, path_length=0),
        change(LINKS, 3, digest=hashes.SHA256()),
        change(LINKS, 3, end=NOW - 1),
        change(LINKS, 3, start=NOW + 1),
        change(LINKS, 2, end=NOW - 1),
    ]
    cases = [of(made, made.attest()) for made in map(Module, faulty)]
    cases.append(of(module, Module().attest()))
    for case, verdict in zip(cases, judge(cases), strict=True):
        assert case.ours() is None
        assert verdict["refused"]


def test_we_refuse_what_nitrite_lets_pass(judge: Judge, module: Module, samples: dict[str, Case]) -> None:
    good, claims = module.attest(), module.claims()
    payload = serialize_item(claims)
    with_header = serialize_item((nitro.PROTECTED, {4: b"key"}, payload, parse_body(good).signature))
    twice = bytes([payload[0] + 1]) + payload[1:] + serialize_item("nonce") + serialize_item(b"other")
    ca = Module(change(LINKS, 3, ca=True))
    leaf = x509.load_der_x509_certificate(module.chain[0])
    accepted = {
        "an unprotected header": of(module, with_header),
        "a head that is not the shortest": of(module, good[:1] + b"\x58\x04" + good[2:]),
        "a map of indefinite length": of(module, module.sign(b"\xbf" + payload[1:] + b"\xff")),
        "a claim that is there twice": of(module, module.sign(twice)),
        "a claim that is not specified": of(module, module.attest(other=1)),
        "a leaf that is a CA": of(ca, ca.attest()),
        "the last second of the leaf": of(module, good, int(leaf.not_valid_after_utc.timestamp())),
        "an image without PCR1": of(module, module.attest(pcrs={0: b"1" * 48, 2: b"1" * 48})),
        "an image of PCRs of 32 octets": of(module, module.attest(pcrs=dict.fromkeys(range(3), b"1" * 32))),
    }
    verdicts = dict(zip(accepted, judge(list(accepted.values())), strict=True))
    assert {name: verdict["refused"] for name, verdict in verdicts.items()} == dict.fromkeys(accepted, "")
    for name, case in accepted.items():
        assert case.ours() is None, name


def test_nitrite_refuses_an_empty_claim_that_aws_allows(judge: Judge, module: Module) -> None:
    """AWS allows 0 octets of user_data and nonce. No policy of ours accepts either: they fail at step 7."""
    case = of(module, module.attest(user_data=b""))
    assert case.ours() is not None
    assert "user_data" in str(judge([case])[0]["refused"])
