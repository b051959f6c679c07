"""The measured launch: what is not the software of the manifest is not launched, and what surrounds it changes nothing.

Workers run from a copy of the sources, in an environment that looks like a virtual one. What `/etc/ld.so.preload` names
is mapped into every process of a machine: no test may write there. It would be mapped into the worker too, and so be an
entry of the manifest, as every file that is mapped is.

A worker replaces itself once by an interpreter that it knows, so whoever sets its environment still runs code in the
process before that. It never runs in the worker.
"""

import importlib.util
import marshal
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from inference.attesting import MAX_MESSAGE, READY, parse_answer
from inference.config import Attestation, WorkerConfig
from inference.isolate import ENVIRONMENT, OPTIONS
from inference.manifest import CONFIG, hash_file, load_manifest
from inference.producers.simulated import create_simulated_platform
from seclude.attestation.accept import SimulatedTable
from seclude.attestation.policy import Demonstration
from seclude.attestation.slots import Slots
from seclude.daemon.config import load
from seclude.manifest import Entry, Manifest, render_manifest
from tests.stack.tpmstack import Checkout, write_config

LAUNCH = "this machine does not hold the software of the manifest: "
OWN_LOOK = "this is not the software of "


class Place:
    """A checkout, and a configuration with the manifest of the checkout as it was made."""

    def __init__(self, checkout: Checkout, config: Path) -> None:
        self.checkout = checkout
        self.config = config

    @property
    def platform(self) -> Path:
        """Where the SIMULATED platform has its key."""
        return Path(str(load(self.config, WorkerConfig).launch.attestation.platform))

    @property
    def manifest(self) -> Path:
        return self.config.with_name("worker.manifest")

    @property
    def app(self) -> Path:
        return self.checkout.app

    def start(self) -> str:
        """Start the worker, which does not start, and return why."""
        done = self.checkout.run("--config", str(self.config))
        assert done.returncode == 2, done.stderr
        return done.stderr.splitlines()[-1].removeprefix("seclude-worker: ")

    def launch(self) -> str:
        """Run the attest helper with what a worker starts it with; return why it launches nothing, or nothing."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            asks = ["--format", "simulated", "--platform", str(self.platform), "--launch", str(self.config)]
            command = [str(self.checkout.python), *OPTIONS, "-m", "inference.attesting", *asks]
            process = subprocess.Popen(
                [*command, "--fd", str(theirs.fileno())], env=ENVIRONMENT, pass_fds=(theirs.fileno(),)
            )
            theirs.close()
            answer = parse_answer(ours.recv(MAX_MESSAGE))
        assert process.wait(10) == (0 if answer.status == READY else 2)
        return answer.content.decode()

    @contextmanager
    def running(self, **environment: str) -> Iterator[int]:
        """Run the worker until it is ready, for the length of a block that gets its process."""
        command = self.checkout.command("--config", str(self.config))
        with subprocess.Popen(
            command, cwd=self.app.parent, stderr=subprocess.PIPE, env=environment, text=True
        ) as process:
            assert process.stderr is not None
            lines = []
            try:
                for line in process.stderr:
                    lines.append(line)
                    if '"event":"ready"' in line:
                        yield process.pid
                        break
                else:
                    pytest.fail("".join(lines))
            finally:
                process.kill()


@pytest.fixture(scope="module")
def configured(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a configuration and its manifest."""
    folder = Path(tmp_path_factory.mktemp("configured"))
    root = create_simulated_platform(folder / "platform", time.time()).root
    policy = Demonstration(simulated=SimulatedTable(roots=(root,)))
    attestation = Attestation(format="simulated", platform=str(folder / "platform"))
    config = write_config(folder / "worker.toml", Slots(int(time.time()) - 60, 600), policy, model, attestation)
    Checkout(folder / "checkout").make().manifest(config, folder / "worker.manifest")
    return folder


@pytest.fixture
def place(configured: Path, tmp_path: Path) -> Place:
    """A fresh checkout, which a test may change, with its own copy of the configuration."""
    text = (configured / "worker.toml").read_text()
    for name in ("worker.toml", "worker.manifest"):
        shutil.copy(configured / name, tmp_path)
    manifest = str(tmp_path / "worker.manifest")
    (tmp_path / "worker.toml").write_text(text.replace(str(configured / "worker.manifest"), manifest))
    checkout = Checkout(tmp_path / "checkout").make(configured / "checkout" / "app")
    return Place(checkout, tmp_path / "worker.toml")


MODULE = "inference/tasks/words.py"  # the helper does not need it itself


def change(app: Path) -> None:
    with (app / MODULE).open("a") as file:
        file.write("# one more line\n")


def remove(app: Path) -> None:
    (app / MODULE).unlink()


def rename(app: Path) -> None:
    (app / MODULE).rename(app / "inference" / "tasks" / "terms.py")


def let_execute(app: Path) -> None:
    (app / MODULE).chmod(0o755)


def link_file(app: Path) -> None:
    shutil.move(app / MODULE, app.parent / "words.py")
    (app / MODULE).symlink_to(app.parent / "words.py")


def link_folder(app: Path) -> None:
    shutil.move(app / "inference" / "tasks", app.parent / "tasks")
    (app / "inference" / "tasks").symlink_to(app.parent / "tasks")


def link_package(app: Path) -> None:
    shutil.move(app / "inference", app.parent / "inference")
    (app / "inference").symlink_to(app.parent / "inference")


def put_package_before(app: Path) -> None:
    package = (app / MODULE).with_suffix("")
    package.mkdir()
    shutil.copy(app / MODULE, package / "__init__.py")


def put_library_before(app: Path) -> None:
    (app / MODULE).with_suffix(".abi3.so").touch()


CHANGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "a changed file": (change, f"{LAUNCH}changed: app/{MODULE}"),
    "a missing file": (remove, f"{LAUNCH}missing: app/{MODULE}"),
    "a renamed file with the same octets": (rename, f"{LAUNCH}missing: app/{MODULE}"),
    "a changed mode": (let_execute, f"{LAUNCH}changed: app/{MODULE}"),
    "a link in place of a file": (link_file, f"app/{MODULE} is a symbolic link, or lies behind one"),
    "a link in place of a folder": (link_folder, "app/inference/tasks/.* is a symbolic link, or lies behind one"),
    "a link in place of a package": (link_package, "app/inference/.* is a symbolic link, or lies behind one"),
    "a package before a module": (put_package_before, f"app/{MODULE} is not what an import finds: __init__.py comes"),
    "a library before a module": (put_library_before, f"app/{MODULE} is not what an import finds: words.abi3.so comes"),
}


@pytest.mark.parametrize(("act", "sentence"), CHANGES.values(), ids=CHANGES.keys())
def test_other_software_than_the_manifests_is_not_launched(
    place: Place, act: Callable[[Path], None], sentence: str
) -> None:
    act(place.app)
    assert re.match(sentence, place.launch())


def test_what_is_as_the_manifest_says_is_launched(place: Place) -> None:
    assert place.launch() == ""


def test_a_worker_whose_file_was_changed_does_not_start(place: Place) -> None:
    change(place.app)
    assert place.start() == f"{LAUNCH}changed: app/{MODULE}"


def test_a_module_that_is_in_nobodys_way_is_for_the_workers_own_look(place: Place) -> None:
    """The launch finds all that the manifest has; the worker finds that it has one module more."""
    hook = place.app / "inference" / "tasks" / "__init__.py"
    hook.write_text(f"{hook.read_text()}\ntry:\n    import inference.tasks.more\nexcept ImportError:\n    pass\n")
    place.checkout.manifest(place.config, place.manifest)
    (place.app / "inference" / "tasks" / "more.py").touch()
    assert place.launch() == ""
    assert re.match(f"{OWN_LOOK}.*: new: app/inference/tasks/more.py$", place.start())


def test_a_module_beside_the_packages_is_never_imported_for_one_of_the_interpreter(place: Place) -> None:
    for name in ("json.py", "msgspec.py"):
        (place.app / name).write_text("raise SystemExit('it ran')\n")
    before = place.manifest.read_text()
    assert place.launch() == ""
    place.checkout.manifest(place.config, place.manifest)
    assert place.manifest.read_text() == before
    control = [str(place.checkout.python), "-m", "inference", "check-config", "--config", str(place.config)]
    done = subprocess.run(control, cwd=place.app, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "it ran\n"), "an interpreter that is not isolated takes it"


@pytest.mark.parametrize("name", ["sitecustomize.py", "usercustomize.py", "more.pth"])
def test_what_an_interpreter_would_run_unasked_is_not_launched(place: Place, name: str) -> None:
    (place.checkout.site / name).write_text("import json\n")
    assert re.match(f"{LAUNCH}new: \\S*{name}$", place.launch())


def test_a_path_file_that_only_names_folders_is_no_software(place: Place) -> None:
    (place.checkout.site / "folders.pth").write_text("/nonexistent\n")
    assert place.launch() == ""


@pytest.mark.parametrize("name", ["app/../app/seclude/wire.py", "app//etc/passwd", "app/./seclude/wire.py", "app/.."])
def test_a_name_that_leads_out_of_its_folder_is_refused(place: Place, name: str) -> None:
    manifest = load_manifest(place.manifest)
    entries = tuple(sorted((*manifest.entries, Entry(name, 0o644, 0, bytes(32)))))
    place.manifest.write_text(render_manifest(Manifest(entries)))
    assert place.launch() == f"{name!a} leads out of its folder"


def test_each_model_is_measured_under_the_name_of_its_place(place: Place) -> None:
    text, folder = place.config.read_text(), place.config.parent / "spoken"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"weights")
    own = {"language": "language_model", "summariser": "summariser"}
    lines = "".join(f'{key} = "{folder}"\n' for key in own.values())
    place.config.write_text(text.replace("[launch]\n", f"[launch]\n{lines}"))
    entries = [hash_file(f"{word}/model.onnx", folder / "model.onnx") for word in own]
    manifest = load_manifest(place.manifest)
    place.manifest.write_text(render_manifest(Manifest(tuple(sorted([*manifest.entries, *entries])))))
    assert place.launch() == ""
    (folder / "model.onnx").write_bytes(b"Weights")
    assert place.launch() == f"{LAUNCH}changed: language/model.onnx, summariser/model.onnx"
    (folder / "model.onnx").unlink()
    assert place.launch() == f"{LAUNCH}missing: language/model.onnx, summariser/model.onnx"


def test_a_changed_model_or_configuration_is_not_launched(place: Place) -> None:
    text = place.config.read_text()
    place.config.write_text(text.replace("period_seconds = 600", "period_seconds = 60"))
    assert place.launch() == f"{LAUNCH}changed: {CONFIG}"
    model = place.config.parent / "model"
    model.mkdir()
    (model / "model.onnx").touch()
    place.config.write_text(re.sub('model = ".*"', f'model = "{model}"', text))
    assert re.match(f"{LAUNCH}changed: model/model.onnx; missing: model/", place.launch())


def test_bytecode_never_runs_in_the_worker(place: Place) -> None:
    ran, source = place.config.with_name("ran"), place.app / MODULE
    tell = f"import sys\nopen({str(ran)!r}, 'a').write(f'{{sys.dont_write_bytecode}} ')\n"
    code = compile(f"{source.read_text()}\n{tell}", str(source), "exec", dont_inherit=True)
    cached = Path(importlib.util.cache_from_source(str(source)))
    cached.parent.mkdir()
    believed = (1).to_bytes(4, "little") + bytes(8)  # without a look at the source (PEP 552)
    cached.write_bytes(importlib.util.MAGIC_NUMBER + believed + marshal.dumps(code))
    subprocess.run(
        [str(place.checkout.python), "-c", "import inference.tasks.words"], cwd=place.app, env={}, check=True
    )
    assert ran.read_text() == "False ", "another interpreter runs it, so what follows can fail"
    with place.running():
        assert "True" not in ran.read_text()


def preload(folder: Path) -> dict[str, str]:
    """A library that stands for any other: it is mapped, and then does nothing."""
    found = importlib.util.find_spec("msgspec._core")
    assert found is not None
    assert found.origin is not None
    return {"LD_PRELOAD": str(shutil.copy(Path(found.origin), folder / "preloaded.so"))}


def add_path(folder: Path) -> dict[str, str]:
    (folder / "path").mkdir()
    (folder / "path" / "sitecustomize.py").write_text("print('preloaded')\n")
    return {"PYTHONPATH": str(folder / "path")}


def start_up(folder: Path) -> dict[str, str]:
    (folder / "startup.py").write_text("print('preloaded')\n")
    return {"PYTHONSTARTUP": str(folder / "startup.py")}


WAYS_IN = (preload, add_path, start_up)
MAPS = "print(open('/proc/self/maps').read())"


@pytest.mark.parametrize("way", WAYS_IN)
def test_another_interpreter_takes_what_its_environment_gives_it(
    tmp_path: Path, way: Callable[[Path], dict[str, str]]
) -> None:
    """So the next test can fail."""
    done = subprocess.run([sys.executable, "-i"], env=way(tmp_path), input=MAPS, capture_output=True, text=True)
    assert "preloaded" in done.stdout


def test_a_worker_and_its_helper_take_nothing_from_their_environment(place: Place, tmp_path: Path) -> None:
    given = {name: value for way in WAYS_IN for name, value in way(tmp_path).items()}
    with place.running(**given) as pid:  # so what it mapped and imported is what the manifest says
        (helper,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        environment = Path(f"/proc/{helper}/environ").read_text()
        maps = Path(f"/proc/{helper}/maps").read_text()
    names = {line.partition("=")[0] for line in re.split("[\0:]", environment)}  # the C library cuts tunables apart
    assert {name for name in names if name.isupper()} == set(ENVIRONMENT)
    assert "libc.so.6" in maps
    assert "preloaded" not in maps
