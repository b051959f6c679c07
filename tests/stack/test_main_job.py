"""The main job as a person and an app do it: the `seclude` command and the SDK, through all parties."""

import json
import random
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import msgspec
import pytest

from inference.engine.highlights import MOST_WORDS
from seclude.client.sdk import Client
from seclude.client.sync import SyncClient
from seclude.client.trust import Trust, load_trust, render_trust
from seclude.errors import TaskError, UpstreamError
from seclude.tasks import MAX_MESSAGES, Message
from tests.running import ROOT, Running

CHAT = ROOT / "deploy" / "demo" / "chat.txt"
DRAFT = "hey, cant make it tmrw, just wanted to say that i am kind of ill!!"
MESSAGES = (
    Message(sender="Ana", text="Can somebody bring the ladder on Saturday?"),
    Message(sender="Ben", text="I'll bring it at 9, we decided to start early."),
)
WORDS = ("meet", "ladder", "dinner", "bring", "money", "train", "ticket", "party", "house", "garden", "we", "can", "at")

Done = subprocess.CompletedProcess[str]


def said(done: Done) -> str:
    """Return what the command printed, which went well and complained of nothing but by notes."""
    assert done.returncode == 0, done.stderr
    assert all(line.startswith("seclude: note: ") for line in done.stderr.splitlines()), done.stderr
    return done.stdout


def refused(done: Done, status: int) -> str:
    """Return the one sentence in which the command says why it did nothing."""
    assert (done.returncode, done.stdout) == (status, ""), done.stderr
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("seclude: note: ")]
    assert line.startswith("seclude: ")
    return line


def write(path: Path, lines: list[str]) -> str:
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def android(texts: list[str], sender: str = "Ana") -> list[str]:
    return [f"25/03/2026, 09:{number:02d} - {sender}: {text}" for number, text in enumerate(texts)]


class TestSummarize:
    def test_a_chat_gives_highlights_with_who_and_when(self, stack: Running) -> None:
        lines = said(stack.seclude("summarize", str(CHAT), "--unread", "40")).splitlines()
        assert lines[0].endswith("highlights of 40 messages")
        assert "Sat 14 Jun" in lines
        assert any("roofer" in line and "240 euros" in line for line in lines)

    def test_json_holds_every_documented_field(self, stack: Running) -> None:
        answer = json.loads(said(stack.seclude("summarize", str(CHAT), "--max", "3", "--json")))
        assert (answer["kind"], answer["model"]) == ("highlights", "all-minilm-l6-v2")
        assert answer["messages"] == answer["file"]["messages"] == 68
        assert len(answer["highlights"]) == 3
        indexes = [highlight["index"] for highlight in answer["highlights"]]
        assert indexes == sorted(indexes)
        assert set(answer["highlights"][0]) == {"index", "sender", "time", "text", "reasons"}
        chat = " ".join(CHAT.read_text().split())
        assert all(" ".join(highlight["text"].split()) in chat for highlight in answer["highlights"])

    def test_since_leaves_out_what_was_read(self, stack: Running) -> None:
        answer = json.loads(said(stack.seclude("summarize", str(CHAT), "--since", "2025-06-14T09:40", "--json")))
        assert 0 < answer["messages"] < 68
        assert min(highlight["time"] for highlight in answer["highlights"]) >= "2025-06-14T09:40"

    def test_nothing_new_is_said_without_asking_anybody(self, stack: Running) -> None:
        said_so = "Nothing to summarise: no message is newer than asked for.\n"
        assert said(stack.seclude("summarize", str(CHAT), "--since", "2030-01-01")) == said_so

    def test_a_zip_and_standard_input_are_the_same_chat(self, stack: Running, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "chat.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(CHAT, "WhatsApp Chat with Linden Row.txt")
        plain = said(stack.seclude("summarize", str(CHAT), "--max", "4"))
        assert said(stack.seclude("summarize", str(tmp_path / "chat.zip"), "--max", "4")) == plain
        assert said(stack.seclude("summarize", "-", "--max", "4", stdin=CHAT.read_bytes())) == plain

    def test_one_message_is_its_own_highlight(self, stack: Running, tmp_path: Path) -> None:
        chat = write(tmp_path / "chat.txt", android(["Dinner at 8 on Friday?"]))
        assert said(stack.seclude("summarize", chat)).startswith("1 highlight of 1 message\n")

    def test_a_chat_without_messages_is_no_error(self, stack: Running) -> None:
        assert "no messages" in said(stack.seclude("summarize", "-", stdin=b"[]"))
        answer = json.loads(said(stack.seclude("summarize", "-", "--json", stdin=b"[]")))
        assert (answer["highlights"], answer["note"]) == ([], "the chat has no messages")

    @pytest.mark.parametrize(
        ("texts", "kept"),
        [
            (["Cumartesi günü buluşuyoruz", "Kim merdiven getirebilir?", "Toplantı saat 14:30'a alındı"], "14:30"),
            (["हम शनिवार को मिलेंगे", "क्या कोई सीढ़ी ला सकता है?", "500 रुपये देने हैं"], "500 रुपये"),
        ],
        ids=["Turkish", "Hindi"],
    )
    def test_the_languages_whose_cues_are_known_are_answered_like_english(
        self, stack: Running, tmp_path: Path, texts: list[str], kept: str
    ) -> None:
        printed = said(stack.seclude("summarize", write(tmp_path / "chat.txt", android(texts, "Ayşe"))))
        assert kept in printed
        assert "Ayşe" in printed
        assert "language not known" not in printed

    def test_an_unknown_language_is_answered_and_said_to_be_one(self, stack: Running, tmp_path: Path) -> None:
        texts = ["Tavataan lauantaina kirjaston edessä", "Kuka tuo tikkaat?", "Kokous siirtyi, alkaa 14.30"]
        printed = said(stack.seclude("summarize", write(tmp_path / "chat.txt", android(texts, "Aino"))))
        assert "14.30" in printed
        assert "language not known" in printed

    def test_emoji_alone_give_nothing_to_highlight(self, stack: Running, tmp_path: Path) -> None:
        printed = said(stack.seclude("summarize", write(tmp_path / "chat.txt", android(["🎉", "😂😂", "❤️", "👍🏽"]))))
        assert printed.startswith("0 highlights of 4 messages\n")
        assert "(nothing to highlight)" in printed

    def test_ten_thousand_messages_are_answered(self, stack: Running, tmp_path: Path) -> None:
        dice = random.Random(1)
        messages = [
            {"sender": f"P{number % 7}", "text": f"{' '.join(dice.choices(WORDS, k=7))} {number}"}
            for number in range(MAX_MESSAGES)
        ]
        (tmp_path / "chat.json").write_text(json.dumps(messages))
        began = time.monotonic()
        answer = json.loads(said(stack.seclude("summarize", str(tmp_path / "chat.json"), "--json")))
        assert time.monotonic() - began < 30
        assert (answer["messages"], answer["file"]["left_out"]) == (MAX_MESSAGES, 0)
        assert 0 < sum(len(highlight["text"].split()) for highlight in answer["highlights"]) <= MOST_WORDS

    def test_a_long_export_is_cut_to_its_newest_part_and_says_so(self, stack: Running, tmp_path: Path) -> None:
        dice = random.Random(2)
        lines = [
            f"{number // 2500 + 1:02d}/03/2026, 09:{number // 50 % 50:02d} - P{number % 9}: "
            f"{' '.join(dice.choices(WORDS, k=10))} {number}"
            for number in range(70_000)
        ]
        chat = write(tmp_path / "chat.txt", lines)
        assert Path(chat).stat().st_size > 5_000_000
        done = stack.seclude("summarize", chat, "--max", "3", "--json")
        answer = json.loads(said(done))
        file = answer["file"]
        assert file["messages"] == 70_000
        assert file["left_out"] == 70_000 - answer["messages"] > 0
        assert f"its {file['left_out']} oldest messages are left out" in done.stderr
        assert all(int(highlight["text"].split()[-1]) >= 60_000 for highlight in answer["highlights"])

    @pytest.mark.parametrize(
        ("content", "sentence"),
        [
            (b"", "the file is empty"),
            (b" \n\n", "the file is empty"),
            (b"# A page\n\nThat is no chat.\n", "this is no chat that can be read here"),
            (b"\x7fELF\x02\x01\xff\xfe\x00", "this is not a text in UTF-8"),
            (b"PK\x03\x04 broken", "the archive cannot be read"),
            (b'{"messages": [{"sender": "Ana"}]}', "this JSON is no chat"),
            (b'[{"sender": "Ana", "text": 7}]', "this JSON is no chat"),
            (b'[{"sender": ' + b"[" * 100_000, "this JSON is no chat"),
        ],
        ids=["nothing", "blank", "a page", "a program", "broken zip", "no text", "a number", "deep"],
    )
    def test_a_file_that_is_no_chat_is_one_sentence(self, stack: Running, content: bytes, sentence: str) -> None:
        line = refused(stack.seclude("summarize", "-", stdin=content), 2)
        assert line.startswith(f"seclude: {sentence}")
        assert "give" in line or "unpack" in line, "it says what to do"

    def test_a_file_that_cannot_be_read_is_one_sentence(self, stack: Running, tmp_path: Path) -> None:
        missing = str(tmp_path / "missing.txt")
        sentence = f"seclude: cannot read {missing}: No such file or directory"
        assert refused(stack.seclude("summarize", missing), 2) == sentence
        assert refused(stack.seclude("summarize", str(tmp_path)), 2).endswith(": Is a directory")


class TestRewrite:
    @pytest.mark.parametrize(
        ("tone", "expected"),
        [
            ("proofread", "can't make it tomorrow"),
            ("shorter", "can't make it tmrw"),
            ("professional", "cannot make it tomorrow"),
        ],
    )
    def test_what_rules_can_do_is_done_and_called_a_suggestion(self, stack: Running, tone: str, expected: str) -> None:
        head, text = said(stack.seclude("rewrite", "--tone", tone, DRAFT)).split("\n", 1)
        assert head == "Suggestion:"
        assert tone == "shorter" or expected in text
        assert tone != "shorter" or len(text) < len(DRAFT)

    @pytest.mark.parametrize("tone", ["rephrase", "supportive", "funny"])
    def test_what_they_cannot_do_is_refused_in_clear_words(self, stack: Running, tone: str) -> None:
        line = refused(stack.seclude("rewrite", "--tone", tone, DRAFT), 1)
        assert line == f"seclude: {tone} needs a language model, and this worker has none"

    def test_json_says_what_was_changed(self, stack: Running) -> None:
        answer = json.loads(said(stack.seclude("rewrite", "--json", stdin=b"i cant come tmrw")))
        assert (answer["kind"], answer["tone"], answer["changed"]) == ("suggestion", "proofread", True)
        assert {"rule", "before", "after"} == set(answer["changes"][0])

    def test_a_refusal_is_json_too_where_that_was_asked_for(self, stack: Running) -> None:
        done = stack.seclude("rewrite", "--json", "--tone", "funny", DRAFT)
        assert done.returncode == 1
        assert json.loads(done.stdout) == {
            "error": "not-done",
            "message": "funny needs a language model, and this worker has none",
        }

    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            (" \n", "there is no text to rewrite"),
            ("a" * 10_001, "the text has 10001 characters; the most is 10000"),
            ("caf\udce9", "the text is not UTF-8"),
        ],
        ids=["blank", "too long", "Latin-1"],
    )
    def test_a_text_that_cannot_be_rewritten_is_one_sentence(self, stack: Running, text: str, sentence: str) -> None:
        assert refused(stack.seclude("rewrite", text), 2).startswith(f"seclude: {sentence}")


def manifest_of(stack: Running) -> str:
    return str(json.loads((stack.state / "worker.manifest").read_text())["digest"])


class TestVerify:
    def test_it_prints_each_step_and_what_it_found(self, stack: Running) -> None:
        first, _, *lines = said(stack.seclude("verify")).splitlines()
        assert first == f"trust file: {stack.trust}"
        assert [int(line.split()[0]) for line in lines[:-1:2]] == list(range(1, 19))
        assert lines[-1].startswith("Trusted: all 18 steps hold.")
        assert "SIMULATED" in lines[-1]

    def test_json_holds_the_same(self, stack: Running) -> None:
        answer = json.loads(said(stack.seclude("verify", "--json")))
        trust = load_trust(stack.trust)
        assert answer["trusted"] is True
        assert (answer["origin"], answer["epoch"]) == (trust.origin, 0)
        assert trust.policy_document.manifests == (), "what may run stands in the state log"
        assert answer["measurement"] == manifest_of(stack)
        assert answer["formats"] == ["simulated"]
        assert [step["number"] for step in answer["steps"]] == list(range(1, 19))
        assert all(step["title"] and step["found"] for step in answer["steps"])


@pytest.fixture
def trust(stack: Running) -> Trust:
    return load_trust(stack.trust)


@pytest.fixture
def closed() -> Iterator[str]:
    """An address on which nobody listens, and nobody else can for as long as the test runs."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{holder.getsockname()[1]}"


class TestTrust:
    @pytest.mark.parametrize(
        ("line", "instead", "sentence"),
        [
            ("origin", "origin =", "trust file is not TOML"),
            ("origin", "", "trust file: Object missing required field `origin`"),
            ("origin", 'origin = "a"\ncolour = 7', "trust file: Object contains unknown field `colour`"),
            ("relays", 'relays = ["http://192.0.2.1/"]', "trust file: relays must be https"),
            ("relays", 'relays = ["https://[::1"]', "trust file: relays must be https"),
            ("period_seconds", "period_seconds = 99999999", "period_seconds is not between"),
            ("roots", 'roots = ["é"]\nx = [', "policy: Invalid base64 encoded string"),
            ("publishers", "publishers = []", "policy: Expected `array` of length >= 1"),
            ("purpose", 'purpose = "production"', "policy: a production policy cannot accept SIMULATED evidence"),
        ],
    )
    def test_a_broken_one_is_one_sentence(
        self, stack: Running, tmp_path: Path, line: str, instead: str, sentence: str
    ) -> None:
        text = stack.trust.read_text()
        start = text.index(f"{line} =")
        listed = line in ("relays", "roots", "publishers")
        end = text.index("]", start) + 1 if listed else text.index("\n", start)
        broken = tmp_path / "trust.toml"
        broken.write_text(text[:start] + instead.partition("\nx")[0] + text[end:])
        assert refused(stack.seclude("verify", "--trust", str(broken)), 2).startswith(f"seclude: {sentence}")

    def test_a_missing_one_is_one_sentence_that_says_what_to_do(self, stack: Running, tmp_path: Path) -> None:
        line = refused(stack.seclude("summarize", str(CHAT), "--trust", str(tmp_path / "none.toml")), 2)
        assert line.endswith("No such file or directory; name one with --trust FILE")

    def test_a_relay_that_is_down_is_one_sentence(
        self, stack: Running, trust: Trust, tmp_path: Path, closed: str
    ) -> None:
        elsewhere = tmp_path / "trust.toml"
        elsewhere.write_text(render_trust(msgspec.structs.replace(trust, relays=(f"http://{closed}/",))))
        for arguments in (["verify"], ["summarize", str(CHAT)], ["rewrite", DRAFT]):
            line = refused(stack.seclude(*arguments, "--trust", str(elsewhere)), 1)
            assert line == "seclude: the relay cannot be reached; check the network and `relays` in the trust file"


class TestSDK:
    async def test_an_app_gets_values(self, trust: Trust) -> None:
        async with Client(trust) as client:
            summary = await client.summarize(MESSAGES, max_highlights=2)
            suggestion = await client.rewrite("i cant come", "proofread")
            with pytest.raises(TaskError) as refusal:
                await client.rewrite(DRAFT, "funny")
        assert [highlight.index for highlight in summary.highlights] == [0, 1]
        assert summary.highlights[1].text == MESSAGES[1].text
        assert suggestion.text == "I can't come"
        assert refusal.value.status == 501

    async def test_a_request_that_the_schema_forbids_is_refused_by_path(self, trust: Trust) -> None:
        async with Client(trust) as client:
            with pytest.raises(TaskError, match=r"\$\.messages\[1\]\.sender") as refusal:
                await client.summarize([*MESSAGES[:1], Message(sender="", text="x")])
        assert refusal.value.status == 400

    async def test_a_request_that_is_too_large_stays_on_the_device(self, trust: Trust, closed: str) -> None:
        nowhere = msgspec.structs.replace(trust, relays=(f"http://{closed}/",))
        async with Client(nowhere) as client:
            with pytest.raises(TaskError, match="send less") as refusal:
                await client.summarize([Message(sender="Ana", text="x" * 10_000)] * 200)
            assert refusal.value.status == 413
            with pytest.raises(UpstreamError):
                await client.summarize(MESSAGES)

    def test_a_program_without_a_loop_gets_the_same(self, trust: Trust) -> None:
        with SyncClient(trust) as client:
            assert client.verify().core.origin == trust.origin
            assert client.summarize(MESSAGES).highlights[0].sender == "Ana"
            with pytest.raises(TaskError, match="language model"):
                client.rewrite(DRAFT, "supportive")
        client.close()  # a second time does nothing

    def test_threads_may_share_one_client(self, trust: Trust) -> None:
        texts: list[str] = []
        with SyncClient(trust) as client:
            threads = [
                threading.Thread(target=lambda: texts.append(client.rewrite("i cant come", "proofread").text))
                for _ in range(8)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert texts == 8 * ["I can't come"]


SCRIPTS = {script.name: script for script in distribution("seclude").entry_points if script.group == "console_scripts"}
COMMANDS = [[name] for name in sorted(SCRIPTS)] + [
    ["seclude", "summarize"],
    ["seclude", "rewrite"],
    ["seclude", "verify"],
    ["seclude-model", "install"],
    ["seclude-model", "list"],
    ["seclude-model", "check"],
    ["seclude-model", "import"],
    ["seclude-model", "convert"],
    ["seclude-model", "inspect"],
    ["seclude-model", "bench"],
]


class TestHelp:
    """These commands end before they do anything, so what the installed scripts call is called here."""

    @pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
    def test_every_command_has_help_with_an_example(self, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as end:
            SCRIPTS[words[0]].load()([*words[1:], "--help"])
        printed = capsys.readouterr()
        assert (end.value.code, printed.err) == (0, "")
        assert printed.out.startswith(f"usage: {' '.join(words)} ")
        assert "example" in printed.out

    def test_the_stack_has_help_with_an_example(self) -> None:
        done = subprocess.run([sys.executable, "deploy/local.py", "--help"], cwd=ROOT, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        assert "example" in done.stdout

    @pytest.mark.parametrize(
        "words",
        [
            ["seclude"],
            ["seclude", "frob"],
            ["seclude", "verify", "--frob"],
            ["seclude", "summarize"],
            ["seclude", "summarize", "x", "--unread", "0"],
            ["seclude", "summarize", "x", "--max", "51"],
            ["seclude", "summarize", "x", "--since", "yesterday"],
            ["seclude", "summarize", "x", "--since", "0001-01-01T00:00+14:00"],
            ["seclude", "rewrite", "--tone", "mean", "x"],
            ["seclude-relay", "--frob"],
            ["seclude-gateway", "--t0", "x"],
            ["seclude-worker", "frob"],
            ["seclude-model", "frob"],
        ],
        ids=" ".join,
    )
    def test_wrong_usage_is_2_with_a_sentence(self, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as end:
            SCRIPTS[words[0]].load()(words[1:])
        printed = capsys.readouterr()
        assert (end.value.code, printed.out) == (2, "")
        assert printed.err.startswith(f"usage: {words[0]}")
        assert printed.err.splitlines()[-1].startswith(words[0])
        assert "error: " in printed.err.splitlines()[-1]


class TestTerminal:
    def test_a_full_disk_is_one_sentence(self, stack: Running) -> None:
        for words in (["verify"], ["summarize", str(CHAT)]):
            with open("/dev/full", "w") as full:
                arguments = [sys.executable, "-m", "seclude.client", "--trust", str(stack.trust), *words]
                done = subprocess.run(arguments, stdout=full, stderr=subprocess.PIPE, text=True)
            assert done.returncode == 1
            complaint = done.stderr.splitlines()[-1]
            assert complaint == "seclude: the answer cannot be written: No space left on device"

    def test_a_terminal_that_lacks_letters_gets_escapes(self, stack: Running, tmp_path: Path) -> None:
        chat = write(tmp_path / "chat.txt", android(["Toplantı saat 14:30'a alındı"], "Ayşe"))
        script = str(Path(sys.executable).parent / "seclude")  # as it is installed
        arguments = [script, "summarize", chat, "--trust", str(stack.trust)]
        done = subprocess.run(arguments, env={"PYTHONIOENCODING": "ascii"}, capture_output=True, text=True)
        assert "Ay\\u015fe: Toplant\\u0131" in said(done)
