"""A language model for tests: a real one that the environment names, or a small one of random weights, made here."""

import os
from pathlib import Path

import pytest

from inference.convert.folder import convert
from tests.inference.convert import tiny

NAMED = "SECLUDE_LANGUAGE_MODEL"
CONTEXT = 2048  # so that an instruction, a token for each octet, finds room
CHATML = "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>'}}"


def language_model(folder: Path) -> Path:
    """Return the folder of the one that is named, or make the small one there."""
    return named_model() if os.environ.get(NAMED) else small_model(folder)


def named_model() -> Path:
    """Return the folder of the one that is named; where none is, the test is skipped."""
    named = os.environ.get(NAMED)
    if not named:
        pytest.skip(f"{NAMED} names no language model")
    return Path(named).resolve()


def small_model(folder: Path, *, context: int = CONTEXT) -> Path:
    """Make a decoder of two layers in `folder`, from a GGUF file as llama.cpp has them; it writes octets by chance."""
    said = tiny.metadata() | {"llama.context_length": context, "tokenizer.chat_template": CHATML}
    convert(tiny.write(folder / "small.gguf", said), folder / "small-chat")
    return folder / "small-chat"
