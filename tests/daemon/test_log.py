"""The log says only what stands in its tables."""

import io
import json
import subprocess
import sys

import pytest

from seclude.daemon.log import EVENTS, Log
from seclude.errors import UsageError


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def make(**options: object) -> tuple[Log, io.StringIO]:
    stream = io.StringIO()
    return Log("test", stream=stream, **options), stream  # type: ignore[arg-type]


def test_an_event_is_one_json_line() -> None:
    log, stream = make()
    log.event("ready", listen="127.0.0.1:1", admin="unix:/run/x")
    (line,) = lines(stream)
    assert line.pop("ts")
    expected = {"level": "info", "role": "test", "event": "ready", "listen": "127.0.0.1:1", "admin": "unix:/run/x"}
    assert line == expected


def test_text_has_the_same_content() -> None:
    log, stream = make(text=True)
    log.event("drained", complete=True, inflight=3)
    assert stream.getvalue().endswith(" info test drained complete=True inflight=3\n")


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("made_up", {}),
        ("ready", {"client": "192.0.2.1"}),
        ("stopping", {"signal": "free text"}),
        ("stopping", {"signal": "192.0.2.1"}),
        ("handler_failed", {"error": "a sentence"}),
        ("handler_failed", {"error": "x\n{}"}),
        ("library", {"level": "secret"}),
    ],
)
def test_what_stands_in_no_table_cannot_be_said(name: str, fields: dict[str, str]) -> None:
    log, stream = make()
    with pytest.raises(UsageError) as caught:
        log.event(name, **fields)
    assert stream.getvalue() == ""
    assert not any(value in str(caught.value) for value in fields.values())


def test_a_party_adds_events_and_words() -> None:
    log, stream = make(events={"birth": frozenset({"epoch", "result"})}, words=frozenset({"made"}))
    log.event("birth", epoch=7, result="made")
    assert lines(stream)[0]["result"] == "made"
    with pytest.raises(UsageError):
        log.event("birth", epoch=7, result="lost")
    assert "birth" not in EVENTS


def test_a_failure_is_logged_by_class_and_a_group_by_its_first_leaf() -> None:
    log, stream = make()
    log.failure("crashed", ExceptionGroup("secret", [ExceptionGroup("x", [ValueError("secret")])]))
    assert lines(stream)[0]["error"] == "ValueError"
    assert "secret" not in stream.getvalue()


def test_a_closed_stream_does_not_stop_the_daemon() -> None:
    log, stream = make()
    stream.close()
    log.event("ready")


PROGRAM = """
import asyncio, logging, sys, threading, warnings
from seclude.daemon.log import Log
log = Log("test"); log.install()
logging.getLogger("aiohttp.server").error("Error handling request from 192.0.2.1", exc_info=ValueError("secret"))
logging.getLogger("odd name 192.0.2.1").critical("192.0.2.1")
logging.getLogger("aiohttp.access").info("192.0.2.1 secret")
warnings.warn("secret 192.0.2.1")
def fail(): raise KeyError("secret")
thread = threading.Thread(target=fail); thread.start(); thread.join()
async def main():
    log.watch(asyncio.get_running_loop())
    task = asyncio.create_task(asyncio.sleep(0, asyncio.get_running_loop().call_soon(fail)))
    await task
asyncio.run(main())
class Odd:
    def __del__(self): fail()
Odd()
raise RuntimeError("secret 192.0.2.1")
"""


def test_foreign_records_warnings_and_uncaught_exceptions_lose_their_messages() -> None:
    result = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=30, check=False)
    logged = [json.loads(line) for line in result.stderr.splitlines()]
    assert "secret" not in result.stderr
    assert "192.0.2.1" not in result.stderr
    shown = [(line["event"], line.get("logger"), line.get("error")) for line in logged]
    assert shown == [
        ("library", "aiohttp.server", "ValueError"),
        ("library", "other", None),
        ("library", "py.warnings", None),
        ("task_failed", None, "KeyError"),
        ("task_failed", None, "KeyError"),
        ("task_failed", None, "KeyError"),
        ("crashed", None, "RuntimeError"),
    ]
    assert result.returncode == 1
