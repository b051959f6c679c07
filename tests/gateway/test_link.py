"""How soon a worker is out of the pool and back in it."""

import asyncio
from pathlib import Path

import pytest

from gateway.link import MAX_CONTROL_BYTES, Link, RefusedError, poll
from gateway.pool import State
from seclude.daemon.outbound import ExchangeError
from seclude.errors import DecodeError, UpstreamError
from seclude.pool import Message
from tests.gateway.conftest import Build, Clock, FakeWorker, House, encapsulated, eventually, handle, post

PATIENCE = 2.0  # seconds in which the pool must have noticed


async def served(house: House) -> House:
    house.run()
    await eventually(lambda: house.pool.count(State.READY) == 2, PATIENCE)
    return house


@pytest.mark.parametrize("fault", ["unready", "stopped", "hanging", "failing", "talking nonsense"])
async def test_a_worker_leaves_the_pool_within_two_seconds_and_comes_back_by_itself(build: Build, fault: str) -> None:
    house = await served(await build(2))
    fake = house.fakes[0]
    match fault:
        case "unready":
            fake.ready = False
        case "stopped":
            await fake.stop()
        case "hanging":
            fake.hang.add("/pool/status")
        case "failing":
            fake.refuse["/pool/status"] = 500
        case _:
            fake.manifest = "nonsense"
    await eventually(lambda: house.pool.count(State.READY) == 1, PATIENCE)
    assert house.workers[0].state is (State.UNREADY if fault == "unready" else State.DOWN)
    assert (await handle(house.gateway, post(encapsulated(1000)))).status == 200
    assert fake.paths("/ohttp") == []
    if fault == "stopped":
        await fake.start()
    fake.ready, fake.manifest = True, house.fakes[1].manifest
    fake.hang.clear()
    fake.refuse.clear()
    await eventually(lambda: house.pool.count(State.READY) == 2, PATIENCE)


async def test_a_busy_worker_is_still_heard(build: Build) -> None:
    house = await served(await build(2))
    for fake in house.fakes:
        fake.delay = 1.0
    asking = [asyncio.create_task(handle(house.gateway, post(encapsulated(1000)))) for _ in range(150)]
    await asyncio.sleep(0.8)
    assert house.pool.count(State.READY) == 2
    assert {(await task).status for task in asking} == {200}


async def test_a_worker_on_a_unix_socket_is_reached(tmp_path: Path) -> None:
    fakes = [FakeWorker(index, socket=str(tmp_path / f"{index}.sock")) for index in range(2)]
    for fake in fakes:
        await fake.start()
    house = House(fakes, Clock(600_300.0))
    try:
        await house.settle()
        assert (await handle(house.gateway, post(encapsulated(1000)))).status == 200
    finally:
        await house.close()
        for fake in fakes:
            await fake.stop()


async def test_answers_about_keys_are_bounded(build: Build) -> None:
    house = await build(1, single=True)
    house.fakes[0].bundles[7] = b"x" * (MAX_CONTROL_BYTES + 1)
    with pytest.raises(ExchangeError):
        await house.links[0].birth(7)


async def test_a_status_comes_in_time_or_not_at_all(build: Build) -> None:
    house = await build(1, single=True)
    house.fakes[0].hang.add("/pool/status")
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(UpstreamError):
        await house.links[0].status()
    assert 0.9 < loop.time() - began < 1.5


async def test_a_status_that_does_not_parse_is_an_error(build: Build) -> None:
    house = await build(1, single=True)
    house.fakes[0].manifest = ""
    with pytest.raises(DecodeError):
        await house.links[0].status()


@pytest.mark.parametrize("nested", [b'{"x":' * 100_000, b'{"epochs":' + b"[" * 100_000])
async def test_a_status_nested_without_end_takes_only_its_worker_out(build: Build, nested: bytes) -> None:
    house = await served(await build(2))
    house.fakes[0].raw_status = nested
    await eventually(lambda: house.workers[0].state is State.DOWN, PATIENCE)
    assert (await handle(house.gateway, post(encapsulated(1000)))).status == 200


@pytest.mark.parametrize(("fault", "missed"), [("hanging", 2), ("stopped", 2), ("failing", 0), ("nonsense", 0)])
async def test_only_silence_is_missed(build: Build, fault: str, missed: int) -> None:
    house = await build(1, single=True)
    await house.settle()
    fake = house.fakes[0]
    match fault:
        case "hanging":
            fake.hang.add("/pool/status")
        case "stopped":
            await fake.stop()
        case "failing":
            fake.refuse["/pool/status"] = 503
        case _:
            fake.manifest = "nonsense"
    for _ in range(2):
        await poll(house.pool, house.workers[0], house.links[0])
    assert (house.workers[0].state, house.workers[0].missed) == (State.DOWN, missed)


async def test_a_refusal_names_the_message_and_the_status(build: Build) -> None:
    house = await build(1, single=True)
    house.fakes[0].refuse["/pool/nonce"] = 503
    with pytest.raises(RefusedError) as caught:
        await house.links[0].nonce()
    assert (caught.value.message, caught.value.status) == (Message.NONCE, 503)


async def test_nobody_listening_is_an_error() -> None:
    link = Link("http://127.0.0.1:1", 1.0)
    try:
        with pytest.raises(ExchangeError):
            await link.nonce()
    finally:
        await link.close()
