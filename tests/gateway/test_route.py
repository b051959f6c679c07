"""What the handler answers, and how often a worker sees a request."""

import asyncio
from collections import Counter

import msgspec
import pytest

import gateway.link
import gateway.route
from gateway.pool import State
from seclude.attestation.bundle import parse_bundle, parse_bundles, parse_core
from seclude.daemon.messages import Response
from seclude.daemon.passage import MAX_STREAM_BYTES
from seclude.errors import OHTTP_KEY
from seclude.ohttp.media import GATEWAY_PATH, KEY_BUNDLE, KEY_BUNDLES, OHTTP_KEYS, OHTTP_RES, PROBLEM
from tests.gateway.conftest import (
    ANSWER,
    PERIOD,
    Build,
    House,
    encapsulated,
    eventually,
    get,
    handle,
    http,
    post,
)

NOW = 1000


async def ask(house: House, body: bytes) -> Response:
    """Return the answer of the gateway."""
    return await handle(house.gateway, post(body))


def seen(house: House) -> list[int]:
    """Return how many requests each worker received."""
    return [len(fake.paths("/ohttp")) for fake in house.fakes]


@pytest.fixture
async def pair(build: Build) -> House:
    house = await build(2)
    await house.settle()
    return house


@pytest.fixture
async def trio(build: Build) -> House:
    house = await build(3)
    await house.settle()
    return house


async def test_a_request_and_its_answer_pass_unchanged(pair: House) -> None:
    body = encapsulated(NOW)
    response = await ask(pair, body)
    assert response == Response(200, OHTTP_RES, ANSWER)
    received = [request for fake in pair.fakes for request in fake.paths("/ohttp")]
    assert [request.body for request in received] == [body]
    fields = {line.split(b":")[0].lower() for line in received[0].head.split(b"\r\n")[1:-2]}
    assert fields == {b"host", b"content-type", b"content-length"}
    assert pair.retries == 0


async def test_requests_spread_over_the_pool(build: Build) -> None:
    house = await build(4)
    await house.settle()
    for fake in house.fakes:
        fake.delay = 0.01
    answers = await asyncio.gather(*[ask(house, encapsulated(NOW)) for _ in range(100)])
    assert Counter(answer.status for answer in answers) == {200: 100}
    assert sum(seen(house)) == 100
    assert min(seen(house)) >= 15
    assert all(worker.inflight == 0 for worker in house.workers)


async def test_a_request_for_the_key_of_the_slot_before_is_routed(pair: House) -> None:
    pair.clock.now += PERIOD
    await pair.settle()
    assert (await ask(pair, encapsulated(NOW))).status == 200


async def test_an_unknown_key_is_answered_with_the_problem_type_and_reaches_no_worker(pair: House) -> None:
    response = await ask(pair, encapsulated(NOW + 5))
    assert (response.status, response.content_type) == (422, PROBLEM)
    assert msgspec.json.decode(response.body)["type"] == OHTTP_KEY
    assert seen(pair) == [0, 0]


@pytest.mark.parametrize("body", [b"", encapsulated(NOW)[:6]])
async def test_a_request_without_a_whole_header_is_refused(pair: House, body: bytes) -> None:
    assert (await ask(pair, body)).status == 400
    assert seen(pair) == [0, 0]


@pytest.mark.parametrize(
    "content_type", [None, "", "message/ohttp-res", "message/ohttp-chunked-res", "x-message/ohttp-req", "text/plain"]
)
async def test_any_other_media_type_is_refused(pair: House, content_type: str | None) -> None:
    assert (await handle(pair.gateway, post(encapsulated(NOW), content_type=content_type))).status == 415


@pytest.mark.parametrize("path", ["/", "/ohttp", "/pool/status", GATEWAY_PATH + "/"])
async def test_no_other_path_is_served(pair: House, path: str) -> None:
    assert (await handle(pair.gateway, post(b"x", path=path))).status == 404


async def test_other_methods_are_refused(pair: House) -> None:
    response = await handle(pair.gateway, get(method="PUT"))
    assert (response.status, response.fields) == (405, (("Allow", "GET, POST"),))


# Retries.


@pytest.mark.parametrize("behaviour", ["close", "503", "422"])
async def test_what_was_surely_not_answered_goes_to_another_worker(trio: House, behaviour: str) -> None:
    for fake in trio.fakes[:2]:
        fake.behaviour = behaviour
    for _ in range(20):
        before = seen(trio)
        await trio.look()
        assert (await ask(trio, encapsulated(NOW))).status == 200
        assert all(now - then <= 1 for now, then in zip(seen(trio), before, strict=True))
    assert trio.retries == seen(trio)[0] + seen(trio)[1] > 0


async def test_a_worker_that_cannot_be_reached_is_passed_over(trio: House) -> None:
    for fake in trio.fakes[:2]:
        await fake.stop()
    for _ in range(5):
        assert (await ask(trio, encapsulated(NOW))).status == 200
    assert trio.pool.count(State.READY) >= 1


async def test_after_the_first_octet_of_an_answer_nobody_else_is_asked(trio: House) -> None:
    for fake in trio.fakes:
        fake.behaviour = "close_after_octet"
    for _ in range(5):
        await trio.look()
        before = sum(seen(trio))
        assert (await ask(trio, encapsulated(NOW))).status == 502
        assert sum(seen(trio)) == before + 1
    assert trio.retries == 0


async def test_a_worker_that_is_silent_may_be_at_work_so_nobody_else_is_asked(build: Build) -> None:
    house = await build(3, deadline=0.3)
    await house.settle()
    for fake in house.fakes:
        fake.behaviour = "hang"
    assert (await ask(house, encapsulated(NOW))).status == 504
    assert sum(seen(house)) == 1
    await eventually(lambda: sum(fake.gone for fake in house.fakes) == 1, 1.0)
    assert all(worker.inflight == 0 for worker in house.workers)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Poll so often that a worker that hangs is noticed in half a second."""
    monkeypatch.setattr(gateway.link, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(gateway.link, "STATUS_TIMEOUT_SECONDS", 0.2)


async def asked_first(house: House, behaviour: str) -> tuple[asyncio.Task[Response], int]:
    """Ask, and return the place of the worker that has the request and now hangs as a stopped process does."""
    for fake in house.fakes:
        fake.behaviour = behaviour
    asking = asyncio.create_task(ask(house, encapsulated(NOW)))
    await eventually(lambda: sum(seen(house)) == 1, 2.0)
    first = seen(house).index(1)
    house.fakes[first].hang.add("/pool/status")
    for fake in house.fakes:
        if fake.index != first:
            fake.behaviour = "answer"
    return asking, first


@pytest.mark.usefixtures("impatient")
async def test_what_a_worker_has_that_hangs_goes_to_another_one(build: Build) -> None:
    house = await build(2, deadline=30.0)
    await house.settle()
    house.run()
    asking, first = await asked_first(house, "hang")
    async with asyncio.timeout(10):  # of the thirty seconds that an answer may take
        assert await asking == Response(200, OHTTP_RES, ANSWER)
    assert seen(house) == [1, 1]
    assert house.workers[first].state is State.DOWN
    assert house.retries == 1
    await eventually(lambda: house.fakes[first].gone >= 1, 2.0)
    assert all(worker.inflight == 0 for worker in house.workers)


@pytest.mark.usefixtures("impatient")
async def test_what_a_worker_has_begun_to_answer_is_not_given_up(build: Build) -> None:
    house = await build(2, deadline=1.5)
    await house.settle()
    house.run()
    asking, first = await asked_first(house, "hang_after_octet")
    await eventually(lambda: house.workers[first].missed >= 2, 5.0)
    assert (await asking).status == 504
    assert sum(seen(house)) == 1


@pytest.mark.usefixtures("impatient")
async def test_when_the_only_worker_hangs_the_answer_is_a_timeout(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway.route, "PATIENCE_SECONDS", 0.1)
    house = await build(1, single=True, deadline=30.0)
    await house.settle()
    house.run()
    asking, _ = await asked_first(house, "hang")
    async with asyncio.timeout(10):
        assert (await asking).status == 504


async def test_a_key_that_a_worker_lacks_is_not_asked_of_it_again(trio: House) -> None:
    for fake in trio.fakes[:2]:
        fake.behaviour = "422"
    for _ in range(20):
        assert (await ask(trio, encapsulated(NOW))).status == 200
    assert max(seen(trio)[:2]) == 1
    assert trio.pool.count(State.READY) == 3
    for fake in trio.fakes:
        fake.behaviour = "answer"
    await trio.look()
    for _ in range(50):
        await ask(trio, encapsulated(NOW))
    assert min(seen(trio)) > 1, "the next poll says what each of them holds"


@pytest.mark.parametrize(("other", "answer"), [("503", 503), ("close", 502)])
async def test_a_key_is_unknown_only_if_every_worker_says_so(trio: House, other: str, answer: int) -> None:
    for odd in range(3):
        for fake in trio.fakes:
            fake.behaviour = other if fake.index == odd else "422"
        await trio.look()
        assert (await ask(trio, encapsulated(NOW))).status == answer
    for fake in trio.fakes:
        fake.behaviour = "422"
    await trio.look()
    response = await ask(trio, encapsulated(NOW))
    assert (response.status, msgspec.json.decode(response.body)["type"]) == (422, OHTTP_KEY)


@pytest.mark.parametrize("status", ["500", "502"])
async def test_a_worker_that_fails_is_out_until_a_poll_finds_it_again(pair: House, status: str) -> None:
    pair.fakes[0].behaviour = status
    answers = Counter([(await ask(pair, encapsulated(NOW))).status for _ in range(30)])
    assert answers == {502: 1, 200: 29}
    assert pair.workers[0].state is State.DOWN
    await pair.look()
    assert pair.pool.count(State.READY) == 2


async def test_every_worker_is_asked_at_most_once(trio: House) -> None:
    for fake in trio.fakes:
        fake.behaviour = "503"
    response = await ask(trio, encapsulated(NOW))
    assert (response.status, response.fields) == (503, (("Retry-After", "1"),))
    assert seen(trio) == [1, 1, 1]


async def test_when_every_worker_broke_off_the_gateway_says_so(trio: House) -> None:
    for fake in trio.fakes:
        fake.behaviour = "close"
    assert (await ask(trio, encapsulated(NOW))).status == 502
    assert seen(trio) == [1, 1, 1]
    assert trio.pool.count(State.DOWN) == 3


async def test_one_deadline_holds_for_all_attempts(build: Build) -> None:
    house = await build(3, deadline=0.5)
    await house.settle()
    for fake in house.fakes:
        fake.behaviour, fake.delay = "503", 0.3
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert (await ask(house, encapsulated(NOW))).status == 504
    assert loop.time() - began < 0.9
    assert sum(seen(house)) == 2


async def test_a_worker_that_broke_off_is_out_until_a_poll_finds_it_again(pair: House) -> None:
    pair.fakes[0].behaviour = "close"
    while pair.workers[0].state is State.READY:
        assert (await ask(pair, encapsulated(NOW))).status == 200
    first = seen(pair)[0]
    for _ in range(10):
        await ask(pair, encapsulated(NOW))
    assert seen(pair)[0] == first
    pair.fakes[0].behaviour = "answer"
    await pair.look()
    assert pair.pool.count(State.READY) == 2


async def test_a_request_waits_a_little_for_a_worker(pair: House) -> None:
    for fake in pair.fakes:
        fake.ready = False
    await pair.look()
    asking = asyncio.create_task(ask(pair, encapsulated(NOW)))
    await asyncio.sleep(0.1)
    assert not asking.done()
    pair.fakes[1].ready = True
    await pair.look()
    assert (await asking).status == 200
    assert seen(pair) == [0, 1]


async def test_a_request_does_not_wait_for_long(pair: House, monkeypatch: pytest.MonkeyPatch) -> None:
    assert gateway.route.PATIENCE_SECONDS <= 2.0
    monkeypatch.setattr(gateway.route, "PATIENCE_SECONDS", 0.2)
    for fake in pair.fakes:
        fake.ready = False
    await pair.look()
    response = await ask(pair, encapsulated(NOW))
    assert (response.status, response.fields) == (503, (("Retry-After", "1"),))
    assert seen(pair) == [0, 0]


async def test_a_client_that_goes_away_takes_its_request_with_it(pair: House) -> None:
    for fake in pair.fakes:
        fake.behaviour = "hang"
    asking = asyncio.create_task(ask(pair, encapsulated(NOW)))
    await eventually(lambda: sum(seen(pair)) == 1, 1.0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await eventually(lambda: sum(fake.gone for fake in pair.fakes) == 1, 1.0)
    assert sum(seen(pair)) == 1
    assert all(worker.inflight == 0 for worker in pair.workers)


# Duplicates.


async def test_a_copy_of_what_was_answered_is_refused_and_reaches_no_worker(pair: House) -> None:
    body = encapsulated(NOW)
    assert (await ask(pair, body)).status == 200
    assert (await ask(pair, body)).status == 409
    assert (await ask(pair, body)).status == 409
    assert sum(seen(pair)) == 1


@pytest.mark.parametrize("behaviour", ["503", "422", "stopped", "unready"])
async def test_what_surely_no_worker_began_may_come_again(
    pair: House, behaviour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway.route, "PATIENCE_SECONDS", 0.1)
    body = encapsulated(NOW)
    for fake in pair.fakes:
        match behaviour:
            case "stopped":
                await fake.stop()
            case "unready":
                fake.ready = False
            case _:
                fake.behaviour = behaviour
    if behaviour == "unready":
        await pair.look()
    assert (await ask(pair, body)).status in (422, 502, 503)
    for fake in pair.fakes:
        if behaviour == "stopped":
            await fake.start()
        fake.ready, fake.behaviour = True, "answer"
    await pair.look()
    assert (await ask(pair, body)).status == 200


@pytest.mark.parametrize("behaviour", ["close", "hang", "500", "400"])
async def test_what_a_worker_may_have_begun_may_not(build: Build, behaviour: str) -> None:
    house = await build(2, deadline=0.5)
    await house.settle()
    body = encapsulated(NOW)
    for fake in house.fakes:
        fake.behaviour = behaviour
    assert (await ask(house, body)).status in (400, 502, 504)
    for fake in house.fakes:
        fake.behaviour = "answer"
    await house.look()
    assert (await ask(house, body)).status == 409


async def test_who_goes_away_before_a_worker_was_asked_may_come_again(pair: House) -> None:
    for fake in pair.fakes:
        fake.ready = False
    await pair.look()
    body = encapsulated(NOW)
    asking = asyncio.create_task(ask(pair, body))
    await asyncio.sleep(0.05)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    for fake in pair.fakes:
        fake.ready = True
    await pair.look()
    assert (await ask(pair, body)).status == 200


async def test_of_two_copies_at_once_one_is_answered(pair: House) -> None:
    for fake in pair.fakes:
        fake.delay = 0.1
    body = encapsulated(NOW)
    answers = await asyncio.gather(ask(pair, body), ask(pair, body))
    assert sorted(answer.status for answer in answers) == [200, 409]
    assert sum(seen(pair)) == 1


# What a worker may say.


@pytest.mark.parametrize(("status", "passed"), [(400, 400), (413, 413), (415, 415), (422, 422)])
async def test_a_workers_refusal_is_written_anew(pair: House, status: int, passed: int) -> None:
    for fake in pair.fakes:
        fake.behaviour = "raw"
        fake.raw = http(status, "application/problem+json", b'{"type":"https://evil.invalid/","title":"who am I"}')
    response = await ask(pair, encapsulated(NOW))
    assert (response.status, response.fields) == (passed, ())
    problem = msgspec.json.decode(response.body)
    assert problem["type"] == (OHTTP_KEY if status == 422 else "about:blank")
    assert b"evil" not in response.body
    assert b"who" not in response.body
    assert sum(seen(pair)) == (2 if status == 422 else 1)


@pytest.mark.parametrize("status", [100, 201, 204, 206, 301, 302, 401, 403, 404, 409, 418, 429, 500, 501, 502, 504])
async def test_every_other_status_becomes_502_and_is_not_tried_again(pair: House, status: int) -> None:
    for fake in pair.fakes:
        fake.behaviour = "raw"
        fake.raw = http(status, OHTTP_RES, ANSWER, "Location: http://127.0.0.1:1/")
        if status in (100, 204):
            fake.raw = f"HTTP/1.1 {status} X\r\nConnection: close\r\n\r\n".encode()
        if status == 100:
            fake.raw += http(500, "text/plain", b"")
    response = await ask(pair, encapsulated(NOW))
    assert (response.status, response.fields) == (502, ())
    assert sum(seen(pair)) == 1


@pytest.mark.parametrize("kind", ["", "text/html", "message/ohttp-req", "application/octet-stream"])
async def test_an_answer_of_another_type_does_not_pass(pair: House, kind: str) -> None:
    for fake in pair.fakes:
        fake.behaviour, fake.raw = "raw", http(200, kind, ANSWER)
    assert (await ask(pair, encapsulated(NOW))).status == 502


async def test_an_empty_answer_does_not_pass(pair: House) -> None:
    for fake in pair.fakes:
        fake.behaviour, fake.raw = "raw", http(200, OHTTP_RES, b"")
    assert (await ask(pair, encapsulated(NOW))).status == 502


async def test_fields_of_a_worker_do_not_pass(pair: House) -> None:
    fields = ("Set-Cookie: id=1", "X-Worker: 7", "Server: evil", "Location: /", "Retry-After: 1", "Via: 1.1 w")
    for fake in pair.fakes:
        fake.behaviour, fake.raw = "raw", http(200, OHTTP_RES + "; id=7", ANSWER, *fields)
    assert await ask(pair, encapsulated(NOW)) == Response(200, OHTTP_RES, ANSWER)


@pytest.mark.parametrize("declared", [True, False])
async def test_an_answer_that_is_too_large_or_has_no_certain_end_is_refused(pair: House, declared: bool) -> None:
    length = b"Length: %d" % (MAX_STREAM_BYTES + 1)
    huge = http(200, OHTTP_RES, b"x" * 1000).replace(b"Length: 1000", length)
    if not declared:
        huge = huge.replace(b"Content-" + length, b"Connection: close")
    for fake in pair.fakes:
        fake.behaviour, fake.raw = "raw", huge
    assert (await ask(pair, encapsulated(NOW))).status == 502
    assert sum(seen(pair)) == 1


@pytest.mark.parametrize("raw", [b"\0" * 100, b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 999999 X\r\n\r\n"])
async def test_what_is_no_http_is_not_tried_again(pair: House, raw: bytes) -> None:
    for fake in pair.fakes:
        fake.behaviour, fake.raw = "raw", raw + b"\r\n\r\n"
    assert (await ask(pair, encapsulated(NOW))).status == 502
    assert sum(seen(pair)) == 1


# Keys.


async def test_devices_get_the_bundles_and_others_the_keys_of_now(build: Build) -> None:
    house = await build(2, announce=PERIOD)
    await house.settle()
    for into, epochs in ((0, [NOW, NOW + 1, NOW + 2]), (200, [NOW + 1, NOW + 2])):
        house.clock.now = (NOW + 1) * PERIOD + into
        await house.settle()
        bundles = await handle(house.gateway, get(KEY_BUNDLES))
        keys = await handle(house.gateway, get(OHTTP_KEYS))
        assert (bundles.status, bundles.content_type) == (200, KEY_BUNDLES)
        assert (keys.status, keys.content_type) == (200, OHTTP_KEYS)
        assert parse_bundles(bundles.body) == {epoch: house.fakes[0].bundles[epoch] for epoch in epochs}
        assert keys.body == parse_core(parse_bundle(house.fakes[1].bundles[NOW + 1]).core).key_configs


async def test_one_bundle_alone_is_for_workers_to_give(pair: House) -> None:
    assert (await handle(pair.gateway, get(KEY_BUNDLE))).status == 406


async def test_without_keys_for_now_those_of_the_next_slot_are_not_given(build: Build) -> None:
    house = await build(2, announce=PERIOD)
    await house.settle()
    del house.reconciler._offers[NOW]
    assert house.reconciler.announced is not None
    assert (await handle(house.gateway, get(KEY_BUNDLES))).status == 503


@pytest.mark.parametrize("accept", [None, "*/*", "application/*", "text/html, application/ohttp-keys"])
async def test_the_key_list_is_the_default(pair: House, accept: str | None) -> None:
    assert (await handle(pair.gateway, get(accept))).content_type == OHTTP_KEYS


async def test_who_wants_neither_form_gets_none(pair: House) -> None:
    assert (await handle(pair.gateway, get("text/html"))).status == 406


@pytest.mark.parametrize(("into", "age"), [(100, 10), (PERIOD - 3.5, 3), (PERIOD - 0.5, 0), (PERIOD + 58.5, 1)])
async def test_caches_may_keep_the_keys_until_the_next_change(pair: House, into: float, age: int) -> None:
    pair.clock.now = NOW * PERIOD + into
    await pair.settle()
    fields = dict((await handle(pair.gateway, get())).fields)
    assert fields == {"Cache-Control": f"public, max-age={age}", "Vary": "Accept"}


async def test_while_nothing_is_published_there_are_no_keys(build: Build) -> None:
    house = await build(2)
    answers = []
    for _ in range(2):
        answers.append(await handle(house.gateway, get(KEY_BUNDLES)))
        await house.settle()
        assert (await handle(house.gateway, get(KEY_BUNDLES))).status == 200
        house.clock.now += PERIOD
    assert [(answer.status, answer.fields) for answer in answers] == [(503, (("Retry-After", "1"),))] * 2


async def test_a_request_that_is_too_long_to_be_kept_has_one_worker(trio: House) -> None:
    for fake in trio.fakes:
        fake.behaviour = "close"
    short = await ask(trio, encapsulated(NOW, gateway.route.MAX_KEPT - 7))
    assert (short.status, sum(seen(trio)), trio.retries) == (502, 3, 2)
    await trio.settle()
    long = await ask(trio, encapsulated(NOW, gateway.route.MAX_KEPT))
    assert (long.status, sum(seen(trio)), trio.retries) == (502, 4, 2)


async def test_a_request_in_chunks_names_its_media_type_to_the_worker(pair: House) -> None:
    for fake in pair.fakes:
        fake.raw = http(200, "message/ohttp-chunked-res", ANSWER)
        fake.behaviour = "raw"
    body = encapsulated(NOW)
    response = await handle(pair.gateway, post(body, content_type="message/ohttp-chunked-req"))
    assert (response.status, response.body) == (200, ANSWER)
    (received,) = [request for fake in pair.fakes for request in fake.paths("/ohttp")]
    fields = {line.split(b":")[0].lower(): line for line in received.head.split(b"\r\n")[1:-2]}
    assert fields.keys() == {b"host", b"content-type", b"content-length", b"incremental"}
    assert fields[b"content-type"].endswith(b": message/ohttp-chunked-req")
    assert (await ask(pair, body)).status == 409, "the same `enc` in another form is a copy all the same"
