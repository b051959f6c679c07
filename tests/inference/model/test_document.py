"""docs/models.md: its commands run, its configuration is one, and it names what there is."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import msgspec
import pytest

from inference.config import Launch, Measured
from inference.engine.layout import FILES
from inference.engine.template import Kind
from inference.model.pins import MODELS
from inference.model.progress import MEGABYTE
from tests.exports import tiny
from tests.inference.convert import tiny as gguf
from tests.inference.model.models import CHATML, copied
from tests.running import ROOT

TEXT = (ROOT / "docs" / "models.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def test_the_commands_run_one_after_another(tmp_path: Path) -> None:
    """With models of the right kinds where the reader has their own."""
    copied(tiny("tiny-bart"), tmp_path / "exports" / "my-summariser")
    gguf.write(tmp_path / "my-model.gguf", gguf.metadata() | {"tokenizer.chat_template": CHATML})
    script = tmp_path / "bin" / "seclude-model"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m inference.model "$@"\n')
    script.chmod(0o755)
    environment = os.environ | {"PATH": f"{script.parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    commands = "".join(block for language, block in BLOCKS if language == "sh")
    done = subprocess.run(
        ["bash", "-e", "-c", commands], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=50
    )
    assert done.returncode == 0, done.stderr
    assert "imported: models/my-summariser" in done.stdout
    assert "converted: models/my-model" in done.stdout
    assert {path.name for path in (tmp_path / "models").iterdir()} == {"my-model", "my-summariser"}


def test_the_configuration_is_one() -> None:
    (block,) = [block for language, block in BLOCKS if language == "toml"]
    said = tomllib.loads(block)
    for name, settings in said["measured"].items():
        kind = next(field.type for field in msgspec.structs.fields(Measured) if field.name == name)
        msgspec.convert(settings, kind)
    assert said["launch"].keys() <= {field.name for field in msgspec.structs.fields(Launch)}


def test_every_model_layout_and_template_is_named() -> None:
    for model in MODELS.values():
        assert f"{model.name}  {model.size / MEGABYTE:.0f} MB  {model.licence}" in TEXT
        assert model.purpose in TEXT
    assert [name for names in FILES.values() for name in names if f"`{name}`" not in TEXT] == []
    assert f"one of {'seven' if len(Kind) == 7 else len(Kind)} kinds" in TEXT


@pytest.mark.parametrize("verb", ["install", "import", "convert", "inspect", "check", "bench"])
def test_every_verb_is_shown(verb: str) -> None:
    assert f"seclude-model {verb} " in TEXT
