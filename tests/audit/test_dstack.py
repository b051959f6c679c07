"""dstack's public table of findings, and one issue of TNG's: those that a system like this one can repeat."""

import asyncio
import gzip
import socket
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from bench.simulated import simulated_evidence, simulated_policy
from inference.attester import Attester
from inference.config import Launch
from inference.join import NONCE_BYTES, ONE_TIME_KEY_BYTES, parse_join_keys, parse_join_request
from inference.launch import check_launch
from inference.manifest import CONFIG
from inference.producers.simulated import SimulatedPlatform, create_simulated_platform
from seclude.attestation import launchlog
from seclude.attestation.accept import (
    NitroTable,
    NvidiaTable,
    SimulatedTable,
    SnpProduct,
    SnpTable,
    SnpTcb,
    TdxTable,
    TpmTable,
)
from seclude.attestation.bundle import (
    MAX_BUNDLES,
    MAX_EVIDENCE,
    Bundle,
    birth_report_data,
    parse_bundle,
    parse_bundles,
    serialize_bundle,
)
from seclude.attestation.evidence import UnverifiedEvidence, parse_evidence, serialize_evidence
from seclude.attestation.judge import verify_evidence
from seclude.attestation.policy import Production
from seclude.attestation.policytext import convert_policy_document
from seclude.attestation.verify import verify_bundle
from seclude.daemon.messages import Response
from seclude.errors import (
    OHTTP_KEY,
    ConfigError,
    DecodeError,
    PolicyError,
    TooLargeError,
    UpstreamError,
    VerificationError,
)
from seclude.manifest import Entry, Manifest
from seclude.ohttp.encapsulation import decapsulate, encapsulate_request
from seclude.ohttp.media import KEY_BUNDLES
from tests.attestation.test_tpm import LOG, Platform, ecc_public
from tests.attestation.test_tpm import MANIFEST as LAUNCHED
from tests.audit.ground import EPOCH, MADE, MANIFEST, NOW, born, core_of, policy_of, worker_on
from tests.client.serving import ANSWER, MESSAGES, T0, Relay, asking
from tests.ledgers import NOBODYS

CHIPS = ("00" * 64,)
FLOORS: dict[SnpProduct, SnpTcb] = {"genoa": SnpTcb(snp=1), "turin": SnpTcb(snp=1)}


def production() -> Production:
    table = SnpTable(minimum_tcb=FLOORS, measurements=("00" * 48,), chips=CHIPS)
    return Production(ledger=NOBODYS, sev_snp=table)


async def test_dstack_566_nothing_that_is_fetched_is_decompressed(tmp_path: Path) -> None:
    pool = Relay(create_simulated_platform(tmp_path / "platform", T0))
    bomb = gzip.compress(bytes(50_000_000))
    pool.offered = Response(200, KEY_BUNDLES, bomb, (("Content-Encoding", "gzip"),))
    async with asking(pool) as client:
        with pytest.raises(VerificationError) as caught:
            await client.verify()
        assert caught.value.step == 1
    with pytest.raises(DecodeError):
        parse_evidence(gzip.compress(serialize_evidence(UnverifiedEvidence("sev-snp", b"x"))))


def test_dstack_567_every_decoder_has_a_limit() -> None:
    for parse, limit in ((parse_bundles, MAX_BUNDLES), (parse_evidence, MAX_EVIDENCE)):
        with pytest.raises(TooLargeError):
            parse(bytes(limit + 1))
    asking_to_join = b"SECLUDE-JOIN-REQUEST\x01" + bytes(NONCE_BYTES + ONE_TIME_KEY_BYTES)
    with pytest.raises(TooLargeError, match="131073 of at most"):
        parse_join_request(asking_to_join + (MAX_EVIDENCE + 1).to_bytes(4) + bytes(MAX_EVIDENCE + 1))
    claimed = b"SECLUDE-BUNDLE\x01\x00\x00" + (0xFFFFFFFF).to_bytes(4)  # four gigabytes that are not there
    with pytest.raises(DecodeError, match="4294967295 of at most"):
        parse_bundle(claimed + b"x")


@pytest.mark.parametrize("name", ["model/../../etc/passwd", "app/../main.py", "system/../etc/passwd"])
def test_dstack_558_no_name_leads_out_of_its_folder(tmp_path: Path, name: str) -> None:
    entry = Entry(CONFIG, 0o644, 0, bytes(32))
    with pytest.raises(ConfigError, match="leads out of its folder"):
        check_launch(Manifest(tuple(sorted([entry, Entry(name, 0o644, 1, bytes(32))]))), entry, {"model": tmp_path})


def test_dstack_563_a_production_policy_has_no_place_for_simulated_hardware(platform: SimulatedPlatform) -> None:
    policy = policy_of(production())
    core = core_of(policy)
    evidence = simulated_evidence(platform, MANIFEST, birth_report_data(core), MADE)
    with pytest.raises(PolicyError, match='"simulated" is not accepted') as caught:
        verify_evidence(evidence, policy, birth_report_data(core), NOW)
    assert caught.value.step == 2
    (item,) = parse_evidence(evidence)
    for name in ("sev-snp", "nitro", "tdx"):  # a name selects a verifier and nothing else
        with pytest.raises(VerificationError):
            verify_bundle(
                serialize_bundle(Bundle(core, serialize_evidence(UnverifiedEvidence(name, item.body)))), policy, NOW, {}
            )


def test_dstack_557_a_log_of_launches_that_was_edited_is_not_the_one_that_was_quoted() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    machine = Platform(key, ecc_public(key))
    evidence = machine.evidence()
    assert machine.verify(evidence).measurement == LAUNCHED
    for edited in (LOG.without_last(), LOG.launched(bytes(32)), launchlog.LaunchLog()):
        machine.refuse(6, "do not give the quoted digest", replace(evidence, launches=launchlog.serialize_log(edited)))
    both = LOG.launched(bytes(32))  # quoted as it is: two kinds of software ran since boot
    with pytest.raises(VerificationError) as caught:
        machine.verify(machine.evidence(log=both))
    assert caught.value.step == 10


async def test_dstack_565_who_waits_for_evidence_waits_for_a_stated_time() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        attester = Attester(ours, timeout_seconds=0.05)
        async with asyncio.timeout(2):
            with pytest.raises(UpstreamError, match=r"did not attest within 0\.05 s"):
                await attester.attest(bytes(64))
        attester.close()


def test_dstack_613_long_certificates_trust_no_key_for_long(platform: SimulatedPlatform) -> None:
    policy = policy_of(simulated_policy(platform, manifests=(MANIFEST,)))
    core = core_of(policy)
    bundle = serialize_bundle(Bundle(core, simulated_evidence(platform, MANIFEST, birth_report_data(core), MADE)))
    assert verify_bundle(bundle, policy, NOW, {}).expires_at - NOW <= policy.slots.period_seconds
    with pytest.raises(VerificationError, match="is valid from"):  # and nobody is believed beyond it
        verify_bundle(bundle, policy, NOW + 400 * 86_400, {})


def test_dstack_615_what_the_host_configures_is_a_closed_list_of_places() -> None:
    daemon = {"listen", "admin", "log_text", "insecure_plaintext", "tls", "timeouts"}
    assert set(Launch.__struct_fields__) - daemon == {
        "model",
        "language_model",
        "summariser",
        "manifest",
        "attestation",
    }
    plain = {"model": "m", "manifest": "m", "attestation": {"format": "sev-snp"}}
    msgspec.convert(plain, Launch)
    for name in ("replay_limit", "policy", "model_threads", "lock_memory"):
        with pytest.raises(msgspec.ValidationError, match="unknown field"):
            msgspec.convert({**plain, name: 1}, Launch)


@pytest.mark.parametrize(
    "switch",
    [
        {"simulated": {"roots": []}},
        {"debug": True},
        {"no_tee": True},
        {"quote_enabled": False},
        {"sev-snp": {"minimum_tcb": {}, "debug": "allow"}},
        {"tdx": {"debug": "allow"}},
        {"nitro": {"debug": True}},
    ],
)
def test_dstack_608_609_614_a_policy_has_no_switch_for_development(switch: dict[str, object]) -> None:
    plain = msgspec.to_builtins(production())
    assert convert_policy_document(plain) == production()
    with pytest.raises(ConfigError):
        convert_policy_document({**plain, **switch})
    for table in (SnpTable, TdxTable, NitroTable, TpmTable, NvidiaTable, SimulatedTable):
        assert not {"debug", "insecure", "skip", "disabled"} & set(table.__struct_fields__)


async def test_tng_93_keys_travel_sealed_and_those_that_devices_still_hold_come_along(
    platform: SimulatedPlatform,
) -> None:
    holder, newcomer = await born(worker_on(platform)), worker_on(platform)
    request = await newcomer.joiner.request(holder.member.nonce(NOW), NOW)
    message = holder.member.admit(request, NOW)
    secrets = [key.private_key.private_bytes() for epoch in holder.keyring.epochs() for key in epoch.keys]
    assert len(secrets) == 6
    assert not any(secret in part for secret in secrets for part in (request, message))
    assert len(parse_join_keys(message).bundles) == 3
    assert newcomer.joiner.accept(message, NOW) == (EPOCH - 1, EPOCH, EPOCH + 1)
    old = holder.keyring.epochs()[0].keys[0]  # of the slot before, which a device may still use
    data, _ = encapsulate_request(old.config, b"asked in the slot before")
    assert decapsulate(data, newcomer.keyring.keys(NOW)).message == b"asked in the slot before"


async def test_tng_93_a_device_with_a_key_that_is_gone_fetches_once_and_asks_again(tmp_path: Path) -> None:
    pool = Relay(create_simulated_platform(tmp_path / "platform", T0))
    unknown = Response(422, "application/problem+json", msgspec.json.encode({"type": OHTTP_KEY}))
    pool.outer = unknown
    async with asking(pool) as client:
        with pytest.raises(UpstreamError, match="twice"):
            await client.summarize(MESSAGES)
        assert (pool.gets, len(pool.posts)) == (2, 2)  # so that no storm comes of it
        pool.outer = None
        assert await client.summarize(MESSAGES) == ANSWER
