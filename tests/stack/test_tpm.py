"""The whole system on TPM evidence, each worker on a machine with a TPM of its own: serve, rotate, join, refuse.

The TPMs are swtpm, enrolled by the real command. Nothing here is proof of anything: whoever has the machine has them.
"""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from deploy.party import Party, StackError, module
from inference.join import parse_join_request
from seclude.attestation.accept import SnpTable, SnpTcb
from seclude.attestation.bundle import join_report_data, parse_bundle, parse_bundles
from seclude.attestation.evidence import TPM, UnverifiedEvidence, bound_by, parse_evidence, serialize_evidence
from seclude.attestation.judge import verify_evidence
from seclude.attestation.launchlog import LaunchLog, Run, parse_log, replay
from seclude.attestation.policy import Demonstration, Production
from seclude.attestation.tpm import parse_body
from seclude.attestation.verify import verify_bundle
from seclude.client.sdk import Client
from seclude.client.trust import SlotTable, Trust
from seclude.errors import BusyError, ConfigError, VerificationError
from seclude.ohttp.media import GATEWAY_PATH, KEY_BUNDLES
from seclude.pool import OCTETS, Birth, Message, Status, parse_status, serialize_birth
from seclude.tasks import Message as ChatMessage
from tests.ledgers import LedgerHere
from tests.stack.conftest import Answer, ask
from tests.stack.load import Load, send_at, summarize
from tests.stack.pool import free_ports
from tests.stack.tpmstack import CHANGED, GENUINE, ORIGIN, Fleet, Machine, free_keys, make_fleet, read_launch_pcr
from tests.swtpm import require_swtpm

pytestmark = pytest.mark.timeout(120)  # the first test waits for the TPMs to be made, too

PERIOD = 4
PATIENCE = 30.0  # a slow machine loads a model for longer than an epoch
REPORT_DATA = bytes(range(64))
CHAT = (ChatMessage(sender="Ana", text="Who brings the ladder on Saturday?"), ChatMessage(sender="Ben", text="I do."))


@pytest.fixture(scope="module")
def made(model: Path) -> Iterator[Fleet]:
    """The machines, switched off, in a folder whose path is short enough for a socket."""
    require_swtpm()
    first, second = free_ports(2)
    with tempfile.TemporaryDirectory(prefix="tpm-") as name:
        yield make_fleet(Path(name), model, (first, second), PERIOD)


@pytest.fixture
async def fleet(made: Fleet) -> AsyncIterator[Fleet]:
    """Both machines after they booted."""
    for machine in made.machines:
        machine.boot()
    yield made
    for machine in made.machines:
        await machine.stop()
        machine.tpm.stop()


async def launch(fleet: Fleet, number: int, software: str = GENUINE) -> Machine:
    machine = fleet.machines[number]
    await machine.launch(fleet.checkouts[software], software)
    return machine


@asynccontextmanager
async def path_to(fleet: Fleet, folder: Path, *workers: Machine) -> AsyncIterator[tuple[str, str]]:
    """Run a gateway before these workers and a relay; the block gets the URLs of both."""
    command = module("gateway", "--t0", str(fleet.slots.t0), "--period", str(PERIOD))
    command += [word for each in workers for word in ("--worker", f"http://{each.listen}")]
    gateway = Party("gateway", [*command, *(["--single"] if len(workers) == 1 else [])], folder / "gateway.log")
    relay: Party | None = None
    try:
        await gateway.start()
        url = f"http://{gateway.listen}{GATEWAY_PATH}"
        relay = Party("relay", module("relay", "--gateway", url), folder / "relay.log")
        await relay.start()
        yield f"http://{relay.listen}{GATEWAY_PATH}", url
    finally:
        for party in (relay, gateway):
            if party is not None:
                await party.stop()


def device(fleet: Fleet, relay: str) -> Trust:
    """What a device pins: the genuine software, on these two machines."""
    document = Demonstration(manifests=(fleet.manifests[GENUINE],), tpm=fleet.table)
    slots = SlotTable(t0=fleet.slots.t0, period_seconds=PERIOD)
    return Trust(origin=ORIGIN, relays=(relay,), slots=slots, policy_document=document)


async def verified(client: Client) -> list[int]:
    """Verify the pool as soon as there is one; return the numbers of the steps."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return [step.number for step in (await client.verify()).steps]
        except BusyError:
            assert time.monotonic() < deadline, "the gateway published no keys"
            await asyncio.sleep(0.1)


async def said(machine: Machine, message: Message, body: bytes = b"", kind: str = OCTETS) -> Answer:
    """Say something to a worker that only its gateway says."""
    method = "GET" if message is Message.STATUS else "POST"
    fields = {"content-type": kind} if body else {}
    return await asyncio.to_thread(ask, f"http://{machine.listen}{message}", method, fields=fields, body=body)


async def held_by(machine: Machine) -> dict[int, str]:
    """Return the core that a worker says it holds for each epoch."""
    status: Status = parse_status((await said(machine, Message.STATUS)).body)
    return {each.epoch: each.core for each in status.epochs}


async def published(gateway: str) -> dict[int, bytes]:
    """Return the bundles that the gateway offers, by epoch."""
    answer = await asyncio.to_thread(ask, gateway, fields={"accept": KEY_BUNDLES})
    return parse_bundles(answer.body) if answer.status == 200 else {}


def launches_in(bundle: bytes) -> LaunchLog:
    """Return the launches that the evidence of a bundle tells."""
    (item,) = parse_evidence(parse_bundle(bundle).evidence)
    assert item.format == TPM
    return parse_log(parse_body(item.body).launches)


async def first_with(gateway: str, log: LaunchLog) -> bytes:
    """Return the first bundle that is published whose evidence tells these launches."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for bundle in (await published(gateway)).values():
            if launches_in(bundle) == log:
                return bundle
        await asyncio.sleep(0.2)
    raise AssertionError("no such bundle was published")


def once(fleet: Fleet, times: int = 1, software: str = GENUINE) -> LaunchLog:
    """Return the log of a machine that launched one software so many times."""
    return LaunchLog((Run(bytes.fromhex(fleet.manifests[software]), times),))


async def test_a_pool_serves_rotates_and_joins_on_tpm_evidence(fleet: Fleet, tmp_path: Path) -> None:
    first, second = fleet.machines
    assert read_launch_pcr(first) == bytes(32)
    await asyncio.gather(launch(fleet, 0), launch(fleet, 1))
    async with path_to(fleet, tmp_path, first, second) as (relay, gateway), Client(device(fleet, relay)) as client:
        assert await verified(client) == list(range(1, 13))
        answer = await client.summarize(CHAT)
        assert answer.messages == 2

        load = Load("summaries", fleet.slots)
        await send_at(3, 2.2 * PERIOD, lambda n: load.take(summarize(client, n, streamed=bool(n % 2))))
        assert (load.failed, load.lost) == ([], 0)
        assert len(load.epochs) >= 3
        now = fleet.slots.epoch_at(time.time())
        assert (await held_by(first))[now] == (await held_by(second))[now]

        assert once(fleet) in [launches_in(bundle) for bundle in (await published(gateway)).values()]
        await first.stop()
        assert read_launch_pcr(first) == replay(once(fleet))
        for number in range(4):
            await summarize(client, number, streamed=False)

        await launch(fleet, 0)
        bundle = await first_with(gateway, once(fleet, 2))
        policy = device(fleet, relay).policy()
        assert len(verify_bundle(bundle, policy, time.time(), {}, neighbours=True).steps) == 12
        assert (await held_by(first)).items() & (await held_by(second)).items()
    for machine, times in ((first, 2), (second, 1)):
        await machine.stop()
        assert machine.log == once(fleet, times)
        assert read_launch_pcr(machine) == replay(machine.log)


class Wire:
    """A wire between a device and its relay, that remembers what the device sent."""

    def __init__(self, relay: str) -> None:
        self._host, _, port = relay.split("/")[2].rpartition(":")
        self._port = int(port)
        self.sent = b""

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_connection(self._host, self._port)

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, up: bool) -> None:
            while data := await source.read(65_536):
                self.sent += data if up else b""
                sink.write(data)
            sink.close()

        await asyncio.gather(pump(reader, to_writer, up=True), pump(to_reader, writer, up=False))


async def join(member: Machine, joiner: Machine, fleet: Fleet) -> tuple[int, bytes]:
    """Carry the messages of a join as a gateway does; return the status of the member's answer, and the request."""
    birth = serialize_birth(Birth(fleet.slots.epoch_at(time.time())))
    assert (await said(member, Message.BIRTH, birth)).status == 200, "it has keys to share"
    nonce = await said(member, Message.NONCE)
    request = await said(joiner, Message.JOIN, nonce.body)
    assert (nonce.status, request.status) == (200, 200)
    return (await said(member, Message.ADMIT, request.body)).status, request.body


def refused_at(request: bytes, fleet: Fleet, manifest: str) -> int | None:
    """Return the step at which a member refuses the evidence of a join request that binds some manifest."""
    parsed, policy = parse_join_request(request), device(fleet, "http://127.0.0.1/").policy()
    bound = join_report_data(parsed.nonce, parsed.one_time_key, policy.role, policy.origin, bytes.fromhex(manifest))
    with pytest.raises(VerificationError) as caught:
        verify_evidence(parsed.evidence, policy, bound, time.time())
    return caught.value.step


def evidence_of(machine: Machine, launching: str | None = None) -> bytes:
    """Return what the machine states while no worker runs, after one more launch where a manifest is named."""
    from inference.producers.tpm import TpmProducer

    free_keys(machine.tpm.tcti)
    producer = TpmProducer(machine.tpm.tcti, machine.chain, machine.launches)
    try:
        if launching is not None:
            producer.record_launch(bytes.fromhex(launching))
        body = producer.attest(bound_by(TPM, REPORT_DATA))
    finally:
        producer.close()
    return serialize_evidence(UnverifiedEvidence(TPM, body))


async def test_software_that_was_changed_is_refused_by_everybody_until_its_machine_boots_again(
    fleet: Fleet, tmp_path: Path
) -> None:
    member, machine = await asyncio.gather(launch(fleet, 0), launch(fleet, 1, CHANGED))
    async with path_to(fleet, tmp_path, machine) as (relay, gateway):
        wire = Wire(relay)
        async with await asyncio.start_server(wire.carry, "127.0.0.1", 0) as server:
            host, port = server.sockets[0].getsockname()
            there = relay.replace(relay.split("/")[2], f"{host}:{port}")
            bundle = await first_with(gateway, once(fleet, software=CHANGED))
            assert await first_with(relay, once(fleet, software=CHANGED)), "the relay has its copy"
            assert replay(launches_in(bundle)) != replay(once(fleet))
            async with Client(device(fleet, there)) as client:
                with pytest.raises(VerificationError, match=f"measurement {fleet.manifests[CHANGED]} is not") as caught:
                    await client.summarize(CHAT)
            assert caught.value.step == 8
            assert wire.sent.startswith(b"GET ")
            assert (wire.sent.count(b"POST"), wire.sent.partition(b"\r\n\r\n")[2]) == (0, b"")
    status, request = await join(member, machine, fleet)
    assert status == 422
    assert refused_at(request, fleet, fleet.manifests[GENUINE]) == 6, "it binds what it is"
    assert refused_at(request, fleet, fleet.manifests[CHANGED]) == 8, "and that is not accepted"
    await machine.stop()
    assert read_launch_pcr(machine) == replay(once(fleet, software=CHANGED))

    with pytest.raises(StackError, match=r"other worker would believe this machine: step 5: .*: the machine launched"):
        await launch(fleet, 1)
    policy = device(fleet, "http://127.0.0.1/").policy()
    with pytest.raises(VerificationError, match=f"launched manifest {fleet.manifests[GENUINE]} after") as caught:
        verify_evidence(evidence_of(machine), policy, REPORT_DATA, time.time())
    assert caught.value.step == 5

    machine.tpm.stop()
    machine.boot()
    await launch(fleet, 1)
    assert machine.log == once(fleet)
    assert (await join(member, machine, fleet))[0] == 200


async def test_software_that_is_not_its_manifests_leaves_no_trace_in_the_tpm(fleet: Fleet) -> None:
    machine = fleet.machines[0]
    with pytest.raises(StackError, match="hold the software of the manifest: changed: app/inference/pace"):
        await machine.launch(fleet.checkouts[CHANGED], GENUINE)
    assert not machine.launches.exists()
    assert read_launch_pcr(machine) == bytes(32)


async def test_a_production_policy_cannot_accept_a_tpm_alone(fleet: Fleet) -> None:
    trust, manifests = device(fleet, "http://127.0.0.1/"), (fleet.manifests[GENUINE],)
    evidence = evidence_of(fleet.machines[0], fleet.manifests[GENUINE])
    verify_evidence(evidence, trust.policy(), REPORT_DATA, time.time())
    alone = msgspec.structs.replace(trust, policy_document=Production(manifests=manifests, tpm=fleet.table))
    with pytest.raises(ConfigError, match="TPM evidence alone is not enough: a TPM encrypts no memory"):
        alone.policy()
    hardware = SnpTable(
        products=("genoa",), minimum_tcb={"genoa": SnpTcb(snp=1)}, measurements=("00" * 48,), chips=("00" * 64,)
    )
    ledger = LedgerHere().table(maturity_seconds=86_400)
    both = Production(manifests=manifests, sev_snp=hardware, tpm=fleet.table, ledger=ledger)
    policy = msgspec.structs.replace(trust, policy_document=both).policy()
    with pytest.raises(VerificationError, match='evidence of format "tpm" is not accepted') as caught:
        verify_evidence(evidence, policy, REPORT_DATA, time.time())
    assert caught.value.step == 2
