"""The ledger as a process: it keeps the logs of one service, asks their witnesses, and shows both to everybody.

It is believed by nobody: whoever reads it verifies signatures, cosignatures and proofs. What it must not do is sign two
histories, so one process holds its folder, and it signs nothing before a quorum of witnesses knows of nothing newer.
"""

import argparse
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from time import time
from typing import Final

from msgspec.structs import asdict

from ledger.config import Config, Material, load_material, problems
from ledger.files import Files
from ledger.logs import KEYS, STATE, Log, Opener, Ways, slots_of
from ledger.page.view import Page
from ledger.proofs import ProofsMaker
from ledger.report import EVENTS, WORDS, Report, reasons
from ledger.serving import Serving
from ledger.tree import MAX_ENTRY
from ledger.verbs import VERBS
from ledger.witnesses import connect
from seclude.daemon.admin import Admin
from seclude.daemon.answering import answering
from seclude.daemon.command import CHECK_CONFIG, Command, Keep, certificates, serve_until_stop, show
from seclude.daemon.lifecycle import Stop, run
from seclude.daemon.limits import ServerLimits
from seclude.daemon.log import Log as EventLog
from seclude.daemon.metrics import Metrics
from seclude.daemon.renewal import Renewal
from seclude.daemon.server import Server
from seclude.daemon.tls import ClientCertificates
from seclude.ledger import MAC_BYTES, MAX_SUBMISSION
from seclude.pool import DRAINING

EXAMPLE: Final = """example:
  seclude-ledger keygen --kind log --name assistant.example/keys --out keys.key
  seclude-ledger --config ledger.toml
  seclude-ledger VERB --help

docs/ledger-keys.md says which key is for what, and docs/releases.md how a snapshot comes into the log.
"""


async def serve(
    config: Config, material: Material, accept_data: bool, stop: Stop, log: EventLog, announce: int | None
) -> int:
    """Run one ledger until `stop`."""
    metrics = Metrics("ledger")
    report = Report(metrics, log, time)
    tls = ClientCertificates(config.witness_tls)
    ways: Ways = {
        witness.name: connect(witness, tls, insecure_plaintext=config.insecure_plaintext)
        for witness in material.quorum.witnesses
        if witness.url is not None
    }
    with ExitStack() as held:
        for path in (config.data_folder, config.anchors_folder):  # or a copy of the data could be served beside it
            folder = Files(path)
            held.callback(folder.close)
            folder.lock()
        changed = _Changed()
        opener = Opener(config, material, ways, report, time, changed, accept_data=accept_data)
        logs: dict[str, Log] = {}
        for name in config.logs:
            logs[name] = opener.open(name)
            held.callback(logs[name].close)
        changed.proofs = proofs = _proofs(config, logs)
        serving = Serving(logs, material.secrets, report, proofs, _page(config, material, logs))
        server = Server(
            answering(serving.handle),
            ServerLimits(**asdict(config.limits), max_body_bytes=max(MAX_SUBMISSION, MAC_BYTES + MAX_ENTRY)),
            log=log,
            observe=metrics.observe,
            tls=certificates(config),
            insecure_plaintext=config.insecure_plaintext,
        )
        metrics.watch(server)
        renewal = Renewal(metrics, log, [server.renew_tls, tls.renew])
        admin = Admin(metrics.registry, partial(_reasons, logs, stop))
        keep: list[Keep] = []
        for each in logs.values():
            keep += [each.cosigning.run, each.let_sign, each.sequencer.run]
        try:
            await serve_until_stop(server, admin, config, stop, log, announce, keep, renewal)
        finally:
            for upstream, _ in ways.values():
                await upstream.close()
    return 0


class _Changed:
    """Tells the proofs, which are made after the logs, that a checkpoint was published."""

    proofs: ProofsMaker | None = None

    def __call__(self) -> None:
        if self.proofs is not None:
            self.proofs.forget()


def _proofs(config: Config, logs: dict[str, Log]) -> ProofsMaker | None:
    if KEYS not in logs or STATE not in logs:
        return None
    keys, state = logs[KEYS], logs[STATE]
    return ProofsMaker((keys.store, keys.cosigning), (state.store, state.cosigning), config.maturity_seconds, time)


def _page(config: Config, material: Material, logs: dict[str, Log]) -> Page | None:
    if KEYS not in logs or STATE not in logs:
        return None
    return Page(
        logs[KEYS],
        logs[STATE],
        config.origin or "",
        slots_of(config),
        material.quorum,
        material.publishers,
        config.maturity_seconds,
        time,
        demonstration=config.demonstration,
    )


def _reasons(logs: dict[str, Log], stop: Stop) -> list[str]:
    found = [DRAINING] if stop.requested else []
    for name, log in logs.items():
        found += reasons(name, log.sequencer, log.cosigning)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `serve` or `check-config`, and return the exit status."""
    command = Command(
        "ledger",
        Config,
        problems,
        description="Keep the public logs of a service's keys and software, which devices and witnesses verify.",
        example=EXAMPLE,
        verbs={verb: what for verb, (_, what) in VERBS.items()},
    )
    command.add_flag("data", "--data", metavar="DIR", help="where the logs are kept")
    command.add_flag("witnesses", "--witnesses", metavar="FILE", help="who cosigns, and how many of them it takes")
    command.add_option(
        "--accept-data", action="store_true", help="take a log whose anchor is missing for the newest copy; say it once"
    )

    def act(flags: argparse.Namespace) -> int:
        config = command.load(flags)
        if flags.command == CHECK_CONFIG:
            return show(config)
        material = load_material(config)
        names = frozenset(witness.name for witness in material.quorum.witnesses) | frozenset(config.logs)
        log = EventLog("ledger", events=EVENTS, words=WORDS | names, text=config.log_text)
        return run(
            lambda stop: serve(config, material, flags.accept_data, stop, log, flags.announce),
            uvloop=config.uvloop,
            log=log,
        )

    return command.run(arguments, act)
