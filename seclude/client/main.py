"""The `seclude` command: ask about a chat, rewrite a text, or check who would read it.

Exit status 0 means done, 1 that it could not be done (the sentence on standard error says why) or that a monitor found
something, 2 that something has to be changed first: the command, the trust file, or a file that is no chat.
"""

import argparse
import asyncio
import io
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Final

import msgspec

from seclude.attestation.steps import Step
from seclude.attestation.verify import TrustedPool
from seclude.client.advice import explain
from seclude.client.audit import fill_evidence, fill_policy
from seclude.client.chats import MAX_CHAT_BYTES, Chat, select
from seclude.client.consistency import FILE_NAME, Agreement
from seclude.client.fit import fit
from seclude.client.flags import (
    CONFIG_VARIABLE,
    PLACE,
    STATE_VARIABLE,
    TRUST_PLACES,
    TRUST_VARIABLE,
    asking_flags,
    common_flags,
    fill_rewrite,
    fill_summarize,
)
from seclude.client.formats import parse_chat_file
from seclude.client.hop import NotSentError
from seclude.client.monitor import EXAMPLE as MONITOR_EXAMPLE
from seclude.client.monitor import fill_monitor, run_monitor
from seclude.client.proxy.command import EXAMPLE as PROXY_EXAMPLE
from seclude.client.proxy.command import fill_proxy
from seclude.client.receipts import ReceiptFile, Use
from seclude.client.receiptshow import fill_receipt
from seclude.client.render import (
    render_end,
    render_highlight,
    render_rewrite,
    render_sentence,
    render_step,
    render_summary,
)
from seclude.client.sdk import Client, Told
from seclude.client.trees import FILE_NAME as TREES
from seclude.client.trust import Trust, load_trust, parse_trust, read_trust
from seclude.errors import BusyError, ConfigError, Error, TaskError, UpstreamError, VerificationError
from seclude.tasks import ABSTRACT_EVENT, HIGHLIGHT_EVENT, MAX_TEXT, SUMMARY_EVENT, Highlight, Sentence

EXAMPLES: Final = """examples:
  seclude --trust run/trust.toml summarize chat.txt --unread 40
  seclude summarize chat.txt --since 2026-11-20 --json
  seclude summarize chat.txt --stream
  seclude rewrite --tone professional "hey, cant make it tmrw, sry"
  seclude verify --check-consistency
  seclude monitor --ledger https://ledger.example --follow 60
  seclude summarize chat.txt --receipt asked.json && seclude receipt show asked.json
  seclude policy explain run/trust.toml
  seclude evidence show report.bin --chain vcek.der --chain ask_ark.pem --collateral crl.der
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    arguments = _parser().parse_args(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for a terminal that lacks the letters of a chat
    try:
        status = _run(arguments)
        if sys.stdout is not None:  # None where it was closed
            sys.stdout.flush()  # here and not at exit, where a failure is too late for a sentence
    except (Error, KeyboardInterrupt, OSError) as exc:
        return _fail(arguments, exc)
    return status


def _run(arguments: argparse.Namespace) -> int:
    """Do what a verb that asks a pool does, or one that checks what others published; return the exit status."""
    if hasattr(arguments, "act"):
        act: Callable[[argparse.Namespace], int | None] = arguments.act
        return act(arguments) or 0
    run: Callable[[argparse.Namespace], Coroutine[None, None, None]] = arguments.run
    asyncio.run(run(arguments))
    return 0


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
    trust, trust_text = _load_trust(arguments)
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
    wished = {"max_highlights": arguments.max, "abstract": arguments.abstract}
    async with _asking(arguments, trust, trust_text) as (client, used):
        if arguments.stream:
            stream = client.summarize_stream(fitted.messages, **wished, used=used)
            async with aclosing(stream) as answers:
                async for each in answers:
                    _print_event(each, arguments)
            return
        answer = await client.summarize(fitted.messages, **wished, used=used)
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


def _print_event(event: Told, arguments: argparse.Namespace) -> None:
    """Print one piece of a streamed summary at once: a line of text, or of JSON with what it is."""
    if isinstance(event, Highlight):
        name, line = HIGHLIGHT_EVENT, render_highlight(event)
    elif isinstance(event, Sentence):
        name, line = ABSTRACT_EVENT, render_sentence(event)
    else:
        name, line = SUMMARY_EVENT, render_end(event)
    if arguments.json:
        line = msgspec.json.encode({"event": name, **msgspec.to_builtins(event)}).decode()
    print(line, flush=True)


def _print_empty(chat: Chat, arguments: argparse.Namespace) -> None:
    """Answer without asking anybody: there is nothing to summarise."""
    sentence = "the chat has no messages" if not chat.messages else "no message is newer than asked for"
    if arguments.json:
        print(msgspec.json.encode({"kind": "highlights", "text": "", "highlights": [], "note": sentence}).decode())
    else:
        print(f"Nothing to summarise: {sentence}.")


async def _rewrite(arguments: argparse.Namespace) -> None:
    trust, trust_text = _load_trust(arguments)
    given = arguments.text
    text = _decode(given.encode(errors="surrogateescape") if given is not None else _read(Path("-")))
    if not text.strip():
        raise ConfigError("there is no text to rewrite; give it as an argument or on standard input")
    if len(text) > MAX_TEXT:
        raise ConfigError(f"the text has {len(text)} characters; the most is {MAX_TEXT}: give a part of it")
    async with _asking(arguments, trust, trust_text) as (client, used):
        answer = await client.rewrite(text, arguments.tone, used=used)
    print(msgspec.json.encode(answer).decode() if arguments.json else render_rewrite(answer))


@asynccontextmanager
async def _asking(
    arguments: argparse.Namespace, trust: Trust, trust_text: str
) -> AsyncIterator[tuple[Client, Callable[[Use], None] | None]]:
    """Give a client to ask once, after the checks that were wished for, and what keeps a receipt if one was."""
    file = None if arguments.receipt is None else ReceiptFile(arguments.receipt, trust_text.encode())
    async with _client(arguments, trust) as client:
        if arguments.check_consistency:
            await _check_consistency(client)
        try:
            yield client, None if file is None else file.keep
        except NotSentError:
            if file is not None:
                file.unsent()
            raise


@asynccontextmanager
async def _client(arguments: argparse.Namespace, trust: Trust) -> AsyncIterator[Client]:
    """Give a client that remembers what the ledger's logs showed; that it could not is said once it has been used."""
    async with Client(trust, evidence=_evidence_file(arguments), trees=_state_folder() / TREES) as client:
        yield client
        if client.forgetful is not None:
            _note(client.forgetful)


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
    async with _client(arguments, trust) as client:
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


def _monitor(arguments: argparse.Namespace) -> int:
    return asyncio.run(run_monitor(arguments, load_trust(_trust_file(arguments)), _state_folder()))


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
    return _state_folder() / FILE_NAME


def _state_folder() -> Path:
    return Path(os.environ.get(STATE_VARIABLE) or Path.home() / ".local" / "state") / "seclude"


def _trust_file(arguments: argparse.Namespace) -> Path:
    if arguments.trust is not None:
        return Path(arguments.trust)
    if named := os.environ.get(TRUST_VARIABLE):
        return Path(named)
    # Never a file of the folder that one happens to be in: whoever wrote that would decide whom this device trusts.
    return Path(os.environ.get(CONFIG_VARIABLE) or Path.home() / ".config") / "seclude" / "trust.toml"


def _load_trust(arguments: argparse.Namespace) -> tuple[Trust, str]:
    """Return what the trust file states and its text, from one reading."""
    text = read_trust(_trust_file(arguments))
    return parse_trust(text), text


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
    add_verb = partial(verbs.add_parser, parents=[asking_flags()])
    summarize = add_verb(
        "summarize",
        help="highlights of a chat, and an abstract where the pool has a model",
        epilog="example: seclude summarize chat.txt --unread 40",
    )
    fill_summarize(summarize)
    summarize.set_defaults(run=_summarize)
    rewrite = add_verb(
        "rewrite", help="suggest another wording", epilog='example: seclude rewrite --tone proofread "i cant come"'
    )
    fill_rewrite(rewrite)
    rewrite.set_defaults(run=_rewrite)
    add_verb(
        "verify", help="show each step of verifying the pool", epilog="example: seclude verify --json"
    ).set_defaults(run=_verify)
    proxy = add_verb("proxy", help="let apps made for OpenAI's API ask the pool", epilog=PROXY_EXAMPLE)
    fill_proxy(proxy, _trust_file, _client)
    monitor = verbs.add_parser(
        "monitor", parents=[common_flags()], help="follow the public ledger", epilog=MONITOR_EXAMPLE
    )
    fill_monitor(monitor, PLACE)
    monitor.set_defaults(act=_monitor)
    fill_receipt(verbs.add_parser("receipt", help="check a receipt that was kept"), common_flags(), _trust_file)
    alone = argparse.ArgumentParser(add_help=False)
    alone.add_argument("--json", action="store_true", help="answer in JSON on standard output")
    fill_policy(verbs.add_parser("policy", help="check a policy, or say it in words"), alone)
    fill_evidence(verbs.add_parser("evidence", help="verify a file of evidence"), alone)
    return parser
