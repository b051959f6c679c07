"""The `seclude` command where keys are compared."""

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from inference.answer import event
from seclude import bhttp
from seclude.client.main import main
from seclude.client.trust import render_trust
from seclude.daemon.messages import Response
from seclude.tasks import Highlight, Sentence, SummarizeRequest, SummarizeResponse, decode, encode
from tests.client.serving import NOW, Relay, trusting
from tests.running import ROOT

CHAT = ROOT / "deploy" / "demo" / "chat.txt"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this person's files stand."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    return tmp_path / "home"


async def run(tmp_path: Path, relays: list[Relay], *arguments: str, gateway: Relay | None = None) -> tuple[int, str]:
    """Run the command with a trust file of these relays; return its exit status and the first URL."""
    async with AsyncExitStack() as stack:
        urls = [await stack.enter_async_context(relay.up()) for relay in relays]
        direct = None if gateway is None else await stack.enter_async_context(gateway.up())
        file = tmp_path / "trust.toml"
        file.write_text(render_trust(trusting(relays[0].platform, *urls, gateway=direct)))
        return await asyncio.to_thread(main, ["--trust", str(file), *arguments]), urls[0]


Captured = pytest.CaptureFixture[str]


async def test_verify_says_which_sources_agreed(relay: Relay, tmp_path: Path, capsys: Captured) -> None:
    down = relay.twin()
    down.offered = Response(404)
    relays = [relay, down]
    status, url = await run(tmp_path, relays, "verify", "--check-consistency", gateway=relay.twin())
    printed = capsys.readouterr()
    assert status == 0
    before, _, after = printed.out.partition("The same keys came from\n")
    assert before.count("\n") == 2 + 12 * 2, "the trust file, and twelve steps"
    first, second, last = after.splitlines()
    assert first.strip() == url
    assert second.strip().startswith("http://127.0.0.1:")
    assert last.startswith("Trusted: all 12 steps hold.")
    assert printed.err.startswith("seclude: note: not compared with http://127.0.0.1:")
    assert "the relay gave no key bundles (status 404)" in printed.err


async def test_json_says_it_too(relay: Relay, tmp_path: Path, capsys: Captured) -> None:
    status, url = await run(tmp_path, [relay], "verify", "--check-consistency", "--json", gateway=relay.twin())
    answer = json.loads(capsys.readouterr().out)
    assert status == 0
    assert answer["sources"]["agreed"][0] == url
    assert (len(answer["sources"]["agreed"]), answer["sources"]["failed"]) == (2, [])
    await run(tmp_path, [relay], "verify", "--json")
    assert "sources" not in json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("arguments", [["verify"], ["rewrite", "hello"], ["summarize", str(CHAT)]])
async def test_two_keys_are_refused_and_kept(
    relay: Relay, tmp_path: Path, home: Path, capsys: Captured, arguments: list[str]
) -> None:
    liar = Relay(relay.platform)
    status, _ = await run(tmp_path, [relay, liar], *arguments, "--check-consistency")
    complaint = capsys.readouterr().err
    (evidence,) = (home / ".local" / "state" / "seclude").iterdir()
    assert evidence.name.startswith(f"inconsistent-keys-{NOW}-")
    assert status == 1
    assert 'refused, nothing was sent: step 11 ("no other core for this epoch"): epoch 2 has two cores' in complaint
    assert f"the evidence is in {evidence}; keep this message and its evidence" in complaint
    assert relay.posts + liar.posts == []


@pytest.mark.parametrize("named", [True, False])
async def test_the_evidence_goes_where_it_is_wanted(
    relay: Relay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    wanted = ["--evidence", str(tmp_path / "here.json")] if named else []
    status, _ = await run(tmp_path, [relay, Relay(relay.platform)], "verify", "--check-consistency", *wanted)
    assert status == 1
    assert (tmp_path / "here.json").exists() is named
    assert (tmp_path / "state" / "seclude").exists() is not named


SAID = "Ana brings the grill on Friday."
HIGHLIGHT = Highlight(0, "Ana", None, "I bring the grill on friday", ("promise",))
ABSTRACT = SummarizeResponse(
    "abstract", "", (HIGHLIGHT,), 9, 9, 9, "small", abstract=SAID, abstract_model="large", note="part of it"
)


async def test_an_abstract_is_shown_above_the_highlights_as_a_models(
    relay: Relay, tmp_path: Path, capsys: Captured
) -> None:
    relay.inner = lambda _: bhttp.Response(200, (), encode(ABSTRACT))
    assert (await run(tmp_path, [relay], "summarize", str(CHAT)))[0] == 0
    printed = capsys.readouterr().out
    assert printed.startswith("Written by a model (large): ")
    assert "it can still be wrong" in printed
    assert printed.index(SAID) < printed.index("1 highlight of 9 messages") < printed.index("(part of it)")
    assert (await run(tmp_path, [relay], "summarize", str(CHAT), "--json", "--no-abstract"))[0] == 0
    assert json.loads(capsys.readouterr().out)["abstract"] == SAID
    assert [decode(SummarizeRequest, asked.content).abstract for asked in relay.inners] == [True, False]


@pytest.mark.parametrize("in_json", [True, False])
async def test_a_streamed_abstract_is_shown_by_the_sentence(
    relay: Relay, tmp_path: Path, capsys: Captured, in_json: bool
) -> None:
    parts = (("highlight", HIGHLIGHT), ("abstract", Sentence(SAID)), ("summary", ABSTRACT))
    relay.events = tuple(event(name, encode(value)) for name, value in parts)
    assert (await run(tmp_path, [relay], "summarize", str(CHAT), "--stream", *(["--json"] * in_json)))[0] == 0
    lines = capsys.readouterr().out.splitlines()
    if in_json:
        assert [json.loads(line)["event"] for line in lines] == ["highlight", "abstract", "summary"]
        assert json.loads(lines[1])["text"] == SAID
    else:
        assert lines[1] == f"  [model] {SAID}"
        assert lines[3].startswith("[model] written by a model (large): ")


async def test_a_single_source_is_a_trust_file_to_change(relay: Relay, tmp_path: Path, capsys: Captured) -> None:
    status, _ = await run(tmp_path, [relay], "verify", "--check-consistency")
    assert status == 2
    assert "name a second relay in `relays`, or the `gateway`, in the trust file" in capsys.readouterr().err
    assert relay.gets == 0
