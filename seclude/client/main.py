"""The `seclude` command: ask about a chat, rewrite a text, or check who would read it.

Exit status 0 means done, 1 that it could not be done (the sentence on standard error says why), 2 that something
has to be changed first: the command, the trust file, or a file that is no chat.
"""

import argparse
import asyncio
import io
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import asdict
from datetime import datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Final, get_args

import msgspec

from seclude.attestation.steps import Step
from seclude.attestation.verify import TrustedPool
from seclude.client.advice import explain
from seclude.client.audit import fill_evidence, fill_policy
from seclude.client.chats import MAX_CHAT_BYTES, Chat, select
from seclude.client.consistency import FILE_NAME, Agreement
from seclude.client.fit import fit
from seclude.client.formats import parse_chat_file
from seclude.client.render import render_end, render_highlight, render_rewrite, render_step, render_summary
from seclude.client.sdk import Client
from seclude.client.trust import load_trust
from seclude.errors import BusyError, ConfigError, Error, TaskError, UpstreamError, VerificationError
from seclude.tasks import (
    HIGHLIGHT_EVENT,
    MAX_HIGHLIGHTS,
    MAX_TEXT,
    SUMMARY_EVENT,
    Highlight,
    SummarizeResponse,
    Tone,
)

TRUST_VARIABLE: Final = "SECLUDE_TRUST"
CONFIG_VARIABLE: Final = "XDG_CONFIG_HOME"  # where a person's own configuration stands (XDG base directories)
STATE_VARIABLE: Final = "XDG_STATE_HOME"  # where a program's own files stand that should outlast it
TRUST_PLACES: Final = f"default: ${TRUST_VARIABLE}, then ~/.config/seclude/trust.toml"


EXAMPLES: Final = """examples:
  seclude --trust run/trust.toml summarize chat.txt --unread 40
  seclude summarize chat.txt --since 2026-11-20 --json
  seclude summarize chat.txt --stream
  seclude rewrite --tone professional "hey, cant make it tmrw, sry"
  seclude verify --check-consistency
  seclude policy explain run/trust.toml
  seclude evidence show report.bin --chain vcek.der --chain ask_ark.pem --collateral crl.der
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    arguments = _parser().parse_args(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for a terminal that lacks the letters of a chat
    try:
        _run(arguments)
        if sys.stdout is not None:  # None where it was closed
            sys.stdout.flush()  # here and not at exit, where a failure is too late for a sentence
    except (Error, KeyboardInterrupt, OSError) as exc:
        return _fail(arguments, exc)
    return 0


def _run(arguments: argparse.Namespace) -> None:
    """Do what a verb that asks a pool does, or one that only reads files."""
    if hasattr(arguments, "act"):
        act: Callable[[argparse.Namespace], None] = arguments.act
        act(arguments)
        return
    run: Callable[[argparse.Namespace], Coroutine[None, None, None]] = arguments.run
    asyncio.run(run(arguments))


def _fail(arguments: argparse.Namespace, exc: BaseException) -> int:
    """Say in one sentence, or in JSON, why there is no answer."""
    if isinstance(exc, KeyboardInterrupt):
        return 130
    if isinstance(exc, OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains once more at exit
        if not isinstance(exc, BrokenPipeError):  # who closes a pipe has read enough
            print(f"seclude: the answer cannot be written: {exc.strerror}", file=sys.stderr)
        return 1
    message = str(exc).encode(errors="backslashreplace").decode()  # a path may be no text
    kind, sentence = "error", message
    if isinstance(exc, VerificationError):
        kind = "refused"
        sentence = f"refused: {exc}" if hasattr(arguments, "act") else " ".join(explain(exc).split())
    elif isinstance(exc, BusyError):
        kind = "busy"
    elif isinstance(exc, UpstreamError):
        kind = "unreachable"
    elif isinstance(exc, TaskError):
        kind = "not-done"
    if arguments.json:
        step = {"step": exc.step} if isinstance(exc, VerificationError) else {}
        print(msgspec.json.encode({"error": kind, "message": sentence, **step}).decode())
    print(f"seclude: {sentence}", file=sys.stderr)
    return 2 if isinstance(exc, ConfigError) else 1


async def _summarize(arguments: argparse.Namespace) -> None:
    trust = load_trust(_trust_file(arguments))
    chat = parse_chat_file(_read(arguments.file), date_order=arguments.date_order)
    for warning in chat.warnings:
        _note(warning)
    fitted = fit(select(chat, unread=arguments.unread, since=arguments.since))
    if fitted.left_out:
        _note(f"the chat is longer than one request may be: its {fitted.left_out} oldest messages are left out")
    if fitted.shortened:
        _note(f"messages that are longer than the limit and were cut: {fitted.shortened}")
    if any(skipped := asdict(chat.skipped).values()):
        _note("not counted as messages: {} notices, {} media, {} deleted".format(*skipped))
    if not fitted.messages:
        _print_empty(chat, arguments)
        return
    async with Client(trust, evidence=_evidence_file(arguments)) as client:
        if arguments.check_consistency:
            await _check_consistency(client)
        if arguments.stream:
            async with aclosing(client.summarize_stream(fitted.messages, max_highlights=arguments.max)) as answers:
                async for each in answers:
                    _print_event(each, arguments)
            return
        answer = await client.summarize(fitted.messages, max_highlights=arguments.max)
    if arguments.json:
        file = {
            "format": chat.format,
            "messages": len(chat.messages),
            "left_out": fitted.left_out,
            "skipped": asdict(chat.skipped),
            "ambiguous_dates": chat.ambiguous_dates,
        }
        print(msgspec.json.encode({**msgspec.to_builtins(answer), "file": file}).decode())
    else:
        print(render_summary(answer))


def _print_event(event: Highlight | SummarizeResponse, arguments: argparse.Namespace) -> None:
    """Print one piece of a streamed summary at once: a line of text, or of JSON with what it is."""
    if arguments.json:
        name = HIGHLIGHT_EVENT if isinstance(event, Highlight) else SUMMARY_EVENT
        print(msgspec.json.encode({"event": name, **msgspec.to_builtins(event)}).decode(), flush=True)
    else:
        print(render_highlight(event) if isinstance(event, Highlight) else render_end(event), flush=True)


def _print_empty(chat: Chat, arguments: argparse.Namespace) -> None:
    """Answer without asking anybody: there is nothing to summarise."""
    sentence = "the chat has no messages" if not chat.messages else "no message is newer than asked for"
    if arguments.json:
        print(msgspec.json.encode({"kind": "highlights", "text": "", "highlights": [], "note": sentence}).decode())
    else:
        print(f"Nothing to summarise: {sentence}.")


async def _rewrite(arguments: argparse.Namespace) -> None:
    trust = load_trust(_trust_file(arguments))
    given = arguments.text
    text = _decode(given.encode(errors="surrogateescape") if given is not None else _read(Path("-")))
    if not text.strip():
        raise ConfigError("there is no text to rewrite; give it as an argument or on standard input")
    if len(text) > MAX_TEXT:
        raise ConfigError(f"the text has {len(text)} characters; the most is {MAX_TEXT}: give a part of it")
    async with Client(trust, evidence=_evidence_file(arguments)) as client:
        if arguments.check_consistency:
            await _check_consistency(client)
        answer = await client.rewrite(text, arguments.tone)
    print(msgspec.json.encode(answer).decode() if arguments.json else render_rewrite(answer))


async def _verify(arguments: argparse.Namespace) -> None:
    file = _trust_file(arguments)
    trust = load_trust(file)
    steps: list[Step] = []

    def observe(step: Step) -> None:
        if not (steps or arguments.json):
            print(f"trust file: {file}\n")
        steps.append(step)
        if not arguments.json:
            print(render_step(step), flush=True)

    agreement: Agreement | None = None
    async with Client(trust, evidence=_evidence_file(arguments)) as client:
        if arguments.check_consistency:
            pool, agreement = await _check_consistency(client, observe)
        else:
            pool = await client.verify(observe=observe)
    if arguments.json:
        listed = [{"number": step.number, "title": step.title, "found": step.found} for step in steps]
        answer: dict[str, object] = {
            "trusted": True,
            "origin": pool.core.origin,
            "epoch": pool.epoch,
            "expires_at": pool.expires_at,
            "formats": pool.formats,
            "measurement": pool.measurement.hex(),
            "steps": listed,
        }
        if agreement is not None:
            failed = [{"url": url, "reason": reason} for url, reason in agreement.failed]
            answer["sources"] = {"agreed": agreement.agreed, "failed": failed}
        print(msgspec.json.encode(answer).decode())
    else:
        if agreement is not None:
            print("The same keys came from", *agreement.agreed, sep="\n      ")
        print(f"Trusted: all {len(steps)} steps hold.{_worth(pool)}")


def _worth(pool: TrustedPool) -> str:
    """Say what the evidence does not show, where it is of a kind that a production policy would not accept alone."""
    match pool.formats[0]:
        case "simulated":
            return " The attested hardware is SIMULATED and proves no machine."
        case "tpm":
            return " The evidence is of a TPM, which shows what was launched and encrypts no memory."
    return ""


async def _check_consistency(
    client: Client, observe: Callable[[Step], None] | None = None
) -> tuple[TrustedPool, Agreement]:
    """Compare the keys of all sources before anything is sent, and name those that gave none."""
    pool, agreement = await client.check_consistency(observe=observe)
    for url, reason in agreement.failed:
        _note(f"not compared with {url}: {reason}")
    return pool, agreement


def _evidence_file(arguments: argparse.Namespace) -> Path:
    if arguments.evidence is not None:
        return Path(arguments.evidence)
    return Path(os.environ.get(STATE_VARIABLE) or Path.home() / ".local" / "state") / "seclude" / FILE_NAME


def _trust_file(arguments: argparse.Namespace) -> Path:
    if arguments.trust is not None:
        return Path(arguments.trust)
    if named := os.environ.get(TRUST_VARIABLE):
        return Path(named)
    # Never a file of the folder that one happens to be in: whoever wrote that would decide whom this device trusts.
    return Path(os.environ.get(CONFIG_VARIABLE) or Path.home() / ".config") / "seclude" / "trust.toml"


def _read(path: Path) -> bytes:
    try:
        with open(0, "rb", closefd=False) if str(path) == "-" else path.open("rb") as file:
            data = file.read(MAX_CHAT_BYTES + 1)
    except OSError as exc:
        raise ConfigError(f"cannot read {path}: {exc.strerror}") from exc
    if len(data) > MAX_CHAT_BYTES:
        raise ConfigError(f"{path} is larger than {MAX_CHAT_BYTES >> 20} MiB; export a part of the chat")
    return data


def _decode(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ConfigError("the text is not UTF-8") from None


def _note(sentence: str) -> None:
    print(f"seclude: note: {sentence}", file=sys.stderr)


def _moment(text: str) -> datetime:
    """Return the local time that --since names."""
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone().replace(tzinfo=None) if moment.tzinfo else moment
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r} is no date; write 2026-11-20 or 2026-11-20T18:00") from None


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 1")
    return int(text)


def _highlights(text: str) -> int:
    if (count := _count(text)) > MAX_HIGHLIGHTS:
        raise argparse.ArgumentTypeError(f"the most is {MAX_HIGHLIGHTS}")
    return count


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="seclude",
        description="Ask an AI about private messages on servers that cannot read them. The pool is verified first.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"seclude {version('seclude')}")
    parser.add_argument("--trust", metavar="FILE", default=None, help=f"trust file ({TRUST_PLACES})")
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")
    add_verb = partial(verbs.add_parser, parents=[_shared()])
    _fill_summarize(
        add_verb("summarize", help="highlights of a chat", epilog="example: seclude summarize chat.txt --unread 40")
    )
    _fill_rewrite(
        add_verb(
            "rewrite",
            help="suggest another wording",
            epilog='example: seclude rewrite --tone proofread "i cant come"',
        )
    )
    add_verb(
        "verify", help="show each step of verifying the pool", epilog="example: seclude verify --json"
    ).set_defaults(run=_verify)
    alone = argparse.ArgumentParser(add_help=False)
    alone.add_argument("--json", action="store_true", help="answer in JSON on standard output")
    fill_policy(verbs.add_parser("policy", help="check a policy, or say it in words"), alone)
    fill_evidence(verbs.add_parser("evidence", help="verify a file of evidence"), alone)
    return parser


def _shared() -> argparse.ArgumentParser:
    """Return what every verb takes."""
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--json", action="store_true", help="answer in JSON on standard output")
    shared.add_argument(
        "--trust",
        metavar="FILE",
        default=argparse.SUPPRESS,
        help=f"trust file ({TRUST_PLACES})",
    )
    shared.add_argument(
        "--check-consistency",
        action="store_true",
        help="first fetch the keys from every relay, and from the gateway where the trust file names it, and compare "
        "them; the gateway then sees this device's address, though nothing of any request",
    )
    shared.add_argument(
        "--evidence",
        metavar="FILE",
        help="where to write who gave which keys, should two differ "
        f"(default: ${STATE_VARIABLE} or ~/.local/state, then seclude/{FILE_NAME})",
    )
    return shared


def _fill_summarize(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help="WhatsApp export (.txt, .zip), Telegram's result.json or JSON; - for standard input",
    )
    verb.add_argument("--unread", type=_count, metavar="N", help="only the last N messages")
    verb.add_argument("--since", type=_moment, metavar="TIME", help="only messages from this local time on")
    verb.add_argument(
        "--max",
        type=_highlights,
        metavar="N",
        help=f"at most N highlights, up to {MAX_HIGHLIGHTS} (default: a fifth and three more, at most 12)",
    )
    verb.add_argument(
        "--stream",
        action="store_true",
        help="print each highlight when it is chosen, the most telling first; with --json a line each",
    )
    verb.add_argument("--date-order", choices=("dmy", "mdy", "ymd"), help="how the file writes dates, if it is unclear")
    verb.set_defaults(run=_summarize)


def _fill_rewrite(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("text", nargs="?", metavar="TEXT", help="the text (default: standard input)")
    verb.add_argument("--tone", choices=get_args(Tone), default="proofread", help="default: proofread")
    verb.set_defaults(run=_rewrite)
