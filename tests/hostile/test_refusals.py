"""What a device, a gateway and a worker must refuse, tried against the running parties."""

import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from inference.producers.simulated import create_simulated_platform
from seclude import bhttp
from seclude.attestation.accept import SimulatedTable
from seclude.client.sdk import Client
from seclude.client.trust import Trust, load_trust, render_trust
from seclude.daemon.answering import answering
from seclude.daemon.messages import Request, Response
from seclude.daemon.server import Server
from seclude.daemon.upstream import Upstream
from seclude.errors import EvidenceError, PolicyError, UpstreamError
from seclude.ohttp.encapsulation import ResponseOpener, encapsulate_request
from seclude.ohttp.media import GATEWAY_PATH, OHTTP_REQ
from seclude.tasks import Message, SummarizeRequest, encode
from tests.running import Running

MESSAGES = (Message(sender="Ana", text="We decided to meet at 9 on Saturday."),)
QUESTION = bhttp.Request(
    b"POST",
    b"https",
    b"demo.seclude.invalid",
    b"/v1/summarize",
    (bhttp.Field(b"content-type", b"application/json"),),
    encode(SummarizeRequest(messages=MESSAGES)),
)


@pytest.fixture
def trust(stack: Running) -> Trust:
    return load_trust(stack.trust)


def pinning(trust: Trust, **changes: object) -> Trust:
    """Return a trust file whose policy differs."""
    return msgspec.structs.replace(trust, policy_document=msgspec.structs.replace(trust.policy_document, **changes))


async def ask(trust: Trust, now: float | None = None) -> None:
    async with Client(trust, clock=time.time if now is None else lambda: now) as client:
        await client.summarize(MESSAGES)


def opened_by_workers(stack: Running) -> float:
    """Return how many requests reached a worker at all, from the workers' own metrics."""
    total = 0.0
    for party in ("worker-0", "worker-1"):
        with urllib.request.urlopen(f"{stack.admin(party)}/metrics") as page:
            lines = page.read().decode().splitlines()
        total += sum(
            float(line.split()[-1]) for line in lines if line.startswith("seclude_worker_decapsulations_total")
        )
    return total


async def test_another_measurement_is_refused_at_step_8(stack: Running, trust: Trust) -> None:
    before = opened_by_workers(stack)
    with pytest.raises(PolicyError) as refusal:
        await ask(pinning(trust, manifests=("00" * 32,)))
    assert refusal.value.step == 8
    assert opened_by_workers(stack) == before


async def test_evidence_under_another_root_is_refused_at_step_3(trust: Trust, tmp_path: Path) -> None:
    root = create_simulated_platform(tmp_path / "platform", time.time()).root
    with pytest.raises(EvidenceError) as refusal:
        await ask(pinning(trust, simulated=SimulatedTable(roots=(root,))))
    assert refusal.value.step == 3


async def test_a_bundle_past_its_end_is_refused_at_step_10(trust: Trust) -> None:
    with pytest.raises(PolicyError, match="past its end") as refusal:
        await ask(trust, now=trust.slots.t0 + 2 * trust.slots.period_seconds + 1)
    assert refusal.value.step == 10


async def test_a_pool_with_other_slots_is_refused_at_step_9(trust: Trust) -> None:
    slots = msgspec.structs.replace(trust.slots, t0=trust.slots.t0 - 1)
    with pytest.raises(PolicyError) as refusal:
        await ask(msgspec.structs.replace(trust, slots=slots))
    assert refusal.value.step == 9


def test_the_command_names_the_step_and_sends_nothing(stack: Running, trust: Trust, tmp_path: Path) -> None:
    before = opened_by_workers(stack)
    other = tmp_path / "trust.toml"
    other.write_text(render_trust(pinning(trust, manifests=("00" * 32,))))
    done = stack.seclude("summarize", "deploy/demo/chat.txt", "--trust", str(other))
    assert done.returncode == 1
    assert "refused, nothing was sent: step 8" in done.stderr
    assert done.stdout == ""
    assert opened_by_workers(stack) == before


@asynccontextmanager
async def sealed(trust: Trust) -> AsyncIterator[tuple[bytes, ResponseOpener]]:
    """Yield one encapsulated request and the opener of its answer."""
    async with Client(trust) as client:
        pool = await client.verify()
    yield encapsulate_request(pool.key_configs[0], bhttp.serialize_request(QUESTION))


async def test_a_replay_through_the_relay_is_refused(trust: Trust) -> None:
    relay = Upstream(trust.relays[0].removesuffix(GATEWAY_PATH))
    async with sealed(trust) as (data, opener):
        first = await relay.exchange("POST", GATEWAY_PATH, content_type=OHTTP_REQ, body=data)
        again = [await relay.exchange("POST", GATEWAY_PATH, content_type=OHTTP_REQ, body=data) for _ in range(5)]
    await relay.close()
    assert bhttp.parse_response(opener.open(first.body)).status == 200
    assert [answer.status for answer in again] == 5 * [409]


async def test_a_replay_to_the_worker_itself_is_refused_inside(stack: Running, trust: Trust) -> None:
    workers = stack.facts["workers"]
    assert isinstance(workers, list)
    worker = Upstream(workers[0])
    statuses = []
    async with sealed(trust) as (data, opener):
        for _ in range(3):
            answer = await worker.exchange("POST", "/ohttp", content_type=OHTTP_REQ, body=data)
            assert answer.status == 200, "from the first octet that opened on, every answer is sealed"
            replica = ResponseOpener(opener._secret)  # type: ignore[arg-type] # each answer needs an opener of its own
            statuses.append(bhttp.parse_response(replica.open(answer.body)).status)
    await worker.close()
    assert statuses == [200, 409, 409]


@pytest.mark.parametrize("at", [0, 16, 40, -1])
async def test_an_answer_changed_on_its_way_is_never_shown(trust: Trust, at: int) -> None:
    honest = Upstream(trust.relays[0].removesuffix(GATEWAY_PATH))

    async def lie(request: Request) -> Response:
        body = await request.body.read()
        answer = await honest.exchange(
            request.method, GATEWAY_PATH, content_type=request.content_type, accept=request.accept, body=body
        )
        content = bytearray(answer.body)
        if request.method == "POST":
            content[at] ^= 1
        return Response(answer.status, answer.content_type, bytes(content))

    relay = Server(answering(lie))
    address = await relay.start("127.0.0.1:0")
    with pytest.raises(UpstreamError, match="nothing of it is shown"):
        await ask(msgspec.structs.replace(trust, relays=(f"http://{address}{GATEWAY_PATH}",)))
    await relay.drain(1.0)
    await honest.close()


@pytest.mark.parametrize("status", [301, 401, 404, 422, 500, 503])
async def test_a_plain_answer_carries_no_weight(trust: Trust, status: int) -> None:
    """Whatever stands outside the encapsulation, the device asks at most once more and shows nothing of it."""
    honest = Upstream(trust.relays[0].removesuffix(GATEWAY_PATH))
    asked = 0

    async def forge(request: Request) -> Response:
        nonlocal asked
        if request.method == "GET":
            answer = await honest.exchange("GET", GATEWAY_PATH, accept=request.accept)
            return Response(answer.status, answer.content_type, answer.body)
        await request.body.read()
        asked += 1
        problem = {"type": "https://iana.org/assignments/http-problem-types#ohttp-key", "title": "forged", "status": 1}
        return Response(status, "application/problem+json", msgspec.json.encode(problem), (("Location", "/elsewhere"),))

    relay = Server(answering(forge))
    address = await relay.start("127.0.0.1:0")
    with pytest.raises(UpstreamError, match=r"^(?!.*forged)"):
        await ask(msgspec.structs.replace(trust, relays=(f"http://{address}{GATEWAY_PATH}",)))
    assert asked == 2
    await relay.drain(1.0)
    await honest.close()
