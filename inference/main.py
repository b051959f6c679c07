"""`seclude-worker`: alone holds the keys, opens requests, runs the models, keeps nothing (`worker.py`)."""

import argparse
import asyncio
import base64
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Final

from inference.attester import start_helper
from inference.config import WorkerConfig, problems
from inference.isolate import isolate
from seclude.daemon.command import CHECK_CONFIG, Command, show
from seclude.daemon.lifecycle import run
from seclude.daemon.log import Log
from seclude.errors import ConfigError
from seclude.manifest import Manifest, render_manifest

MANIFEST: Final = "manifest"
SIMULATE: Final = "simulate-platform"
ENROLL: Final = "tpm-enroll"
EXAMPLE: Final = """examples:
  seclude-worker simulate-platform --out platform
  seclude-worker tpm-enroll --tpm device:/dev/tpmrm0 --authority authority --issuers ek-issuers.pem --out ak.pem
  seclude-worker manifest --config worker.toml --out worker.manifest
  seclude-worker --config worker.toml --listen 127.0.0.1:8082 --admin 127.0.0.1:9082
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `seclude-worker` and return its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    command = Command(
        "worker",
        WorkerConfig,
        problems,
        description="Open, answer and seal requests inside an attested, locked-down process.",
        example=EXAMPLE,
        verbs={
            MANIFEST: "writes down what serve would measure",
            SIMULATE: "makes a key of SIMULATED hardware to attest with",
            ENROLL: "certifies the attestation key of this machine's TPM",
        },
        place="launch.",
    )
    command.add_option("--out", metavar="PATH", type=Path, help=f"where {MANIFEST}, {SIMULATE} or {ENROLL} write")
    command.add_option("--tpm", metavar="TCTI", default="device:/dev/tpmrm0", help=f"the TPM that {ENROLL} asks")
    command.add_option("--authority", metavar="DIR", type=Path, help=f"the authority of {ENROLL}, made if it is new")
    command.add_option("--issuers", metavar="PEM", type=Path, help="whom it believes endorsement keys from")

    def act(flags: argparse.Namespace) -> int:
        if flags.command == SIMULATE:
            return _simulate_platform(flags.out)
        if flags.command == ENROLL:
            return _enroll(flags)
        config = command.load(flags)
        if flags.command == CHECK_CONFIG:
            return show(config)
        isolate("inference", given)
        if flags.command == MANIFEST:
            return _manifest(flags.out, config)
        return _serve(flags, config)

    return command.run(given, act)


def _serve(flags: argparse.Namespace, config: WorkerConfig) -> int:
    """Let the helper measure what is launched, and only then import and run the rest of the worker."""
    helper = start_helper([*config.launch.attestation.arguments(), "--launch", str(flags.config)])
    from inference.worker import EVENTS, WORDS, serve

    log = Log("worker", events=EVENTS, words=WORDS, text=config.launch.log_text)
    return run(lambda stop: serve(config, helper, stop, log, flags.announce), uvloop=False, log=log)


def _manifest(out: Path | None, config: WorkerConfig) -> int:
    """Print or write the manifest of exactly what `serve` would run."""
    from inference.warmup import at_work
    from inference.watch import collect_and_watch

    import_module("inference.worker")  # what the manifest is of

    async def measure() -> Manifest:
        async with at_work(config.launch.folders, config.measured):
            manifest, watch = collect_and_watch(config.measured.canonical(), config.launch.folders)
        watch.close()
        return manifest

    manifest = asyncio.run(measure())
    text = render_manifest(manifest)
    if out is None:
        print(text, end="")
        return 0
    try:
        out.write_text(text)
    except OSError as exc:
        raise ConfigError(f"cannot write the manifest {out}: {exc.strerror}") from exc
    print(manifest.digest.hex())
    return 0


def _simulate_platform(out: Path | None) -> int:
    """Make a platform, and print its root as the configuration and the trust file want it."""
    from inference.producers.simulated import create_simulated_platform  # what a worker that serves must not hold

    if out is None:
        raise ConfigError(f"{SIMULATE} needs --out DIR")
    platform = create_simulated_platform(out, time.time())
    print(f"# SIMULATED platform in {out}: it shows how attestation flows and proves nothing about this machine.")
    print(f'roots = ["{base64.b64encode(platform.root).decode()}"]')
    return 0


def _enroll(flags: argparse.Namespace) -> int:
    """Certify the TPM's attestation key, and print what a policy may name: the authority's root, and the key."""
    for name in ("authority", "issuers", "out"):
        if getattr(flags, name) is None:
            raise ConfigError(f"{ENROLL} needs --{name}")
    try:
        from inference.enroll import ROOT_FILE, enroll_into
    except ImportError:
        raise ConfigError("tpm2-pytss is not installed; run: pip install 'seclude[tpm]'") from None
    key = enroll_into(flags.tpm, flags.authority, flags.issuers, flags.out, time.time())
    root = (flags.authority / ROOT_FILE).read_bytes()
    print(f"# [policy.tpm], for what the TPM that {flags.out} certifies has seen since boot; it encrypts no memory.")
    print(f'roots = ["{base64.b64encode(root).decode()}"]')
    print(f'keys = ["{key}"]')
    return 0
