"""The manifest: the same on every machine, complete, and impossible to take with bytecode about.

What is measured is a process, so most tests start one: this one runs with bytecode and could not be measured.
"""

import importlib.machinery
import importlib.util
import py_compile
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

import inference
import seclude
from inference.loaded import mapped_files, source_of
from seclude.errors import ConfigError
from seclude.manifest import Manifest, compare, parse_manifest, render_manifest

# The probe is measured too, so whatever varies comes as an argument.
PROBE = """
import sys
from pathlib import Path
from inference.manifest import collect
from seclude.errors import ConfigError
from seclude.manifest import render_manifest
config, model, before, after = sys.argv[1:]
exec(before)
try:
    manifest = collect(config.encode(), {"model": Path(model)})
except ConfigError as exc:
    print("refused:", exc)
else:
    exec(after)
    print(render_manifest(manifest))
"""
FLAGS = ("-B", "-X", "pycache_prefix=/nonexistent/cache")


def checkout(folder: Path) -> Path:
    """Copy our own sources to a folder, as another checkout has them."""
    ignore = shutil.ignore_patterns("__pycache__")
    for package in (inference, seclude):
        source = Path(str(package.__file__)).parent
        shutil.copytree(source, folder / source.name, ignore=ignore)
    return folder


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkout(Path(tmp_path_factory.mktemp("checkout")))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(tmp_path_factory.mktemp("model"))
    (folder / "model.onnx").write_bytes(b"weights")
    (folder / "tokenizer.json").write_text("{}")
    return folder


def run(
    tree: Path,
    model: Path,
    *,
    config: str = "config",
    before: str = "",
    after: str = "",
    flags: tuple[str, ...] = FLAGS,
    cwd: Path | None = None,
) -> str:
    (tree / "probe.py").write_text(PROBE)
    done = subprocess.run(
        [sys.executable, *flags, "-m", "probe", config, str(model), before, after],
        cwd=cwd or tree,
        env={"PYTHONPATH": str(tree), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def measure(tree: Path, model: Path, *, config: str = "config", before: str = "", cwd: Path | None = None) -> Manifest:
    return parse_manifest(run(tree, model, config=config, before=before, cwd=cwd))


def paths(manifest: Manifest) -> list[str]:
    return [entry.path for entry in manifest.entries]


def test_two_processes_have_the_same_manifest(tree: Path, model: Path) -> None:
    assert measure(tree, model) == measure(tree, model)


def test_another_folder_has_the_same_manifest(tree: Path, model: Path, tmp_path: Path) -> None:
    here = measure(tree, model)
    assert measure(checkout(tmp_path / "another" / "check out"), model) == here
    assert measure(tree, model, cwd=tmp_path) == here
    assert measure(tree, model, cwd=Path("/")) == here
    assert measure(tree, Path(shutil.copytree(model, tmp_path / "model"))) == here
    assert str(tree) not in render_manifest(here)
    assert sys.prefix not in render_manifest(here)


def test_everything_has_a_name_of_its_kind(tree: Path, model: Path) -> None:
    manifest = measure(tree, model, before="import cryptography.x509, ssl")
    names = paths(manifest)
    assert names == sorted(names)
    for expected in ("app/inference/manifest.py", "app/probe.py", "config/measured", "model/model.onnx"):
        assert expected in names
    assert {name.split("/")[0] for name in names} <= {"app", "config", "model", "python", "site", "system"}
    assert any(name.startswith("site/cryptography/hazmat/bindings/_rust") for name in names)
    assert any(name.endswith("/libc.so.6") for name in names)


def test_nothing_that_was_imported_or_mapped_is_missing(tree: Path, model: Path) -> None:
    after = """
import hashlib
known = {entry.sha256 for entry in manifest.entries}
files = {line.split(maxsplit=5)[5] for line in open("/proc/self/maps") if " r-xp " in line and " /" in line}
frozen = [m for m in sys.modules.values() if getattr(getattr(m, "__spec__", None), "origin", None) == "frozen"]
files |= {m.__file__ for m in sys.modules.values() if m not in frozen and getattr(m, "__file__", None)}
missing = [f for f in files if hashlib.sha256(open(f.strip(), "rb").read()).digest() not in known]
print(len(files), missing)
"""
    out = run(tree, model, before="import asyncio, cryptography.x509, msgspec", after=after)
    count, missing = out.splitlines()[0].split(" ", 1)
    assert int(count) > 100
    assert missing == "[]"


def test_a_changed_configuration_is_other_software(tree: Path, model: Path) -> None:
    before, after = measure(tree, model), measure(tree, model, config="cOnfig")
    assert before.digest != after.digest
    assert compare(before, after) == ("changed: config/measured",)


def test_a_changed_source_model_or_mode_is_other_software(model: Path, tmp_path: Path) -> None:
    tree = checkout(tmp_path / "tree")
    changed = Path(shutil.copytree(model, tmp_path / "model"))
    before = measure(tree, changed)
    (changed / "model.onnx").write_bytes(b"Weights")
    assert compare(before, measure(tree, changed)) == ("changed: model/model.onnx",)
    (changed / "model.onnx").write_bytes(b"weights")
    (changed / "extra.bin").touch()
    assert compare(before, measure(tree, changed)) == ("new: model/extra.bin",)
    (changed / "extra.bin").unlink()
    (tree / "seclude" / "errors.py").chmod(0o755)
    assert compare(before, measure(tree, changed)) == ("changed: app/seclude/errors.py",)
    (tree / "seclude" / "errors.py").chmod(0o600)  # what counts of a mode is what git keeps
    assert measure(tree, changed) == before
    with (tree / "seclude" / "errors.py").open("a") as file:
        file.write("# one more line\n")
    assert compare(before, measure(tree, changed)) == ("changed: app/seclude/errors.py",)


def test_a_model_behind_symbolic_links_is_measured_by_content(tree: Path, model: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    linked.mkdir()
    for name in ("model.onnx", "tokenizer.json"):
        (linked / name).symlink_to(model / name)
    assert measure(tree, linked) == measure(tree, model)


def test_a_path_that_is_not_utf_8_is_refused(tree: Path, model: Path, tmp_path: Path) -> None:
    odd = Path(shutil.copytree(model, tmp_path / "model"))
    (odd / "odd\udcff").touch()
    assert "refused: a file's path is not UTF-8" in run(tree, odd)


def test_a_file_that_cannot_be_read_is_refused(tree: Path, model: Path) -> None:
    before = "import inference.manifest as m; m.loaded_files = lambda: [('app/x', Path('/nonexistent/x'))]"
    assert "refused: cannot read app/x to measure it: No such file" in run(tree, model, before=before)
    before = "import inference.manifest as m; m.loaded_files = lambda: [('app/x', Path('/dev/null'))]"
    assert "refused: app/x is not a regular file" in run(tree, model, before=before)


def test_without_a_model_there_is_nothing_to_measure(tree: Path, tmp_path: Path) -> None:
    assert "no model" in run(tree, tmp_path / "missing")


@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("-B",),
        ("-X", "pycache_prefix=/nonexistent/cache"),
        ("-B", "-X", "pycache_prefix=/usr"),
        (*FLAGS, "-O"),
    ],
)
def test_an_interpreter_that_could_run_bytecode_is_refused(model: Path, tmp_path: Path, flags: tuple[str, ...]) -> None:
    assert "refused: run Python with" in run(checkout(tmp_path / "tree"), model, flags=flags)


def test_a_module_without_source_is_refused(tree: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "hidden.py").write_text("x = 1\n")
    py_compile.compile(str(tmp_path / "hidden.py"), cfile=str(tmp_path / "hidden.pyc"))
    (tmp_path / "hidden.py").unlink()
    before = f"sys.path.append({str(tmp_path)!r}); import hidden"
    assert "refused: module hidden was loaded by SourcelessFileLoader" in run(tree, model, before=before)


def test_a_module_from_an_archive_is_refused(tree: Path, model: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.writestr("zipped.py", "x = 1\n")
    before = f"sys.path.append({str(tmp_path / 'archive.zip')!r}); import zipped"
    assert "refused: module zipped was loaded by zipimporter" in run(tree, model, before=before)


def test_a_module_whose_file_is_gone_is_refused(tree: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "gone.py").write_text("x = 1\n")
    before = f"sys.path.append({str(tmp_path)!r}); import gone; Path(gone.__file__).unlink()"
    assert "refused: module gone has no file" in run(tree, model, before=before)


def test_a_mapped_file_that_was_deleted_is_refused(tree: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(bytes(4096))
    before = (
        f"import mmap; path = Path({str(tmp_path / 'data')!r}); file = path.open('rb'); "
        "m = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ); path.unlink()"
    )
    assert "refused: a mapped file has no readable path" in run(tree, model, before=before)


def test_start_up_files_that_run_code_are_measured(tree: Path, model: Path, tmp_path: Path) -> None:
    packages = tmp_path / "site-packages"
    packages.mkdir()
    (packages / "runs.pth").write_text("/some/folder\nimport os\n")
    (packages / "names.pth").write_text("/some/folder\n/important\n")
    names = paths(measure(tree, model, before=f"sys.path.append({str(packages)!r})"))
    assert "site/runs.pth" in names
    assert "site/names.pth" not in names


def test_two_files_with_one_name_are_refused(tree: Path, model: Path, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        packages = tmp_path / folder / "site-packages"
        packages.mkdir(parents=True)
        (packages / "runs.pth").write_text("import os\n")
    before = "; ".join(f"sys.path.append({str(tmp_path / each / 'site-packages')!r})" for each in ("one", "two"))
    assert "refused: two files would both be site/runs.pth" in run(tree, model, before=before)


def test_a_namespace_package_has_no_file_but_its_modules_do(tree: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "space").mkdir()
    (tmp_path / "space" / "inner.py").write_text("x = 1\n")
    names = paths(measure(tree, model, before=f"sys.path.append({str(tmp_path)!r}); import space.inner"))
    assert "app/space/inner.py" in names


def test_modules_of_the_interpreter_have_no_source() -> None:
    assert source_of("sys", sys) is None
    frozen = ModuleType("frozen")
    frozen.__spec__ = importlib.util.find_spec("zipimport")
    assert source_of("frozen", frozen) is None
    assert source_of("made", ModuleType("made")) is None


def test_a_program_without_a_file_is_refused() -> None:
    with pytest.raises(ConfigError, match="program has no file"):
        source_of("__main__", ModuleType("__main__"))


def test_a_module_with_bytecode_beside_it_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "cached.py"
    source.write_text("x = 1\n")
    module = ModuleType("cached")
    module.__spec__ = importlib.util.spec_from_file_location("cached", source)
    assert module.__spec__ is not None
    module.__spec__.cached = str(tmp_path / "cached.bin")
    assert source_of("cached", module) == source.resolve()
    (tmp_path / "cached.bin").touch()
    with pytest.raises(ConfigError, match="module cached has bytecode"):
        source_of("cached", module)


def test_a_loader_that_is_not_the_interpreters_is_refused(tmp_path: Path) -> None:
    class Loader(importlib.machinery.SourceFileLoader):
        pass

    module = ModuleType("odd")
    path = str(tmp_path / "odd.py")
    module.__spec__ = importlib.util.spec_from_file_location("odd", path, loader=Loader("odd", path))
    with pytest.raises(ConfigError, match="loaded by Loader"):
        source_of("odd", module)


MAPS = """\
55e0c0a00000-55e0c0a01000 r--p 00000000 fe:00 1001                       /usr/bin/python
55e0c0a01000-55e0c0a02000 r-xp 00001000 fe:00 1001                       /usr/bin/python
55e0c1b00000-55e0c1c00000 rw-p 00000000 00:00 0                          [heap]
7f0000000000-7f0000021000 rw-p 00000000 00:00 0
7f0000100000-7f0000107000 r--s 00000000 fe:00 1002                       /usr/lib/gconv-modules.cache
7f0000200000-7f0000207000 r-xs 00000000 fe:00 1003                       /usr/lib/shared code.so
7f0000300000-7f0000301000 r-xp 00000000 00:00 0                          [vdso]
"""


def test_maps_are_read_as_the_kernel_writes_them() -> None:
    assert mapped_files(MAPS) == {Path("/usr/bin/python").resolve(), Path("/usr/lib/shared code.so")}


@pytest.mark.parametrize("path", ["/usr/lib/old.so (deleted)", "/memfd:code (deleted)", "/usr/lib/line\\012break.so"])
def test_a_mapping_without_a_readable_path_is_refused(path: str) -> None:
    with pytest.raises(ConfigError, match="no readable path"):
        mapped_files(MAPS + f"7f0000400000-7f0000401000 r-xp 00000000 fe:00 9 {path}\n")
