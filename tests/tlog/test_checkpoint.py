"""Checkpoints have three lines and one text."""

import pytest

from seclude.errors import DecodeError, UsageError
from seclude.tlog.canonical import to_base64
from seclude.tlog.checkpoint import Checkpoint, parse_checkpoint, render_checkpoint
from seclude.tlog.merkle import EMPTY_ROOT

# C2SP tlog-checkpoint.
TEXT = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
ROOT = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="


def test_the_example_of_the_specification_is_read_and_written() -> None:
    checkpoint = parse_checkpoint(TEXT)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert render_checkpoint(checkpoint) == TEXT


def test_an_empty_tree_has_the_hash_of_nothing() -> None:
    empty = Checkpoint("a log with spaces", 0, EMPTY_ROOT)
    assert parse_checkpoint(render_checkpoint(empty)) == empty
    with pytest.raises(DecodeError, match="hash of nothing"):
        parse_checkpoint(f"o\n0\n{ROOT}\n")


@pytest.mark.parametrize("cut", range(len(TEXT)))
def test_every_truncation_is_refused(cut: int) -> None:
    with pytest.raises(DecodeError):
        parse_checkpoint(TEXT[:cut])


@pytest.mark.parametrize(
    "text",
    [
        TEXT + "extension\n",
        TEXT + "\n",
        TEXT + " ",
        "\n" + TEXT,
        f"\n1\n{ROOT}\n",
        f"o\x01\n1\n{ROOT}\n",
        f"o\r\n1\n{ROOT}\n",
        f"{'o' * 256}\n1\n{ROOT}\n",
        f"o\n01\n{ROOT}\n",
        f"o\n-1\n{ROOT}\n",
        f"o\n\n{ROOT}\n",
        f"o\n{2**63}\n{ROOT}\n",
        f"o\n1\n{ROOT} \n",
        f"o\n1\n{ROOT[:-2]}J=\n",
        f"o\n1\n{to_base64(bytes(31))}\n",
        f"o\n1\n{to_base64(bytes(33))}\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        parse_checkpoint(text)


@pytest.mark.parametrize(
    "checkpoint",
    [
        Checkpoint("", 1, bytes(32)),
        Checkpoint("o\n", 1, bytes(32)),
        Checkpoint("o", -1, bytes(32)),
        Checkpoint("o", 2**63, bytes(32)),
        Checkpoint("o", 1, bytes(31)),
    ],
)
def test_what_could_not_be_read_again_is_not_written(checkpoint: Checkpoint) -> None:
    with pytest.raises(UsageError):
        render_checkpoint(checkpoint)
