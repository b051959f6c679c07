"""The house's rules that a linter does not know."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.running import ROOT, Running

PARTIES = ("relay", "gateway", "inference", "ledger")
MODULES = sorted(
    path for folder in ("seclude", *PARTIES, "bench", "deploy", "docs") for path in (ROOT / folder).rglob("*.py")
)
MAX_LINES = 400  # beyond that a module holds two ideas

# What neither the relay nor the gateway may come to hold: anything that could use a private key, or run a model.
FORBIDDEN = (
    "cryptography",
    "pyhpke",
    "onnxruntime",
    "numpy",
    "tokenizers",
    "seclude.hpke",
    "seclude.kem",
    "seclude.ohttp.encapsulation",
)
OF_A_TPM = ("inference.tpm", "inference.enroll", "inference.producers.tpm")  # they need tpm2-pytss, which is optional
NATIVE = ("_rust.abi3.so", "onnxruntime_pybind11_state", "tokenizers.abi3.so", "_multiarray_umath")


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_holds_one_idea(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_LINES


def test_packages_of_the_library_import_nothing() -> None:
    assert [path for path in (ROOT / "seclude").rglob("__init__.py") if path.read_text()] == []


@pytest.mark.timeout(180)
def test_every_module_imports_alone() -> None:
    """In an interpreter of its own, so that no other import can have helped."""
    names = [name_of(path) for path in MODULES if path.name not in ("__init__.py", "__main__.py")]
    if find_spec("tpm2_pytss") is None:
        names = [name for name in names if name not in OF_A_TPM]
    code = (
        "import importlib, os, sys\nfor name in sys.argv[1:]:\n    pid = os.fork()\n    if not pid:\n        "
        "importlib.import_module(name)\n        os._exit(0)\n    assert os.waitpid(pid, 0)[1] == 0, name\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("party", ["relay", "gateway"])
def test_what_forwards_loads_nothing_that_decrypts(party: str) -> None:
    code = f"import sys, {party}.main; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "httptools" in loaded
    assert [name for name in loaded for word in FORBIDDEN if name == word or name.startswith(f"{word}.")] == []


@pytest.mark.parametrize("party", ["relay", "gateway"])
def test_what_forwards_has_nothing_mapped_that_decrypts_while_it_runs(stack: Running, party: str) -> None:
    maps = Path(f"/proc/{stack.pid(party)}/maps").read_text()
    assert "httptools" in maps, "the server's own native module must be there, or the absence of others proves nothing"
    assert [word for word in NATIVE if word in maps] == []
    worker = Path(f"/proc/{stack.pid('worker-0')}/maps").read_text()
    assert [word for word in NATIVE if word not in worker] == [], "the words must be those of the real files"
