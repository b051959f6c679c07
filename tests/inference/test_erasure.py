"""Erased keys are gone: the memory of a process that held them is read before and after.

Where a key was handed on or taken over, the interpreter made copies that nothing overwrites. There the allocators are
set so that they do, which tells what somebody still refers to from what merely stands where it stood.
"""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from seclude.attestation.slots import x25519_key_id, xwing_key_id
from seclude.hpke import KEM_X25519, KEM_XWING
from tests.inference.erasing import EPOCH
from tests.running import ROOT

OVERWRITING = {
    "PYTHONMALLOC": "malloc",
    "GLIBC_TUNABLES": "glibc.malloc.perturb=165:glibc.malloc.tcache_count=0",
}
OLD = (xwing_key_id(EPOCH), x25519_key_id(EPOCH))
NEW = (xwing_key_id(EPOCH + 1), x25519_key_id(EPOCH + 1))


class Reading:
    """What a process that holds keys has in its memory, by the parts of the keys."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.secrets: dict[tuple[int, str], bytes] = {}
        for line in iter(self._line, "held"):
            key_id, kem, *octets = map(int, line.split())
            self._add(key_id, kem, bytes(octets))

    def _add(self, key_id: int, kem: int, secret: bytes) -> None:
        if kem == KEM_X25519:
            self.secrets[key_id, "scalar"] = secret
            return
        assert kem == KEM_XWING
        expanded = hashlib.shake_256(secret).digest(96)
        for name, octets in (("seed", secret), ("d", expanded[:32]), ("z", expanded[32:64]), ("x", expanded[64:])):
            self.secrets[key_id, name] = octets

    def go_on(self) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self._line()

    def count(self) -> dict[tuple[int, str], int]:
        """Count the first and the second half of every secret, without the bits that X25519 sets itself."""
        found = dict.fromkeys(self.secrets, 0)
        with (
            Path(f"/proc/{self.process.pid}/maps").open() as maps,
            Path(f"/proc/{self.process.pid}/mem").open("rb", buffering=0) as memory,
        ):
            for line in maps:
                where, access, *_, name = line.split()
                if "r" not in access or name in ("[vvar]", "[vvar_vclock]", "[vsyscall]"):  # which nobody can read so
                    continue
                start, end = (int(address, 16) for address in where.split("-"))
                memory.seek(start)
                data = memory.read(end - start)
                assert len(data) == end - start
                for key, octets in self.secrets.items():
                    found[key] += data.count(octets[1:16]) + data.count(octets[16:31])
        return found

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


@contextmanager
def reading(folder: Path, way: str, settings: Mapping[str, str]) -> Iterator[Reading]:
    command = [sys.executable, "-m", "tests.inference.erasing", str(folder / "platform"), way]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT, env={**os.environ, **settings}
    ) as process:
        try:
            yield Reading(process)
            process.communicate("\n", timeout=30)
            assert process.returncode == 0
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("way", "settings"),
    [("born", {}), ("born", OVERWRITING), ("joined", OVERWRITING)],
    ids=["born", "born, overwriting", "joined, overwriting"],
)
def test_no_octets_of_a_key_are_left_once_it_is_erased(tmp_path: Path, way: str, settings: dict[str, str]) -> None:
    with reading(tmp_path, way, settings) as memory:
        before = memory.count()
        assert {key_id for key_id, _ in before} == {*OLD, *NEW}
        assert {part for _, part in before} == {"scalar", "seed", "d", "z", "x"}
        assert all(count >= 2 for count in before.values()), "every key that is there is found, in both halves"

        assert memory.go_on() == "expired"
        expired = memory.count()
        assert {key: count for key, count in expired.items() if key[0] in OLD and count} == {}
        assert all(count >= 2 for key, count in expired.items() if key[0] in NEW)

        assert memory.go_on() == "erased"
        assert {key: count for key, count in memory.count().items() if count} == {}
