"""A real TPM 2.0 in software: swtpm on sockets in a folder, and a test authority that certifies its endorsement key."""

import hashlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

PATIENCE: Final = 10.0  # seconds for the sockets to appear
SHUTDOWN: Final = bytes.fromhex("8001 0000000c 00000145 0000")  # TPM2_Shutdown(TPM_SU_CLEAR)
MAX_SOCKET_PATH: Final = 100  # octets; the kernel's limit is 107, and ".ctrl" is added


def require_swtpm() -> None:
    """Skip, with the word that says what to install."""
    for program in ("swtpm", "swtpm_setup", "swtpm_localca"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (packages swtpm and swtpm-tools)")
    if importlib.util.find_spec("tpm2_pytss") is None:
        pytest.skip("tpm2_pytss is not installed (requirements/tpm.txt)")


class SoftwareTpm:
    """One TPM; it keeps its seeds, and so its keys, over restarts."""

    def __init__(self, folder: Path) -> None:
        self._state = folder / "state"
        self._authority = folder / "authority"
        self._socket = folder / "s"
        self._process: subprocess.Popen[bytes] | None = None
        self.tcti = f"swtpm:path={self._socket}"
        assert len(str(self._socket)) < MAX_SOCKET_PATH, "the folder's path is too long for a socket"

    @property
    def issuers(self) -> tuple[bytes, ...]:
        """DERs of the certificates above the endorsement key's, the root last."""
        names = ("issuercert.pem", "swtpm-localca-rootca-cert.pem")
        loaded = (x509.load_pem_x509_certificate((self._authority / name).read_bytes()) for name in names)
        return tuple(certificate.public_bytes(Encoding.DER) for certificate in loaded)

    def make(self) -> None:
        """Manufacture the TPM: seeds, endorsement keys, their certificates from an authority in the same folder."""
        for folder in (self._state, self._authority):
            folder.mkdir()
        files = {"signingkey": "signkey.pem", "issuercert": "issuercert.pem", "certserial": "certserial"}
        lines = [f"statedir = {self._authority}", *(f"{key} = {self._authority / file}" for key, file in files.items())]
        options = self._write("localca.options", "--platform-manufacturer Test", "--platform-version 1.0")
        configuration = self._write("localca.conf", *lines)
        setup = self._write(
            "setup.conf",
            f"create_certs_tool = {shutil.which('swtpm_localca')}",
            f"create_certs_tool_config = {configuration}",
            f"create_certs_tool_options = {options}",
            "active_pcr_banks = sha256",
        )
        command = ["swtpm_setup", "--tpm2", "--tpmstate", str(self._state), "--config", str(setup)]
        command += ["--create-ek-cert", "--lock-nvram", "--overwrite", "--pcr-banks", "sha256"]
        environment = {**os.environ, "HOME": str(self._authority), "XDG_CONFIG_HOME": str(self._authority)}
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self) -> Self:
        """Switch it on: PCRs are zero, and the reset count is one higher than before."""
        control = Path(f"{self._socket}.ctrl")
        command = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self._state}"]
        command += ["--server", f"type=unixio,path={self._socket}", "--ctrl", f"type=unixio,path={control}"]
        command += ["--flags", "not-need-init,startup-clear"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE
        while not (self._socket.exists() and control.exists()):
            assert self._process.poll() is None, "swtpm ended"
            assert time.monotonic() < deadline, "swtpm opened no sockets"
            time.sleep(0.01)
        return self

    def stop(self) -> None:
        """Shut the machine down in order: its kernel says so to the TPM."""
        if self._process is None:
            return
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)  # swtpm has room for one peer, and a test that failed may not have let go
            client.connect(str(self._socket))
            client.sendall(SHUTDOWN)
            with suppress(TimeoutError):
                assert client.recv(10).endswith(bytes(4)), "the TPM refused to be shut down"
        self.cut_power()

    def cut_power(self) -> None:
        """End it without a word, after which the TPM does not call its clock safe for a while."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(PATIENCE)
        self._process = None
        for path in (self._socket, Path(f"{self._socket}.ctrl")):
            path.unlink(missing_ok=True)

    def restart(self) -> None:
        """Boot the machine again."""
        self.stop()
        self.start()

    def _write(self, name: str, *lines: str) -> Path:
        path = self._authority.parent / name
        path.write_text("".join(f"{line}\n" for line in lines))
        return path


def digest_of(name: str) -> bytes:
    """Return the digest of a manifest that stands for some software."""
    return hashlib.sha256(name.encode()).digest()
