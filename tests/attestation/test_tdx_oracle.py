"""A second opinion on quotes of TDX: `google/go-tdx-guest`, which reads version 4 and its collateral.

It judges signatures, chains, revocation, dates and levels, and leaves attributes to its caller. So what it accepts of
the vectors is compared with our first twelve steps. The first run compiles for some seconds.
"""

import base64
import json
import os
import random
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from seclude.attestation.accept import TdxTable
from seclude.attestation.steps import Steps
from seclude.attestation.tdx import TITLES, TdxEvidence, serialize_body, verify
from seclude.attestation.tdx_collateral import Collateral, Signed
from seclude.attestation.tdx_quote import serialize_pem_chain
from seclude.errors import VerificationError
from tests.attestation.test_tdx import EXPIRED, EXTRA, JULY_2025, JUNE_2023, JUNE_2025, flipped, google, phala, vector

HERE: Final = Path(__file__).parent / "oracle_go_tdx"
MINIMUM_GO: Final = (1, 25, 0)  # what go.mod says
SIGNATURES: Final = 6  # the last of the steps that need no collateral
LEVELS: Final = 12  # the last of the steps that both verifiers take
FLIPS: Final = 40  # of each quote
MARKER: Final = "answer:"  # begins a line of an answer; the library logs beside them

Ask = Callable[[Sequence[dict[str, Any]]], list[str]]

pytestmark = pytest.mark.timeout(360)


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Ask:
    """What asks the oracle questions: its answers say what is wrong, or nothing."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("Go is not installed")
    environment = os.environ | {"GOTOOLCHAIN": "local"}  # a test does not fetch another Go
    version = subprocess.run(
        [go, "env", "GOVERSION"], env=environment, capture_output=True, text=True, check=True
    ).stdout
    if tuple(int(number) for number in re.findall(r"\d+", version)) < MINIMUM_GO:
        pytest.skip(f"{version.strip()} is older than {'.'.join(map(str, MINIMUM_GO))}")
    program = tmp_path_factory.mktemp("oracle") / "oracle"
    command = [go, "build", "-mod=readonly", "-o", str(program), "."]
    done = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr

    def run(questions: Sequence[dict[str, Any]]) -> list[str]:
        lines = "".join(json.dumps(question) + "\n" for question in questions)
        done = subprocess.run([program], input=lines, capture_output=True, text=True, timeout=60, check=True)
        answers = [line.removeprefix(MARKER) for line in done.stdout.split("\n") if line.startswith(MARKER)]
        assert len(answers) == len(questions)
        return answers

    return run


def question(quote: bytes, now: int, collateral: Collateral | None) -> dict[str, Any]:
    """Return what the oracle is asked; JSON has octets in base64, as Go reads them."""
    asked: dict[str, Any] = {"quote": base64.b64encode(quote).decode(), "now": now}
    if collateral is not None:
        asked["collateral"] = {
            "root_crl": base64.b64encode(collateral.root_crl).decode(),
            "pck_crl": base64.b64encode(collateral.pck_crl).decode(),
            "pck_crl_chain": serialize_pem_chain(collateral.pck_crl_chain).decode(),
            "tcb_info": answer_of_service("tcbInfo", collateral.tcb_info),
            "tcb_info_chain": serialize_pem_chain(collateral.tcb_info.chain).decode(),
            "qe_identity": answer_of_service("enclaveIdentity", collateral.qe_identity),
            "qe_identity_chain": serialize_pem_chain(collateral.qe_identity.chain).decode(),
        }
    return asked


def answer_of_service(name: str, signed: Signed) -> str:
    """Return a document and its signature as Intel's service answers them."""
    return f'{{"{name}":{signed.document.decode()},"signature":"{signed.signature.hex()}"}}'


def passed(quote: bytes, now: int, collateral: Collateral) -> int:
    """Return how many of our steps pass."""
    steps = Steps(TITLES)
    with suppress(VerificationError):
        verify(serialize_body(TdxEvidence(quote, collateral)), TdxTable(), now, steps)
    return len(steps.passed)


def quotes() -> dict[str, bytes]:
    """The genuine quotes of version 4."""
    return {
        "phala": phala().quote,
        "trustee": vector("trustee-tdx_quote_4.dat"),
        "google": vector("google-quote-v4-SPR.dat").removesuffix(EXTRA),
    }


def test_both_accept_the_signatures_of_every_genuine_quote(ask: Ask) -> None:
    given = quotes().values()
    assert ask([question(quote, JUNE_2025, None) for quote in given]) == [""] * 3
    assert [passed(quote, JUNE_2025, Collateral()) for quote in given] == [SIGNATURES] * 3


def test_both_say_the_same_of_quotes_with_collateral(ask: Ask) -> None:
    ours, theirs = phala().collateral, google()
    given = quotes()
    cases = [
        (given["trustee"], JUNE_2023, theirs, "", LEVELS),  # in debug mode, which is not the oracle's to judge
        (given["google"], JUNE_2023, theirs, "no matching TCB level", 11),
        (given["trustee"], JUNE_2025, ours, "FMSPC", 7),
        (given["phala"], EXPIRED, ours, "tcbInfo has expired", 6),
        (given["phala"], JUNE_2025, replace(ours, pck_crl=theirs.pck_crl), "PCK CRL has expired", 6),
        (given["phala"], JUNE_2025, replace(ours, tcb_info=theirs.tcb_info), "tcbInfo has expired", 7),
        (given["phala"], JUNE_2025, replace(ours, qe_identity=theirs.qe_identity), "QeIdentity has expired", 8),
    ]
    answers = ask([question(quote, now, collateral) for quote, now, collateral, *_ in cases])
    for (quote, now, collateral, words, steps), answer in zip(cases, answers, strict=True):
        assert passed(quote, now, collateral) == steps, answer
        assert words in answer if words else answer == ""


def test_both_refuse_flipped_octets_of_documents(ask: Ask) -> None:
    quote, theirs = quotes()["trustee"], google()
    questions, changed = [], []
    for name in ("tcb_info", "qe_identity"):
        signed: Signed = getattr(theirs, name)
        digits = [found.start() for found in re.finditer(rb"[0-8]", signed.document)]  # so that it stays JSON
        for offset in random.Random(name).sample(digits, 20):
            document = signed.document[:offset] + bytes([signed.document[offset] + 1]) + signed.document[offset + 1 :]
            other: Any = {name: replace(signed, document=document)}
            changed.append(replace(theirs, **other))
            questions.append(question(quote, JUNE_2023, changed[-1]))
    assert all(passed(quote, JUNE_2023, collateral) in (7, 8) for collateral in changed)
    assert all(ask(questions))


@pytest.mark.parametrize("name", ["phala", "trustee", "google"])
def test_both_refuse_flipped_octets(ask: Ask, name: str) -> None:
    quote = quotes()[name].rstrip(b"\0") + b"\0" * (name != "google")  # of the zeros, those that are of the PEM
    offsets = random.Random(name).sample(range(len(quote)), FLIPS)
    changed = [flipped(quote, offset) for offset in offsets]
    assert all(passed(each, JUNE_2025, Collateral()) < SIGNATURES for each in changed)
    assert all(ask([question(each, JUNE_2025, None) for each in changed]))


def test_we_are_stricter_where_the_oracle_looks_away(ask: Ask) -> None:
    """It takes any octets after a quote, and lists and documents that are from the future."""
    quote, theirs, ours = quotes()["trustee"], google(), phala().collateral
    early = replace(theirs, root_crl=ours.root_crl)
    assert ask([question(quote + EXTRA, JUNE_2023, theirs), question(quote, JUNE_2023, early)]) == ["", ""]
    assert passed(quote + EXTRA, JUNE_2023, theirs) == 1
    assert passed(quote, JUNE_2023, early) == 6


def test_the_oracle_does_not_take_an_fmspc_in_capitals(ask: Ask) -> None:
    """Intel's service writes it so, and this release compares letters; so it cannot judge Phala's pair to the end."""
    evidence = phala()
    (answer,) = ask([question(evidence.quote, JULY_2025, evidence.collateral)])
    assert answer.startswith('FMSPC from PCK Certificate("b0c06f000000") is not equal')
    assert passed(evidence.quote, JULY_2025, evidence.collateral) == len(TITLES)
