"""Workers on TPM evidence: a checkout of the software that a test may change, and machines with a TPM that boot it."""

import os
import shutil
import subprocess
import sys
import sysconfig
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from deploy.party import Party
from inference.config import Attestation, Launch, Measured, WorkerConfig
from seclude.attestation.accept import TpmTable
from seclude.attestation.launchlog import LaunchLog, parse_log
from seclude.attestation.policy import Demonstration, PolicyDocument
from seclude.attestation.slots import Slots
from seclude.toml import render_toml
from tests.running import ROOT
from tests.swtpm import SoftwareTpm

ORIGIN: Final = "launch.seclude.invalid"
PACKAGES: Final = ("inference", "seclude")
GENUINE: Final = "genuine"
CHANGED: Final = "changed"


class Checkout:
    """A copy of the sources, and an interpreter that runs them with the packages of this one.

    It looks like a virtual environment in which the project is installed for development: the same files elsewhere, so
    the same manifest.
    """

    def __init__(self, folder: Path) -> None:
        self.app = folder / "app"
        self.site = folder / "venv" / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
        self.python = folder / "venv" / "bin" / "python"

    def make(self, root: Path = ROOT) -> Self:
        """Copy the sources that stand in a folder."""
        for package in PACKAGES:
            shutil.copytree(root / package, self.app / package, ignore=shutil.ignore_patterns("__pycache__"))
        self.site.mkdir(parents=True)
        self.python.parent.mkdir()
        self.python.symlink_to(Path(sys.executable).resolve())
        home = Path(sys.executable).resolve().parent
        (self.python.parents[1] / "pyvenv.cfg").write_text(f"home = {home}\ninclude-system-site-packages = false\n")
        (self.site / "seclude.pth").write_text(f"{sysconfig.get_path('purelib')}\n{self.app}\n")
        return self

    def command(self, *arguments: str) -> list[str]:
        """Return the command of this checkout's worker."""
        return [str(self.python), "-P", "-m", "inference", *arguments]

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a worker's command to its end."""
        everything = {**os.environ, **environment}
        return subprocess.run(self.command(*arguments), capture_output=True, text=True, timeout=50, env=everything)

    def manifest(self, config: Path, out: Path, **environment: str) -> str:
        """Write the manifest of a configured worker, and return its digest."""
        done = self.run("manifest", "--config", str(config), "--out", str(out), **environment)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


def write_config(path: Path, slots: Slots, policy: PolicyDocument, model: Path, attestation: Attestation) -> Path:
    """Write `worker.toml` beside the manifest that it must match, and return its path."""
    measured = Measured(
        origin=ORIGIN, t0=slots.t0, period_seconds=slots.period_seconds, policy=policy, lock_memory=False
    )
    launch = Launch(model=str(model), manifest=str(path.with_name("worker.manifest")), attestation=attestation)
    path.write_text(render_toml(WorkerConfig(measured, launch)))
    return path


@dataclass
class Machine:
    """A machine with a TPM of its own, and one worker at a time."""

    folder: Path
    tpm: SoftwareTpm
    listen: str
    key: str = ""
    """SHA-256 of its attestation key, as a policy names it."""
    worker: Party | None = None

    @property
    def chain(self) -> Path:
        """The certificates of its attestation key."""
        return self.folder / "ak.pem"

    @property
    def launches(self) -> Path:
        """The launch log."""
        return self.folder / "launches"

    @property
    def log(self) -> LaunchLog:
        """What it says that was launched here since boot."""
        return parse_log(self.launches.read_bytes())

    @property
    def attestation(self) -> Attestation:
        """Where a worker here has its evidence from."""
        return Attestation(format="tpm", tpm=self.tpm.tcti, tpm_chain=str(self.chain), launches=str(self.launches))

    def config(self, software: str) -> Path:
        """Return where the configuration of a worker stands, beside its manifest."""
        return self.folder / software / "worker.toml"

    def boot(self) -> None:
        """Switch it on; what lay on a RAM disk is gone."""
        self.launches.unlink(missing_ok=True)
        self.tpm.start()

    async def launch(self, checkout: Checkout, software: str) -> None:
        """Start a worker and wait until it serves; raises `StackError` with its last words."""
        free_keys(self.tpm.tcti)
        command = checkout.command("--config", str(self.config(software)))
        self.worker = Party("worker", command, self.folder / "worker.log", listen=self.listen)
        await self.worker.start()

    async def stop(self) -> None:
        """Stop the worker, if one runs, and wait for its helper, which has the TPM to itself."""
        if self.worker is not None:
            await self.worker.stop()


def free_keys(tcti: str) -> None:
    """Do what a kernel's resource manager does when a program has ended: free the room of the keys that it left."""
    from tpm2_pytss import ESAPI
    from tpm2_pytss.constants import TPM2_CAP, TPM2_HC

    with ESAPI(tcti) as esapi:
        _, left = esapi.get_capability(TPM2_CAP.HANDLES, TPM2_HC.TRANSIENT_FIRST, 8)
        for handle in left.data.handles:
            esapi.flush_context(esapi.tr_from_tpmpublic(handle))


def read_launch_pcr(machine: Machine) -> bytes:
    """Return what the TPM itself says of PCR 14, while no worker runs: swtpm speaks to one program at a time."""
    from inference.tpm import Tpm
    from seclude.attestation.tpm import LAUNCH_PCR

    free_keys(machine.tpm.tcti)
    tpm = Tpm(machine.tpm.tcti)
    try:
        return tpm.read_pcrs(range(LAUNCH_PCR, LAUNCH_PCR + 1))[0]
    finally:
        tpm.close()


@dataclass(frozen=True)
class Fleet:
    """Two machines under one authority, and two softwares with their manifests: the genuine one, and one more line."""

    machines: tuple[Machine, Machine]
    checkouts: dict[str, Checkout]
    manifests: dict[str, str]
    """The digest of each software's manifest."""
    table: TpmTable
    slots: Slots


def make_fleet(folder: Path, model: Path, ports: tuple[int, int], period: int) -> Fleet:
    """Manufacture and enroll TPMs by the command that people use, and write down what is to run."""
    checkouts = {GENUINE: Checkout(folder / GENUINE).make()}
    checkouts[CHANGED] = Checkout(folder / CHANGED).make(checkouts[GENUINE].app)
    with (checkouts[CHANGED].app / "inference" / "pace.py").open("a") as file:
        file.write("# one more line\n")
    machines = tuple(_machine(folder / f"m{number}", f"127.0.0.1:{port}") for number, port in enumerate(ports))
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda machine: machine.tpm.make(), machines))
    roots = {_enroll(machine, checkouts[GENUINE], folder / "authority") for machine in machines}
    (root,) = roots
    table = TpmTable(roots=(root,), keys=tuple(machine.key for machine in machines))
    slots = Slots(int(time.time()) - 60, period)

    def describe(software: str) -> str:
        for machine in machines:
            machine.config(software).parent.mkdir()
            write_config(machine.config(software), slots, Demonstration(tpm=table), model, machine.attestation)
        first, second = (machine.config(software).with_name("worker.manifest") for machine in machines)
        digest = checkouts[software].manifest(machines[0].config(software), first)
        shutil.copy(first, second)
        return digest

    with ThreadPoolExecutor() as pool:
        manifests = dict(zip(checkouts, pool.map(describe, checkouts), strict=True))
    return Fleet((machines[0], machines[1]), checkouts, manifests, table, slots)


def _machine(folder: Path, listen: str) -> Machine:
    folder.mkdir()
    return Machine(folder, SoftwareTpm(folder), listen)


def _enroll(machine: Machine, checkout: Checkout, authority: Path) -> bytes:
    """Enroll a machine, and return the root of the authority as the command prints it for a policy."""
    issuers = machine.folder / "issuers.pem"
    loaded = (x509.load_der_x509_certificate(der) for der in machine.tpm.issuers)
    issuers.write_bytes(b"".join(each.public_bytes(Encoding.PEM) for each in loaded))
    machine.tpm.start()
    try:
        arguments = ["--tpm", machine.tpm.tcti, "--authority", str(authority), "--issuers", str(issuers)]
        done = checkout.run("tpm-enroll", *arguments, "--out", str(machine.chain))
    finally:
        machine.tpm.stop()
    assert done.returncode == 0, done.stderr
    table = msgspec.convert(tomllib.loads(done.stdout), TpmTable)
    (machine.key,) = table.keys
    return table.roots[0]
