"""Programs that lock themselves down, for a test to look at: `python -m tests.inference.locked WHAT ...`.

    attack           try every action on the main thread and on another one, and then every system call
    free NAME...     try each action in a process of its own that is not locked down
    landlock         the same for what Landlock alone refuses
    wait SECONDS     say "locked", and be looked at
    abort            end by abort(3), with dumps allowed before
    peer             look at a process of the same user
    imports          what a task gets whose import fails
    unprivileged     what a process is told that may not lock memory
    worker ...       a worker that writes down what it imports after lockdown
    failing ...      a worker that finds itself not locked down after all
    cost N           what a request costs

Each answer is one line of JSON.
"""

import asyncio
import ctypes
import fcntl
import importlib.abc
import json
import mmap
import os
import platform
import resource
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from errno import EPERM
from pathlib import Path
from unittest.mock import patch

from inference import lockdown
from inference import main as inference_main
from inference import worker as inference_worker
from inference.answer import run_task
from inference.engine.encoder import SentenceEncoder
from inference.manifest import load_manifest
from inference.open import answer_request, open_request
from inference.runner import Runner
from inference.seccomp import MACHINES
from inference.tasks.router import Tasks
from inference.watch import Watch, collect_and_watch
from seclude import bhttp, hpke
from seclude.errors import ConfigError
from seclude.hpke import PrivateKey
from seclude.manifest import Manifest
from seclude.ohttp.encapsulation import HeldKey, encapsulate_request
from seclude.ohttp.keyconfig import KeyConfig, SymmetricAlgorithms
from seclude.tasks import Message, SummarizeRequest, encode
from tests.running import MODEL, ROOT

CHAT = ROOT / "deploy" / "demo" / "chat.txt"
WARM = 5  # requests before it is counted
ARM = platform.machine() == "aarch64"
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long
PAGE = mmap.PAGESIZE
# Of system calls that Python has no name for: on x86-64 and on aarch64 (<asm/unistd_64.h>, <asm-generic/unistd.h>).
NUMBERS = {
    "clone": (56, 220), "mremap": (25, 216), "shmget": (29, 194), "mount": (165, 40), "add_key": (248, 217),
    "unshare": (272, 97), "perf_event_open": (298, 241), "process_vm_readv": (310, 270), "kcmp": (312, 272),
    "bpf": (321, 280), "userfaultfd": (323, 282), "pkey_mprotect": (329, 288), "io_uring_setup": (425, 425),
    "clone3": (435, 435), "process_madvise": (440, 440), "seccomp": (317, 277), "personality": (135, 92),
    "open_by_handle_at": (304, 265), "timer_create": (222, 107), "tgkill": (234, 131), "ptrace": (101, 117),
    "prlimit64": (302, 261),
}  # fmt: skip
LAST = 512
PASSED_BY = {335, 336} if not ARM else set()  # of uprobes: no filter is asked, and who calls them by himself is ended
PTRACE_SEIZE = 0x4206
CLONE_VFORK = 0x4000
FILTER = 26  # SO_ATTACH_FILTER


def call(name: str, *arguments: object) -> int:
    """Make a system call; raises OSError."""
    result = int(LIBC.syscall(ctypes.c_long(NUMBERS[name][ARM]), *map(_word, arguments)))
    if result == -1:
        raise OSError(ctypes.get_errno(), name)
    return result


def _word(value: object) -> object:
    return ctypes.c_long(value) if isinstance(value, int) else value


class Prepared:
    """What was opened before lockdown, as a payload would find it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="seclude-locked-"))
        self.file = self.folder / "file"
        self.file.write_text("text")
        self.other = self.folder / "other"
        self.other.write_text("text")
        self.descriptor = os.open(self.file, os.O_RDWR)
        self.page = mmap.mmap(-1, PAGE)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.page))
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.target = self.listening.getsockname()
        self.stream = socket.socket()
        self.datagram = socket.socket(type=socket.SOCK_DGRAM)
        self.bound = socket.socket()
        self.bound.bind(("127.0.0.1", 0))
        self.pair = socket.socketpair()
        self.pair[1].send(b"x")
        self.parent = os.getppid()
        self.buffer = ctypes.create_string_buffer(256)

    def close(self) -> None:
        """Give everything back; for who only wants the names of the actions."""
        for sock in (self.listening, self.stream, self.datagram, self.bound, *self.pair):
            sock.close()
        os.close(self.descriptor)
        self.page.close()
        shutil.rmtree(self.folder)

    def at(self, *words: int) -> object:
        """Return the address of some words."""
        return (ctypes.c_uint64 * 16)(*words)


def _end_child(process: int) -> None:
    if process == 0:
        os._exit(0)


def _start_thread() -> None:
    try:
        thread = threading.Thread(target=lambda: None)
        thread.start()
    except RuntimeError as exc:
        raise PermissionError(EPERM, str(exc)) from exc
    thread.join()


def _checked(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), "refused")


def actions(with_: Prepared) -> dict[str, Callable[[], object]]:
    """Return what a payload might try; each raises OSError where it is refused."""
    p, at = with_, with_.at
    one = at(p.address, 8)  # struct iovec
    return {
        "open a file to read": lambda: os.open("/etc/hosts", os.O_RDONLY),
        "open a file to write": lambda: os.open(p.folder / "new", os.O_WRONLY | os.O_CREAT),
        "open its own memory": lambda: os.open("/proc/self/mem", os.O_RDWR),
        "open its parent's memory": lambda: os.open(f"/proc/{p.parent}/mem", os.O_RDONLY),
        "open a device": lambda: os.open("/dev/urandom", os.O_RDONLY),
        "list a folder": lambda: os.listdir("/"),
        "look at a file": lambda: os.stat("/etc/hosts"),
        "look for a file": lambda: _checked(LIBC.access(b"/etc/hosts", os.R_OK)),
        "delete a file": lambda: os.unlink(p.other),
        "rename a file": lambda: os.rename(p.file, p.folder / "renamed"),
        "link a file": lambda: os.link(p.file, p.folder / "linked"),
        "make a symbolic link": lambda: os.symlink("/", p.folder / "symbolic"),
        "make a folder": lambda: os.mkdir(p.folder / "folder"),
        "make a pipe in a folder": lambda: os.mkfifo(p.folder / "pipe"),
        "truncate a file": lambda: os.truncate(p.file, 1),
        "truncate an open file": lambda: os.ftruncate(p.descriptor, 1),
        "change a file's mode": lambda: os.chmod(p.file, 0o600),
        "change a file's owner": lambda: os.chown(p.file, -1, -1),
        "change the folder": lambda: os.chdir("/"),
        "change the root": lambda: os.chroot("/"),
        "mount": lambda: call("mount", b"none", b"/", b"no such type", 0, None),
        "open by handle": lambda: call("open_by_handle_at", -1, at(), os.O_RDONLY),
        "socket of the internet": lambda: socket.socket(),
        "socket of datagrams": lambda: socket.socket(type=socket.SOCK_DGRAM),
        "socket of IPv6": lambda: socket.socket(socket.AF_INET6),
        "socket of this machine": lambda: socket.socket(socket.AF_UNIX),
        "socket of the kernel": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0),
        "pair of sockets": socket.socketpair,
        "connect": lambda: p.stream.connect(p.target),
        "connect as it sends": lambda: p.stream.sendto(b"x", socket.MSG_FASTOPEN, p.target),
        "bind": lambda: p.datagram.bind(("127.0.0.1", 0)),
        "listen": lambda: p.bound.listen(),
        "send to an address": lambda: p.datagram.sendto(b"x", p.target),
        "send a message to an address": lambda: p.datagram.sendmsg([b"x"], [], 0, p.target),
        "receive a descriptor": lambda: p.pair[0].recvmsg(1, 64, socket.MSG_PEEK),
        "attach a filter to a socket": lambda: p.stream.setsockopt(socket.SOL_SOCKET, FILTER, bytes(16)),
        "set a buffer of a socket": lambda: p.stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096),
        "send a file": lambda: os.sendfile(p.pair[0].fileno(), p.descriptor, 0, 1),
        "splice": lambda: os.splice(p.descriptor, p.pair[0].fileno(), 1),
        "read a file at a place": lambda: os.pread(p.descriptor, 1, 0),
        "fork": lambda: _end_child(os.fork()),
        "fork by vfork": lambda: _end_child(call("clone", CLONE_VFORK | signal.SIGCHLD, 0, 0, 0, 0)),
        "fork by clone": lambda: _end_child(call("clone", signal.SIGCHLD, 0, 0, 0, 0)),
        "fork by clone3": lambda: _end_child(call("clone3", at(0, 0, 0, 0, signal.SIGCHLD), 64)),
        "start a thread": _start_thread,
        "execute a program": lambda: os.execv("/bin/true", ["true"]),
        "trace its parent": lambda: call("ptrace", PTRACE_SEIZE, p.parent, 0, 0),
        "read its parent's memory": lambda: call("process_vm_readv", p.parent, one, 1, one, 1, 0),
        "compare with its parent": lambda: call("kcmp", os.getpid(), p.parent, 0, 0, 0),
        "advise its parent": lambda: call("process_madvise", -1, one, 1, 20, 0),
        "signal its parent": lambda: os.kill(p.parent, 0),
        "signal itself": lambda: os.kill(os.getpid(), 0),
        "signal a thread of its parent": lambda: call("tgkill", p.parent, p.parent, 0),
        "hold its parent": lambda: os.pidfd_open(p.parent),
        "map code": lambda: mmap.mmap(-1, PAGE, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC),
        "map writable code": lambda: mmap.mmap(-1, PAGE, mmap.MAP_PRIVATE, 7),
        "map an open file": lambda: mmap.mmap(p.descriptor, 1, mmap.MAP_PRIVATE, mmap.PROT_READ),
        "map shared memory": lambda: mmap.mmap(-1, PAGE, mmap.MAP_SHARED),
        "make memory executable": lambda: _checked(LIBC.mprotect(ctypes.c_void_p(p.address), PAGE, 7)),
        "make memory executable under a key": lambda: call("pkey_mprotect", p.address, PAGE, 7, -1),
        "move memory": lambda: call("mremap", p.address, PAGE, PAGE, 0, 0),
        "unlock memory": lambda: _checked(LIBC.munlockall()),
        "file in memory": lambda: os.memfd_create("x"),
        "shared memory of System V": lambda: call("shmget", 0, PAGE, 0o1600),
        "io_uring": lambda: call("io_uring_setup", 1, (ctypes.c_uint32 * 30)()),
        "userfaultfd": lambda: call("userfaultfd", 1),
        "perf events": lambda: call("perf_event_open", at(1 | 112 << 32), 0, -1, -1, 0),
        "a program in the kernel": lambda: call("bpf", 0, at(2 | 4 << 32, 4 | 1 << 32), 72),
        "a key in the kernel": lambda: call("add_key", b"user", b"seclude", b"x", 1, -1),
        "other namespaces": lambda: call("unshare", 0x400),
        "a timer with a signal": lambda: call("timer_create", 1, None, p.buffer),
        "become dumpable": lambda: _checked(LIBC.prctl(4, 1, 0, 0, 0)),
        "other personality": lambda: call("personality", 0xFFFF_FFFF),
        "another filter": lambda: call("seccomp", 2, 0, at(0x7FFF_0000)),
        "set a limit": lambda: call("prlimit64", 0, resource.RLIMIT_CORE, at(0, 0), None),
        "another user": lambda: os.setuid(os.getuid()),
        "go first": lambda: os.setpriority(os.PRIO_PROCESS, 0, 5),
        "own signals of a socket": lambda: fcntl.fcntl(p.stream, fcntl.F_SETOWN, p.parent),
        "ask a socket": lambda: fcntl.ioctl(p.stream, 0x541B, bytes(4)),
        "copy a descriptor": lambda: os.dup(p.descriptor),
        "watch files": lambda: _checked(-int(LIBC.inotify_init1(0) < 0)),
    }


def outcome(act: Callable[[], object]) -> int:
    """Return the error that an action met, or 0."""
    try:
        act()
    except OSError as exc:
        return exc.errno or -1
    return 0


def say(**fields: object) -> None:
    """Write one line at once."""
    print(json.dumps(fields), flush=True)


async def attack() -> None:
    """Be locked down as a worker is, with threads, a model and an event loop, and try everything."""
    runner = Runner(2, 2)
    try:
        await attack_with(runner)
    finally:
        runner.close()


async def attack_with(runner: Runner) -> None:
    encoder = SentenceEncoder(MODEL, 2) if (MODEL / "model.onnx").exists() else None
    tries = actions(Prepared())
    locked = lockdown.lock_down(lock_memory=os.geteuid() == 0)
    say(abi=locked.landlock_abi, octets=locked.memory_locked_octets, instructions=locked.instructions)
    for name, act in tries.items():
        say(where="main thread", action=name, error=outcome(act))
    for name, act in tries.items():
        say(where="task's thread", action=name, error=await runner.run(outcome, act))
    names = set(MACHINES[platform.machine()].numbers.values())
    for number in sorted(set(range(LAST)) - names - PASSED_BY):
        LIBC.syscall(*(ctypes.c_long(each) for each in (number, -1, -1, -1, -1, -1, -1)))
        say(number=number, error=ctypes.get_errno())
    LIBC.syscall(*(ctypes.c_long(each) for each in (0x4000_0000 | 39, 0)))
    say(number="x32", error=ctypes.get_errno())
    if encoder is not None:
        say(works=(await runner.run(encoder.embed, ["Still there?"])).shape == (1, 384))


def free(names: list[str]) -> None:
    """Try each action in a process of its own."""
    for name in names:
        started = os.fork()
        if started == 0:
            LIBC.prctl(4, 1, 0, 0, 0)
            os._exit(outcome(actions(Prepared())[name]) & 0xFF)
        _, status = os.waitpid(started, 0)
        say(action=name, error=os.waitstatus_to_exitcode(status))


def landlock() -> None:
    """Try what Landlock alone refuses; it needs the bit that `lock_down` sets before."""
    tries = actions(Prepared())
    _checked(LIBC.prctl(38, 1, 0, 0, 0))
    say(abi=lockdown.restrict_by_landlock(LIBC))
    for name, act in tries.items():
        if name != "execute a program":
            say(action=name, error=outcome(act))


def wait(seconds: float, lock: str) -> None:
    """Say when locked, and be looked at."""
    Runner(2, 0)
    if lock == "locked":
        lockdown.lock_down(lock_memory=os.geteuid() == 0)
    say(ready=True)
    time.sleep(seconds)


def peer(lock: str) -> None:
    """Without privileges, look at a process of the same user that is locked down or not."""
    reading, writing = os.pipe()
    if os.geteuid() == 0:
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
    LIBC.prctl(4, 1, 0, 0, 0)  # as after the start of a program; setuid(2) takes it away
    started = os.fork()
    if started == 0:
        if lock == "locked":
            lockdown.lock_down(lock_memory=False)
        os.write(writing, b"x")
        time.sleep(60)
        os._exit(1)
    os.read(reading, 1)
    tries: dict[str, Callable[[], object]] = {
        "memory": lambda: os.open(f"/proc/{started}/mem", os.O_RDONLY),
        "maps": lambda: Path(f"/proc/{started}/maps").read_text(),
        "descriptors": lambda: os.listdir(f"/proc/{started}/fd"),
        "environment": lambda: Path(f"/proc/{started}/environ").read_bytes(),
        "trace": lambda: call("ptrace", PTRACE_SEIZE, started, 0, 0),
    }
    for name, act in tries.items():
        say(action=name, error=outcome(act))
    os.kill(started, signal.SIGKILL)
    os.waitpid(started, 0)


def abort(lock: str) -> None:
    """End by abort(3), in a folder that could take a dump."""
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    limit = resource.RLIM_INFINITY if os.geteuid() == 0 else hard
    resource.setrlimit(resource.RLIMIT_CORE, (limit, limit))
    if lock == "locked":
        lockdown.lock_down(lock_memory=os.geteuid() == 0)
    os.abort()


def imports() -> None:
    """Let a task import what is not there, and end by an exception of our own."""
    lockdown.lock_down(lock_memory=False)

    def task(_: bhttp.Request) -> bhttp.Response:
        import colorsys  # of the standard library, and used by nothing here

        return bhttp.Response(200, (), repr(colorsys).encode())

    answer = run_task(lambda: bhttp.Request(b"GET", b"https", b"a.example", b"/", (), b""), None, task, 0.0)
    assert isinstance(answer, bhttp.Response)
    say(status=answer.status, content=answer.content.decode())
    raise KeyError("whose traceback can name no line of source")


def unprivileged() -> None:
    """Lock memory without leave."""
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (1 << 16, 1 << 16))
    if os.geteuid() == 0:
        os.setresuid(65534, 65534, 65534)
    try:
        lockdown.lock_down(lock_memory=True)
    except ConfigError as exc:
        say(refused=str(exc))


def worker(arguments: list[str], *, fails: bool = False) -> int:
    """Serve as a worker does, and write down every module that is looked for after lockdown."""

    class Finder(importlib.abc.MetaPathFinder):
        def find_spec(self, name: str, path: object, target: object = None) -> None:
            os.write(1, f"{name}\n".encode())

    def lock_down(*, lock_memory: bool) -> lockdown.Locked:
        locked = lockdown.lock_down(lock_memory=lock_memory and os.geteuid() == 0)
        if fails:
            raise ConfigError("locked down, and still able to do it")
        sys.meta_path.insert(0, Finder())
        return locked

    def collect(measured: bytes, models: Mapping[str, Path]) -> tuple[Manifest, Watch]:
        _, watch = collect_and_watch(measured, models)
        return load_manifest(Path(arguments[arguments.index("--config") + 1]).with_name("worker.manifest")), watch

    # What measures must not meet this program, which is no part of a worker and of no release.
    with (
        patch.object(inference_main, "isolate", lambda *_: None),
        patch.object(inference_worker, "collect_and_watch", collect),
        patch.object(inference_worker, "lock_down", lock_down),
    ):
        return inference_main.main(arguments)


def cost(requests: int, lock: str) -> None:
    """Open, summarize and seal in a process of its own; say how many microseconds of a core one request takes."""
    task = Tasks(SentenceEncoder(MODEL, 1)).handle
    key = PrivateKey.generate(hpke.KEM_XWING)
    config = KeyConfig(0, key.kem, key.public_key, (SymmetricAlgorithms(hpke.KDF_HKDF_SHA256, hpke.AEAD_AES_128_GCM),))
    lines = [line for line in CHAT.read_text().splitlines() if line][:12]
    content = encode(SummarizeRequest(messages=tuple(Message(sender="A", text=line) for line in lines)))
    fields = (bhttp.Field(b"content-type", b"application/json"),)
    message = bhttp.serialize_request(bhttp.Request(b"POST", b"https", b"a.example", b"/v1/summarize", fields, content))
    here, there = socket.socketpair()
    if lock == "locked":
        lockdown.lock_down(lock_memory=os.geteuid() == 0)
    spent = 0.0
    for number in range(-WARM, requests):
        data, opener = encapsulate_request(config, message)
        here.send(data)
        began = time.process_time()
        opened = open_request(there.recv(1 << 20), {0: HeldKey(config, key)}, lambda _id, _enc: None)
        answered = answer_request(opened, task, 0.0)
        assert isinstance(answered, bytes)  # rules and highlights take no event loop
        there.send(answered)
        spent += time.process_time() - began if number >= 0 else 0.0
        assert bhttp.parse_response(opener.open(here.recv(1 << 20))).status == 200
    say(microseconds=1e6 * spent / requests)


def main(what: str, *arguments: str) -> None:
    """Run one of them."""
    match what:
        case "attack":
            asyncio.run(attack())
        case "free":
            free(list(arguments))
        case "landlock":
            landlock()
        case "wait":
            wait(float(arguments[0]), arguments[1])
        case "peer":
            peer(arguments[0])
        case "abort":
            abort(arguments[0])
        case "imports":
            imports()
        case "unprivileged":
            unprivileged()
        case "worker":
            sys.exit(worker(list(arguments)))
        case "failing":
            sys.exit(worker(list(arguments), fails=True))
        case "cost":
            cost(int(arguments[0]), arguments[1])


if __name__ == "__main__":
    main(*sys.argv[1:])
