"""Byte-pair encoding in Python, against the library that it stands in for."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from inference.convert.vocabulary import LLAMA_3
from inference.engine import bytepair
from inference.engine.bytepair import BytePairs, load_pairs
from inference.runner import GivenUpError
from seclude.errors import ConfigError

LETTERS = pre_tokenizers.ByteLevel.alphabet()
CUTS: dict[str, list[pre_tokenizers.PreTokenizer]] = {
    "gpt-2": [pre_tokenizers.ByteLevel(add_prefix_space=False)],
    "smollm": [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)],
    "llama-3": [
        pre_tokenizers.Split(Regex(LLAMA_3), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ],
}
KINDS = [*CUTS, "sentencepiece"]
CORPUS = [path.read_text() for path in sorted(Path(__file__).parents[3].glob("docs/s*.md"))]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tokenizer of each kind, taught with our own documents."""
    place = tmp_path_factory.mktemp("bytepair")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOKENIZERS_PARALLELISM", "false")  # threads that would outlive the test
        return {kind: train(place / f"{kind}.json", kind) for kind in KINDS}


def train(path: Path, kind: str) -> Path:
    marks = ["<|im_end|>", "</s>"]
    if kind in CUTS:
        tokenizer = Tokenizer(models.BPE(ignore_merges=kind == "llama-3"))
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(CUTS[kind])
        corpus, extra = CORPUS, []
    else:
        tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
        steps = [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
        tokenizer.normalizer = normalizers.Sequence(steps)
        corpus = [word for text in CORPUS for line in text.splitlines() for word in line.split()]
        extra = ["<unk>", *(f"<0x{octet:02X}>" for octet in range(256))]
    trainer = trainers.BpeTrainer(
        vocab_size=900, show_progress=False, special_tokens=extra, initial_alphabet=LETTERS if kind in CUTS else []
    )
    tokenizer.train_from_iterator(corpus, trainer)
    document = json.loads(tokenizer.to_str())
    document["added_tokens"] = [token for token in document["added_tokens"] if token["content"] == "<unk>"]
    tokenizer = Tokenizer.from_str(json.dumps(document))
    tokenizer.add_special_tokens(marks)
    tokenizer.add_tokens([AddedToken("[user]", normalized=False)])
    tokenizer.save(str(path))
    return path


def same(pairs: BytePairs, tokenizer: Tokenizer, text: str) -> bool:
    for special in (False, True):
        tokenizer.encode_special_tokens = not special
        if pairs.encode(text, special=special) != tokenizer.encode(text, add_special_tokens=False).ids:
            return False
    return True


@pytest.mark.parametrize("kind", KINDS)
def test_documents_are_cut_as_by_the_library(trained: dict[str, Path], kind: str) -> None:
    pairs, tokenizer = load_pairs(trained[kind]), Tokenizer.from_file(str(trained[kind]))
    for text in CORPUS:
        assert same(pairs, tokenizer, text)
        pieces = pairs.pieces(tokenizer.get_vocab_size())
        back = b"".join(pieces[index] for index in pairs.encode(text)).decode()
        assert back.removeprefix(" " if kind == "sentencepiece" else "") == text


@pytest.mark.parametrize("kind", KINDS)
def test_random_texts_are_cut_as_by_the_library(trained: dict[str, Path], kind: str) -> None:
    pairs, tokenizer = load_pairs(trained[kind]), Tokenizer.from_file(str(trained[kind]))
    draw = random.Random(kind)
    often = "ab Z'sllTHE नम\n\r\t.1२½|é🙂\u200d\u3000\x1c\x85_"

    @given(
        st.text(alphabet=st.one_of(st.sampled_from(often), st.characters(codec="utf-8", categories=["L", "N", "P"])))
    )
    def check(text: str) -> None:
        mark = draw.choice(["", "<|im_end|>", "[user]", "<|im_", "</s></s>"])
        assert same(pairs, tokenizer, text + mark + text[::-1])

    check()


@pytest.mark.parametrize("text", ["the" * 20_000, "a b" * 1000])
def test_a_long_text_is_given_up_on_the_way(
    trained: dict[str, Path], monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    pairs, looks = load_pairs(trained["gpt-2"]), 0

    def stop() -> None:
        nonlocal looks
        looks += 1
        if looks == 5:
            raise GivenUpError

    monkeypatch.setattr(bytepair, "stop_if_given_up", stop)
    with pytest.raises(GivenUpError):
        pairs.encode(text)


def test_marks_have_no_octets_and_are_words_in_a_text(trained: dict[str, Path]) -> None:
    pairs = load_pairs(trained["gpt-2"])
    mark = pairs.encode("<|im_end|>", special=True)
    assert len(mark) == 1
    assert mark[0] not in pairs.encode("x<|im_end|>")
    assert pairs.pieces(1000)[mark[0]] == b""


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"normalizer": {"type": "Lowercase"}}, "normalizer Lowercase"),
        ({"pre_tokenizer": {"type": "Whitespace"}}, "pre_tokenizer Whitespace"),
        (
            {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}},
            "ByteLevel",
        ),
        ({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}}, "otherwise"),
        ({"model": {"type": "WordPiece", "vocab": {"[UNK]": 0}, "unk_token": "[UNK]"}}, "no BPE|cannot read"),
        ({"model": 3}, "cannot read"),
    ],
)
def test_what_is_not_done_here_is_refused(
    trained: dict[str, Path], tmp_path: Path, change: dict[str, object], word: str
) -> None:
    document = json.loads(trained["gpt-2"].read_text()) | change
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(document))
    with pytest.raises(ConfigError, match=word):
        load_pairs(path)
    with pytest.raises(ConfigError, match="cannot read"):
        load_pairs(tmp_path / "missing.json")
